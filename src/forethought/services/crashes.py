"""What is kept of an error that nobody foresaw."""

from __future__ import annotations

import os
import traceback
from datetime import UTC, datetime
from pathlib import Path

from forethought.errors import ForethoughtError
from forethought.jobs.redaction import redact
from forethought.settings import Settings, Workspace

LOG_FILE = "logs/crashes.txt"


def keep(error: Exception, workspace: Path | None = None) -> tuple[str, Path | None]:
    """The error in one line, and the file in the workspace its traceback was added to; None where none could be.

    Secrets of this process are kept out of both.
    """
    said = " ".join(redact(f"{type(error).__name__}: {error}").split())[:300].rstrip(".") + "."
    text = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}\n{redact(''.join(traceback.format_exception(error)))}\n"
    try:
        file = Workspace.open(Settings.read(workspace)).inside(LOG_FILE)
        with open(file, "a", encoding="utf-8", opener=_private) as log:
            log.write(text)
    except (ForethoughtError, OSError):
        return said, None
    return said, file


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)
