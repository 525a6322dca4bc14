"""``forethought data``: problems and reasoning traces."""

from __future__ import annotations

from typing import Annotated

import typer

from forethought.cli.output import JsonFlag, console, emit_json, emit_list, emit_one
from forethought.cli.progress import bar
from forethought.cli.state import state

app = typer.Typer(help="Problems and reasoning traces.", no_args_is_help=True)

Task = Annotated[str, typer.Option("--task", "-t", help="Name or id of the task.")]
Filter = Annotated[
    str, typer.Option("--filter", "-f", help='Such as: has:reasoning verified:yes -tag:draft "free text".')
]


@app.command()
def generate(
    task: Task,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="New problems to make.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed makes the same problems.")] = 0,
    level: Annotated[int | None, typer.Option(help="Difficulty; the task's own mix when absent.")] = None,
    vocabulary: Annotated[str, typer.Option(help="train or heldout: disjoint stocks of words and names.")] = "train",
    tag: Annotated[list[str] | None, typer.Option(help="Tag for the new problems; may be repeated.")] = None,
    solve: Annotated[bool, typer.Option(help="Let the task's solver write a trace for each problem.")] = True,
    as_json: JsonFlag = False,
) -> None:
    """Make problems with the task's generator and solve them with its solver; every trace is verified."""
    from forethought.services import data

    with bar(f"generating {count} problems") as reporter:
        made = data.generate(
            state.bench(),
            task,
            count=count,
            seed=seed,
            level=level,
            vocabulary=vocabulary,
            tags=tuple(tag or ()),
            solve=solve,
            reporter=reporter,
        )
    if as_json:
        emit_json(made.model_dump(mode="json"))
    else:
        console().print(made.sentence())


@app.command()
def verify(task: Task, where: Filter = "", as_json: JsonFlag = False) -> None:
    """Ask the task's verifiers about the traces that match the filter, again where they were asked before."""
    from forethought.services import data

    with bar("verifying") as reporter:
        counts = data.verify(state.bench(), task, where, reporter=reporter)
    if as_json:
        emit_json(counts)
    else:
        console().print(", ".join(f"{count} {name}" for name, count in counts.items()))


@app.command("list")
def list_traces(
    task: Task,
    where: Filter = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 20,
    after: Annotated[str | None, typer.Option(help="Continue after this trace id.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Traces that match a filter."""
    from forethought.services import data

    page = data.list_traces(state.bench(), task, where, limit=limit, after=after)
    emit_list(
        page.traces,
        [
            ("id", lambda t: t.id),
            ("origin", lambda t: t.origin),
            ("answer", lambda t: t.answer[:40]),
            ("reasoning", lambda t: t.failure or (t.reasoning or "").replace("\n", " ")[:200] or None),
        ],
        as_json=as_json,
    )
    if not as_json:
        console(stderr=True).print(f"{len(page.traces)} of {page.total}")


@app.command()
def show(
    trace: Annotated[str, typer.Argument(help="Id of the trace, or its unambiguous beginning.")],
    as_json: JsonFlag = False,
) -> None:
    """One trace with its problem and what the verifiers said."""
    from forethought.services import data

    emit_one(data.show(state.bench(), trace), as_json=as_json)
