"""A function in a process of its own that can be killed: for libraries that may hang, crash or refuse threads.

The process starts on the first call and is reused. A call that takes too long, or a process that dies, is a
VerifierError for that call only; the next call starts a new process. The child also ends itself: when its parent is
gone (its input closes) and, where the system has alarms, when one call overruns.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from functools import cache
from typing import Any

from forethought.errors import VerifierError

_START_SECONDS = 60.0
_GRACE_SECONDS = 2.0
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TMPDIR", "TEMP", "SYSTEMROOT", "HOME", "LD_LIBRARY_PATH")


class KillableFunction:
    """Calls ``module:function(**arguments)`` elsewhere. Arguments and result are JSON values. Safe across threads.

    ``timeout_s`` bounds one call in seconds; ``memory_mb`` bounds the child's address space where the system can.
    ``warm_up`` holds arguments (JSON) of a call made while starting, so that slow imports do not count as a slow call.
    """

    def __init__(self, function: str, *, timeout_s: float = 10.0, memory_mb: int = 4096, warm_up: str = "") -> None:
        self.function = function
        self.warm_up = warm_up
        self.timeout_s = timeout_s
        self.memory_mb = memory_mb
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._replies: queue.Queue[str | None] = queue.Queue()
        self._owner = os.getpid()

    def __call__(self, **arguments: Any) -> Any:
        """The function's result. VerifierError when it raised, took too long or its process died."""
        request = json.dumps(arguments)
        with self._lock:
            process = self._running()
            try:
                assert process.stdin is not None
                process.stdin.write(request + "\n")
                process.stdin.flush()
                reply = self._next_reply(self.timeout_s)
            except (OSError, VerifierError) as error:
                self._stop()
                if isinstance(error, VerifierError):
                    raise
                raise VerifierError(f"The process of '{self.function}' died.") from error
            except BaseException:
                self._stop()  # an interrupted call leaves a reply behind that would answer the next one
                raise
        if "error" in reply:
            raise VerifierError(f"'{self.function}' failed: {reply['error']}")
        return reply["result"]

    def close(self) -> None:
        """Ends the process, if one runs."""
        with self._lock:
            self._stop()

    @property
    def pid(self) -> int | None:
        """Process id while one runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def _running(self) -> subprocess.Popen[str]:
        if self._owner != os.getpid():  # after a fork the pipes belong to the parent
            self._process, self._owner = None, os.getpid()
        if self._process is None or self._process.poll() is not None:
            self._stop()
            self._start()
        assert self._process is not None
        return self._process

    def _start(self) -> None:
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        kept["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, self.function, str(self.timeout_s), str(self.memory_mb), self.warm_up],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env=kept,
        )
        self._replies = queue.Queue()
        threading.Thread(target=_pump, args=(self._process.stdout, self._replies), daemon=True).start()
        try:
            self._next_reply(_START_SECONDS)
        except VerifierError:
            self._stop()
            raise

    def _next_reply(self, seconds: float) -> dict[str, Any]:
        try:
            line = self._replies.get(timeout=seconds)
        except queue.Empty:
            raise VerifierError(f"'{self.function}' took longer than {seconds:g} seconds.") from None
        if line is None:
            raise VerifierError(f"The process of '{self.function}' died.")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        process.wait()
        if process.stdin:
            try:
                process.stdin.close()
            except OSError:
                return  # what was still buffered has nobody to go to


@cache
def killable(function: str, timeout_s: float = 10.0, warm_up: str = "") -> KillableFunction:
    """One shared process for a function and time limit; it ends with the program."""
    shared = KillableFunction(function, timeout_s=timeout_s, warm_up=warm_up)
    atexit.register(shared.close)
    return shared


def _pump(stream: Any, replies: queue.Queue[str | None]) -> None:
    with stream:
        for line in stream:
            replies.put(line)
    replies.put(None)


def _serve(function: str, timeout_s: float, memory_mb: int, warm_up: str) -> None:
    """The child: one JSON request a line in, one JSON reply a line out."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not mix with the replies
    _limit_memory(memory_mb)
    module, _, name = function.partition(":")
    call = getattr(importlib.import_module(module), name)
    if warm_up:
        call(**json.loads(warm_up))
    _reply(replies, {"result": "ready"})
    for line in sys.stdin:
        _alarm(timeout_s + _GRACE_SECONDS)
        try:
            answer = {"result": call(**json.loads(line))}
        except (Exception, RecursionError) as error:
            answer = {"error": f"{type(error).__name__}: {str(error)[:200]}"}
        _alarm(0.0)
        _reply(replies, answer)


def _reply(stream: Any, reply: dict[str, Any]) -> None:
    stream.write(json.dumps(reply) + "\n")
    stream.flush()


def _alarm(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _limit_memory(megabytes: int) -> None:
    try:
        import resource
    except ImportError:  # no such limits on this system
        return
    resource.setrlimit(resource.RLIMIT_AS, (megabytes * 2**20, resource.getrlimit(resource.RLIMIT_AS)[1]))


if __name__ == "__main__":
    _serve(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
