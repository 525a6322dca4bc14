"""What goes wrong with a database is told in one line."""

import builtins
import stat
from pathlib import Path
from sqlite3 import connect
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from forethought.core.records import Problem, Task
from forethought.errors import ForethoughtError, MissingExtraError, StoreError, UsageError
from forethought.store import database
from forethought.store.store import Store


def one_line(error: ForethoughtError) -> str:
    assert "\n" not in str(error)
    return str(error)


def test_a_locked_database_is_waited_for_and_then_an_error(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    other = connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    with Store.open(sqlite_url) as store:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError) as caught:
            store.add_task(Task(name="k", instructions=""))
        assert "stayed locked" in one_line(caught.value)
        assert store.tasks() == []  # reading goes on
        other.execute("ROLLBACK")
        store.add_task(Task(name="k", instructions=""))
    other.close()


def test_a_full_disk_loses_only_what_was_being_written(sqlite_url: str) -> None:
    with Store.open(sqlite_url) as store:
        task = store.add_task(Task(name="k", instructions=""))
        with store.write() as connection:
            pages = connection.execute(text("PRAGMA page_count")).scalar_one()
            connection.execute(text(f"PRAGMA max_page_count = {pages + 2}"))
        with pytest.raises(StoreError) as caught:
            store.add_problems([Problem(task_id=task.id, input="x" * 100_000)])
        assert "disk of the database is full" in one_line(caught.value)
        assert store.task("k") == task
        assert store.count_problems(task.id) == 0


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        Store.open(f"postgresql://someone:secret-word@/nothing?host={tmp_path}")
    assert "cannot be used" in one_line(caught.value)
    assert "secret-word" not in str(caught.value)


def test_a_server_that_restarts_is_found_again(store: Store, store_url: str) -> None:
    task = store.add_task(Task(name="k", instructions=""))
    if store.dialect == "postgresql":
        engine = create_engine(store_url)
        with engine.connect() as connection:
            connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
            )
        engine.dispose()
    assert store.task("k") == task


def test_psycopg_is_asked_for_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name == "psycopg":
            raise ImportError(name)
        return found(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match="forethought\\[postgres\\]"):
        Store.open("postgresql://somewhere/x")


@pytest.mark.parametrize("url", ["mysql://x/y", "nonsense", "sqlite://", "", "postgresql+asyncpg://x/y"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="sqlite:///FILE"):
        Store.open(url)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    file.write_bytes(b"not a database, " * 1000)
    with pytest.raises(StoreError) as caught:
        Store.open(f"sqlite:///{file}")
    assert "not a database" in one_line(caught.value)
    assert file.read_bytes() == b"not a database, " * 1000


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be opened"):
        Store.open(f"sqlite:///{tmp_path}/file/x.db")


def test_the_database_is_its_owners_alone(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/x.db"):
        for file in tmp_path.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file


def test_the_url_shown_has_no_password() -> None:
    shown = database.Database(create_engine("postgresql+psycopg://me:secret-word@host/x"), has_text_index=False).url
    assert shown == "postgresql+psycopg://me:***@host/x"


def test_a_block_that_fails_writes_nothing(store: Store) -> None:
    def change_my_mind() -> None:
        with store.write() as connection:
            connection.execute(text("INSERT INTO tasks (id, name, revision, created_at) VALUES ('a', 'a', 1, 0)"))
            raise ValueError("changed my mind")

    with pytest.raises(ValueError, match="changed my mind"):
        change_my_mind()
    assert store.tasks() == []
    with store.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM tasks")).scalar_one() == 0
