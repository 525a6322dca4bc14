"""Cross-entropy of completion tokens, with the language-model head applied only where there is a label.

The head of a small model is a large part of its arithmetic (28 of 135 million parameters here), and most positions of
a prompt-heavy batch carry no label. The loss and its gradient with respect to the hidden states are computed together,
a chunk of positions at a time, so the ``(positions, vocabulary)`` matrix never exists.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from forethought.training.data import IGNORE

CHUNK = 128
"""Positions scored at once: 128 x 49,152 logits are 25 MB in fp32."""
_TINY = torch.finfo(torch.float32).tiny


def completion_loss(
    hidden: torch.Tensor, head: torch.Tensor, labels: torch.Tensor, denominator: torch.Tensor | float
) -> torch.Tensor:
    """Sum over positions of -log p(label), divided by ``denominator``; a scalar in fp32.

    ``hidden`` is (positions, hidden size), ``head`` (vocabulary, hidden size), ``labels`` (positions). The products run
    in the dtype of ``hidden``; log-sum-exp and loss in fp32.
    """
    function: Any = _HeadLoss  # torch leaves ``apply`` untyped
    loss: torch.Tensor = function.apply(hidden, head, labels, float(denominator), torch.is_grad_enabled())
    return loss


def labelled_positions(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Flat positions of a (batch, length) block whose *next* token is labelled, and those next tokens."""
    following = torch.full_like(labels, IGNORE)
    following[:, :-1] = labels[:, 1:]
    flat = following.flatten()
    positions = (flat != IGNORE).nonzero().squeeze(1)
    return positions, flat[positions]


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, head: torch.Tensor, labels: torch.Tensor, denominator: float, train: bool
    ) -> torch.Tensor:
        train_head = train and ctx.needs_input_grad[1]
        with torch.autocast(hidden.device.type, enabled=False):
            weight = head.to(hidden.dtype)
            total = torch.zeros((), device=hidden.device)
            d_hidden = torch.empty_like(hidden) if train else None
            d_head = torch.zeros_like(head, dtype=torch.float32) if train_head else None
            scratch = _Scratch(min(CHUNK, hidden.shape[0]), weight)
            for start in range(0, hidden.shape[0], CHUNK):
                rows = slice(start, start + CHUNK)
                probabilities, logits = scratch.softmax(hidden[rows], weight)
                target = labels[rows, None]
                total -= probabilities.gather(1, target).clamp_(min=_TINY).log_().sum()
                if d_hidden is None:
                    continue
                probabilities.scatter_add_(1, target, torch.full_like(target, -1.0, dtype=torch.float32))
                d_logits = logits.copy_(probabilities)
                d_hidden[rows] = d_logits @ weight
                if d_head is not None:
                    d_head += d_logits.T @ hidden[rows]
        ctx.save_for_backward(d_hidden, d_head)
        ctx.denominator = denominator
        return total / denominator

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        d_hidden, d_head = ctx.saved_tensors
        scale = grads[0] / ctx.denominator
        return d_hidden * scale, None if d_head is None else d_head * scale, None, None, None


class _Scratch:
    """Memory for one chunk of logits, used again for each: fresh pages would cost more than the arithmetic on them."""

    def __init__(self, rows: int, weight: torch.Tensor) -> None:
        vocabulary = weight.shape[0]
        self._logits = weight.new_empty(rows, vocabulary)
        self._wide = weight.new_empty(rows, vocabulary, dtype=torch.float32)
        self._probabilities = torch.empty_like(self._wide)

    def softmax(self, hidden: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Probabilities in fp32, and the memory of the logits, free for their gradient."""
        rows = hidden.shape[0]
        logits, wide, probabilities = self._logits[:rows], self._wide[:rows], self._probabilities[:rows]
        torch.mm(hidden, weight.T, out=logits)
        torch.softmax(wide.copy_(logits), -1, out=probabilities)
        return probabilities, logits
