"""The durable Reporter: what the body says is in the store within half a second, at no cost to the body."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field

from forethought.core.records import Json, Progress
from forethought.errors import JobCancelled, JobError
from forethought.jobs.eta import Rate
from forethought.jobs.faults import is_disk_full, one_line
from forethought.jobs.recording import OUTAGE_SECONDS, is_outage
from forethought.jobs.redaction import redact
from forethought.store.run_queue import Lease, RunQueue

FLUSH_EVERY_SECONDS = 0.4
MAX_LINE = 4000


@dataclass
class _Said:
    progress: Progress | None = None
    log: list[str] = field(default_factory=list)
    metrics: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    samples: list[tuple[int, dict[str, Json]]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.progress or self.log or self.metrics or self.samples)

    def before(self, later: _Said) -> _Said:
        return _Said(
            later.progress or self.progress,
            self.log + later.log,
            self.metrics + later.metrics,
            self.samples + later.samples,
        )


class DurableReporter:
    """Writes under a lease from a thread of its own.

    Every method raises what makes going on pointless: LeaseLostError, a full disk, a database that stays away.
    ``check`` also raises JobCancelled once ``stop`` is set.
    """

    def __init__(self, queue: RunQueue, lease: Lease, stop: threading.Event) -> None:
        self._queue, self._lease, self._stop = queue, lease, stop
        self._said = _Said()
        self._guard = threading.Lock()
        self._rate, self._phase = Rate(), ("", 0.0)
        self._failure: Exception | None = None
        self._failing_since: float | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write_until_closed, name="reporter", daemon=True)
        self._thread.start()

    # --- the Reporter seam --------------------------------------------------------------------------------------------

    def progress(self, done: float, total: float, *, unit: str = "steps", message: str = "") -> None:
        self._raise_failure()
        with self._guard:
            if self._phase != (unit, total):
                self._rate.restart()
                self._phase = (unit, total)
            self._rate.add(time.monotonic(), done)
            eta = self._rate.seconds_left(total - done) if total else None
            self._said.progress = Progress(
                done=done, total=total, unit=unit, message=redact(message)[:MAX_LINE], eta_seconds=eta
            )

    def log(self, line: str) -> None:
        self._raise_failure()
        lines = [part[:MAX_LINE] for part in redact(line).splitlines()]
        with self._guard:
            self._said.log += lines

    def metrics(self, step: int, values: dict[str, float]) -> None:
        self._raise_failure()
        point = {name: float(value) for name, value in values.items()}
        with self._guard:
            self._said.metrics.append((step, point))

    def sample(self, step: int, text: dict[str, Json]) -> None:
        self._raise_failure()
        copy = json.loads(json.dumps(text))  # raises here, where the mistake is, and not while writing
        with self._guard:
            self._said.samples.append((step, copy))

    def check(self) -> None:
        self._raise_failure()
        if self._stop.is_set():
            raise JobCancelled("The run was asked to stop.")

    # --- writing ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Writes what is left, or raises why it cannot; may be called again then."""
        self._closing.set()
        self._thread.join()
        self._write()

    def _write_until_closed(self) -> None:
        while not self._closing.wait(FLUSH_EVERY_SECONDS) and self._failure is None:
            try:
                self._write()
                self._failing_since = None
            except Exception as error:  # nobody to raise to in this thread: tried again, or kept for the body
                self._failure = self._worth_stopping_for(error)

    def _write(self) -> None:
        with self._guard:
            said, self._said = self._said, _Said()
        if not said:
            return
        try:
            self._queue.append(
                self._lease, progress=said.progress, log=said.log, metrics=said.metrics, samples=said.samples
            )
        except Exception:
            with self._guard:
                self._said = said.before(self._said)
            raise

    def _worth_stopping_for(self, error: Exception) -> Exception | None:
        if is_disk_full(error) or not is_outage(error):
            return error
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        if now - self._failing_since <= OUTAGE_SECONDS:
            return None
        failure = JobError(f"The database did not answer for {OUTAGE_SECONDS:.0f} s: {one_line(error)}")
        failure.__cause__ = error
        return failure

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
