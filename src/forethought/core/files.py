"""Files and folders that appear whole or not at all, whatever interrupts: a full disk, a kill, a power cut.

The new one is written beside its target, flushed to disk and renamed. A folder cannot be renamed over another one, so
the old one is renamed aside first and deleted last; what a kill leaves of that is finished by ``recover``, or by the
next write of the same target.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NEW = ".writing-"
_OLD = ".replaced-"


@contextmanager
def replacing_file(target: Path) -> Iterator[Path]:
    """A path beside ``target`` to write to, which becomes ``target`` when the block ends.

    When the block raises, or the disk refuses (OSError), nothing of it stays and the old file is untouched. What is
    there and no file, such as a device or a folder, is not replaced (OSError).
    """
    if target.exists() and not target.is_file():
        raise OSError(errno.EEXIST, "There is something that is not a file", str(target))
    new = target.with_name(f"{_NEW}{target.name}-{uuid.uuid4().hex[:8]}")
    try:
        yield new
        _sync_file(new)
        new.replace(target)
        _sync_entries(target.parent)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def write_text(target: Path, text: str) -> None:
    """Writes UTF-8 with ``\\n`` for line ends, whole or not at all."""
    with replacing_file(target) as new:
        new.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside ``target`` to fill, which takes the place of ``target`` when the block ends.

    When the block raises, or the disk refuses (OSError), nothing of it stays and the old folder is there as it was.
    One process at a time may write a target.
    """
    _settle(target)
    new, old = _beside(target)
    try:
        new.mkdir(parents=True)
        yield new
        _sync_tree(new)
        if target.exists():
            target.replace(old)
        new.replace(target)
        _sync_entries(target.parent)
    except BaseException:
        with suppress(OSError):
            if old.exists() and not target.exists():
                old.replace(target)
            _settle(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def recover(parent: Path) -> None:
    """Finishes what a kill left half-done among the folders in ``parent``; for the one process that writes there."""
    for prefix in (_OLD, _NEW):
        for left in parent.glob(f"{prefix}*"):
            if left.is_dir():
                _settle(left.with_name(left.name.removeprefix(prefix)))


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _settle(target: Path) -> None:
    """Leaves ``target`` alone there. A new folder beside an old one is whole: it was on the disk before the swap."""
    new, old = _beside(target)
    if old.exists() and not target.exists():
        (new if new.exists() else old).replace(target)
        _sync_entries(target.parent)
    for left in (old, new):
        shutil.rmtree(left, ignore_errors=True)


def _beside(target: Path) -> tuple[Path, Path]:
    """Where the new folder is made, and where the old one waits to be deleted."""
    return target.with_name(f"{_NEW}{target.name}"), target.with_name(f"{_OLD}{target.name}")


def _sync_tree(folder: Path) -> None:
    for inner, _, names in os.walk(folder):
        for name in names:
            _sync_file(Path(inner, name))
        _sync_entries(Path(inner))


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file:  # Windows flushes only what is open for writing
        os.fsync(file.fileno())


def _sync_entries(folder: Path) -> None:
    """A rename lasts when its folder is on the disk. Windows has no handle for a folder."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
