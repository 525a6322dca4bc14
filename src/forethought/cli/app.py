"""The root of the command line: global options, sub-commands by noun, and how errors leave the program."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from forethought import __version__
from forethought.cli import data, datasets, evaluations, models, runs, tasks, top, train
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
    try:
        app()
    except ForethoughtError as error:
        if state.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:
        raise SystemExit(0) from None


def _version(wanted: bool) -> None:
    if wanted:
        print(f"forethought {__version__}")
        raise typer.Exit


@app.callback()
def _globals(
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace",
            "-w",
            envvar="FORETHOUGHT_WORKSPACE",
            help="Folder of the records, models and logs.",
            show_default="~/.forethought",
        ),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    state.workspace, state.debug = workspace, debug
