"""One claimed run, watched from outside: its process, its lease, its log, and how it ended."""

from __future__ import annotations

import subprocess
import threading
import time
from contextlib import suppress
from typing import IO, Literal

from forethought.errors import StoreError
from forethought.jobs.child import LOST, RECORDED
from forethought.jobs.context import PYTHON, log_file
from forethought.jobs.faults import Reserve, crash_line, one_line, say
from forethought.jobs.process_group import ProcessGroup
from forethought.jobs.recording import insist
from forethought.jobs.redaction import redact
from forethought.settings import Workspace
from forethought.store.run_queue import Claim, LeaseLostError, RunQueue, how_to_resume

HEARTBEAT_SECONDS = 1.0
GRACE_SECONDS = 60.0
"""How long a body may take to reach its next ``reporter.check()`` before it is killed."""
EXIT_SECONDS = 10.0
"""How long a run's process may take to end once its outcome is recorded: threads a body left may hold it."""
LOOK_EVERY_SECONDS = 0.05


class Supervisor:
    """Runs one claim in a child process.

    Args:
        stop: set when the worker itself is asked to stop; the run is then interrupted.
        hurry: set when it was asked twice; the run is then killed.
        grace: seconds between asking the body to stop and killing it.
    """

    def __init__(
        self,
        workspace: Workspace,
        queue: RunQueue,
        claim: Claim,
        *,
        stop: threading.Event,
        hurry: threading.Event,
        grace: float = GRACE_SECONDS,
    ) -> None:
        self._workspace, self._queue, self._claim = workspace, queue, claim
        self._stop, self._hurry, self._grace = stop, hurry, grace
        self._cancelled, self._lost, self._ended = threading.Event(), threading.Event(), threading.Event()
        self._killed_after_grace = False
        self._recorded_at: float | None = None
        self._log = log_file(workspace, claim.run.id)
        self._last_words = ""

    def run(self) -> None:
        """Returns when the child and all its children are gone and the run's record says how it ended."""
        beats = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        beats.start()
        try:
            with ProcessGroup() as group:
                child = group.start(self._command())
                assert child.stdout is not None
                pump = threading.Thread(target=self._copy, args=(child.stdout,), name="log", daemon=True)
                pump.start()
                return_code = self._wait(child, group)
            pump.join(EXIT_SECONDS)
            if not pump.is_alive():  # something that left the group may still hold the pipe
                child.stdout.close()
            self._record(return_code)
        except OSError as error:  # no memory, too many processes
            self._finish("stopped", f"The run's process could not be started: {one_line(error)}.")
        finally:
            self._ended.set()
            beats.join()

    def _wait(self, child: subprocess.Popen[bytes], group: ProcessGroup) -> int:
        asked_at: float | None = None
        while (return_code := child.poll()) is None:
            time.sleep(LOOK_EVERY_SECONDS)
            lingers = self._recorded_at is not None and time.monotonic() - self._recorded_at > EXIT_SECONDS
            if self._lost.is_set() or lingers:
                group.kill()
            elif asked_at is None and (self._stop.is_set() or self._cancelled.is_set()):
                child.terminate()
                asked_at = time.monotonic()
            elif asked_at is not None and (self._hurry.is_set() or time.monotonic() - asked_at > self._grace):
                self._killed_after_grace = True
                group.kill()
        return return_code

    def _record(self, return_code: int) -> None:
        """Says how the run ended if its own process could not."""
        if return_code in (RECORDED, LOST) or self._lost.is_set():
            return
        from_outside, line = crash_line(return_code, self._last_words)
        if self._killed_after_grace:
            line = "The run did not stop when it was asked to and was killed."
        self._finish("stopped" if from_outside else "failed", line)

    def _finish(self, status: Literal["failed", "stopped"], line: str) -> None:
        run_id = self._claim.run.id
        reserve = Reserve(self._workspace.run_folder(run_id))
        error = f"{line} {how_to_resume(run_id)}"
        with suppress(LeaseLostError):
            insist(lambda: self._queue.finish(self._claim.lease, status, error=error), reserve)
        reserve.give_back()

    def _beat(self) -> None:
        said = ""
        while not self._ended.wait(HEARTBEAT_SECONDS):
            try:
                if self._queue.heartbeat(self._claim.lease):
                    self._cancelled.set()
                said = ""
            except LeaseLostError as error:
                if self._ended_here():
                    self._recorded_at = time.monotonic()
                else:
                    say(str(error))
                    self._lost.set()
                return
            except Exception as error:  # a database that is away for a moment is no reason to stop the work
                if one_line(error) != said:
                    said = one_line(error)
                    say(f"The heartbeat failed and is tried again: {said}")

    def _ended_here(self) -> bool:
        """Whether the lease is no good because this run's own process has just given it back."""
        with suppress(StoreError):
            return self._queue.ended_under(self._claim.lease)
        return False

    def _command(self) -> list[str]:
        lease = self._claim.lease
        command = [*PYTHON, "forethought.jobs.child", "--workspace", str(self._workspace.root)]
        command += ["--run", lease.run_id, "--token", str(lease.token), "--owner", lease.owner]
        return command + ["--resuming"] * self._claim.resuming

    def _copy(self, output: IO[bytes]) -> None:
        """Appends what the child prints to the run's log file, without secrets, until its last writer is gone."""
        while line := output.readline(1 << 16):
            clean = redact(line.decode("utf-8", "replace"))
            self._last_words = clean.strip()[:300] or self._last_words
            # On a full disk lines are lost; waiting would block the child on its output. Opened for each line, so
            # that the file may be moved away.
            with suppress(OSError), self._log.open("ab", buffering=0) as log:
                log.write(clean.encode())
