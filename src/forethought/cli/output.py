"""What commands print: a table for people, JSON for programs (``--json``), progress on standard error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Column = tuple[str, Callable[[Any], object]]


def console(*, stderr: bool = False) -> Console:
    """A console that never interprets brackets in user or model text as markup."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


def emit_list(
    records: Sequence[BaseModel | Mapping[str, Any]], columns: Sequence[Column], *, as_json: bool, wrap: bool = False
) -> None:
    """A list of records as a table of ``columns``, or all their fields as JSON.

    The last column gets what room is left: what does not fit is cut there, or wrapped with ``wrap``. The first one,
    which names the record, is kept whole where there is any room for it.
    """
    if as_json:
        emit_json([_plain(record) for record in records])
        return
    if not records:
        console(stderr=True).print("nothing yet")
        return
    from rich.table import Table

    out = console()
    rows = [[printable(read(record)) for _, read in columns] for record in records]
    widths = [max(len(header), *(len(row[at]) for row in rows)) for at, (header, _) in enumerate(columns[:-1])]
    room = max(10, out.width - sum(widths) - 2 * len(widths))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for at, (width, (header, _)) in enumerate(zip([*widths, None], columns, strict=True)):
        table.add_column(header, max_width=width, overflow="fold", no_wrap=at == 0)
    for row in rows:
        last = row[-1] if wrap or len(row[-1]) <= room else row[-1][: room - 1] + "…"
        table.add_row(*row[:-1], last)
    out.print(table)


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
        return f"{value:.3g}"
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in str(value))


def _plain(record: BaseModel | Mapping[str, Any]) -> dict[str, Any]:
    return dict(record) if isinstance(record, Mapping) else record.model_dump(mode="json")
