"""Tasks and their revisions."""

from __future__ import annotations

from sqlalchemy import Insert, insert, select, update

from forethought.core.records import Task
from forethought.errors import ConflictError, NotFoundError
from forethought.store.database import Database
from forethought.store.keys import check_id
from forethought.store.lookup import encode, find
from forethought.store.tables import task_revisions, tasks


class Tasks(Database):
    """A task is found by its name, its id or the start of its id."""

    def add_task(self, task: Task) -> Task:
        """Stores a new task. ConflictError when its name is taken."""
        check_id(task.id, "task")
        with self.write() as connection:
            taken = connection.execute(select(tasks.c.id).where(tasks.c.name == task.name)).scalar()
            if taken is not None:
                raise ConflictError(
                    f"There is a task called '{task.name}' already.", hint="Choose another name, or edit that task."
                )
            connection.execute(
                insert(tasks).values(id=task.id, name=task.name, revision=task.revision, created_at=task.created_at)
            )
            connection.execute(_revision_row(task))
        return task

    def edit_task(self, edited: Task) -> Task:
        """Stores the next revision and returns it.

        ``edited.revision`` is the revision the edit was made from: ConflictError when there is a newer one by now.
        """
        stored = edited.model_copy(update={"revision": edited.revision + 1})
        with self.write() as connection:
            latest = find(connection, tasks, edited.id, "task")
            moved = connection.execute(
                update(tasks)
                .where(tasks.c.id == edited.id, tasks.c.revision == edited.revision)
                .values(revision=stored.revision, name=stored.name)
            )
            if not moved.rowcount:
                raise ConflictError(
                    f"Task '{latest.name}' is at revision {latest.revision} now; the edit was made from "
                    f"revision {edited.revision}.",
                    hint="Look at what changed and edit again.",
                )
            connection.execute(_revision_row(stored))
        return stored

    def task(self, name_or_id: str, revision: int | None = None) -> Task:
        """One task; its newest revision unless another is asked for."""
        with self.read() as connection:
            row = find(connection, tasks, name_or_id, "task", named=True)
            record = connection.execute(
                select(task_revisions.c.record).where(
                    task_revisions.c.task_id == row.id, task_revisions.c.revision == (revision or row.revision)
                )
            ).scalar()
        if record is None:
            raise NotFoundError(
                f"Task '{row.name}' has no revision {revision}.", hint=f"The newest one is {row.revision}."
            )
        return Task.model_validate_json(record)

    def tasks(self) -> list[Task]:
        """All tasks by name, newest revision each."""
        query = (
            select(task_revisions.c.record)
            .join(tasks, (tasks.c.id == task_revisions.c.task_id) & (tasks.c.revision == task_revisions.c.revision))
            .order_by(tasks.c.name)
        )
        with self.read() as connection:
            return [Task.model_validate_json(record) for record in connection.execute(query).scalars()]

    def task_revisions(self, name_or_id: str) -> list[Task]:
        """All revisions of one task, oldest first."""
        with self.read() as connection:
            row = find(connection, tasks, name_or_id, "task", named=True)
            query = select(task_revisions.c.record).where(task_revisions.c.task_id == row.id)
            records = connection.execute(query.order_by(task_revisions.c.revision)).scalars()
            return [Task.model_validate_json(record) for record in records]


def _revision_row(task: Task) -> Insert:
    return insert(task_revisions).values(task_id=task.id, revision=task.revision, record=encode(task))
