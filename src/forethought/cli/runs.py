"""``forethought runs``: durable work."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from forethought.cli.output import JsonFlag, console, emit_json, emit_list, emit_one, printable
from forethought.cli.progress import bar
from forethought.cli.state import state
from forethought.errors import JobError

if TYPE_CHECKING:
    from forethought.core.records import Json, Run
    from forethought.services.workbench import Workbench

app = typer.Typer(help="Durable work: training and evaluation runs.", no_args_is_help=True)

RunId = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run, or its unambiguous beginning.")]


def follow_to_the_end(bench: Workbench, run: Run, *, detach: bool = False) -> Run:
    """Shows a run until it ends. Ctrl-C stops the run so that it can be resumed. JobError when it did not finish."""
    from forethought.services import runs

    if detach:
        console(stderr=True).print(f"running in the background; follow it with: forethought runs watch {run.id}")
        return run
    try:
        with bar(f"{run.kind} {run.id[-6:]}") as reporter:
            ended = runs.follow(bench, run.id, reporter)
    except KeyboardInterrupt:
        runs.stop(bench, run.id)
        print(f"stopped; go on with: forethought runs resume {run.id}", file=sys.stderr)
        raise
    if ended.status != "done":
        raise JobError(
            f"Run {ended.id} is {ended.status}: {ended.error or 'no reason recorded'}",
            hint=f"See 'forethought runs logs {ended.id}'; go on with 'forethought runs resume {ended.id}'.",
        )
    return ended


@app.command("list")
def list_runs(
    status: Annotated[str | None, typer.Option(help="queued, running, done, failed, cancelled, interrupted.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """All runs, newest first."""
    from forethought.services import runs

    emit_list(
        runs.list_all(state.bench(), status),
        [
            ("id", lambda r: r.id),
            ("kind", lambda r: r.kind),
            ("status", lambda r: r.status),
            ("done", lambda r: f"{r.progress.done:.0f}/{r.progress.total:.0f}"),
            ("what", lambda r: r.error or r.config.get("name")),
        ],
        as_json=as_json,
    )


@app.command()
def show(
    run: RunId,
    curves: Annotated[bool, typer.Option("--curves", help="The points it measured: loss, held-out loss, …")] = False,
    samples: Annotated[bool, typer.Option("--samples", help="What the model wrote while it was trained.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """One run: what it was asked, how far it is, what it made."""
    from forethought.services import runs

    bench = state.bench()
    if curves:
        points = [{"step": step, **values} for step, values in runs.curves(bench, run)]
        names = list(dict.fromkeys(name for point in points for name in point))
        emit_list(points, [(name, itemgetter_or_none(name)) for name in names], as_json=as_json)
    elif samples:
        _emit_samples(runs.samples(bench, run), as_json=as_json)
    else:
        emit_one(runs.show(bench, run), as_json=as_json)


def _emit_samples(samples: list[dict[str, Json]], *, as_json: bool) -> None:
    if as_json:
        emit_json(samples)
        return
    for position, sample in enumerate(samples):
        if position:
            print()
        emit_one(sample, as_json=False)


def itemgetter_or_none(name: str) -> Callable[[dict[str, float]], float | None]:
    """Reads a key that not every point has."""
    return lambda point: point.get(name)


@app.command()
def watch(run: RunId, as_json: JsonFlag = False) -> None:
    """Follow a run until it ends. Ctrl-C stops watching, not the run."""
    from forethought.services import runs

    bench = state.bench()
    with bar(f"run {run[-6:]}") as reporter:
        ended = runs.follow(bench, run, reporter)
    if as_json:
        emit_one(ended, as_json=True)
    else:
        console().print(f"{ended.status} {printable(ended.error)}" if ended.error else ended.status)
    if ended.status != "done":
        raise typer.Exit(1)


@app.command()
def logs(run: RunId, as_json: JsonFlag = False) -> None:
    """The log of a run."""
    from forethought.services import runs

    lines = runs.logs(state.bench(), run)
    if as_json:
        emit_json(list(lines))
        return
    for line in lines:
        print(printable(line))


@app.command()
def cancel(run: RunId, as_json: JsonFlag = False) -> None:
    """Ask a run to stop for good."""
    from forethought.services import runs

    emit_one(runs.cancel(state.bench(), run), as_json=as_json)


@app.command()
def resume(
    run: RunId,
    detach: Annotated[bool, typer.Option("--detach", help="Return at once.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Go on with a run that was interrupted, cancelled or failed, from its last checkpoint."""
    from forethought.services import runs

    bench = state.bench()
    emit_one(follow_to_the_end(bench, runs.resume(bench, run), detach=detach), as_json=as_json)
