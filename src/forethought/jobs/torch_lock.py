"""One torch run of a user at a time on a machine: two would share the cores and the memory, and both would lose."""

from __future__ import annotations

import getpass
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from forethought.errors import JobError

LOOK_EVERY_SECONDS = 0.25
WAITING = "waiting: "
"""How the message of a run begins that waits for its turn."""


@contextmanager
def torch_lock(holder: str, waiting: Callable[[str], None], *, folder: Path | None = None) -> Iterator[None]:
    """Holds this user's torch lock. The kernel frees it when the holding process ends, however it ends.

    ``waiting(holder)`` is called again and again while another run has it, with what is known of that one and for how
    long it has had it; what it raises ends the wait.
    """
    place = folder or runtime_folder()
    lock = FileLock(place / "torch.lock")
    note = place / "torch.holder"
    while True:
        try:
            lock.acquire(blocking=False)
            break
        except Timeout:
            waiting(_read(note))
            time.sleep(LOOK_EVERY_SECONDS)
    try:
        note.write_text(holder, "utf-8")
        yield
    finally:
        lock.release()


def runtime_folder() -> Path:
    """This user's folder for locks on this machine, made if absent, refused if it is someone else's.

    In the temporary folder and not in ``XDG_RUNTIME_DIR``: that one is emptied at log-out, under a run that goes on.
    Processes with another ``TMPDIR`` wait for each other only where FORETHOUGHT_RUNTIME_DIR names one folder for them.
    """
    chosen = os.environ.get("FORETHOUGHT_RUNTIME_DIR")
    folder = Path(chosen) if chosen else Path(tempfile.gettempdir()) / f"forethought-{getpass.getuser()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if hasattr(os, "getuid") and (folder.is_symlink() or folder.stat().st_uid != os.getuid()):
        raise JobError(
            f"The folder for locks, {folder}, belongs to somebody else.",
            hint="Name another one in FORETHOUGHT_RUNTIME_DIR.",
        )
    return folder


def _read(note: Path) -> str:
    try:
        holder, minutes = note.read_text("utf-8")[:200], (time.time() - note.stat().st_mtime) // 60
    except OSError:
        return ""
    return f"{holder}, for {minutes:.0f} min" if minutes >= 1 else holder
