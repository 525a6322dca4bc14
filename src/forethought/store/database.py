"""The connection to the database: how it is opened, read, written, and how its failures are told in one line."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from forethought.errors import ConflictError, MissingExtraError, StoreError, UsageError
from forethought.store.migrations import upgrade

BUSY_SECONDS = 30
CONNECT_SECONDS = 10


class Database:
    """An open database whose schema is up to date. ``read`` and ``write`` give a connection inside a transaction."""

    def __init__(self, engine: Engine, *, has_text_index: bool) -> None:
        self._engine = engine
        self._has_text_index = has_text_index

    @classmethod
    def open(cls, url: str | URL) -> Self:
        """Connects, migrates an older schema (after a backup, on SQLite) and returns the database.

        UsageError for a URL of another kind of database, MissingExtraError without psycopg, StoreError when the
        database cannot be reached, is locked, is newer than this code, or a migration fails.
        """
        engine = _engine(_checked(url))
        try:
            with _told():
                has_text_index = upgrade(engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, has_text_index=has_text_index)

    @property
    def url(self) -> str:
        """Where the records are, without the password."""
        return self._engine.url.render_as_string(hide_password=True)

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    def close(self) -> None:
        """Gives the connections back. The object is not to be used afterwards."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading: one consistent view on SQLite, the newest of each statement on PostgreSQL."""
        with _told(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection for writing: everything in the block happens, or nothing does.

        SQLite takes its one write lock at the start, so that a reader turned writer cannot fail half-way.
        """
        with _told(), self._engine.connect() as connection:
            connection = connection.execution_options(write=True)
            with connection.begin():
                yield connection


def _checked(url: str | URL) -> URL:
    with _readable():
        parsed = make_url(url)
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername == "sqlite" and parsed.database:
        return parsed
    if parsed.drivername != "postgresql+psycopg":
        raise UsageError(
            f"Records cannot be kept in '{parsed.drivername}'.", hint="Write sqlite:///FILE or postgresql://…"
        )
    try:
        import psycopg  # noqa: F401  (only asked whether it is there)
    except ImportError:
        raise MissingExtraError(
            "PostgreSQL needs psycopg.", hint="Install it with: pip install 'forethought[postgres]'"
        ) from None
    return parsed


@contextmanager
def _readable() -> Iterator[None]:
    """Turns complaints about a URL into one line that does not repeat it: it may hold a password."""
    try:
        yield
    except (ArgumentError, ValueError):
        raise UsageError("The database URL cannot be read.", hint="Write sqlite:///FILE or postgresql://…") from None


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "postgresql":
        # Asking before each use survives a restart of the server.
        with _readable():
            return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": CONNECT_SECONDS})
    with _readable():
        engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
    if url.database and url.database != ":memory:":
        _make_private(Path(url.database))
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_private(file: Path) -> None:
    """The file is made before SQLite makes it, for its owner only."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch(mode=0o600, exist_ok=True)
    except OSError as error:
        raise StoreError(f"The database {file} cannot be opened: {error.strerror or error}.") from error


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # transactions begin where ``_begin_sqlite`` says, DDL included
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON", "cache_size = -65536"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    writing = connection.get_execution_options().get("write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


@contextmanager
def _told() -> Iterator[None]:
    """Turns the database's complaints into one line each."""
    try:
        yield
    except IntegrityError as error:
        raise ConflictError(f"The database refused the record: {_first_line(error)}.") from error
    except PoolTimeoutError as error:
        raise StoreError("All connections to the database are in use.", hint="Try again in a moment.") from error
    except DBAPIError as error:
        raise _store_error(_first_line(error)) from error
    except SQLAlchemyError as error:
        raise StoreError(f"The database cannot be used: {_first_line(error)}.") from error
    except sqlite3.Error as error:
        raise _store_error(str(error)) from error


def _store_error(said: str) -> StoreError:
    hints: dict[str, tuple[str, str]] = {
        "locked": (
            f"The database stayed locked for {BUSY_SECONDS} seconds.",
            "Another process is writing; try again when it is done.",
        ),
        "disk is full": ("The disk of the database is full; nothing was written.", "Free some space and try again."),
        "not a database": ("The file is not a database of Forethought.", "Choose another workspace."),
        "readonly": ("The database cannot be written: it is read-only.", "Check who owns the file."),
        "unable to open": ("The database file cannot be opened.", "Check the folder and its permissions."),
    }
    for sign, (message, hint) in hints.items():
        if sign in said:
            return StoreError(message, hint=hint)
    return StoreError(f"The database cannot be used: {said}.", hint="Check that it is there and running.")


def _first_line(error: SQLAlchemyError) -> str:
    said: Any = getattr(error, "orig", None) or error
    return (str(said).strip().splitlines() or [type(said).__name__])[0].rstrip(".")
