"""Reading runs. Runs are queued, leased and written by ``run_queue``, under their fencing token."""

from __future__ import annotations

from sqlalchemy import insert, select

from forethought.core.records import Run, RunStatus
from forethought.store.database import Database
from forethought.store.keys import check_id
from forethought.store.lookup import encode, find
from forethought.store.tables import runs


class Runs(Database):
    """A run is found by its id or the start of it."""

    def add_run(self, run: Run) -> Run:
        """Stores a run as it is; ``RunQueue.enqueue`` is for runs that a worker shall take."""
        with self.write() as connection:
            connection.execute(
                insert(runs).values(
                    id=check_id(run.id, "run"),
                    kind=run.kind,
                    status=run.status,
                    task_id=run.task_id,
                    uses_torch=run.uses_torch,
                    created_at=run.created_at,
                    record=encode(run),
                )
            )
        return run

    def run(self, run_id: str) -> Run:
        """One run as it is now."""
        with self.read() as connection:
            return Run.model_validate_json(find(connection, runs, run_id, "run").record)

    def runs(
        self,
        *,
        kind: str | None = None,
        status: RunStatus | None = None,
        task_id: str | None = None,
        limit: int | None = None,
    ) -> list[Run]:
        """Runs, newest first, that are of a kind, status and task where given."""
        query = select(runs.c.record).order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(limit)
        for column, value in ((runs.c.kind, kind), (runs.c.status, status), (runs.c.task_id, task_id)):
            if value is not None:
                query = query.where(column == value)
        with self.read() as connection:
            return [Run.model_validate_json(record) for record in connection.execute(query).scalars()]
