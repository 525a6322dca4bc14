"""What is known of a trace beyond itself: its problem, its verdicts, its ratings, the datasets it is in.

``TraceFacts`` is what filters judge; the store keeps the same facts in columns. Both are made by the functions here,
so that they cannot differ.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple, Self

from forethought.core.judging import has_reasoning, verified
from forethought.core.records import Json, Problem, Review, Score, Subject, Trace
from forethought.errors import RecordError

SEPARATOR = "\ufdd0"
"""A code point that is no character (Unicode, section 23.7); ``fold`` never leaves one, so no match spans two texts."""
_UNSTORABLE = str.maketrans(dict.fromkeys(["\0", "\ufffe", "\uffff", SEPARATOR], "\ufffd"))
"""PostgreSQL holds no U+0000, and SQLite's LIKE takes the last two code points of the plane for U+FFFD."""


@dataclass(frozen=True)
class TraceFacts:
    """One trace as filters see it."""

    id: str
    problem_id: str
    origin: str
    created_at: datetime
    model: str = ""
    style: str = ""
    tags: frozenset[str] = frozenset()
    """The trace's own and its problem's."""
    topic: tuple[str, ...] = ()
    level: int | None = None
    has_reference: bool = False
    reasoning: str | None = None
    text: str = ""
    """Input, reasoning and answer, as ``searchable`` joins them."""
    failed: bool = False
    repaired: bool = False
    """Another trace repairs this one."""
    is_repair: bool = False
    verified: bool | None = None
    verdicts: Mapping[str, bool | None] = field(default_factory=dict)
    """Folded name of a verifier that is still asked -> whether its latest verdict passed; None: it could not judge."""
    rating: float | None = None
    splits: frozenset[tuple[str, str]] = frozenset()
    """(dataset name, split) of every dataset that holds the trace or its problem."""


class Judged(NamedTuple):
    """What a summary needs of a score. ``verifier`` is folded."""

    verifier: str
    judges: Subject
    passed: bool | None
    order: tuple[datetime, str]

    @classmethod
    def of(cls, score: Score) -> Self:
        return cls(fold(score.verifier), score.judges, score.verdict.passed, (utc(score.created_at), score.id))


class Rated(NamedTuple):
    """What a summary needs of a review. ``reviewer`` is folded."""

    reviewer: str
    rating: int | None
    order: tuple[datetime, str]

    @classmethod
    def of(cls, review: Review) -> Self:
        return cls(fold(review.reviewer), review.rating, (utc(review.created_at), review.id))


def facts_of(
    trace: Trace,
    problem: Problem,
    *,
    scores: Iterable[Score] = (),
    reviews: Iterable[Review] = (),
    repaired: bool = False,
    splits: Iterable[tuple[str, str]] = (),
) -> TraceFacts:
    """The facts of a trace, from the records that speak of it."""
    judged = latest_verdicts(Judged.of(score) for score in scores)
    return TraceFacts(
        id=trace.id,
        problem_id=trace.problem_id,
        origin=trace.origin,
        created_at=utc(trace.created_at),
        model=trace.model,
        style=trace.style,
        tags=frozenset((*trace.tags, *problem.tags)),
        topic=problem.topic,
        level=problem.level,
        has_reference=problem.reference is not None,
        reasoning=trace.reasoning,
        text=searchable(problem.input, trace.reasoning or "", trace.answer),
        failed=trace.failure is not None,
        repaired=repaired,
        is_repair=trace.parent_id is not None,
        verified=verified(
            ((one.judges, one.passed) for one in judged.values()), reasoned=has_reasoning(trace.reasoning)
        ),
        verdicts={name: one.passed for name, one in judged.items()},
        rating=mean_rating(Rated.of(review) for review in reviews),
        splits=frozenset(splits),
    )


def fold(text: str) -> str:
    """How all text is compared: case-folded, composed (NFC), and without code points that databases mistake."""
    if text.isascii():
        folded = text.lower()
    else:
        folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return folded.translate(_UNSTORABLE)


def searchable(problem_input: Json, *texts: str) -> str:
    """The folded texts that free text is looked for in, kept apart."""
    return SEPARATOR.join(fold(text) for text in (input_text(problem_input), *texts))


def input_text(problem_input: Json) -> str:
    """An input as a model reads it and a search finds it: text as it is, anything else as JSON on one line.

    RecordError when it holds a number that JSON does not have.
    """
    if isinstance(problem_input, str):
        return problem_input
    try:
        return json.dumps(problem_input, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise RecordError(f"The input cannot be written as JSON: {error}.") from error


def topic_paths(topic: Iterable[str]) -> list[str]:
    """A topic and its ancestors as folded paths: ("law", "tax") gives "law" and "law/tax"."""
    steps = fold("/".join(topic)).split("/") if tuple(topic) else []
    return ["/".join(steps[: count + 1]) for count in range(len(steps))]


def latest_verdicts(judged: Iterable[Judged]) -> dict[str, Judged]:
    """Folded verifier name -> its newest word. A verifier that is asked no more has none."""
    latest: dict[str, Judged] = {}
    for one in sorted(judged, key=lambda one: one.order):
        latest[one.verifier] = one
    return {name: one for name, one in latest.items() if one.judges != "nothing"}


def mean_rating(rated: Iterable[Rated]) -> float | None:
    """Mean of each rater's newest rating; None when nobody rated."""
    latest: dict[str, int] = {}
    for one in sorted(rated, key=lambda one: one.order):
        if one.rating is not None:
            latest[one.reviewer] = one.rating
    return sum(latest.values()) / len(latest) if latest else None


def utc(moment: datetime) -> datetime:
    """The moment in UTC; one without a zone is taken as UTC."""
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
