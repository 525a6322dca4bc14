"""An alias can be taken out of use: a change of it that removes it, with what it pointed at until then."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Boolean, Column, false

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Marks the changes that remove; there is none yet."""
    op.add_column("alias_changes", Column("removes", Boolean, nullable=False, server_default=false()))
