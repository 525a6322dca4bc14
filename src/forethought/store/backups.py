"""Copies of an SQLite file, made before its schema changes."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from forethought.core.files import replacing_file
from forethought.errors import StoreError

KEPT = 3
"""So many copies of a file stay, the newest: enough to go back past a step whose fault shows late."""


def back_up(file: Path, revision: str) -> Path:
    """Copies the database to ``<file>.backup-<revision>-<time>``, also while others use it; older copies go.

    The copy is whole or absent, and readable by its owner only. StoreError when the disk refuses; no copy goes then.
    """
    copy = file.with_name(f"{file.name}.backup-{revision}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
    try:
        with replacing_file(copy) as new:
            new.touch(mode=0o600)
            with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(new)) as target:
                source.backup(target)
    except OSError as error:
        raise StoreError(
            f"The database could not be copied before its schema changes: {error.strerror or error}.",
            hint="Nothing was changed. Is the disk full?",
        ) from error
    for old in _copies(file)[:-KEPT]:
        with suppress(OSError):  # a copy too many is no reason to stop
            old.unlink(missing_ok=True)
    return copy


def _copies(file: Path) -> list[Path]:
    """Oldest first. Files that people named themselves are not ours to delete."""
    ours = re.compile(re.escape(file.name) + r"\.backup-\w+-(\d{8}T\d{12})")
    found = {path: match[1] for path in file.parent.iterdir() if (match := ours.fullmatch(path.name))}
    return sorted(found, key=found.__getitem__)
