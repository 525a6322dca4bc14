"""``forethought runs``: durable work."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from forethought.cli.output import JsonFlag, console, emit_json, emit_list, emit_one, printable
from forethought.cli.progress import bar
from forethought.cli.state import state
from forethought.core.ids import short_id
from forethought.errors import JobError

if TYPE_CHECKING:
    from forethought.core.records import Json, Run
    from forethought.services.workbench import Workbench

app = typer.Typer(help="Durable work: training and evaluation runs.", no_args_is_help=True)

RunId = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run, or its start or end.")]
STOP_SECONDS = 30.0
"""How long a stopped run is waited for: a step of training may take some of them."""


def follow_to_the_end(bench: Workbench, run: Run, *, detach: bool = False) -> Run:
    """Shows a run until it ends. Ctrl-C and SIGTERM stop the run so that it can be resumed.

    JobError when it did not finish.
    """
    from forethought.services import runs

    if detach:
        said = f"running in the background; follow it with: forethought runs watch {short_id(run.id)}"
        console(stderr=True).print(said, soft_wrap=True)
        return run
    with _sigterm_as_ctrl_c():
        try:
            with bar(_title(run)) as reporter:
                ended = runs.follow(bench, run.id, reporter)
        except KeyboardInterrupt:
            print(_stop(bench, run), file=sys.stderr)
            raise
    if ended.status != "done":
        raise _not_done(ended)
    return ended


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(bench: Workbench, run: Run) -> str:
    """Stops a run, waits until it has ended or for a second Ctrl-C, and says how to go on."""
    from forethought.services import runs

    print("finishing a checkpoint… (Ctrl-C again does not wait)", file=sys.stderr)
    try:
        stopped = runs.stop(bench, run.id, patience=STOP_SECONDS)
    except KeyboardInterrupt:
        stopped = bench.store.run(run.id)
    resume = f"forethought runs resume {short_id(run.id)}"
    if stopped.status == "done":
        return "it was done already"
    if stopped.status in ("queued", "running"):
        return f"still finishing its checkpoint; in a few seconds go on with: {resume}"
    return f"{'failed' if stopped.status == 'failed' else 'stopped'}; go on with: {resume}"


def _not_done(run: Run) -> JobError:
    """What to do next is said once: the reason of an interrupted run says it already."""
    short = short_id(run.id)
    hint = f"See 'forethought runs logs {short}'"
    hint += "." if "runs resume" in run.error else f"; go on with 'forethought runs resume {short}'."
    return JobError(f"Run {short} is {run.status}{f': {run.error}' if run.error else '.'}", hint=hint)


def _title(run: Run) -> str:
    return f"{run.kind} {short_id(run.id)}"


@app.command("list")
def list_runs(
    status: Annotated[str | None, typer.Option(help="queued, running, done, failed, cancelled, interrupted.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """All runs, newest first."""
    from forethought.services import runs

    bench = state.bench()
    listed = runs.list_all(bench, status)
    what = {} if as_json else runs.subjects(bench, listed)
    emit_list(
        listed,
        [
            ("id", lambda r: r.id),
            ("kind", lambda r: r.kind),
            ("status", runs.status_in_words),
            ("done", lambda r: f"{r.progress.done:.0f}/{r.progress.total:.0f}" if r.progress.total else None),
            ("what", lambda r: r.error or what[r.id] or None),
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
        shown = runs.show(bench, run)
        emit_one(shown if as_json else _for_people(shown), as_json=as_json)


def _for_people(run: Run) -> dict[str, Json]:
    from forethought.services import runs

    return {**run.model_dump(mode="json"), "status": runs.status_in_words(run)}


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
    watched = runs.show(bench, run)
    with bar(_title(watched)) as reporter:
        ended = runs.follow(bench, watched.id, reporter)
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

    cancelled = runs.cancel(state.bench(), run)
    short = short_id(cancelled.id)
    if as_json:
        emit_one(cancelled, as_json=True)
    elif cancelled.status == "cancelled":
        console().print(f"run {short} is cancelled")
    else:
        console().print(f"run {short} was asked to stop; it does so at its next step")


@app.command()
def resume(
    run: RunId,
    detach: Annotated[bool, typer.Option("--detach", help="Return at once.")] = False,
    parallel: Annotated[
        bool, typer.Option("--parallel", help="Do not wait for another training or evaluation on this machine.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Go on with a run that stopped, from its last checkpoint."""
    from forethought.services import runs

    bench = state.bench()
    ended = follow_to_the_end(bench, runs.resume(bench, run, parallel=parallel), detach=detach)
    if as_json:
        emit_one(ended, as_json=True)
    elif not detach:
        console().print(f"run {short_id(ended.id)} is done")
