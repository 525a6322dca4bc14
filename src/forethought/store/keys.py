"""Values made ready for columns that are compared: folded like the filters fold them, and bounded."""

from __future__ import annotations

import hashlib
import re

from forethought.core.facts import fold
from forethought.errors import RecordError

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_KEPT = 200
"""Characters kept of a long value: with a hash behind them it stays below every index's limit."""


def key(value: str) -> str:
    """What is stored and looked up for a value that is only compared for equality."""
    folded = fold(value)
    if len(folded) <= _KEPT:
        return folded
    return f"{folded[:_KEPT]} {hashlib.sha256(folded.encode()).hexdigest()}"


def is_id(value: str) -> bool:
    """Whether it can be an id at all: letters, digits, dash, underscore, at most 64."""
    return _ID.fullmatch(value) is not None


def check_id(value: str, what: str) -> str:
    """The id itself; RecordError when it could not be part of a path."""
    if not is_id(value):
        raise RecordError(
            f"The {what} has the id {value[:80]!r}.",
            hint="Ids are up to 64 letters, digits, dashes and underscores.",
        )
    return value
