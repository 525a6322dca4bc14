"""Checkpoints that are whole or absent.

A checkpoint is written as ``core.files`` writes folders: a process killed at any moment leaves the previous one intact.
Its manifest holds the SHA-256 of each file. Loading verifies it, so flipped bytes are found and the newest checkpoint
that is still whole is used instead.

    checkpoints/
      step-00000050/  weights.safetensors  optimizer.safetensors  trainer_state.json  state.json  manifest.json
      best-00000040/  weights.safetensors  manifest.json
"""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from forethought.core.files import recover, replacing_folder, sha256_of
from forethought.errors import TrainingError

WEIGHTS = "weights.safetensors"
OPTIMIZER = "optimizer.safetensors"
STATE = "state.json"
MANIFEST = "manifest.json"
_PREFIX = "step-"
_BEST = "best-"


class Checkpoints:
    """The checkpoints of one run, newest last. ``keep`` older ones stay for the case that the newest is damaged."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = folder
        self._keep = keep
        recover(folder)

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step lies."""
        return self.folder / f"{_PREFIX}{step:08d}"

    def write(self, step: int, fill: Callable[[Path], None]) -> Path:
        """A checkpoint whose files ``fill(folder)`` writes. TrainingError when the disk refuses."""
        target = write_folder(self.path(step), fill)
        for old in self._all()[: -self._keep]:
            shutil.rmtree(old, ignore_errors=True)
        return target

    def newest_whole(self, log: Callable[[str], None]) -> Path | None:
        """The newest checkpoint whose manifest holds; ``log`` is told of every one passed over."""
        for folder in reversed(self._all()):
            fault = damage(folder)
            if fault is None:
                return folder
            log(f"Checkpoint {folder.name} is damaged ({fault}); falling back to the one before.")
        return None

    def best(self, step: int) -> Path:
        """Where the best weights so far lie, when they were those of ``step``."""
        return self.folder / f"{_BEST}{step:08d}"

    def write_best(self, step: int, fill: Callable[[Path], None]) -> None:
        """The best weights so far; the former best goes only when these are safe."""
        target = write_folder(self.best(step), fill)
        for old in self.folder.glob(f"{_BEST}*"):
            if old != target:
                shutil.rmtree(old, ignore_errors=True)

    def clear(self) -> None:
        """All checkpoints away, half-written ones included."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _all(self) -> list[Path]:
        return sorted(path for path in self.folder.glob(f"{_PREFIX}*") if path.is_dir() and not path.is_symlink())


def write_folder(target: Path, fill: Callable[[Path], None]) -> Path:
    """Writes a folder whole or not at all, with a manifest of what ``fill(folder)`` put there."""
    try:
        with replacing_folder(target) as new:
            fill(new)
            files = [path for path in sorted(new.rglob("*")) if path.is_file()]
            hashes = {path.relative_to(new).as_posix(): sha256_of(path) for path in files}
            write_json(new / MANIFEST, {"sha256": hashes})
    except (OSError, SafetensorError) as error:
        raise _not_written(target, error) from error
    return target


def damage(folder: Path) -> str | None:
    """What is wrong with a written folder, or None when every file is as its manifest says."""
    try:
        hashes = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return "its manifest is missing or unreadable"
    for name, expected in hashes.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if sha256_of(path) != expected:
            return f"{name} has changed"
    return None


def write_json(path: Path, value: Any) -> None:
    """Plain JSON, for humans to read."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False), encoding="utf-8")


def read_json(path: Path) -> Any:
    """What ``write_json`` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def save_weights(folder: Path, model: torch.nn.Module) -> None:
    """The trainable parameters, by name, as they are held."""
    tensors = {name: p.detach().contiguous() for name, p in model.named_parameters() if p.requires_grad}
    save_file(tensors, folder / WEIGHTS)


def load_weights(folder: Path, model: torch.nn.Module) -> None:
    """Into the trainable parameters, in place. TrainingError when the names or shapes are others."""
    stored = load_file(folder / WEIGHTS)
    wanted = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if {n: t.shape for n, t in stored.items()} != {n: p.shape for n, p in wanted.items()}:
        raise TrainingError(
            f"Checkpoint {folder.name} belongs to another model or adapter.",
            hint="Resume with the settings it was made with, or start anew without resume.",
        )
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(stored[name])


def save_optimizer(folder: Path, optimizer: torch.optim.Optimizer, names: Mapping[torch.Tensor, str]) -> None:
    """Moments of every parameter, and the state of the random number generators."""
    tensors: dict[str, torch.Tensor] = {"rng.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            tensors[f"{names[parameter]}|{key}"] = torch.as_tensor(value).detach().contiguous()
    save_file(tensors, folder / OPTIMIZER)


def load_optimizer(folder: Path, optimizer: torch.optim.Optimizer, names: Mapping[torch.Tensor, str]) -> None:
    """Moments back into the optimizer."""
    stored = load_file(folder / OPTIMIZER)
    parameters = {name: parameter for parameter, name in names.items()}
    for key, value in stored.items():
        name, _, moment = key.rpartition("|")
        if name:
            parameter = parameters[name]
            on_device = value if moment == "step" else value.to(parameter.device)
            optimizer.state[parameter][moment] = on_device


def load_random_state(folder: Path) -> None:
    """The random number generators as they were."""
    stored = load_file(folder / OPTIMIZER)
    torch.set_rng_state(stored["rng.cpu"])
    if torch.cuda.is_available() and "rng.cuda" in stored:
        torch.cuda.set_rng_state(stored["rng.cuda"])


def _not_written(target: Path, error: Exception) -> TrainingError:
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "space" in str(error).lower()
    what = "the disk is full" if full else str(error)
    return TrainingError(
        f"Could not write {target.name}: {what}.",
        hint="What was written before is intact. Free some space and resume.",
    )
