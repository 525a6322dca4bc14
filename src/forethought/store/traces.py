"""Traces: stored in bulk, found by filter, read page by page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, insert, or_, select, text, update

from forethought.core.facts import searchable, topic_paths
from forethought.core.filter_spec import EVERYTHING, LARGEST, FilterSpec
from forethought.core.filters import parse
from forethought.core.judging import has_reasoning
from forethought.core.records import Problem, Score, Trace
from forethought.errors import NotFoundError, RecordError
from forethought.store.database import Database
from forethought.store.filter_sql import condition
from forethought.store.judgements import enter_scores
from forethought.store.keys import check_id, key
from forethought.store.lookup import chunks, encode, find, lock_membership, records_by_id, refuse_missing
from forethought.store.tables import (
    dataset_items,
    problems,
    trace_bodies,
    trace_splits,
    trace_tags,
    trace_texts,
    traces,
)
from forethought.store.text_search import TextSearch, index_texts

TraceOrder = Literal["oldest", "newest", "best", "longest"]


class Traces(Database):
    """A trace is found by its id or the start of it. Filters may be given as text."""

    def add_traces(self, new: Sequence[Trace], scores: Sequence[Score] = ()) -> None:
        """Stores attempts at existing problems and what verifiers said of them, all or none.

        A repair's parent is stored, or comes along.
        """
        if not new:
            return
        for trace in new:
            check_id(trace.id, "trace")
        bodies = [encode(trace) for trace in new]
        with self.write() as connection:
            lock_membership(connection, shared=True)
            problem_of = _problems_of(connection, new)
            coming = {trace.id for trace in new}
            parents = list(dict.fromkeys(trace.parent_id for trace in new if trace.parent_id))
            refuse_missing(connection, traces, [one for one in parents if one not in coming], "trace")
            self._insert(connection, new, bodies, problem_of)
            for chunk in chunks(parents):
                connection.execute(update(traces).where(traces.c.id.in_(chunk)).values(repaired=True))
            enter_scores(connection, scores)

    def trace(self, trace_id: str) -> Trace:
        """One trace."""
        with self.read() as connection:
            row = find(connection, traces, trace_id, "trace")
            body = select(trace_bodies.c.record).where(trace_bodies.c.trace_seq == row.seq)
            return Trace.model_validate_json(connection.execute(body).scalar_one())

    def traces_by_id(self, ids: Sequence[str]) -> dict[str, Trace]:
        """Id -> trace, in the order of ``ids``. NotFoundError when one is missing."""
        found: dict[str, Trace] = {}
        with self.read() as connection:
            for chunk in chunks(ids):
                query = select(trace_bodies.c.record).join(traces, traces.c.seq == trace_bodies.c.trace_seq)
                for record in connection.execute(query.where(traces.c.id.in_(chunk))).scalars():
                    trace = Trace.model_validate_json(record)
                    found[trace.id] = trace
        absent = [one for one in ids if one not in found]
        if absent:
            raise NotFoundError(f"There is no trace {absent[0][:80]!r} ({len(absent)} missing).")
        return {one: found[one] for one in ids}

    def traces(
        self,
        where: FilterSpec | str = EVERYTHING,
        *,
        task_id: str | None = None,
        limit: int | None = None,
        after: str | None = None,
        order: TraceOrder = "oldest",
    ) -> list[Trace]:
        """One page of the traces that match: at most ``limit``, from behind the trace ``after``.

        Unrated traces come last in the order ``best``.
        """
        with self.read() as connection:
            query = self._matching(connection, select(traces.c.seq), where, task_id)
            if after is not None:
                query = query.where(_behind(find(connection, traces, after, "trace"), order))
            seqs = connection.execute(query.order_by(*_ordering(order)).limit(limit)).scalars().all()
            records = _records(connection, seqs)
        return [records[seq] for seq in seqs]

    def trace_ids(self, where: FilterSpec | str = EVERYTHING, *, task_id: str | None = None) -> list[str]:
        """The ids of all traces that match, oldest first."""
        with self.read() as connection:
            query = self._matching(connection, select(traces.c.id), where, task_id).order_by(traces.c.seq)
            return list(connection.execute(query).scalars())

    def count(self, where: FilterSpec | str = EVERYTHING, *, task_id: str | None = None) -> int:
        """How many traces match."""
        with self.read() as connection:
            query = self._matching(connection, select(func.count()).select_from(traces), where, task_id)
            total: int = connection.execute(query).scalar_one()
        return total

    def _matching(
        self, connection: Connection, query: Select[Any], where: FilterSpec | str, task_id: str | None
    ) -> Select[Any]:
        spec = parse(where) if isinstance(where, str) else where
        if task_id is not None:
            query = query.where(traces.c.task_id == task_id)
        search = TextSearch(connection, self._has_text_index)
        matching = condition(spec, search)
        return search.join(query).where(matching)

    def _insert(
        self, connection: Connection, new: Sequence[Trace], bodies: Sequence[str], problem_of: Mapping[str, Problem]
    ) -> None:
        numbered = list(zip(_next_seqs(connection, len(new)), new, bodies, strict=True))
        texts: list[dict[str, Any]] = []
        tags: list[dict[str, Any]] = []
        for seq, trace, _ in numbered:
            problem = problem_of[trace.problem_id]
            folded = searchable(problem.input, trace.reasoning or "", trace.answer)
            texts.append({"trace_seq": seq, "folded": folded})
            tags += [{"kind": kind, "value_key": value, "trace_seq": seq} for kind, value in _labels(trace, problem)]
        connection.execute(
            insert(traces), [_summary_row(seq, trace, problem_of[trace.problem_id]) for seq, trace, _ in numbered]
        )
        connection.execute(insert(trace_bodies), [{"trace_seq": seq, "record": body} for seq, _, body in numbered])
        connection.execute(insert(trace_texts), texts)
        if tags:
            connection.execute(insert(trace_tags), tags)
        _enter_splits(connection, [(trace.problem_id, seq) for seq, trace, _ in numbered])
        if self._has_text_index:
            index_texts(connection, texts)


def _problems_of(connection: Connection, new: Sequence[Trace]) -> dict[str, Problem]:
    """The problems the traces are attempts at. RecordError when one is of another task."""
    found = records_by_id(connection, problems, Problem, list(dict.fromkeys(trace.problem_id for trace in new)))
    for trace in new:
        if found[trace.problem_id].task_id != trace.task_id:
            raise RecordError(f"The trace {trace.id} is of another task than its problem {trace.problem_id}.")
    return found


def _next_seqs(connection: Connection, count: int) -> Sequence[int]:
    """Row numbers for new traces, growing. On SQLite the write lock keeps others from taking the same."""
    if connection.dialect.name == "sqlite":
        last = connection.execute(select(func.coalesce(func.max(traces.c.seq), 0))).scalar_one()
        return range(last + 1, last + 1 + count)
    drawn = text("SELECT nextval(pg_get_serial_sequence('traces', 'seq')) FROM generate_series(1, :count)")
    return sorted(connection.execute(drawn, {"count": count}).scalars())


def _summary_row(seq: int, trace: Trace, problem: Problem) -> dict[str, Any]:
    level = problem.level
    return {
        "seq": seq,
        "id": trace.id,
        "task_id": trace.task_id,
        "problem_id": trace.problem_id,
        "parent_id": trace.parent_id,
        "created_at": trace.created_at,
        "origin": trace.origin,
        "style_key": key(trace.style),
        "model_key": key(trace.model),
        "level": None if level is None else max(-LARGEST - 1, min(LARGEST + 1, level)),
        "has_reference": problem.reference is not None,
        "has_reasoning": has_reasoning(trace.reasoning),
        "reasoning_length": min(LARGEST + 1, len(trace.reasoning or "")),
        "failed": trace.failure is not None,
        "repaired": False,
        "verified": None,
        "rating": None,
    }


def _labels(trace: Trace, problem: Problem) -> Iterator[tuple[str, str]]:
    yield from (("tag", value) for value in dict.fromkeys(key(tag) for tag in (*trace.tags, *problem.tags)))
    yield from (("topic", value) for value in dict.fromkeys(key(path) for path in topic_paths(problem.topic)))


def _enter_splits(connection: Connection, problem_seqs: Sequence[tuple[str, int]]) -> None:
    """New attempts at problems that datasets hold already belong to those datasets' splits, too."""
    splits_of: dict[str, list[dict[str, str]]] = defaultdict(list)
    for chunk in chunks(list({problem_id for problem_id, _ in problem_seqs})):
        items = dataset_items.c
        query = select(items.item_id, items.dataset_id, items.split).where(items.item_id.in_(chunk))
        for row in connection.execute(query):
            splits_of[row.item_id].append({"dataset_id": row.dataset_id, "split": row.split})
    rows = [entry | {"trace_seq": seq} for problem_id, seq in problem_seqs for entry in splits_of[problem_id]]
    if rows:
        connection.execute(insert(trace_splits), rows)


