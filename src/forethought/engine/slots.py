"""The key/value cache: one row for each sequence in the batch, each with its own length.

Rows ``0..n-1`` are the active ones. A finished row's place is taken by the last row, so the batch stays dense.
Layout of a layer: ``[rows, key heads then value heads, columns, head size]``; column ``p`` holds position ``p``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

_COLUMN_STEP = 64


@dataclass(frozen=True)
class Prefix:
    """Keys and values of a run of tokens that several prompts begin with."""

    token_ids: tuple[int, ...]
    layers: tuple[torch.Tensor, ...]
    """Each ``[1, heads, tokens, head size]``."""


class SlotCache:
    """Grows on demand. Zeroed when allocated: a masked column may hold anything but NaN."""

    def __init__(self, layers: int, dtype: torch.dtype, device: torch.device) -> None:
        self._layers: list[torch.Tensor | None] = [None] * layers
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
        for index, old in enumerate(self._layers):
            if old is not None:
                self._layers[index] = new = self._allocate(old.shape[1], old.shape[3])
                new[: old.shape[0], :, : old.shape[2]] = old

    def layer(self, index: int, heads: int, head_size: int) -> torch.Tensor:
        """The storage of a layer; ``heads`` counts key and value heads."""
        stored = self._layers[index]
        if stored is None:
            self._layers[index] = stored = self._allocate(heads, head_size)
        return stored

    def copy_row(self, source: int, target: slice, length: int) -> None:
        """Copies the first ``length`` columns of a row into other rows."""
        for stored in self._layers:
            if stored is not None:
                stored[target, :, :length] = stored[source : source + 1, :, :length]

    def read_prefix(self, row: int, token_ids: tuple[int, ...]) -> Prefix:
        """A copy of a row's first columns, which hold these tokens."""
        length = len(token_ids)
        return Prefix(
            token_ids, tuple(stored[row : row + 1, :, :length].clone() for stored in self._layers if stored is not None)
        )

    def write_prefix(self, prefix: Prefix, rows: slice, length: int) -> None:
        """Puts the first ``length`` columns of a prefix into rows."""
        for stored, layer in zip((s for s in self._layers if s is not None), prefix.layers, strict=True):
            stored[rows, :, :length] = layer[:, :, :length]

    def _allocate(self, heads: int, head_size: int) -> torch.Tensor:
        shape = (self._rows, heads, self._columns, head_size)
        return torch.zeros(shape, dtype=self._dtype, device=self._device)


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
    positions: torch.Tensor | None
    columns: int
    """How many columns attention looks at."""

    @staticmethod
    def prefill(first: int, rows: int, tokens: int, start: int) -> Span:
        return Span(first, rows, tokens, start, None, start + tokens)

    @staticmethod
    def decode(lengths: list[int], device: torch.device) -> Span:
        """``lengths`` counts the tokens already cached in each row; the new one goes right after."""
        positions = torch.tensor(lengths, device=device)
        return Span(0, len(lengths), 1, 0, positions, max(lengths) + 1)

    def position_ids(self, device: torch.device) -> torch.Tensor:
        """``[rows or 1, tokens]``."""
        if self.positions is not None:
            return self.positions[:, None]
        return torch.arange(self.start, self.start + self.tokens, device=device)[None]

    def visible(self, device: torch.device) -> torch.Tensor:
        """``[rows or 1, tokens, columns]``: may this token look at this column?"""
        columns = torch.arange(self.columns, device=device)
        return columns <= self.position_ids(device)[..., None]

    def store(self, layer: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        """Writes ``new [rows, heads, tokens, size]`` and returns the view attention reads."""
        rows = slice(self.first, self.first + self.rows)
        if self.positions is None:
            layer[rows, :, self.start : self.start + self.tokens] = new
        else:
            layer[torch.arange(self.rows, device=layer.device), :, self.positions] = new[:, :, 0]
        return layer[rows, :, : self.columns]
