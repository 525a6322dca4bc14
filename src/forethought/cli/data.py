"""``forethought data``: problems and reasoning traces."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from forethought.cli.output import JsonFlag, console, emit_json, emit_list, emit_one
from forethought.cli.progress import bar
from forethought.cli.state import state

app = typer.Typer(help="Problems and reasoning traces.", no_args_is_help=True)

Task = Annotated[str, typer.Option("--task", "-t", help="Name or id of the task.")]
Filter = Annotated[
    str,
    typer.Option("--filter", "-f", help='Such as: has:reasoning verified:yes -tag:draft "free text".'),
]
Limit = Annotated[int, typer.Option(min=1, max=10_000)]
CELL_CHARS = 300
"""No table shows more of a text."""


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
    """Make problems, solve them, verify every trace.

    The task's generator makes them and its solver solves them.
    """
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
    """Ask the task's verifiers about matching traces, once more.

    What they say now counts; what they said before is kept.
    """
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
    limit: Limit = 20,
    after: Annotated[str | None, typer.Option(help="Continue after this trace id.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Traces that match a filter."""
    from forethought.services import data

    bench = state.bench()
    page = data.list_traces(bench, task, where, limit=limit, after=after)
    emit_list(
        page.traces,
        [
            ("id", lambda t: t.id),
            ("input", lambda t: _on_a_line(page.problems[t.problem_id].input)),
            ("answer", lambda t: t.answer[:CELL_CHARS] or None),
            ("reasoning", lambda t: t.failure or (t.reasoning or "")[:CELL_CHARS] or None),
            ("origin", lambda t: t.origin),
        ],
        as_json=as_json,
        nothing=_nothing_left(page.total) or data.why_none(bench, task, where),
    )
    if page.traces and not as_json:
        console(stderr=True).print(f"{len(page.traces)} of {page.total}")


@app.command()
def problems(
    task: Task,
    where: Filter = "",
    limit: Limit = 20,
    after: Annotated[str | None, typer.Option(help="Continue after this problem id.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Problems that match a filter, attempted or not."""
    from forethought.services import data

    bench = state.bench()
    page = data.list_problems(bench, task, where, limit=limit, after=after)
    emit_list(
        page.problems,
        [
            ("id", lambda p: p.id),
            ("level", lambda p: p.level),
            ("input", lambda p: _on_a_line(p.input)),
            ("reference", lambda p: p.reference and p.reference[:CELL_CHARS]),
            ("tags", lambda p: ", ".join(p.tags) or None),
        ],
        as_json=as_json,
        nothing=_nothing_left(page.total) or data.why_none(bench, task, where, of="problems"),
    )
    if page.problems and not as_json:
        console(stderr=True).print(f"{len(page.problems)} of {page.total}")


@app.command()
def show(
    given: Annotated[str, typer.Argument(metavar="ID", help="Id of a trace or a problem, or a part of it as listed.")],
    as_json: JsonFlag = False,
) -> None:
    """One trace with its problem and verdicts, or one problem."""
    from forethought.services import data

    emit_one(data.show(state.bench(), given), as_json=as_json)


def _on_a_line(value: object) -> str:
    """An input as far as a table can show it: text, or compact JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text[:CELL_CHARS]


def _nothing_left(total: int) -> str:
    """What an empty page of a list that is not empty says."""
    return f"no more: all {total} that match come before" if total else ""
