"""What the batch needs of a model: one forward pass over cached rows. Two implementations, one chosen per model."""

from __future__ import annotations

from typing import Any, Protocol

import torch

from forethought.engine.slots import SlotCache, Span
from forethought.errors import EngineError


class Decoder(Protocol):
    """A model that reads tokens into rows of its cache and says what comes next."""

    cache: SlotCache
    device: torch.device
    vocab_size: int
    context: int
    """The longest sequence the model was made for."""

    def forward(self, ids_NT: torch.Tensor, last_N: torch.Tensor | None, span: Span) -> torch.Tensor:
        """Logits ``[rows, vocabulary]`` in float32 after each row's token ``last_N`` (None: the only one)."""
        ...


def make_decoder(model: Any, dtype: torch.dtype | None = None) -> Decoder:
    """A lean copy of the weights for Llama-shaped models, the model's own forward for all others.

    ``dtype`` is the format of the lean copy; None keeps the model's. LoRA adapters are merged into the copy, so a
    decoder stands for the weights at the time it was made.
    """
    from forethought.engine.lean import lean_decoder
    from forethought.engine.native import NativeDecoder

    if any(config.is_prompt_learning for config in getattr(model, "peft_config", {}).values()):
        raise EngineError(
            "Prompt-learning adapters cannot generate in batches.", hint="Train a LoRA or full weights instead."
        )
    return lean_decoder(model, dtype) or NativeDecoder(model)
