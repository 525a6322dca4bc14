"""Processes that end together: all of them when the group is left, and all of them when its owner dies."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import Self

from forethought.errors import JobError

_GUARD = ("/bin/sh", "-c", "read -r _; kill -9 0")
"""Waits until its input closes, which the kernel does when the owner dies, and then ends its whole group. A process of
its own, because a thread of the child would wait for the interpreter's lock, and a parent-death signal would spare the
child's own children."""


class ProcessGroup:
    """A context manager; ``start`` adds a process."""

    def __enter__(self) -> Self:
        if os.name != "posix":
            raise JobError("Workers run on Linux and macOS only.", hint="On Windows, use the Linux subsystem (WSL).")
        self._guard = subprocess.Popen(
            _GUARD, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0
        )
        return self

    def start(self, command: list[str], *, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Starts a process in the group; its output, both kinds, is read from ``stdout``."""
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            process_group=self._guard.pid,
        )

    def kill(self) -> None:
        """Ends every process of the group at once."""
        # The guard is not waited for before __exit__, so its number, which is the group's, cannot be another's.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._guard.pid, signal.SIGKILL)

    def __exit__(self, *_: object) -> None:
        self.kill()
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait()
