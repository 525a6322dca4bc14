"""Problems."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, insert, select

from forethought.core.records import Problem
from forethought.store.database import Database
from forethought.store.keys import check_id
from forethought.store.lookup import encode, find, records_by_id, refuse_missing
from forethought.store.tables import problems, tasks, traces


class Problems(Database):
    """A problem is found by its id or the start of it."""

    def add_problems(self, new: Sequence[Problem]) -> None:
        """Stores problems of existing tasks, all or none."""
        rows = [
            {
                "id": check_id(problem.id, "problem"),
                "task_id": problem.task_id,
                "created_at": problem.created_at,
                "record": encode(problem),
            }
            for problem in new
        ]
        if not rows:
            return
        with self.write() as connection:
            refuse_missing(connection, tasks, (problem.task_id for problem in new), "task")
            connection.execute(insert(problems), rows)

    def problem(self, problem_id: str) -> Problem:
        """One problem."""
        with self.read() as connection:
            return Problem.model_validate_json(find(connection, problems, problem_id, "problem").record)

    def problems_by_id(self, ids: Sequence[str]) -> dict[str, Problem]:
        """Id -> problem, in the order of ``ids``. NotFoundError when one is missing."""
        with self.read() as connection:
            return records_by_id(connection, problems, Problem, ids)

    def problems(self, task_id: str, *, limit: int | None = None, after: str | None = None) -> list[Problem]:
        """A task's problems in the order they were added, from behind the problem ``after``."""
        query = select(problems.c.record).where(problems.c.task_id == task_id).order_by(problems.c.seq).limit(limit)
        with self.read() as connection:
            if after is not None:
                query = query.where(problems.c.seq > find(connection, problems, after, "problem").seq)
            return [Problem.model_validate_json(record) for record in connection.execute(query).scalars()]

    def problems_without_traces(self, task_id: str) -> set[str]:
        """Ids of a task's problems that nobody has attempted."""
        attempted = select(traces.c.id).where(traces.c.problem_id == problems.c.id).exists()
        query = select(problems.c.id).where(problems.c.task_id == task_id, ~attempted)
        with self.read() as connection:
            return set(connection.execute(query).scalars())

    def count_problems(self, task_id: str) -> int:
        """How many problems a task has."""
        query = select(func.count()).select_from(problems).where(problems.c.task_id == task_id)
        with self.read() as connection:
            return connection.execute(query).scalar_one()
