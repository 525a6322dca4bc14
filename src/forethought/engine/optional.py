"""The one place that asks for the optional libraries local models need."""

from __future__ import annotations

import importlib
from typing import Any

from forethought.errors import MissingExtraError


def require(module: str) -> Any:
    """The imported module. MissingExtraError says which extra brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = (error.name or module).partition(".")[0]
        raise MissingExtraError(
            f"Local models need the library '{missing}', which is not installed.",
            hint="Run: pip install 'forethought[train]'",
        ) from error
