"""Where things are: the settings (environment ``FORETHOUGHT_*``) and the workspace folder."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from forethought.errors import StoreError, UsageError

if TYPE_CHECKING:
    from sqlalchemy import URL

FOLDERS = ("runs", "models", "logs")
DATABASE_FILE = "forethought.db"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def _default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "forethought"


class Settings(BaseSettings):
    """What the environment says; every field is read from ``FORETHOUGHT_<FIELD>``. An empty variable says nothing."""

    model_config = SettingsConfigDict(env_prefix="FORETHOUGHT_", env_ignore_empty=True, frozen=True, extra="ignore")

    workspace: Path = Path("~/.forethought")
    """Folder of the records (SQLite), artefacts and logs."""
    database_url: SecretStr = SecretStr("")
    """SQLAlchemy URL of the records; empty: a SQLite file in the workspace. Secret, for it may hold a password."""
    cache: Path = Field(default_factory=_default_cache)
    """Folder of what can be made again, such as the unpacked embedded model."""

    @field_validator("workspace", "cache")
    @classmethod
    def _absolute(cls, folder: Path) -> Path:
        try:
            return folder.expanduser().absolute()
        except RuntimeError as error:
            raise ValueError(f"the folder {folder} is in a home folder that is not there") from error

    @classmethod
    def read(cls, workspace: Path | str | None = None) -> Self:
        """The environment's settings, with another workspace folder where one is given. UsageError for a wrong one."""
        given: dict[str, Any] = {"workspace": Path(workspace)} if workspace else {}
        try:
            return cls(**given)
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(str(part) for part in fault["loc"])
            raise UsageError(
                f"The setting '{where}' cannot be used: {fault['msg'].removeprefix('Value error, ')}.",
                hint="Choose another with --workspace or FORETHOUGHT_WORKSPACE."
                if where == "workspace"
                else f"Correct FORETHOUGHT_{where.upper()}.",
            ) from None

    @property
    def store_url(self) -> str | URL:
        """The URL for ``Store.open``. It may hold a password: never log or show it."""
        from sqlalchemy import URL

        return self.database_url.get_secret_value() or URL.create(
            "sqlite", database=str(self.workspace / DATABASE_FILE)
        )


@dataclass(frozen=True)
class Workspace:
    """The folder that holds artefacts. Paths below it are made of ids, never of names."""

    root: Path

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Makes the folders where missing, readable by their owner only. StoreError when that fails."""
        try:
            for folder in (settings.workspace, *(settings.workspace / name for name in FOLDERS)):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            workspace = cls(settings.workspace.resolve(strict=True))
        except OSError as error:
            raise StoreError(
                f"The workspace {settings.workspace} cannot be used: {error.strerror or error}.",
                hint="Choose another with --workspace or FORETHOUGHT_WORKSPACE.",
            ) from error
        for name in FOLDERS:
            workspace.inside(name)
        return workspace

    def run_folder(self, run_id: str) -> Path:
        """Folder of one run's checkpoints, log and artefacts; made when missing."""
        return self._by_id("runs", run_id)

    def model_folder(self, model_id: str) -> Path:
        """Folder of one model's weights; made when missing."""
        return self._by_id("models", model_id)

    def inside(self, path: str | Path) -> Path:
        """The real path of something in the workspace, named relative to it.

        UsageError when it leads out: an absolute path, ``..``, a backslash, NUL, or a symbolic link that points away.
        """
        text = str(path)
        outside = UsageError(f"The path {text[:200]!r} leads out of the workspace.", hint="Name a path below it.")
        if "\0" in text or "\\" in text or Path(text).is_absolute() or ".." in Path(text).parts:
            raise outside
        try:
            real = (self.root / text).resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise UsageError(f"The path {text[:200]!r} cannot be resolved: {error}.") from error
        if not real.is_relative_to(self.root):
            raise outside
        return real

    def relative(self, path: str | Path) -> str:
        """How a path below the workspace is stored in a record, with forward slashes: the reverse of ``inside``."""
        real = Path(path).resolve()
        if not real.is_relative_to(self.root):
            raise UsageError(f"{real} is not in the workspace {self.root}.")
        return real.relative_to(self.root).as_posix()

    def _by_id(self, kind: str, id_: str) -> Path:
        if not _ID.fullmatch(id_):
            raise UsageError(f"{id_[:80]!r} is not an id.", hint="Paths are made of ids, never of names.")
        folder = self.inside(f"{kind}/{id_}")
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"The folder {folder} cannot be made: {error.strerror or error}.") from error
        return folder
