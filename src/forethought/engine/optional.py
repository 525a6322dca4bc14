"""The one place that asks for the optional libraries local models need, and makes them keep to themselves."""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from typing import Any

from forethought.errors import MissingExtraError

EXTRA = ("torch", "transformers", "peft", "trl", "datasets")
"""What local models are loaded, trained and merged with; all of it comes with one extra."""


def refuse_without_extra() -> None:
    """MissingExtraError unless all of ``EXTRA`` is installed. Imports nothing: that takes seconds."""
    for module in EXTRA:
        if importlib.util.find_spec(module) is None:
            raise _missing(module)


def require(module: str) -> Any:
    """The imported module. MissingExtraError says which extra brings it.

    Nothing is reported to the libraries' makers, and neither bars nor their remarks on what they will change one day
    reach the user.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read once, when huggingface_hub is first imported
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft|trl)\b")
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise _missing((error.name or module).partition(".")[0]) from error
    if module == "transformers":
        found.utils.logging.disable_progress_bar()
    return found


def _missing(library: str) -> MissingExtraError:
    return MissingExtraError(
        f"Local models need the library '{library}', which is not installed.",
        hint="Run: pip install 'forethought[train]'",
    )
