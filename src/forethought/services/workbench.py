"""The workbench: settings, workspace folder and store together. The first argument of every service function."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from forethought.core.records import Model
from forethought.errors import ConflictError
from forethought.settings import Settings, Workspace
from forethought.store.store import Store

BASE = "smollm2"
"""Name under which every workspace knows the embedded model."""


@dataclass(frozen=True)
class Workbench:
    """What a user action works with."""

    workspace: Workspace
    store: Store
    settings: Settings

    @classmethod
    def open(cls, folder: Path | str | None = None) -> Self:
        """Opens the workspace (made when missing) and its database (brought up to date)."""
        settings = Settings.read(folder)
        workspace = Workspace.open(settings)
        bench = cls(workspace, Store.open(settings.store_url), settings)
        bench._know_the_embedded_model()
        return bench

    @classmethod
    def around(cls, workspace: Workspace, store: Store) -> Self:
        """The workbench of a job body, which is handed its workspace and store."""
        return cls(workspace, store, Settings.read(workspace.root))

    @property
    def database(self) -> str:
        """Where the records are, without the password."""
        return self.store.url

    def _know_the_embedded_model(self) -> None:
        if all(model.name != BASE for model in self.store.models()):
            with suppress(ConflictError):  # another process opened the workspace at the same moment
                self.store.add_model(Model(name=BASE, base="embedded", style="answer", licence="Apache-2.0"))
