"""The root of the command line: global options, sub-commands by noun, and how errors leave the program."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from forethought import __version__
from forethought.cli import data, datasets, evaluations, models, runs, tasks, top, train
from forethought.cli.output import printable
from forethought.cli.state import state
from forethought.errors import ForethoughtError

app = typer.Typer(
    name="forethought",
    help="Task-specific models that think before they answer.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
top.register(app)
app.add_typer(tasks.app, name="task")
app.add_typer(data.app, name="data")
app.add_typer(datasets.app, name="dataset")
app.add_typer(train.app, name="train")
app.add_typer(runs.app, name="runs")
app.add_typer(evaluations.app, name="eval")
app.add_typer(models.app, name="models")


def run() -> None:
    """Runs one command and exits: 0 done, 1 failed, 2 bad usage, 130 interrupted."""
    raise SystemExit(_exit_code())


def _exit_code() -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without the letter still gets the line
    try:
        code = app(standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code or 0
    except typer.TyperException as error:
        return _misused(error)
    except typer.Abort:
        _say("Stopped: the question was not answered.")
        return 1
    except ForethoughtError as error:
        if state.debug:
            raise
        _say(str(error))
        return error.exit_code
    except BrokenPipeError:
        _drop_output()
        return 1
    except Exception as error:
        if state.debug:
            raise
        _say(_mistake(error))
        _drop_output()
        return 1


def _misused(error: typer.TyperException) -> int:
    message, context = error.format_message(), getattr(error, "ctx", None)
    if message.startswith("Usage:"):  # a noun without a verb
        print(message, file=sys.stderr)
    else:
        _say(
            message
            + ("" if message.endswith((".", "?", ")")) else ".")
            + (f" See '{context.command_path} -h'." if context else "")
        )
    return error.exit_code


def _mistake(error: Exception) -> str:
    """An error nobody foresaw, in words."""
    from forethought.services import crashes

    said, file = crashes.keep(error, state.workspace)
    return said + (f" The traceback is in {file}." if file else "") + " FORETHOUGHT_DEBUG=1 shows it."


def _say(text: str) -> None:
    print(f"error: {printable(' '.join(text.split()))}", file=sys.stderr)


def _drop_output() -> None:
    """What is still buffered cannot be written and must not fail once more at the end of the process."""
    if sys.stdout is not None:
        sys.stdout = io.StringIO()


def _version(wanted: bool) -> None:
    if wanted:
        print(f"forethought {__version__}")
        raise typer.Exit


@app.callback()
def _globals(
    workspace: Annotated[
        str,
        typer.Option(
            "--workspace",
            "-w",
            envvar="FORETHOUGHT_WORKSPACE",
            help="Folder of the records, models and logs.",
            show_default="~/.forethought",
        ),
    ] = "",
    debug: Annotated[
        bool, typer.Option("--debug", envvar="FORETHOUGHT_DEBUG", help="Show the traceback of an error.")
    ] = False,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    state.workspace, state.debug = Path(workspace) if workspace else None, debug
