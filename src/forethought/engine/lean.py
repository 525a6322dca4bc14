"""A lean forward pass for Llama-shaped models: fused projections, packed weights, in-place rotation.

Computes what ``transformers`` computes for Llama, Mistral, Qwen2 and Qwen3 without sliding windows, on its own copy of
the weights. Grouped query heads are laid out as extra query positions of their key head, so keys are never repeated.
Tensor axes are in the names: N rows, T tokens, H heads, E hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from forethought.engine.slots import SlotCache, Span

_SHAPES = {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}
_ROPE = {"default", "linear", "llama3"}
_ROWS_HINT = 32
"""Row count the packed weights are laid out for; other counts work, a little slower."""

Projection = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class _Layer:
    norm_1: torch.Tensor
    norm_2: torch.Tensor
    qkv: Projection
    out: Projection
    gate_up: Projection
    down: Projection
    query_norm: torch.Tensor | None
    key_norm: torch.Tensor | None


def lean_decoder(model: Any, dtype: torch.dtype | None = None) -> LeanDecoder | None:
    """The decoder, or None when the model is of another shape or carries adapters that cannot be merged."""
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = causal.config
    fits = (
        type(causal).__name__ in _SHAPES
        and config.hidden_act == "silu"
        and (config.rope_parameters or {}).get("rope_type", "default") in _ROPE
        and set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
        and (getattr(config, "layer_types", None) or not getattr(config, "sliding_window", None))
    )
    if not fits:
        return None
    try:
        with torch.no_grad():
            return LeanDecoder(causal, dtype or causal.get_input_embeddings().weight.dtype)
    except _CannotMerge:
        return None


class LeanDecoder:
    """A Decoder over merged and fused weights."""

    def __init__(self, causal: Any, dtype: torch.dtype) -> None:
        config = causal.config
        embeddings = _plain(causal.get_input_embeddings(), nn.Embedding).weight
        self.device = embeddings.device
        self.context = int(config.max_position_embeddings)
        self._heads, self._kv_heads = config.num_attention_heads, config.num_key_value_heads
        self._size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self._epsilon = config.rms_norm_eps
        self._embeddings = embeddings.detach().to(dtype)
        self._layers = [_fuse(layer, dtype) for layer in causal.model.layers]
        self._final_norm = causal.model.norm.weight.detach().to(dtype)
        self._head = _projection([causal.lm_head], dtype)
        self.vocab_size = int(causal.lm_head.weight.shape[0])
        self._cos, self._sin = _rotation(causal.model.rotary_emb, self.context, self._embeddings)
        self.cache = SlotCache(dtype, self.device)

    def forward(self, ids_NT: torch.Tensor, last_N: torch.Tensor | None, span: Span) -> torch.Tensor:
        """See ``Decoder.forward``."""
        positions = span.position_ids(self.device)
        cos, sin = self._cos[positions][:, :, None], self._sin[positions][:, :, None]
        mask = self._mask(span)
        x_NTE = functional.embedding(ids_NT, self._embeddings)
        for index, layer in enumerate(self._layers):
            x_NTE = x_NTE + self._attend(index, layer, self._norm(x_NTE, layer.norm_1), cos, sin, mask, span)
            gate, up = layer.gate_up(self._norm(x_NTE, layer.norm_2)).chunk(2, dim=-1)
            x_NTE = x_NTE + layer.down(functional.silu(gate).mul_(up))
        rows = torch.arange(span.rows, device=self.device)
        x_NE = x_NTE[:, -1] if last_N is None else x_NTE[rows, last_N]
        return self._head(self._norm(x_NE, self._final_norm)).float()

    def _attend(
        self,
        index: int,
        layer: _Layer,
        x_NTE: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        mask: torch.Tensor,
        span: Span,
    ) -> torch.Tensor:
        rows, tokens, keys = span.rows, span.tokens, self._kv_heads
        qkv = layer.qkv(x_NTE).view(rows, tokens, self._heads + 2 * keys, self._size)
        if layer.query_norm is not None and layer.key_norm is not None:
            qkv[:, :, : self._heads] = self._norm(qkv[:, :, : self._heads], layer.query_norm)
            turned = slice(self._heads, self._heads + keys)
            qkv[:, :, turned] = self._norm(qkv[:, :, turned], layer.key_norm)
        turning = qkv[:, :, : self._heads + keys]
        turned_half = turning.roll(self._size // 2, -1)
        turning.mul_(cos).addcmul_(turned_half, sin)
        new_keys = qkv[:, :, self._heads : self._heads + keys].transpose(1, 2)
        new_values = qkv[:, :, self._heads + keys :].transpose(1, 2)
        seen_keys = span.store(self.cache.keys(index, keys, self._size), new_keys)
        seen_values = span.store(self.cache.values(index, keys, self._size), new_values)
        group = self._heads // keys
        query = qkv[:, :, : self._heads].view(rows, tokens, keys, group, self._size).permute(0, 2, 3, 1, 4)
        query = query.reshape(rows, keys, group * tokens, self._size)
        mixed = self._mix(query, seen_keys, seen_values, mask, span)
        mixed = mixed.view(rows, keys, group, tokens, self._size).permute(0, 3, 1, 2, 4)
        return layer.out(mixed.reshape(rows, tokens, self._heads * self._size))

    def _mix(
        self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, span: Span
    ) -> torch.Tensor:
        """Attention. With one token a row, two plain products over whole rows are four times faster than the fused
        kernel, which is made for many."""
        if span.is_decode:
            scores = (query @ keys.transpose(2, 3)).float().mul_(self._size**-0.5).add_(mask)
            return scores.softmax(dim=-1).to(values.dtype) @ values
        return functional.scaled_dot_product_attention(query, keys, values, attn_mask=mask)

    def _mask(self, span: Span) -> torch.Tensor:
        """Additive, ``[rows or 1, 1, query group x tokens or 1, columns]``."""
        visible = span.visible(self.device)
        dtype = torch.float32 if span.is_decode else self._embeddings.dtype
        mask = torch.zeros(visible.shape, dtype=dtype, device=self.device)
        mask.masked_fill_(~visible, float("-inf"))
        if span.is_decode:
            return mask[:, None]
        repeated = mask[:, None].expand(-1, self._heads // self._kv_heads, -1, -1)
        return repeated.reshape(mask.shape[0], 1, -1, span.columns)

    def _norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return functional.rms_norm(x, weight.shape, weight, self._epsilon)


class _CannotMerge(Exception):
    """A module whose effect is not a plain weight matrix."""


def _fuse(layer: Any, dtype: torch.dtype) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    norms = [getattr(attention, name, None) for name in ("q_norm", "k_norm")]
    query_norm, key_norm = (norm.weight.detach().to(dtype) if norm is not None else None for norm in norms)
    return _Layer(
        norm_1=layer.input_layernorm.weight.detach().to(dtype),
        norm_2=layer.post_attention_layernorm.weight.detach().to(dtype),
        qkv=_projection([attention.q_proj, attention.k_proj, attention.v_proj], dtype),
        out=_projection([attention.o_proj], dtype),
        gate_up=_projection([mlp.gate_proj, mlp.up_proj], dtype),
        down=_projection([mlp.down_proj], dtype),
        query_norm=query_norm,
        key_norm=key_norm,
    )


def _projection(modules: list[Any], dtype: torch.dtype) -> Projection:
    """One product for several linear modules that read the same input."""
    pairs = [_effective(module) for module in modules]
    weight = torch.cat([weight.to(dtype) for weight, _ in pairs]).detach()
    biases = [bias for _, bias in pairs if bias is not None]
    if biases and len(biases) != len(pairs):
        raise _CannotMerge
    bias = torch.cat([bias.to(dtype) for bias in biases]).detach() if biases else None
    return _packed(weight, bias) or (lambda x: functional.linear(x, weight, bias))


def _packed(weight: torch.Tensor, bias: torch.Tensor | None) -> Projection | None:
    """oneDNN's blocked layout, which a plain product would make anew on every call (30 % of a decode step)."""
    if weight.device.type != "cpu" or weight.dtype != torch.bfloat16:
        return None
    try:
        blocked = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS_HINT)
        linear = torch.ops.mkldnn._linear_pointwise
        linear(torch.zeros(1, weight.shape[1], dtype=weight.dtype), blocked, bias, "none", [], "")
    except (AttributeError, RuntimeError):  # a build of torch without these operators
        return None
    return lambda x: linear(x, blocked, bias, "none", [], "")


def _effective(module: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weight and bias of a linear module, its active LoRA adapters merged in."""
    if isinstance(module, nn.Linear):
        return module.weight, module.bias
    base = _plain(getattr(module, "base_layer", None), nn.Linear)
    if type(module).__module__ != "peft.tuners.lora.layer":
        raise _CannotMerge
    weight = base.weight
    if module.disable_adapters or module.merged:
        return weight, base.bias
    for name in module.active_adapters:
        if name not in module.lora_A:
            continue
        if name in module.lora_variant or module.lora_bias.get(name):
            raise _CannotMerge
        weight = weight.float() + module.get_delta_weight(name).float()  # rounded once, with the rest
    return weight, base.bias


def _plain(module: Any, kind: type[nn.Module]) -> Any:
    if type(module) is not kind:
        raise _CannotMerge
    return module


def _rotation(rotary: Any, context: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and signed sine ``[context, head size]``: ``x * cos + roll(x, half) * sin`` rotates x."""
    positions = torch.arange(context, device=like.device)[None]
    cos, sin = (table[0].to(like.dtype) for table in rotary(like, position_ids=positions))
    half = sin.shape[-1] // 2
    return cos, torch.cat((-sin[:, :half], sin[:, half:]), dim=-1)
