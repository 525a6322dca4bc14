"""LoRA training of a Llama-shaped model on CPU: the same loss and gradients as the plain model, computed with less.

Where a plain forward and backward on two cores spends its time, and what is done instead:

* Every example of a task begins with the same instructions. The common *prefix* of a batch is computed once: under a
  causal mask its states do not depend on what follows, and the gradients of all rows meet in its keys and values.
* Three small products a LoRA layer (A, B, add) are memory-bound. With ``h = x A'``, base and update are one product:
  ``y = [x, h] [W, sB]'``, and its backward yields the gradients of ``x`` and ``h`` together. Layers that read the same
  input (q, k, v; gate, up) share it.
* torch's flash attention for CPUs is slow in backward at the lengths of reasoning traces; plain batched products with
  the probabilities kept are several times faster below a few hundred tokens, and recomputed above.
* After the last attention only labelled positions matter; the first layer's input needs no gradient.

Products run in the dtype of the frozen weights (bfloat16 where that pays); the residual stream, norms' statistics, the
loss and the LoRA parameters with their gradients are fp32, as under autocast.

Axes in names: N rows (prefix, then batch x suffix), B batch, S suffix, P prefix, L = P + S, H hidden, R summed ranks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding, silu

from forethought.training.data import IGNORE
from forethought.training.loss import completion_loss, labelled_positions

KEEP_PROBABILITIES = 512
"""Attention probabilities are kept for backward up to this many keys and recomputed beyond."""
_WORTH_SHARING = 4
"""A shorter prefix is not worth a second attention call."""


class FusedLora:
    """A PEFT model of Llama shape, ready to give its loss. Takes over the frozen weights' memory."""

    def __init__(self, model: Any, dtype: torch.dtype) -> None:
        base = model.get_base_model()
        config = base.config
        self._dtype = dtype
        self._backbone = base.model
        self._heads = (config.num_key_value_heads, config.num_attention_heads // config.num_key_value_heads)
        self._eps = config.rms_norm_eps
        self._head = base.get_output_embeddings().weight
        self._layers = [_Layer(layer, dtype) for layer in base.model.layers]

    @staticmethod
    def fits(model: Any) -> bool:
        """Whether the model is what this file computes: Llama on CPU, plain LoRA without dropout."""
        from peft.tuners.lora import Linear

        if not hasattr(model, "get_base_model") or next(model.parameters()).device.type != "cpu":
            return False
        base = model.get_base_model()
        config = base.config
        if type(base).__name__ != "LlamaForCausalLM" or config.hidden_act != "silu" or config.attention_dropout:
            return False
        if config.attention_bias or config.mlp_bias or base.get_output_embeddings().bias is not None:
            return False
        adapted = [module for module in model.modules() if isinstance(module, Linear)]
        trainable = {id(p) for p in model.parameters() if p.requires_grad}
        known = {id(p) for module in adapted for part in (module.lora_A, module.lora_B) for p in part.parameters()}
        plain = all(not module.lora_variant and not _drops(module) and not _biased(module) for module in adapted)
        return bool(adapted) and plain and trainable == known

    @contextmanager
    def step(self) -> Iterator[None]:
        """Within it, ``loss`` sees the adapter's parameters as they are now. One for each optimizer step."""
        with torch.no_grad():
            for layer in self._layers:
                for projection in layer.projections:
                    projection.refresh()
        yield

    def loss(self, input_ids: torch.Tensor, labels: torch.Tensor, denominator: torch.Tensor | float) -> torch.Tensor:
        """Summed cross-entropy of the labelled tokens over ``denominator``; (B, L) ids and labels, padded right."""
        hidden, targets = self.hidden(input_ids, labels)
        return completion_loss(hidden, self._head, targets, denominator)

    def hidden(self, input_ids: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the head reads where the next token is labelled, (positions, H) in the dtype of products, and those
        next tokens."""
        shared = common_prefix(input_ids, labels)
        rows = torch.cat([input_ids[0, :shared], input_ids[:, shared:].flatten()])
        shape = self._shape(shared, input_ids.shape[0], input_ids.shape[1] - shared)
        positions, targets = labelled_positions(labels[:, shared:])
        residual_NH = embedding(rows, self._backbone.embed_tokens.weight).float()
        for layer in self._layers:
            residual_NH = _apply(_Attention, residual_NH, layer, shape, self._eps, *layer.attention_parameters)
            if layer is self._layers[-1]:
                residual_NH = residual_NH.index_select(0, positions + shared)
            residual_NH = _apply(_Mlp, residual_NH, layer, self._eps, *layer.mlp_parameters)
        normed = residual_NH * _inverse_rms(residual_NH, self._eps) * self._backbone.norm.weight.float()
        return normed.to(self._dtype), targets

    def _shape(self, prefix: int, batch: int, suffix: int) -> _Shape:
        length = prefix + suffix
        cos, sin = self._backbone.rotary_emb(torch.empty(0), torch.arange(length)[None])
        half = cos.shape[-1] // 2
        blocked = torch.full((length, length), -torch.inf).triu(1).to(self._dtype)
        return _Shape(
            prefix, batch, suffix, *self._heads, half * 2,
            cos[0, :, :half].to(self._dtype), sin[0, :, :half].to(self._dtype), blocked,
        )  # fmt: skip


def common_prefix(input_ids: torch.Tensor, labels: torch.Tensor) -> int:
    """Leading tokens that all rows share, ending before the first position that predicts a label."""
    if input_ids.shape[0] == 1:
        return 0
    same = (input_ids == input_ids[:1]).all(0).int().cumprod(0).sum()
    labelled = (labels != IGNORE).any(0).nonzero()
    first = labelled[0, 0] if len(labelled) else labels.new_tensor(labels.shape[1])
    shared = int(torch.minimum(same, first - 1))
    return shared if shared >= _WORTH_SHARING else 0


@dataclass(frozen=True)
class _Shape:
    """How the rows of a batch are laid out, and what depends on that alone."""

    prefix: int
    batch: int
    suffix: int
    kv_heads: int
    queries_per_kv: int
    head_dim: int
    cos: torch.Tensor
    sin: torch.Tensor
    blocked: torch.Tensor
    """(L, L), -inf where a position must not look."""


class _Projection:
    """Linear layers that read the same input, with their LoRA updates, as one matrix ``[W, sB]`` and one ``A``.

    ``weight`` is (outputs, inputs + R); the modules' own weights become views of it, so nothing is held twice.
    """

    def __init__(self, modules: Sequence[Any], dtype: torch.dtype) -> None:
        bases = [getattr(module, "base_layer", module) for module in modules]
        self.inputs = bases[0].weight.shape[1]
        sizes = [base.weight.shape[0] for base in bases]
        self._parts: list[_Part] = []
        row = rank = 0
        for module, size in zip(modules, sizes, strict=True):
            if hasattr(module, "lora_A"):
                name = module.active_adapters[0]
                a, b = module.lora_A[name].weight, module.lora_B[name].weight
                scale = float(module.scaling[name])
                self._parts.append(_Part(a, b, scale, slice(row, row + size), slice(rank, rank + a.shape[0])))
                rank += a.shape[0]
            row += size
        self.weight = torch.zeros(row, self.inputs + rank, dtype=dtype)
        self.a = torch.zeros(rank, self.inputs, dtype=dtype)
        for base, start in zip(bases, torch.tensor([0, *sizes]).cumsum(0).tolist(), strict=False):
            view = self.weight[start : start + base.weight.shape[0], : self.inputs]
            view.copy_(base.weight.detach())
            base.weight.data = view
        self.parameters = [p for part in self._parts for p in (part.a, part.b)]

    def refresh(self) -> None:
        for part in self._parts:
            self.a[part.ranks] = part.a
            self.weight[part.rows, self.inputs + part.ranks.start : self.inputs + part.ranks.stop] = part.b * part.scale

    def widen(self, x: torch.Tensor) -> torch.Tensor:
        """``[x, x A']`` from a buffer whose first columns are ``x``."""
        if len(self._parts):
            x[:, self.inputs :] = x[:, : self.inputs] @ self.a.T
        return x

    def buffer(self, rows: int) -> torch.Tensor:
        return torch.empty(rows, self.weight.shape[1], dtype=self.weight.dtype)

    def backward(
        self, d_y: torch.Tensor, x: torch.Tensor, need_input: bool = True
    ) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
        """Gradients of the input (N, inputs) and of each part's A and B, in the order of ``parameters``."""
        if not need_input:
            d_h = d_y @ self.weight[:, self.inputs :]
        else:
            d_wide = d_y @ self.weight
            d_h = d_wide[:, self.inputs :]
        h = x[:, self.inputs :]
        d_a = (d_h.T @ x[:, : self.inputs]).float()
        d_b = d_y.T @ h
        grads: list[torch.Tensor] = []
        for part in self._parts:
            grads += [d_a[part.ranks], d_b[part.rows, part.ranks].float() * part.scale]
        return (torch.addmm(d_wide[:, : self.inputs], d_h, self.a) if need_input else None), grads


@dataclass(frozen=True)
class _Part:
    """One LoRA inside a projection: its parameters, and where its rows and ranks lie."""

    a: torch.Tensor
    b: torch.Tensor
    scale: float
    rows: slice
    ranks: slice


class _Layer:
    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.qkv = _Projection([attention.q_proj, attention.k_proj, attention.v_proj], dtype)
        self.out = _Projection([attention.o_proj], dtype)
        self.gate_up = _Projection([mlp.gate_proj, mlp.up_proj], dtype)
        self.down = _Projection([mlp.down_proj], dtype)
        self.projections = (self.qkv, self.out, self.gate_up, self.down)
        self.attention_norm = layer.input_layernorm.weight.detach().float()
        self.mlp_norm = layer.post_attention_layernorm.weight.detach().float()
        self.attention_parameters = self.qkv.parameters + self.out.parameters
        self.mlp_parameters = self.gate_up.parameters + self.down.parameters
        self.scale = float(attention.scaling)


class _Attention(torch.autograd.Function):
    """``r + o_proj(attention(norm(r)))`` with a hand-written backward."""

    @staticmethod
    def forward(
        ctx: Any, residual_NH: torch.Tensor, layer: _Layer, shape: _Shape, eps: float, *_: torch.Tensor
    ) -> torch.Tensor:
        rms = _inverse_rms(residual_NH, eps)
        x = layer.qkv.buffer(residual_NH.shape[0])
        x[:, : layer.qkv.inputs] = residual_NH.mul(rms).mul_(layer.attention_norm)
        qkv = layer.qkv.widen(x) @ layer.qkv.weight.T
        o = layer.out.buffer(residual_NH.shape[0])
        kept = _attend(qkv, shape, layer.scale, o[:, : layer.out.inputs])
        y = layer.out.widen(o) @ layer.out.weight.T
        ctx.save_for_backward(residual_NH, rms, x, o, *(tensor for block in kept for tensor in block))
        ctx.layer, ctx.shape = layer, shape
        return residual_NH + y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        residual_NH, rms, x, o, *kept = ctx.saved_tensors
        layer, shape, need_input = ctx.layer, ctx.shape, ctx.needs_input_grad[0]
        d_y = grads[0].to(x.dtype)
        d_o, out_grads = layer.out.backward(d_y, o)
        d_qkv = _attend_backward(d_o, kept, shape, layer.scale)
        d_x, qkv_grads = layer.qkv.backward(d_qkv, x, need_input)
        d_residual = _norm_backward(grads[0], d_x, residual_NH, rms, layer.attention_norm) if need_input else None
        return d_residual, None, None, None, *qkv_grads, *out_grads


class _Mlp(torch.autograd.Function):
    """``r + down(silu(gate) * up)`` of ``norm(r)`` with a hand-written backward."""

    @staticmethod
    def forward(ctx: Any, residual_NH: torch.Tensor, layer: _Layer, eps: float, *_: torch.Tensor) -> torch.Tensor:
        rms = _inverse_rms(residual_NH, eps)
        x = layer.gate_up.buffer(residual_NH.shape[0])
        x[:, : layer.gate_up.inputs] = residual_NH.mul(rms).mul_(layer.mlp_norm)
        gate_up = layer.gate_up.widen(x) @ layer.gate_up.weight.T
        gate, up = gate_up.chunk(2, 1)
        active = layer.down.buffer(residual_NH.shape[0])
        torch.mul(silu(gate), up, out=active[:, : layer.down.inputs])
        y = layer.down.widen(active) @ layer.down.weight.T
        ctx.save_for_backward(residual_NH, rms, x, gate_up, active)
        ctx.layer = layer
        return residual_NH + y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        residual_NH, rms, x, gate_up, active = ctx.saved_tensors
        layer = ctx.layer
        d_active, down_grads = layer.down.backward(grads[0].to(x.dtype), active)
        gate, up = gate_up.chunk(2, 1)
        d_gate_up = torch.empty_like(gate_up)
        d_gate, d_up = d_gate_up.chunk(2, 1)
        torch.mul(d_active, silu(gate), out=d_up)
        d_gate.copy_(torch.ops.aten.silu_backward(d_active.mul_(up), gate))
        d_x, gate_up_grads = layer.gate_up.backward(d_gate_up, x)
        d_residual = _norm_backward(grads[0], d_x, residual_NH, rms, layer.mlp_norm)
        return d_residual, None, None, *gate_up_grads, *down_grads


def _apply(function: Any, *arguments: Any) -> torch.Tensor:
    """``function.apply`` of an autograd function, which torch leaves untyped."""
    result: torch.Tensor = function.apply(*arguments)
    return result


# --- attention --------------------------------------------------------------------------------------------------------


def _attend(qkv: torch.Tensor, shape: _Shape, scale: float, out: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
    """Rotates, attends and writes ``out`` (N, heads x dim). Returns q, k, v and probabilities, prefix block first."""
    K, G, D, B, S, P = _sizes(shape)
    keys = qkv.new_empty(2, K, B, P + S, D)
    kept: list[tuple[torch.Tensor, ...]] = []
    for prefix in (True, False) if P else (False,):
        rows, batch, length, start = (slice(0, P), 1, P, 0) if prefix else (slice(P, None), B, S, P)
        block = qkv[rows].view(batch, length, K * (G + 2), D)
        cos, sin = shape.cos[start : start + length], shape.sin[start : start + length]
        q = qkv.new_empty(K, batch, G, length, D)
        k, v = qkv.new_empty(2, K, 1, P, D) if prefix else keys[:, :, :, P:]
        _rotate(block[:, :, : K * G].view(batch, length, K, G, D).permute(2, 0, 3, 1, 4), q, cos, sin)
        _rotate(block[:, :, K * G : K * (G + 1)].permute(2, 0, 1, 3), k, cos, sin)
        v.copy_(block[:, :, K * (G + 1) :].permute(2, 0, 1, 3))
        if prefix:
            keys[0, :, :, :P], keys[1, :, :, :P] = k, v
        else:
            k, v = keys
        q, k, v = q.view(K * batch, G * length, D), k.flatten(0, 1), v.flatten(0, 1)
        p = _probabilities(q, k, shape, scale, start)
        o = (p @ v).view(K, batch, G, length, D)
        out[rows].view(batch, length, K, G, D).copy_(o.permute(1, 3, 0, 2, 4))
        kept.append((q, k, v, p if p.shape[-1] <= KEEP_PROBABILITIES else p.new_empty(0)))
    return kept


def _attend_backward(d_out: torch.Tensor, kept: Sequence[torch.Tensor], shape: _Shape, scale: float) -> torch.Tensor:
    """Gradient of the unrotated q, k, v rows (N, (heads + 2 kv heads) x dim)."""
    K, G, D, B, S, P = _sizes(shape)
    d_qkv = d_out.new_empty(d_out.shape[0], K * (G + 2) * D)
    d_prefix: tuple[torch.Tensor, torch.Tensor] | None = None
    blocks = [kept[start : start + 4] for start in range(0, len(kept), 4)]
    for prefix in (False, True) if P else (False,):
        rows, batch, length, start = (slice(0, P), 1, P, 0) if prefix else (slice(P, None), B, S, P)
        q, k, v, p = blocks[0 if prefix else -1]
        if not p.numel():
            p = _probabilities(q, k, shape, scale, start)
        d_o = d_out[rows].view(batch, length, K, G, D).permute(2, 0, 3, 1, 4).reshape(K * batch, G * length, D)
        d_v = p.transpose(1, 2) @ d_o
        d_s = torch._softmax_backward_data(d_o @ v.transpose(1, 2), p, -1, p.dtype)
        d_q = (d_s @ k).mul_(scale).view(K, batch, G, length, D)
        d_k = (d_s.transpose(1, 2) @ q).mul_(scale).view(K, batch, -1, D)
        d_v = d_v.view(K, batch, -1, D)
        if prefix and d_prefix is not None:
            d_k, d_v = d_k + d_prefix[0], d_v + d_prefix[1]
        elif P:
            d_prefix = (d_k[:, :, :P].sum(1, keepdim=True), d_v[:, :, :P].sum(1, keepdim=True))
            d_k, d_v = d_k[:, :, P:], d_v[:, :, P:]
        block = d_qkv[rows].view(batch, length, K * (G + 2), D)
        cos, sin = shape.cos[start : start + length], -shape.sin[start : start + length]
        _rotate(d_q, block[:, :, : K * G].view(batch, length, K, G, D).permute(2, 0, 3, 1, 4), cos, sin)
        _rotate(d_k, block[:, :, K * G : K * (G + 1)].permute(2, 0, 1, 3), cos, sin)
        block[:, :, K * (G + 1) :].permute(2, 0, 1, 3).copy_(d_v)
    return d_qkv


def _probabilities(q: torch.Tensor, k: torch.Tensor, shape: _Shape, scale: float, start: int) -> torch.Tensor:
    """(K x batch, G x length, keys): softmax of scaled scores under the causal mask of rows from ``start`` on."""
    length = q.shape[1] // shape.queries_per_kv
    blocked = shape.blocked[start : start + length, : k.shape[1]].repeat(shape.queries_per_kv, 1)
    scores = torch.baddbmm(blocked[None].expand(q.shape[0], -1, -1), q, k.transpose(1, 2), alpha=scale)
    return scores.softmax(-1)


def _rotate(source: torch.Tensor, target: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> None:
    """Rotary embedding (..., length, dim), halves rotated against each other, written into ``target``."""
    half = source.shape[-1] // 2
    first, second = source[..., :half], source[..., half:]
    torch.mul(first, cos, out=target[..., :half]).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=target[..., half:]).addcmul_(first, sin)


def _sizes(shape: _Shape) -> tuple[int, int, int, int, int, int]:
    return shape.kv_heads, shape.queries_per_kv, shape.head_dim, shape.batch, shape.suffix, shape.prefix


# --- norm -------------------------------------------------------------------------------------------------------------


def _inverse_rms(x: torch.Tensor, eps: float) -> torch.Tensor:
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    inverse: torch.Tensor = (norm.square() / x.shape[-1] + eps).rsqrt()
    return inverse


def _norm_backward(
    d_residual: torch.Tensor, d_x: torch.Tensor, residual: torch.Tensor, rms: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """``d_residual`` plus the gradient through ``residual * rms * weight``."""
    d_normed = d_x * weight
    pull = (d_normed * residual).sum(-1, keepdim=True).mul_(rms.pow(3) / residual.shape[-1])
    total: torch.Tensor = torch.addcmul(d_residual, d_normed, rms).addcmul_(residual, pull, value=-1)
    return total


def _drops(module: Any) -> bool:
    return any(getattr(dropout, "p", 0) for dropout in module.lora_dropout.values())


def _biased(module: Any) -> bool:
    return any(b.bias is not None for b in module.lora_B.values()) or module.base_layer.bias is not None
