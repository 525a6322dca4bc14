"""The tables: what is indexed beside the records. Every record is kept whole, as JSON text, in a ``record`` column.

Conventions. ``record`` is text, not a JSON type: PostgreSQL's refuses U+0000, which models do write. Columns named
``*_key`` hold values prepared by ``keys.key`` (case-folded, free of NUL, of bounded length), made for equality only.
Times are whole microseconds since 1970 in UTC, except those of leases, which are seconds of a clock that nobody sets.
The trace's summary columns are derived from its scores, reviews and repairs and are the only ones that change.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
    text,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UtcMicros(TypeDecorator[datetime]):
    """A moment as whole microseconds since 1970: exact, and ordered alike on every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        if value is None:
            return None
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return (moment - _EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else _EPOCH + timedelta(microseconds=value)


def _bytewise(length: int) -> String:
    """Text compared by its bytes on PostgreSQL as on SQLite, so that prefixes and orders agree."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


ID = _bytewise(64)
KEY = _bytewise(320)
SEQ = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows itself only where the type is spelled INTEGER."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# --- tasks and problems -----------------------------------------------------------------------------------------------

tasks = Table(
    "tasks",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", ID, nullable=False, unique=True),
    Column("revision", Integer, nullable=False),  # the latest one; raised by compare-and-swap
    Column("created_at", UtcMicros, nullable=False),
)

task_revisions = Table(
    "task_revisions",
    metadata,
    Column("task_id", ID, ForeignKey("tasks.id"), primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("record", Text, nullable=False),
)

problems = Table(
    "problems",
    metadata,
    Column("seq", SEQ, primary_key=True, autoincrement=True),
    Column("id", ID, nullable=False, unique=True),
    Column("task_id", ID, ForeignKey("tasks.id"), nullable=False),
    Column("created_at", UtcMicros, nullable=False),
    Column("record", Text, nullable=False),
    Index(None, "task_id", "seq"),
)

# --- traces and what is said of them ----------------------------------------------------------------------------------

traces = Table(
    "traces",
    metadata,
    Column("seq", SEQ, primary_key=True, autoincrement=True),
    Column("id", ID, nullable=False, unique=True),
    Column("task_id", ID, ForeignKey("tasks.id"), nullable=False),
    Column("problem_id", ID, ForeignKey("problems.id"), nullable=False),
    Column("parent_id", ID, ForeignKey("traces.id", deferrable=True, initially="DEFERRED")),
    Column("created_at", UtcMicros, nullable=False),
    Column("origin", String(16), nullable=False),
    Column("style_key", KEY, nullable=False),
    Column("model_key", KEY, nullable=False),
    Column("level", Integer),
    Column("has_reference", Boolean, nullable=False),
    Column("has_reasoning", Boolean, nullable=False),
    Column("reasoning_length", Integer, nullable=False),  # characters
    Column("failed", Boolean, nullable=False),
    Column("repaired", Boolean, nullable=False),  # another trace names this one as its parent
    Column("verified", Boolean),  # NULL: unknown
    Column("rating", Double),  # mean of the raters' latest, NULL: unrated
    Index(None, "task_id", "seq"),
    Index(None, "problem_id"),
    Index(None, "parent_id"),
    Index(None, "model_key"),
    Index(None, "created_at"),
)

# Apart from ``traces``, so that counting and filtering scan narrow rows.
trace_bodies = Table(
    "trace_bodies",
    metadata,
    Column("trace_seq", SEQ, ForeignKey("traces.seq"), primary_key=True, autoincrement=False),
    Column("record", Text, nullable=False),
)

trace_texts = Table(
    "trace_texts",
    metadata,
    Column("trace_seq", SEQ, ForeignKey("traces.seq"), primary_key=True, autoincrement=False),
    Column(
        "folded", Text().with_variant(Text(collation="C"), "postgresql"), nullable=False
    ),  # input, reasoning and answer, as ``filters.searchable`` joins them
)

trace_tags = Table(
    "trace_tags",
    metadata,
    Column("kind", String(8), primary_key=True),  # "tag" (the trace's and its problem's) or "topic" (every ancestor)
    Column("value_key", KEY, primary_key=True),
    Column("trace_seq", SEQ, ForeignKey("traces.seq"), primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

trace_verdicts = Table(
    "trace_verdicts",
    metadata,
    Column("verifier_key", KEY, primary_key=True),
    Column("trace_seq", SEQ, ForeignKey("traces.seq"), primary_key=True, autoincrement=False),
    Column("passed", Boolean),  # the latest verdict of this verifier; NULL: could not judge
    Index(None, "trace_seq"),
    sqlite_with_rowid=False,
)

scores = Table(
    "scores",
    metadata,
    Column("id", ID, primary_key=True),
    Column("trace_id", ID, ForeignKey("traces.id"), nullable=False),
    Column("verifier_key", KEY, nullable=False),
    Column("judges", String(8), nullable=False),
    Column("passed", Boolean),
    Column("created_at", UtcMicros, nullable=False),
    Column("record", Text, nullable=False),
    Index(None, "trace_id"),
)

reviews = Table(
    "reviews",
    metadata,
    Column("id", ID, primary_key=True),
    Column("trace_id", ID, ForeignKey("traces.id"), nullable=False),
    Column("reviewer_key", KEY, nullable=False),
    Column("rating", Integer),
    Column("created_at", UtcMicros, nullable=False),
    Column("record", Text, nullable=False),
    Index(None, "trace_id"),
)

rankings = Table(
    "rankings",
    metadata,
    Column("id", ID, primary_key=True),
    Column("problem_id", ID, ForeignKey("problems.id"), nullable=False),
    Column("created_at", UtcMicros, nullable=False),
    Column("record", Text, nullable=False),
    Index(None, "problem_id"),
)

# --- datasets ---------------------------------------------------------------------------------------------------------

datasets = Table(
    "datasets",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", ID, nullable=False, unique=True),
    Column("task_id", ID, ForeignKey("tasks.id"), nullable=False),
    Column("created_at", UtcMicros, nullable=False),
    Column("record", Text, nullable=False),
)

dataset_items = Table(
    "dataset_items",
    metadata,
    Column("dataset_id", ID, ForeignKey("datasets.id"), primary_key=True),
    Column("split", ID, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("item_id", ID, nullable=False),  # a trace or a problem, by the dataset's kind; a pair's chosen trace
    Column("other_id", ID),  # a pair's rejected trace
    Index(None, "item_id"),
)

# What of the traces is in which split, for filters: items are traces in one dataset and problems in another.
trace_splits = Table(
    "trace_splits",
    metadata,
    Column("dataset_id", ID, ForeignKey("datasets.id"), primary_key=True),
    Column("split", ID, primary_key=True),
    Column("trace_seq", SEQ, ForeignKey("traces.seq"), primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

# --- runs -------------------------------------------------------------------------------------------------------------

runs = Table(
    "runs",
    metadata,
    Column("id", ID, primary_key=True),
    Column("kind", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("task_id", ID, ForeignKey("tasks.id")),
    Column("uses_torch", Boolean, nullable=False),
    Column("created_at", UtcMicros, nullable=False),
    Column("record", Text, nullable=False),
    Column("lease_owner", String(128)),
    Column("lease_token", Integer, nullable=False, server_default=text("0")),  # fencing: only the newest may write
    Column("lease_until", Double),  # SQLite: the machine's monotonic clock; PostgreSQL: its server's, since 1970
    Column("cancel_requested", Boolean, nullable=False, server_default=text("false")),
    Index(None, "status", "created_at"),
)


def _run_stream(name: str) -> Table:
    """What a run says while it lives, in the order it says it. ``json`` is JSON text."""
    return Table(
        name,
        metadata,
        Column("seq", SEQ, primary_key=True, autoincrement=True),
        Column("run_id", ID, ForeignKey("runs.id"), nullable=False),
        Column("step", Integer),
        Column("created_at", UtcMicros, nullable=False),
        Column("json", Text, nullable=False),
        Index(None, "run_id", "seq"),
    )


run_log = _run_stream("run_log")
run_metrics = _run_stream("run_metrics")
run_samples = _run_stream("run_samples")

# --- models and evaluations -------------------------------------------------------------------------------------------

models = Table(
    "models",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", ID, nullable=False),
    Column("task_id", ID, ForeignKey("tasks.id")),
    Column("created_at", UtcMicros, nullable=False),
    Column("removed_at", UtcMicros),  # a removed model keeps its record but frees its name
    Column("record", Text, nullable=False),
    Index(
        "uq_models_name_kept",
        "name",
        unique=True,
        sqlite_where=text("removed_at IS NULL"),
        postgresql_where=text("removed_at IS NULL"),
    ),
)

alias_changes = Table(
    "alias_changes",
    metadata,
    Column("seq", SEQ, primary_key=True, autoincrement=True),
    Column("name", ID, nullable=False),
    Column("model_id", ID, ForeignKey("models.id"), nullable=False),
    Column("previous_seq", SEQ, ForeignKey("alias_changes.seq")),  # what a rollback of this change brings back
    Column("created_at", UtcMicros, nullable=False),
    Column("removes", Boolean, nullable=False, server_default=false()),  # the alias points at model_id no more
    Index(None, "name", "seq"),
)

evaluations = Table(
    "evaluations",
    metadata,
    Column("id", ID, primary_key=True),
    Column("task_id", ID, ForeignKey("tasks.id"), nullable=False),
    Column("run_id", ID),
    Column("model_id", ID),
    Column("created_at", UtcMicros, nullable=False),
    Column("record", Text, nullable=False),  # without its outcomes: a listing never loads them
    Index(None, "task_id", "created_at"),
    Index(None, "run_id"),
)

evaluation_outcomes = Table(
    "evaluation_outcomes",
    metadata,
    Column("evaluation_id", ID, ForeignKey("evaluations.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("problem_id", ID, nullable=False),
    Column("record", Text, nullable=False),
)
