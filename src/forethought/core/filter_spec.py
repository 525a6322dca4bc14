"""The filter tree, the fields it can ask for, and how it judges a trace. Its text form is in ``core.filters``.

Build trees with ``term``, ``all_of``, ``any_of`` and ``negate``: they keep the one normal form in which
``parse(to_text(spec)) == spec``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from typing import Any, Literal, NamedTuple, get_args

from forethought.core.facts import TraceFacts, fold, searchable, topic_paths, utc
from forethought.core.judging import has_reasoning
from forethought.core.records import Origin, Problem
from forethought.errors import UsageError, did_you_mean

Op = Literal["=", ">=", "<=", ">", "<"]
Outcome = Literal["pass", "fail", "unknown"]
Kind = Literal["choice", "text", "whole", "number", "date", "verdict", "split"]

COMPARE: Mapping[Op, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
LARGEST = 10**9
"""Numbers in filters are no larger; the store clamps what it compares them with just above."""
DECIMALS = 6
TAKES: Mapping[Kind, str] = {
    "choice": "one of its words",
    "text": "text",
    "whole": f"a whole number up to {LARGEST}",
    "number": f"a number up to {LARGEST} with at most {DECIMALS} decimals",
    "date": "a day or instant such as 2026-01-31 or 2026-01-31T12:00:00Z",
    "verdict": "a verifier's name, with =pass, =fail or =unknown where wanted",
    "split": "a split's name, as train or dataset/train",
}
PASSED: Mapping[Outcome, bool | None] = {"pass": True, "fail": False, "unknown": None}


class VerdictOf(NamedTuple):
    """A verifier's newest verdict; ``outcome`` None: whichever it is."""

    verifier: str
    outcome: Outcome | None = None


class SplitOf(NamedTuple):
    """A split; ``dataset`` None: of any dataset."""

    split: str
    dataset: str | None = None


Value = str | int | float | date | VerdictOf | SplitOf
"""A ``date`` stands for its whole day in UTC, a ``datetime`` for one instant."""


@dataclass(frozen=True)
class Term:
    """One condition: a field of ``FIELDS``, an operator and a value of the field's kind."""

    field: str
    op: Op
    value: Value


@dataclass(frozen=True)
class Not:
    """The opposite."""

    part: FilterSpec


@dataclass(frozen=True)
class AllOf:
    """Every part holds. Without parts it holds for everything."""

    parts: tuple[FilterSpec, ...] = ()


