"""Does the queued runs: ``python -m forethought.jobs.worker --workspace DIR [--run ID] [--once]``.

SIGTERM or SIGINT lets the run reach its next check, records it as interrupted and ends; a second one kills it.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType

from forethought.core.records import Run
from forethought.errors import ForethoughtError, JobError, StoreError
from forethought.jobs.context import open_workspace
from forethought.jobs.faults import one_line, say
from forethought.jobs.processes import is_dead, this_process
from forethought.jobs.supervisor import GRACE_SECONDS, Supervisor
from forethought.store.run_queue import Claim, RunQueue

IDLE_SECONDS = 1.0
MAX_CLAIMS = 3
"""A run whose worker vanished is taken over until it was claimed so often; it may be what kills the worker."""


@dataclass
class Stop:
    """What signals asked for."""

    asked: threading.Event = field(default_factory=threading.Event)
    twice: threading.Event = field(default_factory=threading.Event)

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        (self.twice if self.asked.is_set() else self.asked).set()


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; 1 when the one run asked for did not end as done."""
    options = _parse(arguments)
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        workspace, store = open_workspace(options.workspace)
        queue = RunQueue(store)
        claims = _one(queue, options.run) if options.run else _all(queue, stop, once=options.once)
        for claim in claims:
            supervisor = Supervisor(
                workspace,
                queue,
                claim,
                stop=stop.asked,
                hurry=stop.twice,
                grace=options.grace,
            )
            _do(supervisor, queue, claim.run)
        return 1 if options.run and queue.get(options.run).status != "done" else 0
    except ForethoughtError as error:
        say(f"error: {one_line(error)}")
        return error.exit_code
    except Exception:
        say(traceback.format_exc())
        return 1


def _do(supervisor: Supervisor, queue: RunQueue, run: Run) -> None:
    say(f"Run {run.id} ({run.kind}) begins.")
    try:
        supervisor.run()
        ended = queue.get(run.id)
        say(f"Run {run.id} is {ended.status}. {ended.error}".rstrip())
    except StoreError as error:  # its lease lapses, which says that it was lost; other runs go on
        say(f"How the run {run.id} ended could not be written: {one_line(error)}")


def _one(queue: RunQueue, run_id: str) -> Iterator[Claim]:
    claim = queue.claim(run_id, str(this_process()))
    if claim is None:
        run = queue.get(run_id)
        raise JobError(f"The run {run_id} is {run.status}, not queued.", hint="`forethought runs show` says more.")
    yield claim


def _all(queue: RunQueue, stop: Stop, *, once: bool) -> Iterator[Claim]:
    """Claims as they come, oldest first, lost ones included. A database that is away is awaited."""
    while not stop.asked.is_set():
        try:
            queue.expire(is_dead)
            queue.requeue_lost(max_claims=MAX_CLAIMS)
            claim = queue.claim_next(str(this_process()))
        except StoreError as error:
            if once:
                raise
            say(f"Looking for work failed and is tried again: {one_line(error)}")
            claim = None
        if claim:
            yield claim
        elif once:
            return
        else:
            stop.asked.wait(IDLE_SECONDS)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m forethought.jobs.worker", description="Does the queued runs.")
    parser.add_argument("--workspace", required=True, help="folder of the records")
    parser.add_argument("--run", help="do this run only")
    parser.add_argument("--once", action="store_true", help="end when no run is waiting")
    parser.add_argument(
        "--grace", type=float, default=GRACE_SECONDS, help="seconds a run may take to stop before it is killed"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
