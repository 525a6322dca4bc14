"""What the global options said, and the workbench they open."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forethought.services.workbench import Workbench


@dataclass
class State:
    """The global options of this process."""

    workspace: Path | None = None
    debug: bool = False

    def bench(self) -> Workbench:
        """The workbench every command works at, opened on first use."""
        from forethought.services.workbench import Workbench

        return Workbench.open(self.workspace)


state = State()
