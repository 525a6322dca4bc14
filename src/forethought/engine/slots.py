"""The key/value cache: one row for each sequence in the batch, each with its own length.

Rows ``0..n-1`` are the active ones. A finished row's place is taken by the last row, so the batch stays dense.
Values lie as ``[rows, heads, columns, head size]``, keys alike or, where a decoder wants to multiply by them as they
are, as ``[rows, heads, head size, columns]``. Column ``p`` holds position ``p``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

_COLUMN_STEP = 64
Axis = Literal[2, 3]
"""Where the columns are."""


@dataclass(frozen=True)
class Prefix:
    """Keys and values of a run of tokens that several prompts begin with."""

    token_ids: tuple[int, ...]
    tensors: tuple[torch.Tensor, ...]
    """One row of every stored tensor, cut to the tokens."""


class SlotCache:
    """Grows on demand. Zeroed when allocated: a masked column may hold anything but NaN."""

    def __init__(self, dtype: torch.dtype, device: torch.device, *, key_axis: Axis) -> None:
        self.key_axis: Axis = key_axis
        self._stored: dict[tuple[int, Axis, str], torch.Tensor] = {}
        self._dtype, self._device = dtype, device
        self._rows = self._columns = 0

    def reserve(self, rows: int, columns: int) -> None:
        """Room for so many rows and columns; what is stored stays."""
        if rows <= self._rows and columns <= self._columns:
            return
        if rows > self._rows:
            self._rows = max(rows, min(2 * self._rows, rows + 32))
        if columns > self._columns:
            wanted = max(columns, self._columns * 5 // 4)
            self._columns = -(-wanted // _COLUMN_STEP) * _COLUMN_STEP
        for key, old in self._stored.items():
            axis = key[1]
            self._stored[key] = new = self._allocate(old.shape[1], old.shape[5 - axis], axis)
            new[: old.shape[0]].narrow(axis, 0, old.shape[axis]).copy_(old)

    def keys(self, layer: int, heads: int, size: int) -> torch.Tensor:
        """The storage of a layer's keys."""
        return self._tensor((layer, self.key_axis, "keys"), heads, size)

    def values(self, layer: int, heads: int, size: int) -> torch.Tensor:
        """The storage of a layer's values."""
        return self._tensor((layer, 2, "values"), heads, size)

    def copy_row(self, source: int, target: slice, length: int) -> None:
        """Copies the first ``length`` columns of a row into other rows."""
        for (_, axis, _), stored in self._stored.items():
            stored[target].narrow(axis, 0, length).copy_(stored[source].narrow(axis - 1, 0, length))

    def read_prefix(self, row: int, token_ids: tuple[int, ...]) -> Prefix:
        """A copy of a row's first columns, which hold these tokens."""
        length = len(token_ids)
        parts = (stored[row].narrow(axis - 1, 0, length).clone() for (_, axis, _), stored in self._stored.items())
        return Prefix(token_ids, tuple(parts))

    def write_prefix(self, prefix: Prefix, rows: slice, length: int) -> None:
        """Puts the first ``length`` columns of a prefix into rows."""
        for ((_, axis, _), stored), part in zip(self._stored.items(), prefix.tensors, strict=True):
            stored[rows].narrow(axis, 0, length).copy_(part.narrow(axis - 1, 0, length))

    def _tensor(self, key: tuple[int, Axis, str], heads: int, size: int) -> torch.Tensor:
        if key not in self._stored:
            self._stored[key] = self._allocate(heads, size, key[1])
        return self._stored[key]

    def _allocate(self, heads: int, size: int, axis: Axis) -> torch.Tensor:
        inner = (self._columns, size) if axis == 2 else (size, self._columns)
        return torch.zeros((self._rows, heads, *inner), dtype=self._dtype, device=self._device)


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
    def decode(lengths: list[int], device: torch.device) -> Span:
        """``lengths`` counts the tokens already cached in each row; the new one goes right after."""
        positions = torch.tensor(lengths, device=device)
        rows = torch.arange(len(lengths), device=device)
        return Span(0, len(lengths), 1, 0, max(lengths) + 1, positions, rows)

    def position_ids(self, device: torch.device) -> torch.Tensor:
        """``[rows or 1, tokens]``."""
        if self.positions is not None:
            return self.positions[:, None]
        return torch.arange(self.start, self.start + self.tokens, device=device)[None]

    def visible(self, device: torch.device) -> torch.Tensor:
        """``[rows or 1, tokens, columns]``: may this token look at this column?"""
        columns = torch.arange(self.columns, device=device)
        return columns <= self.position_ids(device)[..., None]

    def store(self, stored: torch.Tensor, new: torch.Tensor, axis: Axis = 2) -> torch.Tensor:
        """Writes ``new``, laid out like ``stored``, at this pass's columns; returns the view attention reads."""
        rows = stored[self.first : self.first + self.rows]
        if self.positions is None:
            rows.narrow(axis, self.start, self.tokens).copy_(new)
        elif axis == 2:
            rows[self.row_index, :, self.positions] = new[:, :, 0]
        else:
            rows[self.row_index, :, :, self.positions] = new[..., 0]
        return rows.narrow(axis, 0, self.columns)

    @property
    def is_decode(self) -> bool:
        """One token a row, each at its own position."""
        return self.positions is not None
