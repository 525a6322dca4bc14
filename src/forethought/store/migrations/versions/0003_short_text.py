"""The text index also names the traces that hold one or two letters.

Texts are entered with padding behind them, so that every letter begins a trigram, and ``trace_search_terms`` shows the
index by its trigrams, in their order.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import inspect

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Fills the index anew, where there is one."""
    if not inspect(op.get_bind()).has_table("trace_search"):
        return
    op.execute("INSERT INTO trace_search (trace_search) VALUES ('delete-all')")
    op.execute(
        "INSERT INTO trace_search (rowid, folded) SELECT trace_seq, folded || char(0xFDD0, 0xFDD0) FROM trace_texts"
    )
    op.execute("CREATE VIRTUAL TABLE trace_search_terms USING fts5vocab(trace_search, instance)")
