"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _bytewise(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


ID = _bytewise(64)
KEY = _bytewise(320)
FOLDED = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Makes every table."""
    op.create_table(
        "tasks",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", ID, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sa.UniqueConstraint("name", name=op.f("uq_tasks_name")),
    )
    op.create_table(
        "datasets",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", ID, nullable=False),
        sa.Column("task_id", ID, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_datasets_task_id_tasks")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datasets")),
        sa.UniqueConstraint("name", name=op.f("uq_datasets_name")),
    )
    op.create_table(
        "evaluations",
        sa.Column("id", ID, nullable=False),
        sa.Column("task_id", ID, nullable=False),
        sa.Column("run_id", ID, nullable=True),
        sa.Column("model_id", ID, nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_evaluations_task_id_tasks")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluations")),
    )
    op.create_index(op.f("ix_evaluations_run_id"), "evaluations", ["run_id"], unique=False)
    op.create_index(op.f("ix_evaluations_task_id_created_at"), "evaluations", ["task_id", "created_at"], unique=False)
    op.create_table(
        "models",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", ID, nullable=False),
        sa.Column("task_id", ID, nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("removed_at", sa.BigInteger(), nullable=True),
        sa.Column("record", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_models_task_id_tasks")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
    )
    op.create_index(
        "uq_models_name_kept",
        "models",
        ["name"],
        unique=True,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_table(
        "problems",
        sa.Column("seq", SEQ, autoincrement=True, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("task_id", ID, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_problems_task_id_tasks")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_problems")),
        sa.UniqueConstraint("id", name=op.f("uq_problems_id")),
    )
    op.create_index(op.f("ix_problems_task_id_seq"), "problems", ["task_id", "seq"], unique=False)
    op.create_table(
        "runs",
        sa.Column("id", ID, nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("task_id", ID, nullable=True),
        sa.Column("uses_torch", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("lease_owner", sa.String(length=128), nullable=True),
        sa.Column("lease_token", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_runs_task_id_tasks")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_index(op.f("ix_runs_status_created_at"), "runs", ["status", "created_at"], unique=False)
    op.create_table(
        "task_revisions",
        sa.Column("task_id", ID, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_task_revisions_task_id_tasks")),
        sa.PrimaryKeyConstraint("task_id", "revision", name=op.f("pk_task_revisions")),
    )
    op.create_table(
        "alias_changes",
        sa.Column("seq", SEQ, autoincrement=True, nullable=False),
        sa.Column("name", ID, nullable=False),
        sa.Column("model_id", ID, nullable=False),
        sa.Column("previous_seq", SEQ, nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_alias_changes_model_id_models")),
        sa.ForeignKeyConstraint(
            ["previous_seq"], ["alias_changes.seq"], name=op.f("fk_alias_changes_previous_seq_alias_changes")
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_alias_changes")),
    )
    op.create_index(op.f("ix_alias_changes_name_seq"), "alias_changes", ["name", "seq"], unique=False)
    op.create_table(
        "dataset_items",
        sa.Column("dataset_id", ID, nullable=False),
        sa.Column("split", ID, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("item_id", ID, nullable=False),
        sa.Column("other_id", ID, nullable=True),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_dataset_items_dataset_id_datasets")),
        sa.PrimaryKeyConstraint("dataset_id", "split", "position", name=op.f("pk_dataset_items")),
    )
    op.create_index(op.f("ix_dataset_items_item_id"), "dataset_items", ["item_id"], unique=False)
    op.create_table(
        "evaluation_outcomes",
        sa.Column("evaluation_id", ID, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("problem_id", ID, nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluations.id"], name=op.f("fk_evaluation_outcomes_evaluation_id_evaluations")
        ),
        sa.PrimaryKeyConstraint("evaluation_id", "position", name=op.f("pk_evaluation_outcomes")),
    )
    op.create_table(
        "rankings",
        sa.Column("id", ID, nullable=False),
        sa.Column("problem_id", ID, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["problem_id"], ["problems.id"], name=op.f("fk_rankings_problem_id_problems")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rankings")),
    )
    op.create_index(op.f("ix_rankings_problem_id"), "rankings", ["problem_id"], unique=False)
    op.create_table(
        "run_log",
        sa.Column("seq", SEQ, autoincrement=True, nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("step", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("json", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_log_run_id_runs")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_run_log")),
    )
    op.create_index(op.f("ix_run_log_run_id_seq"), "run_log", ["run_id", "seq"], unique=False)
    op.create_table(
        "run_metrics",
        sa.Column("seq", SEQ, autoincrement=True, nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("step", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("json", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_metrics_run_id_runs")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_run_metrics")),
    )
    op.create_index(op.f("ix_run_metrics_run_id_seq"), "run_metrics", ["run_id", "seq"], unique=False)
    op.create_table(
        "run_samples",
        sa.Column("seq", SEQ, autoincrement=True, nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("step", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("json", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_samples_run_id_runs")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_run_samples")),
    )
    op.create_index(op.f("ix_run_samples_run_id_seq"), "run_samples", ["run_id", "seq"], unique=False)
    op.create_table(
        "traces",
        sa.Column("seq", SEQ, autoincrement=True, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("task_id", ID, nullable=False),
        sa.Column("problem_id", ID, nullable=False),
        sa.Column("parent_id", ID, nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("style_key", KEY, nullable=False),
        sa.Column("model_key", KEY, nullable=False),
        sa.Column("level", sa.Integer(), nullable=True),
        sa.Column("has_reference", sa.Boolean(), nullable=False),
        sa.Column("has_reasoning", sa.Boolean(), nullable=False),
        sa.Column("reasoning_length", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Boolean(), nullable=False),
        sa.Column("repaired", sa.Boolean(), nullable=False),
        sa.Column("verified", sa.Boolean(), nullable=True),
        sa.Column("rating", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["traces.id"], name=op.f("fk_traces_parent_id_traces"), initially="DEFERRED", deferrable=True
        ),
        sa.ForeignKeyConstraint(["problem_id"], ["problems.id"], name=op.f("fk_traces_problem_id_problems")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_traces_task_id_tasks")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_traces")),
        sa.UniqueConstraint("id", name=op.f("uq_traces_id")),
    )
    op.create_index(op.f("ix_traces_created_at"), "traces", ["created_at"], unique=False)
    op.create_index(op.f("ix_traces_model_key"), "traces", ["model_key"], unique=False)
    op.create_index(op.f("ix_traces_parent_id"), "traces", ["parent_id"], unique=False)
    op.create_index(op.f("ix_traces_problem_id"), "traces", ["problem_id"], unique=False)
    op.create_index(op.f("ix_traces_task_id_seq"), "traces", ["task_id", "seq"], unique=False)
    op.create_table(
        "reviews",
        sa.Column("id", ID, nullable=False),
        sa.Column("trace_id", ID, nullable=False),
        sa.Column("reviewer_key", KEY, nullable=False),
        sa.Column("rating", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["trace_id"], ["traces.id"], name=op.f("fk_reviews_trace_id_traces")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reviews")),
    )
    op.create_index(op.f("ix_reviews_trace_id"), "reviews", ["trace_id"], unique=False)
    op.create_table(
        "scores",
        sa.Column("id", ID, nullable=False),
        sa.Column("trace_id", ID, nullable=False),
        sa.Column("verifier_key", KEY, nullable=False),
        sa.Column("judges", sa.String(length=8), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["trace_id"], ["traces.id"], name=op.f("fk_scores_trace_id_traces")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scores")),
    )
    op.create_index(op.f("ix_scores_trace_id"), "scores", ["trace_id"], unique=False)
    op.create_table(
        "trace_bodies",
        sa.Column("trace_seq", SEQ, autoincrement=False, nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["trace_seq"], ["traces.seq"], name=op.f("fk_trace_bodies_trace_seq_traces")),
        sa.PrimaryKeyConstraint("trace_seq", name=op.f("pk_trace_bodies")),
    )
    op.create_table(
        "trace_splits",
        sa.Column("dataset_id", ID, nullable=False),
        sa.Column("split", ID, nullable=False),
        sa.Column("trace_seq", SEQ, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_trace_splits_dataset_id_datasets")),
        sa.ForeignKeyConstraint(["trace_seq"], ["traces.seq"], name=op.f("fk_trace_splits_trace_seq_traces")),
        sa.PrimaryKeyConstraint("dataset_id", "split", "trace_seq", name=op.f("pk_trace_splits")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "trace_tags",
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("value_key", KEY, nullable=False),
        sa.Column("trace_seq", SEQ, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["trace_seq"], ["traces.seq"], name=op.f("fk_trace_tags_trace_seq_traces")),
        sa.PrimaryKeyConstraint("kind", "value_key", "trace_seq", name=op.f("pk_trace_tags")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "trace_texts",
        sa.Column("trace_seq", SEQ, autoincrement=False, nullable=False),
        sa.Column("folded", FOLDED, nullable=False),
        sa.ForeignKeyConstraint(["trace_seq"], ["traces.seq"], name=op.f("fk_trace_texts_trace_seq_traces")),
        sa.PrimaryKeyConstraint("trace_seq", name=op.f("pk_trace_texts")),
    )
    op.create_table(
        "trace_verdicts",
        sa.Column("verifier_key", KEY, nullable=False),
        sa.Column("trace_seq", SEQ, autoincrement=False, nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=True),
        sa.ForeignKeyConstraint(["trace_seq"], ["traces.seq"], name=op.f("fk_trace_verdicts_trace_seq_traces")),
        sa.PrimaryKeyConstraint("verifier_key", "trace_seq", name=op.f("pk_trace_verdicts")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_trace_verdicts_trace_seq"), "trace_verdicts", ["trace_seq"], unique=False)
