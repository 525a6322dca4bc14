"""``forethought task``: what models are to do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forethought.cli.output import JsonFlag, emit_json, emit_list, emit_one
from forethought.cli.state import state

app = typer.Typer(help="Tasks: what a model is to do.", no_args_is_help=True)

_FROM_THE_POLICY = ("version", "input_schema", "output_schema", "verifiers", "solver", "generator")

TaskName = Annotated[str, typer.Argument(metavar="TASK", help="Name or id of the task.")]


@app.command()
def example(
    name: Annotated[str, typer.Argument(help="syllogism, loan or arithmetic.")], as_json: JsonFlag = False
) -> None:
    """Add an example task with generator, solver and verifiers."""
    from forethought.services import tasks

    emit_one(tasks.create_example(state.bench(), name), as_json=as_json)


@app.command()
def create(
    file: Annotated[Path, typer.Argument(help="JSON file with name, instructions and the rest of a task.")],
    as_json: JsonFlag = False,
) -> None:
    """Add a task from a JSON file. 'task show NAME --template' prints one to start from."""
    from forethought.services import tasks

    emit_one(tasks.create_from_file(state.bench(), file), as_json=as_json)


@app.command()
def policy(
    file: Annotated[Path, typer.Argument(help="TOML or JSON file with inputs, outcomes and rules; see docs/tasks.md.")],
    name: Annotated[str, typer.Option(help="Name of the task; the file's own when absent.")] = "",
    opening: Annotated[
        str, typer.Option(help="Sentence that says what is decided; the policy's about when absent.")
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Add a task from a policy file; again where the file has changed.

    The task gets its solver, verifiers and generator from it.
    """
    from forethought.services import tasks

    made = tasks.create_policy(state.bench(), file, name=name, opening=opening)
    emit_one(made, as_json=as_json, hide=_FROM_THE_POLICY)


@app.command()
def edit(
    task: TaskName,
    file: Annotated[Path, typer.Argument(help="JSON file with the fields to change.")],
    as_json: JsonFlag = False,
) -> None:
    """Make a new revision of a task. Runs and models made from the old one keep it."""
    from forethought.services import tasks

    emit_one(tasks.edit_from_file(state.bench(), task, file), as_json=as_json)


@app.command("list")
def list_tasks(as_json: JsonFlag = False) -> None:
    """All tasks, newest revision each."""
    from forethought.services import tasks

    emit_list(
        tasks.list_all(state.bench()),
        [
            ("name", lambda t: t.name),
            ("revision", lambda t: t.revision),
            ("style", lambda t: t.style),
            ("verifiers", lambda t: ", ".join(v.name for v in t.verifiers)),
            ("created", lambda t: t.created_at),
        ],
        as_json=as_json,
    )


@app.command()
def show(
    task: TaskName,
    revision: Annotated[int | None, typer.Option(min=1, max=2**31 - 1, help="An older revision.")] = None,
    template: Annotated[
        bool, typer.Option("--template", help="Only what 'task create' takes, as JSON: the start of another task.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """One task, whole."""
    from forethought.services import tasks

    if template:
        emit_json(tasks.template(state.bench(), task, revision))
        return
    emit_one(tasks.show(state.bench(), task, revision), as_json=as_json)
