"""The contract of a training method: a class in a file of its own, and a row under ``method`` in ``core.registry``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from forethought.core.records import Prompt
from forethought.core.seams import Example, Reporter, Style

if TYPE_CHECKING:
    from forethought.engine.loading import LoadedModel


@dataclass(frozen=True)
class TrainingResult:
    """What training left behind."""

    path: Path
    """Folder of the adapter, or of the full weights and tokenizer. Safetensors only."""
    metrics: dict[str, float]
    """Last values: loss, val_loss (best, where there is held-out data), grad_norm, tokens_per_second …"""
    steps: int
    tokens: int
    """Training tokens seen, prompts included, padding not."""
    seconds: float


class Method(Protocol):
    """Trains a model on examples. Built from its configuration: ``method(config)``. Its runs bear its name as kind."""

    Config: ClassVar[type[Any]]
    """A pydantic model; its ``seed`` is the run's, its ``dtype`` the one the model is loaded in."""

    def __init__(self, config: Any) -> None: ...

    def train(
        self,
        loaded: LoadedModel,
        train: Sequence[Example],
        val: Sequence[Example],
        style: Style,
        prompt: Prompt,
        output: Path,
        reporter: Reporter | None = None,
        resume: bool = False,
    ) -> TrainingResult:
        """Trains and writes into a folder below ``output``; ``resume`` goes on from what an earlier call left there."""
        ...
