"""Verified means one thing: what a verifier left open is no longer counted as verified.

No trace becomes verified or refused by the new meaning, so only those that were called verified are looked at.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_OPEN_AGAIN = """
    UPDATE traces SET verified = NULL WHERE verified AND id IN (
        SELECT latest.trace_id
        FROM (
            SELECT trace_id, judges, passed,
                   row_number() OVER (PARTITION BY trace_id, verifier_key ORDER BY created_at DESC, id DESC) AS age
            FROM scores
        ) AS latest
        JOIN traces AS judged ON judged.id = latest.trace_id
        WHERE latest.age = 1 AND latest.passed IS NULL AND (latest.judges = 'answer' OR judged.has_reasoning)
    )
"""


def upgrade() -> None:
    """Opens again what a verifier left open."""
    op.execute(_OPEN_AGAIN)