@dataclass(frozen=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple[FilterSpec, ...]


FilterSpec = Term | Not | AllOf | AnyOf
EVERYTHING = AllOf()


@dataclass(frozen=True)
class Field:
    """What a field is called for, what it takes, and how it judges."""

    kind: Kind
    says: str
    """For help texts."""
    test: Callable[[TraceFacts, Op, Value], bool]
    choices: tuple[str, ...] = ()
    of_problem: bool = False
    """It speaks of the problem alone, so problems can be filtered by it."""

    @property
    def ordered(self) -> bool:
        """Whether ``>=`` and its like make sense."""
        return self.kind in ("whole", "number", "date")


def term(field: str, op: Op, value: Value) -> Term:
    """A condition. UsageError for an unknown field, an operator it does not take, or a value of another kind."""
    if field not in FIELDS:
        raise UsageError(f"There is no filter field '{field}'.", hint=did_you_mean(field, FIELDS))
    kind = FIELDS[field].kind
    if op != "=" and not FIELDS[field].ordered:
        raise UsageError(f"'{field}' takes ':', found '{op}'.")
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        raise UsageError(f"The value of '{field}' is not valid Unicode.")
    match kind, value:
        case "choice", str() if value in FIELDS[field].choices:
            return Term(field, op, value)
        case "choice", _:
            raise UsageError(
                f"'{field}' cannot be {str(value)[:80]!r}.", hint=did_you_mean(str(value), FIELDS[field].choices)
            )
        case ("text", str()) | ("verdict", VerdictOf()):
            return Term(field, op, value)
        case "split", SplitOf() if "/" not in value.split + (value.dataset or "") and value.dataset != "":
            return Term(field, op, value)
        case "whole", int() if abs(value) <= LARGEST:
            return Term(field, op, int(value))
        case "number", int() | float() if abs(value) <= LARGEST:
            return Term(field, op, round(float(value), DECIMALS))
        case "date", date():
            return Term(field, op, utc(value) if isinstance(value, datetime) else value)
    raise UsageError(f"'{field}' takes {TAKES[kind]}, found {str(value)[:80]!r}.")


def all_of(*parts: FilterSpec) -> FilterSpec:
    """Every part holds. A ``split`` beside the one ``dataset`` it can mean is bound to that dataset."""
    flat: list[FilterSpec] = []
    for part in parts:
        flat += part.parts if isinstance(part, AllOf) else [part]
    bound = _bind_splits(flat)
    return bound[0] if len(bound) == 1 else AllOf(tuple(bound))


def any_of(*parts: FilterSpec) -> FilterSpec:
    """At least one part holds."""
    if not parts:
        raise UsageError("A filter cannot choose among no conditions.")
    flat: list[FilterSpec] = []
    for part in parts:
        flat += part.parts if isinstance(part, AnyOf) else [part]
    if EVERYTHING in flat:
        return EVERYTHING
    return flat[0] if len(flat) == 1 else AnyOf(tuple(flat))


def negate(part: FilterSpec) -> FilterSpec:
    """The opposite of a filter that is not everything."""
    if part == EVERYTHING:
        raise UsageError("A filter cannot exclude everything.")
    return part.part if isinstance(part, Not) else Not(part)


def matches(spec: FilterSpec, facts: TraceFacts) -> bool:
    """Whether the filter accepts the trace."""
    match spec:
        case Term():
            return FIELDS[spec.field].test(facts, spec.op, spec.value)
        case Not():
            return not matches(spec.part, facts)
        case AllOf():
            return all(matches(part, facts) for part in spec.parts)
        case AnyOf():
            return any(matches(part, facts) for part in spec.parts)


def problem_predicate(spec: FilterSpec) -> Callable[[Problem], bool]:
    """The filter for problems. UsageError when it asks for what only a trace has."""
    for name in sorted(fields_of(spec)):
        if not FIELDS[name].of_problem:
            usable = ", ".join(name for name, field in FIELDS.items() if field.of_problem)
            raise UsageError(f"Problems cannot be filtered by '{name}'.", hint=f"They know: {usable}.")
    return lambda problem: matches(spec, _problem_facts(problem))


def fields_of(spec: FilterSpec) -> set[str]:
    """The names of all fields a filter asks for."""
    return {one.field for one in terms_of(spec)}


def terms_of(spec: FilterSpec) -> Iterator[Term]:
    """Every condition of a filter, in its order."""
    match spec:
        case Term():
            yield spec
        case Not():
            yield from terms_of(spec.part)
        case AllOf() | AnyOf():
            for part in spec.parts:
                yield from terms_of(part)


def day_or_instant(value: date) -> tuple[datetime, datetime]:
    """First and last microsecond that a date value stands for, in UTC."""
    if isinstance(value, datetime):
        return utc(value), utc(value)
    return datetime.combine(value, time.min, UTC), datetime.combine(value, time.max, UTC)


def _bind_splits(parts: list[FilterSpec]) -> list[FilterSpec]:
    datasets = [part for part in parts if isinstance(part, Term) and part.field == "dataset"]
    if len(datasets) != 1:
        return parts
    dataset = str(datasets[0].value)

    def bound(part: FilterSpec) -> FilterSpec:
        if isinstance(part, Not):
            return Not(bound(part.part))
        if isinstance(part, Term) and isinstance(part.value, SplitOf) and part.value.dataset is None:
            return replace(part, value=part.value._replace(dataset=dataset))
        return part

    return [bound(part) for part in parts]


def _problem_facts(problem: Problem) -> TraceFacts:
    return TraceFacts(
        id="",
        problem_id=problem.id,
        origin="",
        created_at=utc(problem.created_at),
        tags=frozenset(problem.tags),
        topic=problem.topic,
        level=problem.level,
        has_reference=problem.reference is not None,
        text=searchable(problem.input),
    )


# --- the fields -------------------------------------------------------------------------------------------------------


def _has(facts: TraceFacts, _op: Op, value: Value) -> bool:
    return {
        "reasoning": has_reasoning(facts.reasoning),
        "reference": facts.has_reference,
        "rating": facts.rating is not None,
    }[str(value)]


def _flag(read: Callable[[TraceFacts], bool | None]) -> Callable[[TraceFacts, Op, Value], bool]:
    words = {True: "yes", False: "no", None: "unknown"}
    return lambda facts, _op, value: words[read(facts)] == value


def _same(read: Callable[[TraceFacts], str]) -> Callable[[TraceFacts, Op, Value], bool]:
    return lambda facts, _op, value: fold(read(facts)) == fold(str(value))


def _number(read: Callable[[TraceFacts], float | None]) -> Callable[[TraceFacts, Op, Value], bool]:
    def test(facts: TraceFacts, op: Op, value: Value) -> bool:
        found = read(facts)
        return found is not None and bool(COMPARE[op](found, value))

    return test


def _problem(facts: TraceFacts, _op: Op, value: Value) -> bool:
    return facts.problem_id == value


def _tag(facts: TraceFacts, _op: Op, value: Value) -> bool:
    return fold(str(value)) in {fold(tag) for tag in facts.tags}


def _topic(facts: TraceFacts, _op: Op, value: Value) -> bool:
    return fold(str(value)) in topic_paths(facts.topic)


def _verdict(facts: TraceFacts, _op: Op, value: Value) -> bool:
    assert isinstance(value, VerdictOf)
    name = fold(value.verifier)
    if name not in facts.verdicts:
        return False
    return value.outcome is None or facts.verdicts[name] is PASSED[value.outcome]


def _dataset(facts: TraceFacts, _op: Op, value: Value) -> bool:
    return any(fold(dataset) == fold(str(value)) for dataset, _ in facts.splits)


def _split(facts: TraceFacts, _op: Op, value: Value) -> bool:
    assert isinstance(value, SplitOf)
    return any(
        fold(split) == fold(value.split) and (value.dataset is None or fold(dataset) == fold(value.dataset))
        for dataset, split in facts.splits
    )


def _created(facts: TraceFacts, op: Op, value: Value) -> bool:
    assert isinstance(value, date)
    first, last = day_or_instant(value)
    made = utc(facts.created_at)
    if op == "=":
        return first <= made <= last
    return bool(COMPARE[op](made, last if op in (">", "<=") else first))


def _text(facts: TraceFacts, _op: Op, value: Value) -> bool:
    return fold(str(value)) in facts.text


_YES_NO = ("yes", "no")
FIELDS: dict[str, Field] = {
    "text": Field("text", "in the input, the reasoning or the answer", _text, of_problem=True),
    "has": Field("choice", "what is there", _has, ("reasoning", "reference", "rating")),
    "origin": Field("choice", "who made it", _same(lambda facts: facts.origin), get_args(Origin)),
    "model": Field("text", "the model that wrote it", _same(lambda facts: facts.model)),
    "style": Field("text", "the style it is written in", _same(lambda facts: facts.style)),
    "tag": Field("text", "a tag of the trace or its problem", _tag, of_problem=True),
    "topic": Field("text", "the problem's topic or one above it, as law/tax", _topic, of_problem=True),
    "level": Field("whole", "the problem's difficulty", _number(lambda facts: facts.level), of_problem=True),
    "problem": Field("text", "the problem's id", _problem, of_problem=True),
    "rating": Field("number", "mean of the raters' newest ratings, 1 to 5", _number(lambda facts: facts.rating)),
    "length": Field("whole", "characters of reasoning", _number(lambda facts: len(facts.reasoning or ""))),
    "verified": Field(
        "choice",
        "yes: every answer verifier passed, and every step verifier where there is reasoning; no: one refused",
        _flag(lambda facts: facts.verified),
        (*_YES_NO, "unknown"),
    ),
    "verifier": Field("verdict", "a verifier by name, with =pass, =fail or =unknown where wanted", _verdict),
    "failed": Field("choice", "the attempt is unusable", _flag(lambda facts: facts.failed), _YES_NO),
    "repaired": Field("choice", "another trace repairs it", _flag(lambda facts: facts.repaired), _YES_NO),
    "repair": Field("choice", "it repairs another trace", _flag(lambda facts: facts.is_repair), _YES_NO),
    "dataset": Field("text", "a dataset that holds it", _dataset),
    "split": Field("split", "a split, as train or dataset/train", _split),
    "created": Field("date", "the day or instant it was made, in UTC", _created, of_problem=True),
}
