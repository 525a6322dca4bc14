"""What went wrong, in one line: for the run's record."""

from __future__ import annotations

import errno
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from forethought.errors import ForethoughtError
from forethought.jobs.redaction import redact

_FULL_WORDS = ("database or disk is full", "No space left on device", "Disk quota exceeded")
_KILLED_FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
RESERVE_BYTES = 1 << 20


def one_line(error: BaseException) -> str:
    """A deliberate error says itself; any other one is named by its type."""
    said = str(error) if isinstance(error, ForethoughtError) else f"{type(error).__name__}: {error}"
    return redact(" ".join(said.split()))[:1000].rstrip(": ")


def say(line: str) -> None:
    """Prints a line. That nobody can read it, or that the disk of the log is full, is no reason to stop working."""
    with suppress(OSError, ValueError):
        print(redact(line), flush=True)


def is_disk_full(error: BaseException) -> bool:
    """Whether a full disk or quota is at the bottom of it."""
    return any(
        (isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT))
        or any(words in str(cause) for words in _FULL_WORDS)
        for cause in _causes(error)
    )


def disk_full_line(folder: Path) -> str:
    """The plain message for a full disk."""
    free = shutil.disk_usage(folder).free / 1e6
    return f"The disk of {folder} is full ({free:.0f} MB free); the run was paused. Free some space first."


def crash_line(return_code: int, last_words: str = "") -> tuple[bool, str]:
    """What an unrecorded exit means: (it was killed from outside, the line for the record)."""
    if return_code >= 0:
        return False, f"The run's process ended with exit code {return_code}; its last words: {last_words or 'none'}."
    try:
        name = signal.Signals(-return_code).name
    except ValueError:
        name = f"signal {-return_code}"
    if -return_code in _KILLED_FROM_OUTSIDE:
        cause = " Often this means that the memory ran out." if name == "SIGKILL" else ""
        return True, f"The run's process was killed by {name}.{cause}"
    return False, f"The run's process crashed with {name}."


class Reserve:
    """A little disk space kept aside, so that "the disk is full" can still be written down."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / ".reserve"

    def take(self) -> None:
        self._file.write_bytes(bytes(RESERVE_BYTES))

    def give_back(self) -> None:
        self._file.unlink(missing_ok=True)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