def _records(connection: Connection, seqs: Sequence[int]) -> dict[int, Trace]:
    found: dict[int, Trace] = {}
    for chunk in chunks(seqs):
        query = select(trace_bodies.c.trace_seq, trace_bodies.c.record).where(trace_bodies.c.trace_seq.in_(chunk))
        rows = connection.execute(query)
        found.update({row.trace_seq: Trace.model_validate_json(row.record) for row in rows})
    return found


def _sort_key(order: TraceOrder) -> ColumnElement[Any] | None:
    """What comes before the row number, largest first."""
    return {"best": func.coalesce(traces.c.rating, 0.0), "longest": traces.c.reasoning_length}.get(order)


def _ordering(order: TraceOrder) -> tuple[ColumnElement[Any], ...]:
    first = _sort_key(order)
    if first is not None:
        return first.desc(), traces.c.seq.desc()
    return (traces.c.seq.asc() if order == "oldest" else traces.c.seq.desc(),)


def _behind(cursor: Row[Any], order: TraceOrder) -> ColumnElement[bool]:
    first = _sort_key(order)
    if first is None:
        further: ColumnElement[bool] = traces.c.seq > cursor.seq if order == "oldest" else traces.c.seq < cursor.seq
        return further
    value = (cursor.rating or 0.0) if order == "best" else cursor.reasoning_length
    return or_(first < value, and_(first == value, traces.c.seq < cursor.seq))
