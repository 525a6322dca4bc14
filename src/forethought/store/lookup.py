"""Finding one row by its id, the start or end of its id, or its name, and saying what is near when there is none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError
from sqlalchemy import ColumnElement, Connection, Row, Table, and_, func, or_, select

from forethought.errors import NotFoundError, RecordError, did_you_mean
from forethought.store.keys import is_id

CHUNK = 2000
"""Ids in one query: below every database's limit of parameters."""
SHORTEST_PART = 4
CANDIDATES = 3
"""So many ids are named when several fit."""
_MEMBERSHIP_LOCK = 0x53504C54
R = TypeVar("R", bound=BaseModel)
T = TypeVar("T")


def find(
    connection: Connection, table: Table, given: str, what: str, *where: ColumnElement[bool], named: bool = False
) -> Row[Any]:
    """The row with this id, this name (``named``), or the one whose id starts so, or ends so where rows have no names.

    NotFoundError otherwise, with the candidates where several fit.
    """
    if is_id(given):
        exact = connection.execute(select(table).where(table.c.id == given, *where)).first()
        if exact is not None:
            return exact
    if named and (by_name := _by_name(connection, table, given, *where)) is not None:
        return by_name
    if is_id(given) and len(given) >= SHORTEST_PART:
        fitting = select(table.c.id).where(_fits(table, given, ends=not named), *where).order_by(table.c.id.desc())
        found = connection.execute(fitting.limit(CANDIDATES + 1)).scalars().all()
        if len(found) == 1:
            return connection.execute(select(table).where(table.c.id == found[0])).one()
        if found:
            shown = ", ".join(found[:CANDIDATES]) + (", …" if len(found) > CANDIDATES else "")
            raise NotFoundError(f"Several ids of a {what} fit '{given}': {shown}.", hint="Write more of it.")
    names: Iterable[str] = connection.execute(select(table.c.name).where(*where)).scalars() if named else ()
    raise NotFoundError(f"There is no {what} {given[:80]!r}.", hint=_near(given, names, named))


def _fits(table: Table, given: str, *, ends: bool) -> ColumnElement[bool]:
    # Ids are ASCII, so everything that starts so sorts between the start and the start with DEL behind it.
    starting = and_(table.c.id >= given, table.c.id < given + "\x7f")
    ending = func.substr(table.c.id, func.length(table.c.id) - len(given) + 1) == given
    return or_(starting, ending) if ends else starting


def _by_name(connection: Connection, table: Table, given: str, *where: ColumnElement[bool]) -> Row[Any] | None:
    if "\0" in given or len(given) > 64:
        return None
    return connection.execute(select(table).where(table.c.name == given, *where)).first()


def _near(given: str, names: Iterable[str], named: bool) -> str:
    return did_you_mean(given, names) if named else "Give its id, or the first or last characters of it."


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """The items, ``size`` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def missing(connection: Connection, table: Table, ids: Iterable[str]) -> list[str]:
    """Which of the ids no row of the table has, in the order given."""
    wanted = list(dict.fromkeys(ids))
    known: set[str] = set()
    for chunk in chunks([one for one in wanted if is_id(one)]):
        known.update(connection.execute(select(table.c.id).where(table.c.id.in_(chunk))).scalars())
    return [one for one in wanted if one not in known]


def refuse_missing(connection: Connection, table: Table, ids: Iterable[str], what: str) -> None:
    """NotFoundError that names the first three ids that are not there."""
    absent = missing(connection, table, ids)
    if absent:
        shown = ", ".join(repr(one[:80]) for one in absent[:3])
        raise NotFoundError(f"There is no {what} {shown} ({len(absent)} missing).", hint=f"Add the {what} first.")


def records_by_id(connection: Connection, table: Table, kind: type[R], ids: Sequence[str]) -> dict[str, R]:
    """Id -> record, in the order of ``ids``. NotFoundError when one is missing."""
    found: dict[str, R] = {}
    for chunk in chunks([one for one in ids if is_id(one)]):
        rows = connection.execute(select(table.c.id, table.c.record).where(table.c.id.in_(chunk)))
        found.update({row.id: kind.model_validate_json(row.record) for row in rows})
    absent = [one for one in ids if one not in found]
    if absent:
        raise NotFoundError(f"There is no {kind.__name__.lower()} {absent[0][:80]!r} ({len(absent)} missing).")
    return {one: found[one] for one in ids}


def lock_membership(connection: Connection, *, shared: bool = False) -> None:
    """Until the transaction ends no dataset is frozen while traces are added: both write who is in which split.

    Traces hold it ``shared``. SQLite has one writer anyway.
    """
    if connection.dialect.name == "postgresql":
        take = func.pg_advisory_xact_lock_shared if shared else func.pg_advisory_xact_lock
        connection.execute(select(take(_MEMBERSHIP_LOCK)))


def encode(record: BaseModel, *, exclude: set[str] | None = None) -> str:
    """A record as JSON text. RecordError for text that no database can hold (half a surrogate pair)."""
    try:
        return record.model_dump_json(exclude=exclude)
    except PydanticSerializationError as error:
        raise RecordError(
            f"The {type(record).__name__.lower()} holds text that is not valid Unicode: {error}.",
            hint="Decode it again with errors='replace'.",
        ) from error
