"""Progress on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from forethought.cli.output import console, printable

if TYPE_CHECKING:
    from rich.progress import Progress

    from forethought.core.records import Json
    from forethought.core.seams import Reporter

FIRST_LINE_SECONDS = 15.0
SLOWEST_LINE_SECONDS = 120.0
"""Without a terminal lines come ever more slowly, down to one in so many seconds."""


@contextmanager
def bar(title: str, *, logs: bool = True) -> Iterator[Reporter]:
    """A Reporter that draws. What is drawn goes to standard error, so ``--json`` output stays clean.

    ``logs`` False leaves log lines out; they are kept with the run all the same.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.text import Text

    class Times(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(times(task.elapsed or 0.0, task.time_remaining))

    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        Times(),
        console=console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with progress:
        yield BarReporter(title, progress, logs)


def times(elapsed: float, left: float | None) -> str:
    """Seconds spent, and left where that is known, as ``3:49, 0:30 left``."""
    return f"{_clock(elapsed)}, {_clock(left)} left" if left else _clock(elapsed)


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


class BarReporter:
    """Draws progress; prints log lines above the bar."""

    def __init__(self, title: str, progress: Progress, logs: bool) -> None:
        self._title = title
        self._logs = logs
        self._progress = progress
        self._task = progress.add_task(title, total=None)
        self._last_line, self._line_every = time.monotonic(), FIRST_LINE_SECONDS
        self._waiting = False

    def progress(self, done: float, total: float, *, unit: str = "steps", message: str = "") -> None:
        from forethought.services.runs import waits

        was_waiting, self._waiting = self._waiting, waits(message)
        if self._waiting:
            self._progress.reset(self._task)  # the time of the work is counted from its turn on
            self._last_line = time.monotonic()
            if not was_waiting:
                self._print(self._titled(message))
        description = self._titled("waiting" if self._waiting else message or unit)
        self._progress.update(self._task, completed=done, total=total or None, description=printable(description)[:60])
        if self._progress.disable and time.monotonic() - self._last_line > self._line_every:
            self._last_line = time.monotonic()
            self._line_every = min(2 * self._line_every, SLOWEST_LINE_SECONDS)
            self._print(f"{description} {done:.0f}/{total:.0f}" if total else description)

    def log(self, line: str) -> None:
        if self._logs:
            self._print(line)

    def _titled(self, said: str) -> str:
        return ": ".join(part for part in (self._title, said) if part)

    def _print(self, line: str) -> None:
        self._progress.console.print(printable(line), soft_wrap=True)

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """Curves are for pages and reports; a bar shows none."""

    def sample(self, step: int, text: dict[str, Json]) -> None:
        """Samples are kept with the run; a bar shows none."""

    def check(self) -> None:
        """Ctrl-C raises by itself in the foreground."""
