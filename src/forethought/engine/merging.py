"""Folds an adapter into the weights it was trained on: the same outputs, with no adapter to compute beside them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from forethought.core.files import replacing_folder
from forethought.engine.loading import LoadedModel, attach, load
from forethought.engine.precision import cast_weights, resolve_dtype
from forethought.errors import ModelFileError

if TYPE_CHECKING:
    from forethought.engine.precision import DTypeName


def load_merged(
    base: str, adapters: Sequence[Path], *, dtype: DTypeName = "auto", cache: Path | None = None
) -> LoadedModel:
    """The base with the adapters folded in one after the other: each was trained on what the ones before it made.

    The sum is formed in float32 and rounded once to ``dtype``.
    """
    loaded = load(base, dtype="float32", cache=cache)
    for adapter in adapters:
        adapted = attach(loaded, adapter)
        loaded = dataclasses.replace(adapted, model=adapted.model.merge_and_unload(safe_merge=True))
    chosen = resolve_dtype(dtype, loaded.device)
    cast_weights(loaded.model, chosen)
    return dataclasses.replace(loaded, model=loaded.model.eval(), dtype=chosen)


def save(loaded: LoadedModel, folder: Path) -> Path:
    """Writes weights (safetensors) and tokenizer; the folder appears whole or not at all.

    ModelFileError when ``folder`` is there and not empty, or when the disk refuses.
    """
    from safetensors import SafetensorError

    if folder.is_dir() and any(folder.iterdir()):
        raise ModelFileError(f"{folder} is not empty.", hint="Name a folder that is, or that is yet to be made.")
    try:
        with replacing_folder(folder) as new:
            loaded.model.save_pretrained(new, safe_serialization=True)
            loaded.tokenizer.save_pretrained(new)
    except (OSError, SafetensorError) as error:
        raise ModelFileError(
            f"The model could not be written to {folder}: {getattr(error, 'strerror', None) or error}.",
            hint="Is the disk full?",
        ) from error
    return folder
