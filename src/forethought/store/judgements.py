"""Scores, reviews and rankings: what is said of traces, and the summaries of it in the traces' rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from forethought.core.facts import Judged, Rated, latest_verdicts, mean_rating
from forethought.core.judging import verified
from forethought.core.records import Ranking, Review, Score
from forethought.errors import NotFoundError
from forethought.store.database import Database
from forethought.store.keys import check_id, key
from forethought.store.lookup import chunks, encode, refuse_missing
from forethought.store.tables import problems, rankings, reviews, scores, trace_verdicts, traces


class Judgements(Database):
    """What verifiers and people say. All of it is kept; the newest word of each counts."""

    def add_scores(self, new: Sequence[Score]) -> None:
        """Stores verdicts, all or none, and renews the traces' ``verified``."""
        with self.write() as connection:
            enter_scores(connection, new)

    def scores(self, trace_id: str) -> list[Score]:
        """What verifiers said of one trace, oldest first."""
        return self.scores_of([trace_id])[trace_id]

    def scores_of(self, trace_ids: Sequence[str]) -> dict[str, list[Score]]:
        """Trace id -> what verifiers said of it, oldest first."""
        found: dict[str, list[Score]] = {trace_id: [] for trace_id in trace_ids}
        with self.read() as connection:
            for chunk in chunks(trace_ids):
                query = select(scores.c.record).where(scores.c.trace_id.in_(chunk))
                for record in connection.execute(query.order_by(scores.c.created_at, scores.c.id)).scalars():
                    score = Score.model_validate_json(record)
                    found[score.trace_id].append(score)
        return found

    def add_review(self, review: Review) -> Review:
        """Stores what one person said of a trace and renews the trace's ``rating``."""
        with self.write() as connection:
            _lock_traces(connection, [review.trace_id])
            connection.execute(
                insert(reviews).values(
                    id=check_id(review.id, "review"),
                    trace_id=review.trace_id,
                    reviewer_key=key(review.reviewer),
                    rating=review.rating,
                    created_at=review.created_at,
                    record=encode(review),
                )
            )
            said = connection.execute(select(reviews).where(reviews.c.trace_id == review.trace_id))
            rating = mean_rating(Rated(row.reviewer_key, row.rating, (row.created_at, row.id)) for row in said)
            connection.execute(update(traces).where(traces.c.id == review.trace_id).values(rating=rating))
        return review

    def reviews(self, trace_id: str) -> list[Review]:
        """What people said of one trace, oldest first."""
        query = select(reviews.c.record).where(reviews.c.trace_id == trace_id)
        with self.read() as connection:
            records = connection.execute(query.order_by(reviews.c.created_at, reviews.c.id)).scalars()
            return [Review.model_validate_json(record) for record in records]

    def add_ranking(self, ranking: Ranking) -> Ranking:
        """Stores one person's order of several traces of one problem. NotFoundError when one is of another."""
        ranked = [trace_id for tier in ranking.tiers for trace_id in tier]
        with self.write() as connection:
            refuse_missing(connection, problems, [ranking.problem_id], "problem")
            own = select(traces.c.id).where(traces.c.problem_id == ranking.problem_id)
            strangers = sorted(set(ranked) - set(connection.execute(own).scalars()))
            if strangers:
                raise NotFoundError(
                    f"Problem {ranking.problem_id} has no trace {strangers[0][:80]!r} to rank.",
                    hint="Rank traces of one problem.",
                )
            connection.execute(
                insert(rankings).values(
                    id=check_id(ranking.id, "ranking"),
                    problem_id=ranking.problem_id,
                    created_at=ranking.created_at,
                    record=encode(ranking),
                )
            )
        return ranking

    def rankings(self, problem_id: str) -> list[Ranking]:
        """The orders people gave the traces of one problem, oldest first."""
        query = select(rankings.c.record).where(rankings.c.problem_id == problem_id)
        with self.read() as connection:
            records = connection.execute(query.order_by(rankings.c.created_at, rankings.c.id)).scalars()
            return [Ranking.model_validate_json(record) for record in records]


def enter_scores(connection: Connection, new: Sequence[Score]) -> None:
    """Adds verdicts on stored traces in a transaction that has begun, and renews the traces' ``verified``."""
    if not new:
        return
    rows = [
        {
            "id": check_id(score.id, "score"),
            "trace_id": score.trace_id,
            "verifier_key": key(score.verifier),
            "judges": score.judges,
            "passed": score.verdict.passed,
            "created_at": score.created_at,
            "record": encode(score),
        }
        for score in new
    ]
    seqs = _lock_traces(connection, [score.trace_id for score in new])
    connection.execute(insert(scores), rows)
    for chunk in chunks(list(seqs.items())):
        _renew_verdicts(connection, dict(chunk))


def _lock_traces(connection: Connection, ids: Iterable[str]) -> dict[str, int]:
    """Trace id -> row number. The rows are locked, so that two writers cannot summarise past each other."""
    wanted = list(dict.fromkeys(ids))
    refuse_missing(connection, traces, wanted, "trace")
    found: dict[str, int] = {}
    for chunk in chunks(sorted(wanted)):
        query = select(traces.c.id, traces.c.seq).where(traces.c.id.in_(chunk)).order_by(traces.c.id)
        found.update({row.id: row.seq for row in connection.execute(query.with_for_update())})
    return found


def _renew_verdicts(connection: Connection, seqs: dict[str, int]) -> None:
    judged: dict[str, list[Judged]] = defaultdict(list)
    columns = (
        scores.c.trace_id,
        scores.c.verifier_key,
        scores.c.judges,
        scores.c.passed,
        scores.c.created_at,
        scores.c.id,
    )
    for row in connection.execute(select(*columns).where(scores.c.trace_id.in_(list(seqs)))):
        judged[row.trace_id].append(Judged(row.verifier_key, row.judges, row.passed, (row.created_at, row.id)))
    reasoning = select(traces.c.id, traces.c.has_reasoning).where(traces.c.id.in_(list(seqs)))
    reasoned = {row.id: row.has_reasoning for row in connection.execute(reasoning)}
    verdicts: list[dict[str, Any]] = []
    summaries: list[dict[str, Any]] = []
    for trace_id, words in judged.items():
        latest = latest_verdicts(words)
        said = [(one.judges, one.passed) for one in latest.values()]
        summaries.append({"at": seqs[trace_id], "verified": verified(said, reasoned=reasoned[trace_id])})
        verdicts += [
            {"verifier_key": name, "trace_seq": seqs[trace_id], "passed": one.passed} for name, one in latest.items()
        ]
    connection.execute(delete(trace_verdicts).where(trace_verdicts.c.trace_seq.in_(list(seqs.values()))))
    if verdicts:
        connection.execute(insert(trace_verdicts), verdicts)
    connection.execute(
        update(traces).where(traces.c.seq == bindparam("at")).values(verified=bindparam("verified")), summaries
    )
