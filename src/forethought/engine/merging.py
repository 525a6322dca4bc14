"""Folds an adapter into the weights it was trained on: the same outputs, with no adapter to compute beside them."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from forethought.engine.files import fsync_folder
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
    """Writes weights (safetensors) and tokenizer; the folder appears whole or not at all. ``folder`` may be empty."""
    temporary = folder.with_name(f".{folder.name}.tmp-{os.getpid()}")
    try:
        temporary.mkdir(parents=True)
        loaded.model.save_pretrained(temporary, safe_serialization=True)
        loaded.tokenizer.save_pretrained(temporary)
        fsync_folder(temporary)
        if folder.exists():
            folder.rmdir()
        temporary.replace(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise ModelFileError(
            f"The model could not be written to {folder}: {error.strerror or error}.", hint="Is the disk full?"
        ) from error
    return folder
