"""Runs: submitted, followed, stopped, resumed. A thin face over the durable jobs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import cast

from forethought import __version__
from forethought.core.records import Json, Run, RunStatus
from forethought.core.seams import Reporter
from forethought.engine.optional import refuse_without_extra
from forethought.errors import JobError, UsageError, did_you_mean
from forethought.jobs import client
from forethought.jobs.context import PYTHON
from forethought.jobs.processes import is_dead
from forethought.jobs.torch_lock import WAITING
from forethought.services.workbench import Workbench
from forethought.store.run_queue import RunQueue, StreamName, StreamRow

STATUSES = ("queued", "running", "done", "failed", "cancelled", "interrupted")
_RECORDED = ("torch", "transformers", "trl", "peft")


def submit(bench: Workbench, run: Run) -> Run:
    """Queues a run and starts a worker for it, detached: it outlives this process.

    MissingExtraError when it needs libraries that are not installed.
    """
    if run.uses_torch:
        refuse_without_extra()
    queued = client.submit(bench.store, bench.workspace, run)
    client.start_worker(bench.workspace, queued.id, executor=run.executor)
    return queued


def follow(bench: Workbench, run_id: str, reporter: Reporter) -> Run:
    """Tells ``reporter`` everything the run says until it ends; returns the run as it ended."""
    full_id = bench.store.run(run_id).id
    for event in client.watch(bench.store, full_id):
        match event:
            case client.Progressed(progress):
                reporter.progress(progress.done, progress.total, unit=progress.unit, message=progress.message)
            case client.Logged(_, line):
                reporter.log(line)
            case client.Measured(step, values):
                reporter.metrics(step, {name: value for name, value in values.items() if value is not None})
            case client.Sampled(step, text):
                reporter.sample(step, text)
            case client.StatusChanged():
                pass
    return bench.store.run(full_id)


def stop(bench: Workbench, run_id: str, *, patience: float = 0.0) -> Run:
    """Interrupts a run at its next check so that it can be resumed; an ended run stays as it is.

    Waits up to ``patience`` seconds for it to end and returns it as it is then.
    """
    run = bench.store.run(run_id)
    try:
        client.stop(bench.store, run.id)
        return client.wait(bench.store, run.id, timeout=patience)
    except JobError:
        return bench.store.run(run.id)


def cancel(bench: Workbench, run_id: str) -> Run:
    """Asks a run to stop for good. JobError when it has ended."""
    return client.cancel(bench.store, bench.store.run(run_id).id)


def resume(bench: Workbench, run_id: str, *, parallel: bool = False) -> Run:
    """Queues a run that stopped early again and starts a worker. JobError says why not."""
    run = client.resume(bench.store, bench.store.run(run_id).id, parallel=parallel)
    client.start_worker(bench.workspace, run.id, executor=run.executor)
    return run


def show(bench: Workbench, run_id: str) -> Run:
    """One run by its id, or the start or end of it; one whose worker is gone is interrupted, not running."""
    RunQueue(bench.store).expire(is_dead)
    return bench.store.run(run_id)


def list_all(bench: Workbench, status: str | None = None) -> list[Run]:
    """All runs, newest first, optionally of one status; those whose worker is gone are interrupted, not running."""
    if status is not None and status not in STATUSES:
        raise UsageError(f"There is no run status '{status}'.", hint=did_you_mean(status, STATUSES))
    RunQueue(bench.store).expire(is_dead)
    return bench.store.runs(status=cast("RunStatus | None", status))


def waits(message: str) -> bool:
    """Whether a run whose progress says so waits for its turn on this machine."""
    return message.startswith(WAITING)


def status_in_words(run: Run) -> str:
    """The status for people: a run that a worker took may still wait for its turn."""
    return "waiting" if run.status == "running" and waits(run.progress.message) else run.status


def subjects(bench: Workbench, listed: Sequence[Run]) -> dict[str, str]:
    """Run id -> what the run is about: the model it trains, or the dataset and the arms it evaluates."""
    datasets = {dataset.id: dataset.name for dataset in bench.store.datasets()}
    found: dict[str, str] = {}
    for run in listed:
        arms = run.config.get("arms")
        if isinstance(arms, list):
            named = ", ".join(str(arm["name"]) for arm in arms if isinstance(arm, dict))
            found[run.id] = f"{datasets.get(run.dataset_id or '', 'a dataset')}: {named}"
        else:
            found[run.id] = str(run.config.get("name") or "")
    return found


def logs(bench: Workbench, run_id: str) -> Iterator[str]:
    """The lines a run logged, each after its moment (UTC), oldest first."""
    return (f"{row.at:%Y-%m-%dT%H:%M:%SZ} {row.value}" for row in _said(bench, run_id, "log"))


def curves(bench: Workbench, run_id: str) -> list[tuple[int, dict[str, float]]]:
    """The points a run measured: (step, values), in order. Values that were not finite are left out."""
    return [
        (row.step or 0, {name: float(value) for name, value in row.value.items() if isinstance(value, int | float)})
        for row in _said(bench, run_id, "metrics")
        if isinstance(row.value, dict)
    ]


def samples(bench: Workbench, run_id: str) -> list[dict[str, Json]]:
    """What the model wrote while it was trained, in order, each with its ``step``."""
    return [{"step": row.step, **row.value} for row in _said(bench, run_id, "samples") if isinstance(row.value, dict)]


def work(bench: Workbench, *, run: str | None = None, once: bool = False) -> None:
    """Becomes a worker. Raises JobError when the one run asked for does not end well."""
    command = [*PYTHON, "forethought.jobs.worker", "--workspace", str(bench.workspace.root)]
    command += ["--run", bench.store.run(run).id] if run else []
    command += ["--once"] if once else []
    process = subprocess.Popen(command, env=os.environ)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        code = process.wait()
    if code:
        raise JobError("The worker ended with an error.", hint="See 'forethought runs list'.")


def versions() -> dict[str, str]:
    """What a run is recorded to have run on."""
    found = {"forethought": __version__, "python": sys.version.split()[0]}
    for package in _RECORDED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _said(bench: Workbench, run_id: str, name: StreamName) -> Iterator[StreamRow]:
    """Everything in one stream of a run, oldest first, read a page at a time."""
    queue, after = RunQueue(bench.store), 0
    full_id = bench.store.run(run_id).id
    while rows := queue.stream(name, full_id, after=after):
        after = rows[-1].seq
        yield from rows
