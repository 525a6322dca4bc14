"""Who holds a lease: a process that can be told apart from every later one with the same number."""

from __future__ import annotations

import hashlib
import os
import socket
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil


@dataclass(frozen=True)
class ProcessName:
    """A process on one boot of one machine; ``str()`` of it is stored as the owner of a lease."""

    host: str
    """For people."""
    machine: str
    """Boot and process namespace, hashed: only where it equals ours do ``pid`` and ``started`` mean anything."""
    pid: int
    started: str
    """Start time by a clock that no one sets, so that a re-used pid is another process."""

    def __str__(self) -> str:
        return f"{self.host}/{self.machine}/{self.pid}/{self.started}"


def this_process() -> ProcessName:
    """The name of the calling process."""
    return name_of(os.getpid())


def name_of(pid: int) -> ProcessName:
    """The name of a living process of this machine."""
    return ProcessName(socket.gethostname()[:48].replace("/", "-") or "host", _machine(), pid, _started(pid) or "?")


def read_name(owner: str) -> ProcessName | None:
    """What ``str(ProcessName)`` wrote; None for anything else."""
    parts = owner.split("/")
    if len(parts) != 4 or not parts[2].isdigit():
        return None
    return ProcessName(parts[0], parts[1], int(parts[2]), parts[3])


def is_dead(owner: str) -> bool:
    """Whether the owner is *known* to be gone: it ran on this machine and no longer does.

    False for owners elsewhere: their lease decides.
    """
    name = read_name(owner)
    return name is not None and is_here(owner) and _started(name.pid) != name.started


def is_here(owner: str) -> bool:
    """Whether the owner runs, or ran, on this boot of this machine."""
    name = read_name(owner)
    return name is not None and name.machine == _machine()


@cache
def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id")
    namespace = Path("/proc/self/ns/pid")
    try:
        identity = f"{boot.read_text().strip()} {namespace.readlink()}"
    except OSError:  # not Linux: the start time is a date there, which no reboot repeats
        identity = f"{uuid.getnode():x}"
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def _started(pid: int) -> str | None:
    """When a process began, in a form that never changes while it lives; None when it is gone or a zombie."""
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            return None
        return None if fields[0] in (b"Z", b"X") else fields[19].decode()  # proc(5): ticks since boot
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return None
