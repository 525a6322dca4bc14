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

LINE_EVERY_SECONDS = 15.0


@contextmanager
def bar(title: str, *, logs: bool = True) -> Iterator[Reporter]:
    """A Reporter that draws. What is drawn goes to standard error, so ``--json`` output stays clean.

    ``logs`` False leaves log lines out; they are kept with the run all the same.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(compact=True),
        console=console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with progress:
        yield BarReporter(title, progress, logs)


class BarReporter:
    """Draws progress; prints log lines above the bar."""

    def __init__(self, title: str, progress: Progress, logs: bool) -> None:
        self._title = title
        self._logs = logs
        self._progress = progress
        self._task = progress.add_task(title, total=None)
        self._last_line = time.monotonic()

    def progress(self, done: float, total: float, *, unit: str = "steps", message: str = "") -> None:
        description = ": ".join(part for part in (self._title, message or unit) if part)
        self._progress.update(self._task, completed=done, total=total or None, description=printable(description)[:60])
        if self._progress.disable and time.monotonic() - self._last_line > LINE_EVERY_SECONDS:
            self._last_line = time.monotonic()
            self._print(f"{description} {done:.0f}/{total:.0f}")

    def log(self, line: str) -> None:
        if self._logs:
            self._print(line)

    def _print(self, line: str) -> None:
        self._progress.console.print(printable(line), soft_wrap=True)

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """Curves are for pages and reports; a bar shows none."""

    def sample(self, step: int, text: dict[str, Json]) -> None:
        """Samples are kept with the run; a bar shows none."""

    def check(self) -> None:
        """Ctrl-C raises by itself in the foreground."""
