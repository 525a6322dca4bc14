"""The key/value cache: one row for each sequence in the batch, each with its own length.

Rows ``0..n-1`` are the active ones. A finished row's place is taken by the last row, so the batch stays dense.
Keys and values of a layer each lie as ``[rows, heads, columns, head size]``; column ``p`` holds position ``p``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

_COLUMN_STEP = 32
_Part = tuple[int, Literal["keys", "values"]]


@dataclass(frozen=True)
class Prefix:
    """Keys and values of a run of tokens that several prompts begin with."""

    token_ids: tuple[int, ...]
    tensors: tuple[torch.Tensor, ...]
    """One row of every stored tensor, cut to the tokens."""


class SlotCache:
    """Grows on demand. Zeroed when allocated: a masked column may hold anything but NaN."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self._stored: dict[_Part, torch.Tensor] = {}
        self._dtype, self._device = dtype, device
        self._rows = self._columns = 0

    @property
    def columns(self) -> int:
        """Columns there are room for. Attention reads all of them: oneDNN copies what is not one contiguous piece,
        which costs more than the masked columns."""
        return self._columns

    def reserve(self, rows: int, columns: int) -> None:
        """Room for so many rows and columns, and not for many more columns; what they hold stays."""
        too_wide = columns + _COLUMN_STEP < self._columns // 2
        if rows <= self._rows and columns <= self._columns and not too_wide:
            return
        if rows > self._rows:
            self._rows = max(rows, min(2 * self._rows, rows + 32))
        if columns > self._columns or too_wide:
            self._columns = -(-columns * 5 // (4 * _COLUMN_STEP)) * _COLUMN_STEP
        for part, old in self._stored.items():
            self._stored[part] = new = self._allocate(old.shape[1], old.shape[3])
            kept = min(old.shape[2], self._columns)
            new[: old.shape[0], :, :kept] = old[:, :, :kept]

    def keys(self, layer: int, heads: int, size: int) -> torch.Tensor:
        """The storage of a layer's keys."""
        return self._tensor((layer, "keys"), heads, size)

    def values(self, layer: int, heads: int, size: int) -> torch.Tensor:
        """The storage of a layer's values."""
        return self._tensor((layer, "values"), heads, size)

    def copy_row(self, source: int, target: slice, length: int) -> None:
        """Copies the first ``length`` columns of a row into other rows."""
        for stored in self._stored.values():
            stored[target, :, :length] = stored[source, :, :length]

    def read_prefix(self, row: int, token_ids: tuple[int, ...]) -> Prefix:
        """A copy of a row's first columns, which hold these tokens."""
        length = len(token_ids)
        return Prefix(token_ids, tuple(stored[row, :, :length].clone() for stored in self._stored.values()))

    def write_prefix(self, prefix: Prefix, rows: slice, length: int) -> None:
        """Puts the first ``length`` columns of a prefix into rows."""
        for stored, part in zip(self._stored.values(), prefix.tensors, strict=True):
            stored[rows, :, :length] = part[:, :length]

    def _tensor(self, part: _Part, heads: int, size: int) -> torch.Tensor:
        if part not in self._stored:
            self._stored[part] = self._allocate(heads, size)
        return self._stored[part]

    def _allocate(self, heads: int, size: int) -> torch.Tensor:
        return torch.zeros((self._rows, heads, self._columns, size), dtype=self._dtype, device=self._device)


@dataclass(frozen=True)
class Span:
    """Where one forward pass reads and writes: rows ``first .. first + n - 1``.

    A prefill (``positions`` None) writes ``tokens`` columns from ``start`` in every row, right-padded. A decode step
    writes one column a row, at ``positions``.
    """

    first: int
    rows: int
    tokens: int
    start: int
    columns: int
    """How many columns attention looks at."""
    positions: torch.Tensor | None = None
    row_index: torch.Tensor | None = None

    @staticmethod
    def prefill(first: int, rows: int, tokens: int, start: int) -> Span:
        return Span(first, rows, tokens, start, start + tokens)

    @staticmethod
    def decode(lengths: list[int], columns: int, device: torch.device) -> Span:
        """``lengths`` counts the tokens already cached in each row; the new one goes right after."""
        positions = torch.tensor(lengths, device=device)
        rows = torch.arange(len(lengths), device=device)
        return Span(0, len(lengths), 1, 0, columns, positions, rows)

    def position_ids(self, device: torch.device) -> torch.Tensor:
        """``[rows or 1, tokens]``."""
        if self.positions is not None:
            return self.positions[:, None]
        return torch.arange(self.start, self.start + self.tokens, device=device)[None]

    def visible(self, device: torch.device) -> torch.Tensor:
        """``[rows or 1, tokens, columns]``: may this token look at this column?"""
        columns = torch.arange(self.columns, device=device)
        return columns <= self.position_ids(device)[..., None]

    def store(self, stored: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        """Writes ``new [rows, heads, tokens, size]`` at this pass's columns; returns the view attention reads."""
        rows = stored[self.first : self.first + self.rows]
        if self.positions is None:
            rows[:, :, self.start : self.start + self.tokens] = new
        else:
            rows[self.row_index, :, self.positions] = new[:, :, 0]
        return rows[:, :, : self.columns]

    @property
    def is_decode(self) -> bool:
        """One token a row, each at its own position."""
        return self.positions is not None
