"""Identifiers that sort by the time they were made, and the clock records carry."""

from __future__ import annotations

import os
import threading
import time
import uuid
from datetime import UTC, datetime

SHORT = 8
"""Characters of an id that people are shown: its end, for ids made together begin alike."""

_lock = threading.Lock()
_last_ms = 0
_counter = 0


def new_id() -> str:
    """A UUID version 7 (RFC 9562, section 5.7) in canonical form.

    Ids made by one process are strictly increasing: within a millisecond the 12 ``rand_a`` bits count, and when
    they run out the millisecond field is advanced.
    """
    global _last_ms, _counter
    with _lock:
        now = time.time_ns() // 1_000_000
        if now > _last_ms:
            _last_ms, _counter = now, int.from_bytes(os.urandom(1), "big")
        else:
            _counter += 1
            if _counter > 0xFFF:
                _last_ms, _counter = _last_ms + 1, 0
        milliseconds, counter = _last_ms, _counter
    tail = int.from_bytes(os.urandom(8), "big") & ((1 << 62) - 1)
    value = (milliseconds << 80) | (0x7 << 76) | (counter << 64) | (0b10 << 62) | tail
    return str(uuid.UUID(int=value))


def short_id(id_: str) -> str:
    """The end of an id, which is taken wherever an id is asked for."""
    return id_[-SHORT:]


def utc_now() -> datetime:
    """The present moment, in UTC, to the microsecond."""
    return datetime.now(UTC)
