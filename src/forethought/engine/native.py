"""Any transformers causal LM through its own forward pass, over our cache of rows."""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import Cache

from forethought.engine.slots import SlotCache, Span
from forethought.errors import EngineError


class NativeDecoder:
    """A Decoder over the live model: adapters stay attached, their changes are seen at once."""

    def __init__(self, model: Any) -> None:
        config = model.config.get_text_config(decoder=True)
        window = getattr(config, "sliding_window", None)
        kinds = set(getattr(config, "layer_types", None) or ["sliding_attention" if window else "full_attention"])
        if not kinds <= {"full_attention", "sliding_attention"} or getattr(config, "is_encoder_decoder", False):
            raise EngineError(f"Models of type '{config.model_type}' cannot generate in batches.")
        parameter = next(model.parameters())
        self._model, self._config, self._kinds = model, config, kinds
        self.device, self._dtype = parameter.device, parameter.dtype
        self.vocab_size = int(config.vocab_size)
        self.context = int(getattr(config, "max_position_embeddings", 0) or 1 << 20)
        self.cache = SlotCache(self._dtype, self.device)

    def forward(self, ids_NT: torch.Tensor, last_N: torch.Tensor | None, span: Span) -> torch.Tensor:
        """See ``Decoder.forward``. Dropout is off during the pass."""
        was_training = self._model.training
        self._model.eval()
        try:
            logits_NTV = self._model(
                input_ids=ids_NT,
                attention_mask=self._masks(span),
                position_ids=span.position_ids(self.device).expand(span.rows, -1),
                past_key_values=_SpanCache(self.cache, span),
                use_cache=True,
            ).logits
        finally:
            self._model.train(was_training)
        rows = torch.arange(span.rows, device=self.device)
        logits_NV: torch.Tensor = logits_NTV[:, -1] if last_N is None else logits_NTV[rows, last_N]
        return logits_NV.float()

    def _masks(self, span: Span) -> Any:
        """Additive masks ``[rows, 1, tokens, columns]``, by layer type where the model mixes several."""
        visible = span.visible(self.device)
        masks = {"full_attention": self._additive(visible, span)}
        window = getattr(self._config, "sliding_window", None)
        if window:
            columns = torch.arange(span.columns, device=self.device)
            near = columns > span.position_ids(self.device)[..., None] - window
            masks["sliding_attention"] = self._additive(visible & near, span)
        if getattr(self._config, "layer_types", None) and len(self._kinds) > 1:
            return masks
        only_sliding = "sliding_attention" in masks and self._kinds != {"full_attention"}
        return masks["sliding_attention" if only_sliding else "full_attention"]

    def _additive(self, visible: torch.Tensor, span: Span) -> torch.Tensor:
        mask = torch.zeros(visible.shape, dtype=self._dtype, device=self.device)
        mask.masked_fill_(~visible, torch.finfo(self._dtype).min)
        return mask[:, None].expand(span.rows, 1, -1, -1)


class _SpanCache(Cache):  # type: ignore[misc]  # transformers is untyped here
    """What transformers sees: an update writes through to our rows and returns their visible columns."""

    def __init__(self, slots: SlotCache, span: Span) -> None:
        super().__init__(layers=[])
        self._slots, self._span = slots, span

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        keys = self._slots.keys(layer_idx, key_states.shape[1], key_states.shape[3])
        values = self._slots.values(layer_idx, value_states.shape[1], value_states.shape[3])
        return self._span.store(keys, key_states), self._span.store(values, value_states)

    def get_seq_length(self, *_: Any, **__: Any) -> int:
        return self._span.columns - self._span.tokens

    def get_mask_sizes(self, *_: Any, **__: Any) -> tuple[int, int]:
        return self._span.columns, 0
