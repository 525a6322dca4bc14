"""Which examples share a batch, and how they become tensors.

Examples of similar length share a batch, so little is spent on padding: a seeded shuffle is cut into megabatches, each
is sorted by length and cut into batches, and the batches are shuffled again. Rows are padded on the right, where a
causal model's real positions never look.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import Sampler

from forethought.training.data import IGNORE

MEGABATCH = 16
"""Batches that are sorted together: more means less padding and less shuffling."""


class LengthGroupedSampler(Sampler[int]):
    """Row numbers in training order. The order is a function of seed and ``epoch`` alone, so a resumed run repeats it.

    Batches are consecutive runs of ``batch_size``; only the last may be short. The first holds the longest row, so
    that running out of memory happens at once or never.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed * 100_003 + self.epoch)
        order: list[int] = torch.randperm(len(self._lengths), generator=generator).tolist()
        full = len(order) - len(order) % self._batch_size
        longest = max(range(len(order)), key=lambda position: self._lengths[order[position]])
        if longest >= full > 0:  # not into the short batch at the end
            order[0], order[longest] = order[longest], order[0]
        batches: list[list[int]] = []
        size = MEGABATCH * self._batch_size
        for start in range(0, full, size):
            mega = sorted(order[start : min(start + size, full)], key=lambda row: -self._lengths[row])
            batches += [mega[first : first + self._batch_size] for first in range(0, len(mega), self._batch_size)]
        shuffled = [batches[position] for position in torch.randperm(len(batches), generator=generator).tolist()]
        if shuffled:
            first = max(range(len(shuffled)), key=lambda position: self._lengths[shuffled[position][0]])
            shuffled.insert(0, shuffled.pop(first))
        yield from (row for batch in shuffled for row in batch)
        yield from order[full:]


@dataclass(frozen=True)
class Collator:
    """Rows of ``input_ids`` and ``labels`` to ``(batch, longest)`` tensors, padded on the right."""

    pad_id: int

    def __call__(self, rows: Sequence[dict[str, Sequence[int]]]) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in rows)
        ids = torch.full((len(rows), longest), self.pad_id)
        labels = torch.full((len(rows), longest), IGNORE)
        mask = torch.zeros((len(rows), longest), dtype=torch.long)
        for position, row in enumerate(rows):
            length = len(row["input_ids"])
            ids[position, :length] = torch.as_tensor(row["input_ids"])
            labels[position, :length] = torch.as_tensor(row["labels"])
            mask[position, :length] = 1
        return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def split_by_tokens(batch: dict[str, torch.Tensor], max_tokens: int) -> list[dict[str, torch.Tensor]]:
    """The batch in parts of at most ``max_tokens`` padded tokens (at least one row each), in order.

    Each part is cut to its own longest row. Losses that share one denominator sum to the whole batch's loss.
    """
    rows, width = batch["input_ids"].shape
    each = max(1, max_tokens // width)
    if each >= rows:
        return [batch]
    parts = []
    for start in range(0, rows, each):
        part = {name: tensor[start : start + each] for name, tensor in batch.items()}
        longest = int(part["attention_mask"].sum(1).max())
        parts.append({name: tensor[:, :longest] for name, tensor in part.items()})
    return parts
