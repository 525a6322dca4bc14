"""Runs from the outside: submit, start, watch, cancel, resume. Works from any process that opens the store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from forethought.core.records import Json, Progress, Run, RunStatus
from forethought.core.registry import names
from forethought.errors import JobError, NotFoundError, UsageError, did_you_mean
from forethought.jobs.executors import executor_named
from forethought.jobs.processes import is_dead
from forethought.jobs.redaction import holds_secret
from forethought.settings import Workspace
from forethought.store.run_queue import ENDED, RunQueue, StreamName, StreamRow
from forethought.store.store import Store

LOOK_EVERY_SECONDS = 0.3
_workers: dict[str, str] = {}
"""Run id -> handle of the worker this process started for it: so that one that could not start is noticed."""


@dataclass(frozen=True)
class Progressed:
    """The run got further."""

    progress: Progress


@dataclass(frozen=True)
class Logged:
    """One line of the log."""

    at: datetime
    line: str


@dataclass(frozen=True)
class Measured:
    """One point of the live curves; None is a value that was not finite."""

    step: int
    values: dict[str, float | None]


@dataclass(frozen=True)
class Sampled:
    """One sample completion."""

    step: int
    text: dict[str, Json]


@dataclass(frozen=True)
class StatusChanged:
    """The run was taken, or ended; ``error`` says why it ended early."""

    status: RunStatus
    error: str


RunEvent = Progressed | Logged | Measured | Sampled | StatusChanged


def submit(store: Store, workspace: Workspace, run: Run) -> Run:
    """Puts a run into the queue. It begins when a worker takes it: see ``start_worker``."""
    known = names("job")
    if run.kind not in known:
        raise NotFoundError(f"There is no job called '{run.kind}'.", hint=did_you_mean(run.kind, known))
    executor_named(run.executor)
    if holds_secret(run.model_dump_json()):
        raise UsageError("The run's settings hold a secret of this environment.", hint="Leave it out: workers read it.")
    workspace.run_folder(run.id)
    return RunQueue(store).enqueue(run)


def start_worker(workspace: Workspace, run_id: str, *, executor: str = "local") -> str:
    """Starts a worker for one queued run, detached from this process. Returns its handle."""
    handle = executor_named(executor).submit(workspace, run_id)
    _workers[run_id] = handle
    return handle


def cancel(store: Store, run_id: str) -> Run:
    """Asks a run to stop; a waiting one is cancelled at once. JobError when it has ended."""
    queue = RunQueue(store)
    queue.expire(is_dead, run_id=run_id)
    return queue.request_cancel(run_id)


def stop(store: Store, run_id: str) -> Run:
    """Interrupts a run so that it can be resumed: it ends, with its worker, at its next check. JobError if it ended."""
    queue = RunQueue(store)
    queue.expire(is_dead, run_id=run_id)
    run, holder = queue.withdraw(run_id)
    if holder:
        executor_named(run.executor).stop(holder)
    return run


def resume(store: Store, run_id: str, *, parallel: bool = False) -> Run:
    """Puts a run that stopped early back into the queue; its body goes on from its checkpoint.

    With ``parallel`` it no longer waits for its turn among the machine's torch runs. JobError says why not when the
    run is done, running or waiting.
    """
    queue = RunQueue(store)
    queue.expire(is_dead, run_id=run_id)
    requeued = queue.requeue(run_id, parallel=parallel)
    _workers.pop(run_id, None)
    return requeued


def wait(store: Store, run_id: str, *, timeout: float | None = None) -> Run:
    """The run as it ended. JobError after ``timeout`` seconds, or when its worker ended before it took the run."""
    queue, begun = RunQueue(store), time.monotonic()
    while (run := _look(queue, run_id)).status not in ENDED:
        if timeout is not None and time.monotonic() - begun > timeout:
            raise JobError(f"The run {run_id} is still {run.status} after {timeout:g} s.")
        time.sleep(LOOK_EVERY_SECONDS)
    return run


def watch(store: Store, run_id: str) -> Iterator[RunEvent]:
    """Everything the run says, from its first line on, as it says it. The last event is the status it ended with.

    JobError when the worker that this process started for it ended before it took the run.
    """
    queue = RunQueue(store)
    seen: dict[StreamName, int] = {"log": 0, "metrics": 0, "samples": 0}
    progress, status = Progress(), None
    while True:
        run = _look(queue, run_id)
        ended = run.status in ENDED
        if run.status != status and not ended:
            yield StatusChanged(run.status, run.error)
        status = run.status
        for name in seen:
            while rows := queue.stream(name, run_id, after=seen[name]):
                seen[name] = rows[-1].seq
                yield from (_event(name, row) for row in rows)
        if run.progress != progress:
            progress = run.progress
            yield Progressed(progress)
        if ended:
            yield StatusChanged(run.status, run.error)
            return
        time.sleep(LOOK_EVERY_SECONDS)


def _look(queue: RunQueue, run_id: str) -> Run:
    """The run as it is, after a look at whether its worker still lives."""
    worker = _workers.get(run_id)
    worker_gone = worker is not None and not executor_named(queue.get(run_id).executor).alive(worker)
    queue.expire(is_dead, run_id=run_id)
    run = queue.get(run_id)
    if run.status == "queued" and worker_gone:
        raise JobError(f"The worker ended before it took the run {run_id}.", hint="The run's log file says why.")
    return run


def _event(name: StreamName, row: StreamRow) -> RunEvent:
    if name == "log":
        return Logged(row.at, cast(str, row.value))
    if name == "metrics":
        return Measured(row.step or 0, cast(dict[str, float | None], row.value))
    return Sampled(row.step or 0, cast(dict[str, Json], row.value))
