"""SQLite finds free text through a trigram index instead of reading every trace.

The index only narrows the search: every trace it names is still compared, so what is found does not depend on it.
It keeps neither texts nor positions (``content=''``, ``detail=none``), which makes it small and quick to fill.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes and fills the index where SQLite has FTS5 with trigrams."""
    connection = op.get_bind()
    if connection.dialect.name != "sqlite" or not _has_fts5():
        return
    op.execute(
        "CREATE VIRTUAL TABLE trace_search USING fts5"
        "(folded, content='', columnsize=0, detail=none, tokenize='trigram case_sensitive 1')"
    )
    op.execute("INSERT INTO trace_search (trace_search, rank) VALUES ('hashsize', 16777216)")
    op.execute("INSERT INTO trace_search (rowid, folded) SELECT trace_seq, folded FROM trace_texts")


def _has_fts5() -> bool:
    connection = op.get_bind()
    options = set(connection.execute(text("PRAGMA compile_options")).scalars())
    version = connection.execute(text("SELECT sqlite_version()")).scalar_one()
    return "ENABLE_FTS5" in options and tuple(map(int, version.split("."))) >= (3, 34, 0)
