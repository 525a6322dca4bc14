"""How free text is found: always by comparing, on SQLite narrowed by a trigram index first; see docs/decisions/0010."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, String, column, func, literal, select, table, text

from forethought.core.facts import fold
from forethought.store.tables import trace_texts, traces

TRIGRAM = 3
MOST_TRIGRAMS = 24
"""Of a long text only the first trigrams narrow the search; the rest is compared."""
FEW = 2000
"""Where the index names fewer traces than this they are fetched one by one, else all texts are read."""
LONGEST_PATTERN = 1000
"""SQLite refuses very long LIKE patterns."""
_LAST = "\U0010ffff"
_search = table("trace_search", column("rowid"), column("trace_search", String))
_postings = table("trace_search_terms", column("term", String), column("doc"))


def index_texts(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Enters rows of ``trace_texts`` into the index, padded with separators so that every letter begins a trigram."""
    padded = "INSERT INTO trace_search (rowid, folded) VALUES (:trace_seq, :folded || char(0xFDD0, 0xFDD0))"
    connection.execute(text(padded), rows)


@dataclass
class TextSearch:
    """The free text of one query."""

    connection: Connection
    has_index: bool
    reads_texts: bool = False
    """Whether a condition made so far compares ``trace_texts`` beside ``traces``, so that they have to be joined."""

    def condition(self, value: str) -> ColumnElement[bool]:
        """Traces whose folded text holds the folded value."""
        wanted = fold(value)
        if self.has_index:
            named = _named(wanted)
            if len(self.connection.execute(named.limit(FEW)).all()) < FEW:
                few = select(trace_texts.c.trace_seq).where(trace_texts.c.trace_seq.in_(named), self._holds(wanted))
                return traces.c.seq.in_(few)
        self.reads_texts = True
        return self._holds(wanted)

    def join(self, query: Select[Any]) -> Select[Any]:
        """The query over ``traces``, with their texts beside them where its conditions ask for that."""
        if not self.reads_texts:
            return query
        return query.join_from(traces, trace_texts, trace_texts.c.trace_seq == traces.c.seq)

    def _holds(self, wanted: str) -> ColumnElement[bool]:
        folded = trace_texts.c.folded
        if self.connection.dialect.name != "sqlite":
            return func.strpos(folded, literal(wanted, String)) > 0
        if len(wanted) > LONGEST_PATTERN:
            return func.instr(folded, literal(wanted, String)) > 0
        # Both sides are case-folded already, so it does not matter that LIKE folds ASCII again.
        escaped = wanted.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return folded.like(f"%{escaped}%", escape="\\")


def _named(wanted: str) -> Select[Any]:
    """The numbers of all traces that may hold the text, and of some that do not."""
    if len(wanted) < TRIGRAM:
        last = wanted + _LAST * (TRIGRAM - len(wanted))
        return select(_postings.c.doc).where(_postings.c.term.between(wanted, last))
    return select(_search.c.rowid).where(_search.c.trace_search.op("MATCH")(_trigrams(wanted)))


def _trigrams(wanted: str) -> str:
    """An FTS5 query for texts that hold all of these trigrams, in whatever order."""
    starts = range(min(len(wanted) - TRIGRAM + 1, MOST_TRIGRAMS))
    pieces = dict.fromkeys(wanted[start : start + TRIGRAM].replace('"', '""') for start in starts)
    return " AND ".join(f'"{piece}"' for piece in pieces)
