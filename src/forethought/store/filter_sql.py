"""Filters as SQL conditions over ``traces``. One function a field, each the twin of its ``test`` in ``filter_spec``.

No condition is ever NULL, so that ``NOT`` means what it means in Python. Free text is in ``text_search``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from sqlalchemy import Column, ColumnElement, and_, false, not_, or_, select, true
from sqlalchemy.sql.functions import coalesce

from forethought.core.facts import fold
from forethought.core.filter_spec import (
    COMPARE,
    PASSED,
    AllOf,
    AnyOf,
    FilterSpec,
    Not,
    Op,
    SplitOf,
    Term,
    Value,
    VerdictOf,
    day_or_instant,
)
from forethought.store.keys import is_id, key
from forethought.store.tables import datasets, trace_splits, trace_tags, trace_verdicts, traces
from forethought.store.text_search import TextSearch


def condition(spec: FilterSpec, search: TextSearch) -> ColumnElement[bool]:
    """The condition that selects exactly the traces that ``matches(spec, ...)`` accepts."""
    match spec:
        case Term(field="text"):
            return search.condition(str(spec.value))
        case Term():
            return CONDITIONS[spec.field](spec.op, spec.value)
        case Not():
            return not_(condition(spec.part, search))
        case AllOf():
            return and_(true(), *(condition(part, search) for part in spec.parts))
        case AnyOf():
            return or_(false(), *(condition(part, search) for part in spec.parts))


def _has(_op: Op, value: Value) -> ColumnElement[bool]:
    return {
        "reasoning": traces.c.has_reasoning.is_(True),
        "reference": traces.c.has_reference.is_(True),
        "rating": traces.c.rating.is_not(None),
    }[str(value)]


def _equal(found: Column[Any], prepare: Callable[[str], str]) -> Callable[[Op, Value], ColumnElement[bool]]:
    return lambda _op, value: found == prepare(str(value))


def _flag(found: Column[Any]) -> Callable[[Op, Value], ColumnElement[bool]]:
    words = {"yes": True, "no": False, "unknown": None}
    return lambda _op, value: found.is_(words[str(value)])


def _number(found: Column[Any]) -> Callable[[Op, Value], ColumnElement[bool]]:
    return lambda op, value: coalesce(_compared(found, op, value), false())


def _compared(found: ColumnElement[Any], op: Op, value: object) -> ColumnElement[bool]:
    built: ColumnElement[bool] = COMPARE[op](found, value)  # on columns the operators build conditions
    return built


def _problem(_op: Op, value: Value) -> ColumnElement[bool]:
    return traces.c.problem_id == value if is_id(str(value)) else false()


def _tagged(kind: str) -> Callable[[Op, Value], ColumnElement[bool]]:
    def with_value(_op: Op, value: Value) -> ColumnElement[bool]:
        return traces.c.seq.in_(
            select(trace_tags.c.trace_seq).where(trace_tags.c.kind == kind, trace_tags.c.value_key == key(str(value)))
        )

    return with_value


def _verdict(_op: Op, value: Value) -> ColumnElement[bool]:
    assert isinstance(value, VerdictOf)
    query = select(trace_verdicts.c.trace_seq).where(trace_verdicts.c.verifier_key == key(value.verifier))
    if value.outcome is not None:
        query = query.where(trace_verdicts.c.passed.is_(PASSED[value.outcome]))
    return traces.c.seq.in_(query)


def _dataset(_op: Op, value: Value) -> ColumnElement[bool]:
    return traces.c.seq.in_(select(trace_splits.c.trace_seq).where(_of_dataset(str(value))))


def _split(_op: Op, value: Value) -> ColumnElement[bool]:
    assert isinstance(value, SplitOf)
    query = select(trace_splits.c.trace_seq).where(trace_splits.c.split == fold(value.split))
    return traces.c.seq.in_(query if value.dataset is None else query.where(_of_dataset(value.dataset)))


def _of_dataset(name: str) -> ColumnElement[bool]:
    return trace_splits.c.dataset_id.in_(select(datasets.c.id).where(datasets.c.name == fold(name)))


def _created(op: Op, value: Value) -> ColumnElement[bool]:
    assert isinstance(value, date)
    first, last = day_or_instant(value)
    if op == "=":
        return traces.c.created_at.between(first, last)
    return _compared(traces.c.created_at, op, last if op in (">", "<=") else first)


CONDITIONS: Mapping[str, Callable[[Op, Value], ColumnElement[bool]]] = {
    "has": _has,
    "origin": _equal(traces.c.origin, fold),
    "model": _equal(traces.c.model_key, key),
    "style": _equal(traces.c.style_key, key),
    "tag": _tagged("tag"),
    "topic": _tagged("topic"),
    "level": _number(traces.c.level),
    "problem": _problem,
    "rating": _number(traces.c.rating),
    "length": _number(traces.c.reasoning_length),
    "verified": _flag(traces.c.verified),
    "verifier": _verdict,
    "failed": _flag(traces.c.failed),
    "repaired": _flag(traces.c.repaired),
    "repair": lambda _op, value: traces.c.parent_id.is_not(None) if value == "yes" else traces.c.parent_id.is_(None),
    "dataset": _dataset,
    "split": _split,
    "created": _created,
}
