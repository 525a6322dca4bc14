"""What a job body is given and gives back. A body is a function ``(context: JobContext) -> JobResult``.

Bodies are found by name: one row in ``core.registry`` under ``job``, or an entry point ``forethought.job``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from forethought.core.records import Json, Run
from forethought.core.seams import Reporter
from forethought.settings import Settings, Workspace
from forethought.store.store import Store

PYTHON = (sys.executable, "-P", "-m")
"""How workers and runs are started; -P: files in the folder the user happens to be in are not imported."""


@dataclass(frozen=True)
class JobContext:
    """Everything a body works with."""

    workspace: Workspace
    store: Store
    run: Run
    reporter: Reporter
    """Durable: what it is told survives the process. Call ``check()`` often: it is where a stop takes effect."""
    folder: Path
    """The run's own folder: checkpoints and artefacts."""
    resuming: bool
    """The run was begun before; the body goes on from what it finds in ``folder``."""


@dataclass(frozen=True)
class JobResult:
    """What a finished run leaves."""

    metrics: dict[str, Json] = field(default_factory=dict)
    artefacts: dict[str, str] = field(default_factory=dict)
    """Name -> path relative to the run's folder."""


JobBody = Callable[[JobContext], JobResult]


def open_workspace(folder: str) -> tuple[Workspace, Store]:
    """The workspace in a folder and its store, as the environment's settings say."""
    settings = Settings.read(folder)
    return Workspace.open(settings), Store.open(settings.store_url)


def log_file(workspace: Workspace, run_id: str) -> Path:
    """Where the run's output and tracebacks go."""
    return workspace.run_folder(run_id) / "log.txt"
