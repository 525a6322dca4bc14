"""Draws the next token of every row: temperature, top-k, top-p, and its log-probability.

A row's randomness is one uniform number per token from its own generator, mapped through the inverse of the cumulative
distribution. So a row's text depends on its seed and its logits, never on who shares the batch.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from forethought.core.records import Sampling

_NUCLEUS = 64
"""Candidates first looked at for top-p."""


@dataclass(frozen=True)
class Draw:
    """What one row asks of the sampler at one step."""

    sampling: Sampling
    uniform: float
    """In [0, 1); unused when greedy."""
    logprob: bool


def request_random(seed: int | None, repetition: int = 0) -> random.Random:
    """The generator of one request. The n-th identical request of a call is another sample of the same seed."""
    if seed is None:
        return random.Random()
    return random.Random(f"{seed}:{repetition}")


def draw_tokens(logits_NV: torch.Tensor, draws: Sequence[Draw]) -> tuple[list[int], list[float | None]]:
    """Token and log-probability of each row; ``None`` where not asked for.

    The log-probability is natural, under the distribution sampled from; a greedy row's under the plain softmax.
    """
    tokens: list[int] = [0] * len(draws)
    logprobs: list[float | None] = [None] * len(draws)
    greedy = [row for row, draw in enumerate(draws) if draw.sampling.temperature == 0]
    plain = [row for row, draw in enumerate(draws) if row not in set(greedy) and not _is_filtered(draw.sampling)]
    filtered = [row for row, draw in enumerate(draws) if _is_filtered(draw.sampling) and row not in set(greedy)]
    for rows, method in ((greedy, _greedy), (plain, _plain), (filtered, _filtered)):
        if not rows:
            continue
        part = logits_NV if len(rows) == len(draws) else logits_NV[rows]
        asked = [draws[row] for row in rows]
        drawn, logs = method(part, asked)
        for row, token, log, draw in zip(rows, drawn.tolist(), logs, asked, strict=True):
            tokens[row] = token
            logprobs[row] = log if draw.logprob else None
    return tokens, logprobs


def _is_filtered(sampling: Sampling) -> bool:
    return sampling.top_k > 0 or sampling.top_p < 1.0


def _greedy(logits_NV: torch.Tensor, draws: Sequence[Draw]) -> tuple[torch.Tensor, list[float]]:
    best, tokens = logits_NV.max(dim=-1)
    if not any(draw.logprob for draw in draws):
        return tokens, [0.0] * len(draws)
    return tokens, (best - logits_NV.logsumexp(dim=-1)).tolist()


def _plain(logits_NV: torch.Tensor, draws: Sequence[Draw]) -> tuple[torch.Tensor, list[float]]:
    probs_NV = (logits_NV / _temperatures(logits_NV, draws)).softmax(dim=-1)
    return _invert(probs_NV, draws)


def _filtered(
    logits_NV: torch.Tensor, draws: Sequence[Draw], width: int = _NUCLEUS
) -> tuple[torch.Tensor, list[float]]:
    """Top-k first, then top-p of what is left, as transformers orders them.

    Looks at the ``width`` best tokens; rows that need more are drawn again among sixteen times as many.
    """
    vocabulary, device = logits_NV.shape[-1], logits_NV.device
    width = min(max([width, *(draw.sampling.top_k for draw in draws)]), vocabulary)
    scaled_NV = logits_NV / _temperatures(logits_NV, draws)
    top_k = torch.tensor([draw.sampling.top_k or vocabulary for draw in draws], device=device)[:, None]
    top_p = torch.tensor([draw.sampling.top_p for draw in draws], device=device)[:, None]
    values_NK, ids_NK = scaled_NV.topk(width, dim=-1)
    values_NK = values_NK.masked_fill(torch.arange(width, device=device) >= top_k, -torch.inf)
    # Without top-k the tokens not looked at share the mass too; with it, only the k best do.
    mass_N1 = torch.where(
        top_k < vocabulary, values_NK.logsumexp(-1, keepdim=True), scaled_NV.logsumexp(-1, keepdim=True)
    )
    probs_NK = (values_NK - mass_N1).exp()
    kept_NK = probs_NK.masked_fill(probs_NK.cumsum(dim=-1) - probs_NK >= top_p, 0.0)
    chosen, logs = _invert(kept_NK / kept_NK.sum(dim=-1, keepdim=True), draws)
    tokens = ids_NK.gather(-1, chosen[:, None])[:, 0]
    cut_short = (kept_NK[:, -1] > 0) & (top_k[:, 0] > width)
    rows = cut_short.nonzero()[:, 0].tolist() if width < vocabulary else []
    if rows:
        again, again_logs = _filtered(logits_NV[rows], [draws[row] for row in rows], width * 16)
        tokens[rows] = again
        for row, log in zip(rows, again_logs, strict=True):
            logs[row] = log
    return tokens, logs


def _invert(probs_NK: torch.Tensor, draws: Sequence[Draw]) -> tuple[torch.Tensor, list[float]]:
    """The first index whose cumulative probability exceeds the row's uniform number."""
    cumulative_NK = probs_NK.cumsum(dim=-1)
    # Below 1 by more than float32 resolves, so that the threshold stays inside the last token with any mass.
    uniforms = torch.tensor([min(d.uniform, 1 - 1e-6) for d in draws], dtype=probs_NK.dtype, device=probs_NK.device)
    thresholds = uniforms * cumulative_NK[:, -1]
    chosen = torch.searchsorted(cumulative_NK, thresholds[:, None], right=True)[:, 0].clamp_(max=probs_NK.shape[-1] - 1)
    return chosen, probs_NK.gather(-1, chosen[:, None])[:, 0].log().tolist()


def _temperatures(logits_NV: torch.Tensor, draws: Sequence[Draw]) -> torch.Tensor:
    return torch.tensor([d.sampling.temperature for d in draws], device=logits_NV.device)[:, None]
