"""The runs as a queue: claimed under a lease, written only by whoever holds it, taken back when the holder is gone.

Every claim raises ``lease_token`` (a fencing token: Kleppmann, *How to do distributed locking*, 2016). Each write names
the token it was given and changes nothing unless it is still the newest one of a running run.

Leases are measured by a clock that nobody sets: the database server's on PostgreSQL, the machine's monotonic clock,
which all its processes share, on SQLite. See docs/decisions/0060.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Double, Table, and_, cast, extract, func, literal, or_, select, update

from forethought.core.ids import utc_now
from forethought.core.records import Json, Progress, Run, RunStatus
from forethought.errors import ConflictError, JobError, NotFoundError
from forethought.store.database import Database
from forethought.store.tables import run_log, run_metrics, run_samples, runs

LEASE_SECONDS = 45.0
"""Longer than a heartbeat can be held up by a database that another writer keeps locked (30 s)."""
MAX_LEASE_SECONDS = 60.0
"""A lease that ends later than this was granted before the clock began anew (a restart), and is over."""
ENDED: tuple[RunStatus, ...] = ("done", "failed", "cancelled", "interrupted")
RESUMABLE: tuple[RunStatus, ...] = ("interrupted", "failed", "cancelled")

StreamName = Literal["log", "metrics", "samples"]
_STREAMS: dict[StreamName, Table] = {"log": run_log, "metrics": run_metrics, "samples": run_samples}


class LeaseLostError(ConflictError):
    """The run belongs to somebody else now, or to nobody; what was to be written was not."""


@dataclass(frozen=True)
class Lease:
    """The right to write one run."""

    run_id: str
    token: int
    owner: str


@dataclass(frozen=True)
class Claim:
    """A run taken from the queue. ``resuming``: it was begun before."""

    run: Run
    lease: Lease
    resuming: bool


@dataclass(frozen=True)
class StreamRow:
    """One log line, metrics point or sample. ``seq`` grows within a run."""

    seq: int
    at: datetime
    step: int | None
    value: Json


class RunQueue:
    """The queue of one store.

    Args:
        store: where the runs are.
        lease_seconds: how long a claim lives without a heartbeat; at most ``MAX_LEASE_SECONDS``.
        clock: seconds of the machine's shared monotonic clock; used on SQLite only.
    """

    def __init__(
        self, store: Database, *, lease_seconds: float = LEASE_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._lease_seconds = min(lease_seconds, MAX_LEASE_SECONDS)
        self._clock = clock

    # --- asking for work ----------------------------------------------------------------------------------------------

    def enqueue(self, run: Run) -> Run:
        """Stores a new run, waiting for a worker."""
        queued = run.model_copy(update={"status": "queued"})
        with self._store.write() as connection:
            connection.execute(
                runs.insert().values(
                    id=queued.id,
                    kind=queued.kind,
                    status=queued.status,
                    task_id=queued.task_id,
                    uses_torch=queued.uses_torch,
                    created_at=queued.created_at,
                    record=queued.model_dump_json(),
                )
            )
        return queued

    def get(self, run_id: str) -> Run:
        """The run as it is now."""
        with self._store.read() as connection:
            return _load(connection, run_id)

    def request_cancel(self, run_id: str) -> Run:
        """Cancels a waiting or interrupted run at once; a running one is asked to stop. JobError when it has ended."""
        with self._store.write() as connection:
            asked = connection.execute(
                update(runs)
                .where(runs.c.id == run_id, runs.c.status.in_(("queued", "running", "interrupted")))
                .values(cancel_requested=True)
            )
            run = _load(connection, run_id)
            if not asked.rowcount:
                raise JobError(f"The run {run_id} cannot be cancelled: it is {run.status}.")
            return run if run.status == "running" else _save(connection, run, status="cancelled", finished_at=utc_now())

    def requeue(self, run_id: str, *, parallel: bool = False) -> Run:
        """Puts a run that stopped early back into the queue, from now on ``parallel`` if asked.

        JobError says why when it cannot be.
        """
        with self._store.write() as connection:
            freed = connection.execute(
                update(runs)
                .where(runs.c.id == run_id, runs.c.status.in_(RESUMABLE))
                .values(lease_owner=None, lease_until=None, cancel_requested=False)
            )
            run = _load(connection, run_id)
            if not freed.rowcount:
                raise JobError(f"The run {run_id} cannot be resumed: {_WHY_NOT_RESUMED[run.status]}.")
            parallel = parallel or run.parallel
            return _save(connection, run, status="queued", error="", finished_at=None, parallel=parallel)

    def withdraw(self, run_id: str) -> tuple[Run, str]:
        """Takes a waiting run out of the queue, as interrupted. Returns the run and who holds it: "" if nobody does.

        JobError when it has ended.
        """
        with self._store.write() as connection:
            held = connection.execute(
                update(runs)
                .where(runs.c.id == run_id, runs.c.status.in_(("queued", "running")))
                .values(lease_token=runs.c.lease_token)
            )
            run = _load(connection, run_id)
            if not held.rowcount:
                raise JobError(f"The run {run_id} cannot be stopped: it is {run.status}.")
            if run.status == "running":
                owner = connection.execute(select(runs.c.lease_owner).where(runs.c.id == run_id)).scalar_one()
                return run, owner or ""
            error = f"Stopped before it began. {how_to_resume(run_id)}"
            return _save(connection, run, status="interrupted", error=error, finished_at=utc_now()), ""

    # --- holding a lease ----------------------------------------------------------------------------------------------

    def claim(self, run_id: str, owner: str) -> Claim | None:
        """Takes a waiting run; None when it is not waiting (any more). Of several claimants one wins."""
        with self._store.write() as connection:
            claimed = connection.execute(
                update(runs)
                .where(runs.c.id == run_id, runs.c.status == "queued")
                .values(
                    status="running",
                    lease_owner=owner,
                    lease_token=runs.c.lease_token + 1,
                    lease_until=self._now(connection) + self._lease_seconds,
                )
            )
            if not claimed.rowcount:
                return None
            token = connection.execute(select(runs.c.lease_token).where(runs.c.id == run_id)).scalar_one()
            run = _load(connection, run_id)
            started = _save(connection, run, status="running", started_at=run.started_at or utc_now(), error="")
        return Claim(started, Lease(run_id, token, owner), resuming=run.started_at is not None)

    def claim_next(self, owner: str, *, executor: str = "local") -> Claim | None:
        """Takes the oldest waiting run of an executor; None when none waits."""
        for run in self.waiting():
            if run.executor == executor and (claim := self.claim(run.id, owner)):
                return claim
        return None

    def waiting(self) -> list[Run]:
        """The queue, oldest first."""
        with self._store.read() as connection:
            rows = connection.execute(
                select(runs.c.record).where(runs.c.status == "queued").order_by(runs.c.created_at, runs.c.id)
            )
            return [Run.model_validate_json(row.record) for row in rows]

    def heartbeat(self, lease: Lease) -> bool:
        """Makes the lease last; returns whether somebody asked the run to stop."""
        with self._store.write() as connection:
            self._hold(connection, lease, lease_until=self._now(connection) + self._lease_seconds)
            asked = select(runs.c.cancel_requested).where(runs.c.id == lease.run_id)
            return bool(connection.execute(asked).scalar_one())

    def append(
        self,
        lease: Lease,
        *,
        progress: Progress | None = None,
        log: Iterable[str] = (),
        metrics: Iterable[tuple[int, dict[str, float]]] = (),
        samples: Iterable[tuple[int, dict[str, Json]]] = (),
    ) -> None:
        """Writes what a run says of itself, all or nothing."""
        rows: dict[StreamName, list[tuple[int | None, Any]]] = {
            "log": [(None, line) for line in log],
            "metrics": [(step, {name: _finite(value) for name, value in values.items()}) for step, values in metrics],
            "samples": list(samples),
        }
        with self._store.write() as connection:
            self._hold(connection, lease)
            for name, said in rows.items():
                if said:
                    values = [
                        {"run_id": lease.run_id, "step": step, "created_at": utc_now(), "json": json.dumps(value)}
                        for step, value in said
                    ]
                    connection.execute(_STREAMS[name].insert(), values)
            if progress is not None:
                _save(connection, _load(connection, lease.run_id), progress=progress)

    def finish(
        self,
        lease: Lease,
        status: Literal["done", "failed", "stopped"],
        *,
        error: str = "",
        metrics: dict[str, Json] | None = None,
        artefacts: dict[str, str] | None = None,
    ) -> Run:
        """Ends the run and gives the lease back. ``stopped`` is cancelled if that was asked for, else interrupted."""
        with self._store.write() as connection:
            self._hold(connection, lease, lease_until=None)
            run = _load(connection, lease.run_id)
            outcome = _stopped_status(connection, run.id) if status == "stopped" else status
            return _save(
                connection,
                run,
                status=outcome,
                error=error if outcome != "cancelled" else "",
                finished_at=utc_now(),
                metrics={**run.metrics, **(metrics or {})},
                artefacts={**run.artefacts, **(artefacts or {})},
            )

    def ended_under(self, lease: Lease) -> bool:
        """Whether the run ended because this lease's holder said so, and not because it was taken away."""
        query = select(runs.c.lease_until, runs.c.lease_token, runs.c.status).where(runs.c.id == lease.run_id)
        with self._store.read() as connection:
            row = connection.execute(query).one()
        return bool(row.lease_token == lease.token and row.status != "running" and row.lease_until is None)

    # --- leases that ended --------------------------------------------------------------------------------------------

    def expire(self, is_dead: Callable[[str], bool], *, run_id: str | None = None) -> list[Run]:
        """Marks running runs as interrupted whose lease is over or whose owner ``is_dead``. Returns those.

        ``is_dead(owner)`` is True only if the owner is known to be gone; then its lease is not waited for. The lease
        stays in the row, as one that was never given back: see ``requeue_lost``.
        """
        with self._store.read() as connection:
            now = self._now(connection)
            over = or_(runs.c.lease_until <= now, runs.c.lease_until > now + MAX_LEASE_SECONDS + 1)
            query = select(runs.c.id, runs.c.lease_owner, runs.c.lease_token, runs.c.lease_until, over.label("over"))
            held = connection.execute(
                query.where(runs.c.status == "running", *([runs.c.id == run_id] if run_id else []))
            ).all()
        lost = []
        for row in held:
            if row.over or is_dead(row.lease_owner or ""):
                # Unless a heartbeat came in between.
                unchanged = and_(runs.c.lease_token == row.lease_token, runs.c.lease_until == row.lease_until)
                if run := self._interrupt(row.id, unchanged):
                    lost.append(run)
        return lost

    def requeue_lost(self, *, max_claims: int) -> list[Run]:
        """Puts runs back into the queue that a worker lost, not those that were stopped. Returns those.

        One that was claimed ``max_claims`` times stays interrupted: it may be what ends its workers.
        """
        lost = select(runs.c.id).where(
            runs.c.status == "interrupted", runs.c.lease_until.is_not(None), runs.c.lease_token < max_claims
        )
        with self._store.read() as connection:
            ids = list(connection.execute(lost).scalars())
        requeued = []
        for run_id in ids:
            with suppress(JobError):  # somebody else was faster
                requeued.append(self.requeue(run_id))
        return requeued

    def _interrupt(self, run_id: str, unchanged: ColumnElement[bool]) -> Run | None:
        with self._store.write() as connection:
            freed = connection.execute(
                update(runs)
                .where(runs.c.id == run_id, runs.c.status == "running", unchanged)
                .values(lease_token=runs.c.lease_token)
            )
            if not freed.rowcount:
                return None
            return _save(
                connection,
                _load(connection, run_id),
                status=_stopped_status(connection, run_id),
                finished_at=utc_now(),
                error=f"The worker vanished without a word. {how_to_resume(run_id)}",
            )

    # --- reading along ------------------------------------------------------------------------------------------------

    def attempts(self, run_id: str) -> int:
        """How often the run was claimed so far."""
        with self._store.read() as connection:
            return int(connection.execute(select(runs.c.lease_token).where(runs.c.id == run_id)).scalar_one())

    def stream(self, name: StreamName, run_id: str, *, after: int = 0, limit: int = 1000) -> list[StreamRow]:
        """What the run said after row ``after``, oldest first."""
        table = _STREAMS[name]
        query = select(table).where(table.c.run_id == run_id, table.c.seq > after).order_by(table.c.seq).limit(limit)
        with self._store.read() as connection:
            return [
                StreamRow(row.seq, row.created_at, row.step, json.loads(row.json)) for row in connection.execute(query)
            ]

    # --- inside -------------------------------------------------------------------------------------------------------

    def _hold(self, connection: Connection, lease: Lease, **values: Any) -> None:
        """Locks the run's row for this transaction if the lease is still good."""
        held = connection.execute(
            update(runs)
            .where(runs.c.id == lease.run_id, runs.c.lease_token == lease.token, runs.c.status == "running")
            .values(values or {"lease_token": runs.c.lease_token})
        )
        if not held.rowcount:
            raise LeaseLostError(
                f"The run {lease.run_id} no longer belongs to this worker; nothing was written.",
                hint="Another worker took it over, or it was marked as interrupted.",
            )

    def _now(self, connection: Connection) -> ColumnElement[float]:
        if connection.dialect.name == "sqlite":
            return literal(self._clock(), Double)
        # clock_timestamp() and not now(): the latter stands still during a transaction.
        return cast(extract("epoch", func.clock_timestamp()), Double)


_WHY_NOT_RESUMED: dict[RunStatus, str] = {
    "done": "it is done",
    "running": "it is still running; one that was stopped finishes a checkpoint first, so try again in a few seconds",
    "queued": "it is already waiting for a worker",
}


def how_to_resume(run_id: str) -> str:
    """The sentence every interrupted run ends with."""
    return f"Go on with `forethought runs resume {run_id}`."


def _load(connection: Connection, run_id: str) -> Run:
    record = connection.execute(select(runs.c.record).where(runs.c.id == run_id)).scalar_one_or_none()
    if record is None:
        raise NotFoundError(f"There is no run '{run_id}'.", hint="`forethought runs list` shows them.")
    return Run.model_validate_json(record)


def _save(connection: Connection, run: Run, **changes: Any) -> Run:
    changed = run.model_copy(update=changes)
    connection.execute(
        update(runs).where(runs.c.id == run.id).values(status=changed.status, record=changed.model_dump_json())
    )
    return changed


def _stopped_status(connection: Connection, run_id: str) -> RunStatus:
    asked = connection.execute(select(runs.c.cancel_requested).where(runs.c.id == run_id)).scalar_one()
    return "cancelled" if asked else "interrupted"


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
