"""Writing down how a run ended, when the disk or the database makes that hard."""

from __future__ import annotations

import time
from collections.abc import Callable

from forethought.errors import ConflictError, StoreError
from forethought.jobs.faults import Reserve, is_disk_full

OUTAGE_SECONDS = 120.0
"""A database that stays away for so long ends the run; its lease lapses and says so."""


def is_outage(error: BaseException) -> bool:
    """The database refused, for a reason that may pass."""
    return isinstance(error, StoreError) and not isinstance(error, ConflictError)


def insist(action: Callable[[], object], reserve: Reserve) -> None:
    """Does it, again and again while the database is away; a full disk gives up its reserve first.

    Raises LeaseLostError at once, and the last error after ``OUTAGE_SECONDS``.
    """
    give_up_at = time.monotonic() + OUTAGE_SECONDS
    pause = 0.1
    while True:
        try:
            action()
            return
        except Exception as error:
            if not is_outage(error) or time.monotonic() > give_up_at:
                raise
            if is_disk_full(error):
                reserve.give_back()
        time.sleep(pause)
        pause = min(2 * pause, 5.0)
