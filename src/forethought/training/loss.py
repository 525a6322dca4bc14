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

CHUNK = 256
"""Positions scored at once: 256 x 49,152 logits are 50 MB in fp32."""


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
            for start in range(0, hidden.shape[0], CHUNK):
                rows = slice(start, start + CHUNK)
                target = labels[rows, None]
                logits = (hidden[rows] @ weight.T).float()
                log_sum = logits.logsumexp(-1, keepdim=True)
                total += (log_sum - logits.gather(1, target)).sum()
                if d_hidden is None:
                    continue
                d_logits = logits.sub_(log_sum).exp_()
                d_logits.scatter_add_(1, target, torch.full_like(log_sum, -1.0))
                d_logits = d_logits.mul_(1 / denominator).to(hidden.dtype)
                d_hidden[rows] = d_logits @ weight
                if d_head is not None:
                    d_head += d_logits.T @ hidden[rows]
        ctx.save_for_backward(d_hidden, d_head.to(head.dtype) if d_head is not None else None)
        return total / denominator

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        d_hidden, d_head = ctx.saved_tensors
        return d_hidden * grads[0], None if d_head is None else d_head * grads[0], None, None, None
