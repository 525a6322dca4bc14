"""Evaluations, their outcomes kept apart so that a listing stays light."""

from __future__ import annotations

from sqlalchemy import insert, select

from forethought.core.records import Evaluation, Outcome
from forethought.store.database import Database
from forethought.store.keys import check_id
from forethought.store.lookup import encode, find, refuse_missing
from forethought.store.tables import evaluation_outcomes, evaluations, tasks


class Evaluations(Database):
    """An evaluation is found by its id or the start of it."""

    def add_evaluation(self, evaluation: Evaluation) -> Evaluation:
        """Stores an evaluation with its outcomes, all or none."""
        rows = [
            {
                "evaluation_id": evaluation.id,
                "position": position,
                "problem_id": outcome.problem_id,
                "record": encode(outcome),
            }
            for position, outcome in enumerate(evaluation.outcomes)
        ]
        with self.write() as connection:
            refuse_missing(connection, tasks, [evaluation.task_id], "task")
            connection.execute(
                insert(evaluations).values(
                    id=check_id(evaluation.id, "evaluation"),
                    task_id=evaluation.task_id,
                    run_id=evaluation.run_id,
                    model_id=evaluation.model_id,
                    created_at=evaluation.created_at,
                    record=encode(evaluation, exclude={"outcomes"}),
                )
            )
            if rows:
                connection.execute(insert(evaluation_outcomes), rows)
        return evaluation

    def evaluation(self, evaluation_id: str) -> Evaluation:
        """One evaluation with its outcomes."""
        with self.read() as connection:
            row = find(connection, evaluations, evaluation_id, "evaluation")
            query = select(evaluation_outcomes.c.record).where(evaluation_outcomes.c.evaluation_id == row.id)
            records = connection.execute(query.order_by(evaluation_outcomes.c.position)).scalars()
            outcomes = tuple(Outcome.model_validate_json(record) for record in records)
        return Evaluation.model_validate_json(row.record).model_copy(update={"outcomes": outcomes})

    def evaluations(
        self, *, task_id: str | None = None, run_id: str | None = None, model_id: str | None = None
    ) -> list[Evaluation]:
        """Evaluations without their outcomes, oldest first, of a task, run and model where given."""
        query = select(evaluations.c.record).order_by(evaluations.c.created_at, evaluations.c.id)
        columns = ((evaluations.c.task_id, task_id), (evaluations.c.run_id, run_id), (evaluations.c.model_id, model_id))
        for column, value in columns:
            if value is not None:
                query = query.where(column == value)
        with self.read() as connection:
            return [Evaluation.model_validate_json(record) for record in connection.execute(query).scalars()]
