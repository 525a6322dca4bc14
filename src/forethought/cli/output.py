"""What commands print: a table for people, JSON for programs (``--json``), progress on standard error."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from forethought.core.ids import short_id

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Column = tuple[str, Callable[[Any], object]]
GAP = 2
"""Blanks between columns."""
READABLE_TEXT = 20
"""Dates give way before a text is cut to fewer cells."""
SHORTEST_TEXT = 10
"""Columns are left out before a text is cut to fewer cells."""


def console(*, stderr: bool = False) -> Console:
    """A console that never interprets brackets in user or model text as markup."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


def emit_list(
    records: Sequence[BaseModel | Mapping[str, Any]],
    columns: Sequence[Column],
    *,
    as_json: bool,
    wrap: bool = False,
    nothing: str = "nothing yet",
) -> None:
    """A list of records as a table of ``columns``, or all their fields as JSON; ``nothing`` is said of an empty one.

    Columns stand in the order of their importance: where a terminal is narrow, dates go first, then texts are cut,
    then the last columns are left out. ``wrap`` wraps the last column instead. The first column is always whole.
    """
    if as_json:
        emit_json([_plain(record) for record in records])
        return
    if not records:
        console(stderr=True).print(printable(nothing), soft_wrap=True)
        return
    out = console()
    read = [_TableColumn.of(header, [cell(record) for record in records]) for header, cell in columns]
    shown = [*read[:-1], read[-1].squeezed(out.width, read)] if wrap else fitted(read, out.width)
    out.print("  ".join(column.padded(column.header) for column in shown).rstrip(), style="bold", soft_wrap=True)
    for row in range(len(records)):
        for line in _lines([column.cells[row] for column in shown], shown, wrap=wrap):
            out.print(line, soft_wrap=True)
    if left_out := [column.header for column in read if column.header not in {other.header for other in shown}]:
        console(stderr=True).print(f"not shown in a window this narrow: {', '.join(left_out)}", style="dim")


def emit_one(record: BaseModel | Mapping[str, Any], *, as_json: bool, hide: Iterable[str] = ()) -> None:
    """One record, field by field."""
    plain = _plain(record)
    if as_json:
        emit_json(plain)
        return
    shown = {key: value for key, value in plain.items() if key not in set(hide) and value not in (None, "", [], {})}
    width = max((len(key) for key in shown), default=0)
    out = console()
    for key, value in shown.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
        first, *rest = printable(text).splitlines() or [""]
        out.print(f"{key:<{width}}  {first}", soft_wrap=True)
        for line in rest:
            out.print(f"{'':<{width}}  {line}", soft_wrap=True)


def emit_json(value: object) -> None:
    """JSON on standard output, nothing else there."""
    print(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False))


def printable(value: object) -> str:
    """Text that is safe on a terminal: control characters, escape sequences among them, are shown, not sent."""
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in str(value))


def _plain(record: BaseModel | Mapping[str, Any]) -> dict[str, Any]:
    return dict(record) if isinstance(record, Mapping) else record.model_dump(mode="json")


# --- tables -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _TableColumn:
    """A column as text; widths are terminal cells."""

    header: str
    cells: list[str]
    width: int
    is_date: bool = False
    is_text: bool = False
    """It may be cut. Ids, dates and numbers, units and ranges among them, may not."""

    @classmethod
    def of(cls, header: str, values: Sequence[object]) -> Self:
        is_id = header == "id"
        is_date = any(isinstance(value, datetime) for value in values)
        cells = [" ".join(printable(short_id(str(value)) if is_id else value).splitlines()) for value in values]
        is_text = not is_id and not is_date and any(char.isalpha() for cell in cells for char in cell)
        return cls(header, cells, _widest(header, cells), is_date, is_text)

    def by_day(self) -> Self:
        """Days in place of moments."""
        cells = [cell[: len("2026-01-31")] for cell in self.cells]
        return replace(self, cells=cells, width=_widest(self.header, cells)) if self.is_date else self

    def least(self, floor: int) -> int:
        """The width that is enough when texts are cut to ``floor`` cells."""
        return max(len(self.header), min(self.width, floor)) if self.is_text else self.width

    def squeezed(self, room: int, columns: Sequence[_TableColumn]) -> Self:
        """The last of ``columns``, as wide as the others leave room for."""
        taken = sum(column.width + GAP for column in columns[:-1])
        return replace(self, width=max(SHORTEST_TEXT, min(self.width, room - taken)))

    def padded(self, cell: str) -> str:
        from rich.cells import cell_len, set_cell_size

        if cell_len(cell) <= self.width:
            return set_cell_size(cell, self.width)
        return set_cell_size(cell, self.width - 1).rstrip() + "…"


def fitted(columns: Sequence[_TableColumn], room: int) -> list[_TableColumn]:
    """The columns that fit into ``room`` cells, their texts cut where they must be."""
    first, *others = columns
    by_day = [column.by_day() for column in others]
    dateless = [column for column in others if not column.is_date]
    fewer = [dateless[:count] for count in range(len(dateless), -1, -1)]
    attempts = [(others, READABLE_TEXT), (by_day, READABLE_TEXT), (dateless, READABLE_TEXT)]
    for rest, floor in [*attempts, *((rest, SHORTEST_TEXT) for rest in fewer)]:
        widths = [first.width, *(column.least(floor) for column in rest)]
        spare = room - sum(widths) - GAP * len(rest)
        if spare >= 0:
            return [first, *_grown(rest, widths[1:], spare)]
    return [first]


def _grown(columns: Sequence[_TableColumn], widths: Sequence[int], spare: int) -> list[_TableColumn]:
    """The columns at these widths, and the spare cells dealt out to the narrowest of those that are cut."""
    grown = list(widths)
    while spare and (cut := [at for at, column in enumerate(columns) if grown[at] < column.width]):
        grown[min(cut, key=lambda at: grown[at])] += 1
        spare -= 1
    return [replace(column, width=width) for column, width in zip(columns, grown, strict=True)]


def _lines(cells: Sequence[str], columns: Sequence[_TableColumn], *, wrap: bool) -> Iterator[str]:
    *before, last = zip(columns, cells, strict=True)
    start = "".join(column.padded(cell) + " " * GAP for column, cell in before)
    pieces = textwrap.wrap(last[1], last[0].width) or [""] if wrap else [last[0].padded(last[1])]
    yield (start + pieces[0]).rstrip()
    indent = " " * sum(column.width + GAP for column, _ in before)
    yield from (indent + piece for piece in pieces[1:])


def _widest(header: str, cells: Sequence[str]) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, (header, *cells)))
