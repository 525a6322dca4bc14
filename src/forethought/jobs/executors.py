"""Where a worker for a run is started. Another place is one class with these methods and one row below."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Protocol

from forethought.errors import JobError, NotFoundError, did_you_mean
from forethought.jobs.context import PYTHON, log_file
from forethought.jobs.processes import is_dead, is_here, name_of, read_name
from forethought.settings import Workspace


class Executor(Protocol):
    """Starts a worker for one queued run somewhere and knows it again by a handle, from any process.

    The handle is also the name under which the worker holds its lease.
    """

    def submit(self, workspace: Workspace, run_id: str) -> str:
        """Starts the worker and returns its handle."""
        ...

    def alive(self, handle: str) -> bool: ...

    def stop(self, handle: str) -> None:
        """Asks the worker to end and to leave its run interrupted. Nothing happens when it is gone."""
        ...

    def kill(self, handle: str) -> None:
        """Ends the worker and everything it started, at once. Nothing happens when it is gone."""
        ...


class LocalExecutor:
    """A detached process on this machine; it outlives the one that started it."""

    def __init__(self) -> None:
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def submit(self, workspace: Workspace, run_id: str) -> str:
        # Only the folder and the id are arguments: everyone on the machine can read them. Secrets travel in the
        # environment, which only the user can.
        command = [*PYTHON, "forethought.jobs.worker", "--workspace", str(workspace.root), "--run", run_id]
        with log_file(workspace, run_id).open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        handle = str(name_of(process.pid))
        self._started[handle] = process
        return handle

    def alive(self, handle: str) -> bool:
        if process := self._started.get(handle):
            process.poll()
        return not is_dead(handle)

    def stop(self, handle: str) -> None:
        self._signal(handle, signal.SIGTERM)

    def kill(self, handle: str) -> None:
        self._signal(handle, signal.SIGKILL)
        if process := self._started.pop(handle, None):
            process.wait()

    def _signal(self, handle: str, number: signal.Signals) -> None:
        name = read_name(handle)
        if name is None or not is_here(handle):
            raise JobError(f"The worker '{handle}' is not on this machine.", hint="Stop it where it runs.")
        if self.alive(handle):
            os.kill(name.pid, number)


EXECUTORS: dict[str, Executor] = {"local": LocalExecutor()}


def executor_named(name: str) -> Executor:
    """The executor a run asks for. NotFoundError suggests the nearest name."""
    if name not in EXECUTORS:
        raise NotFoundError(f"There is no executor called '{name}'.", hint=did_you_mean(name, EXECUTORS))
    return EXECUTORS[name]
