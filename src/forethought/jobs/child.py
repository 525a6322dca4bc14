"""The process a run's body lives in. Started by the worker only; whatever happens here, the worker sees it end."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

from forethought.core.ids import short_id
from forethought.core.registry import lookup
from forethought.errors import JobCancelled, JobError
from forethought.jobs.context import JobContext, JobResult, open_workspace
from forethought.jobs.faults import Reserve, disk_full_line, is_disk_full, one_line, say
from forethought.jobs.recording import insist
from forethought.jobs.reporter import DurableReporter
from forethought.jobs.torch_lock import WAITING, torch_lock
from forethought.store.run_queue import Lease, LeaseLostError, RunQueue, how_to_resume

RECORDED = 0
"""Exit code: how the run ended is in its record, whether well or not."""
LOST = 75
"""Exit code: the lease went to somebody else; there is nothing to record."""


@dataclass(frozen=True)
class Outcome:
    """How a body ended."""

    status: Literal["done", "failed", "stopped"]
    error: str = ""
    result: JobResult = field(default_factory=JobResult)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the body of a run that was claimed already."""
    options = _parse(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    workspace, store = open_workspace(options.workspace)
    queue = RunQueue(store)
    lease = Lease(options.run, options.token, options.owner)
    reporter = DurableReporter(queue, lease, stop)
    folder = workspace.run_folder(options.run)
    context = JobContext(workspace, store, queue.get(options.run), reporter, folder, options.resuming)
    reserve = Reserve(folder)
    try:
        outcome = perform(context, reserve)
        record(outcome, queue, lease, reporter, reserve)
    except LeaseLostError as error:
        say(str(error))
        return LOST
    return RECORDED


def perform(context: JobContext, reserve: Reserve) -> Outcome:
    """Looks the body up, runs it when it is its turn, and puts what came of it in one line."""
    run_id = context.run.id
    try:
        reserve.take()
        with _turn(context):
            result = lookup("job", context.run.kind)(context)
        if not isinstance(result, JobResult):
            raise JobError(f"The job '{context.run.kind}' returned {type(result).__name__} instead of a JobResult.")
        json.dumps([result.metrics, result.artefacts])  # what cannot be stored is the body's fault, told as such
        return Outcome("done", result=result)
    except LeaseLostError:
        raise
    except JobCancelled:
        return Outcome("stopped", f"Stopped before it was done. {how_to_resume(run_id)}")
    except BaseException as error:  # whatever a body throws belongs in the run's record
        say(traceback.format_exc())
        if is_disk_full(error):
            return Outcome("stopped", f"{disk_full_line(context.folder)} {how_to_resume(run_id)}")
        return Outcome("failed", one_line(error))


def record(outcome: Outcome, queue: RunQueue, lease: Lease, reporter: DurableReporter, reserve: Reserve) -> None:
    """Writes the last of what the body said, and how it ended."""
    insist(reporter.close, reserve)
    insist(
        lambda: queue.finish(
            lease,
            outcome.status,
            error=outcome.error,
            metrics=outcome.result.metrics,
            artefacts=outcome.result.artefacts,
        ),
        reserve,
    )
    reserve.give_back()


@contextmanager
def _turn(context: JobContext) -> Iterator[None]:
    run = context.run
    message = run.progress.message

    def say_progress(said: str) -> None:
        """Keeps what was done before. Without a unit: the speed of the work is not measured while it waits."""
        nonlocal message
        message = said
        context.reporter.progress(run.progress.done, run.progress.total, unit="", message=said)

    def waiting(holder: str) -> None:
        known = f" ({holder})" if holder else ""
        say_progress(f"{WAITING}another training or evaluation uses this machine{known}")
        context.reporter.check()

    alone = run.uses_torch and not run.parallel
    with torch_lock(f"run {short_id(run.id)} of {context.workspace.root}", waiting) if alone else nullcontext():
        if message.startswith(WAITING):
            say_progress("")
        yield


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="forethought.jobs.child", description=__doc__)
    parser.add_argument("--workspace", required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--token", type=int, required=True)
    parser.add_argument("--owner", required=True)
    parser.add_argument("--resuming", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
