"""Brings a database's schema up to date: all of it, or none.

The steps are Alembic revisions in ``versions``. Alembic itself is imported only when there is something to do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from forethought.errors import StoreError
from forethought.store.backups import back_up

HEAD = "0005"
"""The newest revision in ``versions``; a test compares."""
TEXT_INDEX = "trace_search"
"""Table of the trigram index of 0002 and 0003; SQLite only, and only where it was built with FTS5."""
_LOCK = 0x464F5245
"""PostgreSQL advisory lock: of several processes that open an old database, one migrates."""


def upgrade(engine: Engine) -> bool:
    """Migrates if needed. Returns whether the database has the text index.

    An old SQLite file is copied first; see ``store.backups``. StoreError when the database is newer than this code, it
    cannot be copied, or a step fails; the database is then as it was.
    """
    with engine.connect() as connection:
        found = _revision(connection)
    if found != HEAD:
        _upgrade(engine, found)
    with engine.connect() as connection:
        return inspect(connection).has_table(TEXT_INDEX)


def _upgrade(engine: Engine, found: str | None) -> None:
    known = sorted(path.name[:4] for path in (Path(__file__).parent / "versions").glob("[0-9]*.py"))
    if found is not None and found not in known:
        raise StoreError(
            f"The database has schema {found}, newer than this program knows ({HEAD}).",
            hint="Update Forethought, or use another workspace.",
        )
    backup = _back_up(engine, found) if found is not None else None
    try:
        with _alone(engine) as connection:
            if _revision(connection) != HEAD:
                _run_steps(connection)
                _refuse_dangling(connection)
    except Exception as error:  # whatever stopped a step, the answer is the same
        if found is None:
            raise
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise StoreError(
            f"Migrating the database from schema {found} to {HEAD} failed: {reason}. It is as it was.",
            hint=f"A copy is in {backup}." if backup else "Report this.",
        ) from error


def _revision(connection: Connection) -> str | None:
    """The schema's revision; None for an empty database. StoreError for somebody else's."""
    tables = set(inspect(connection).get_table_names())
    if "alembic_version" in tables:
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if tables & {"tasks", "traces", "runs"}:
        raise StoreError("The database holds tables of another program.", hint="Choose an empty one.")
    return None


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A write transaction that excludes every other migration. SQLite cannot rebuild tables with foreign keys on."""
    with engine.connect() as connection:
        sqlite = engine.dialect.name == "sqlite"
        connection = connection.execution_options(write=True)
        if sqlite:
            _set_foreign_keys(connection, "OFF")
        try:
            with connection.begin():
                if not sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
                yield connection
        finally:
            if sqlite:
                _set_foreign_keys(connection, "ON")


def _set_foreign_keys(connection: Connection, state: str) -> None:
    """Past SQLAlchemy, for within a transaction SQLite ignores the request."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    raw.execute(f"PRAGMA foreign_keys = {state}").close()


def _run_steps(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    command.upgrade(config, "head")


def _refuse_dangling(connection: Connection) -> None:
    """Foreign keys were off on SQLite: a step that broke one is undone."""
    if connection.dialect.name == "sqlite":
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if broken is not None:
            raise StoreError(f"a row of table '{broken[0]}' refers to a missing row of '{broken[2]}'")


def _back_up(engine: Engine, revision: str) -> Path | None:
    """The copy of an SQLite file; None for a database server."""
    if engine.dialect.name != "sqlite" or not engine.url.database:
        return None
    return back_up(Path(engine.url.database), revision)
