"""Schemas: made, brought up to date, and left alone when that fails."""

import errno
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, make_url

import forethought.store.migrations as migrations
from forethought.core.records import Problem, Score, Task, Trace, Verdict
from forethought.errors import StoreError
from forethought.store.store import Store
from forethought.store.tables import metadata

FOLDER = Path(migrations.__file__).parent


@pytest.fixture
def old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database of schema 0001 with a trace in it."""
    file = tmp_path / "old.db"
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(FOLDER))
        command.upgrade(config, "0001")
    engine.dispose()
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "HEAD", "0001")
        with Store.open(f"sqlite:///{file}") as store:
            task = store.add_task(Task(id="task", name="k", instructions=""))
            store.add_problems([Problem(id="problem", task_id=task.id, input="a riddle")])
            trace = Trace(id="trace", task_id=task.id, problem_id="problem", origin="human", answer="an egg")
            store.add_traces([trace])
    return file


def test_tables_and_migrations_agree(store_url: str) -> None:
    engine = create_engine(store_url)
    with engine.connect() as connection:
        options = {"compare_type": True, "include_name": lambda name, *_: not str(name).startswith("trace_search")}
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    engine.dispose()
    assert differences == []


def test_the_newest_revision_is_named() -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    assert ScriptDirectory.from_config(config).get_heads() == [migrations.HEAD]


def test_an_old_database_is_copied_and_brought_up_to_date(old_file: Path) -> None:
    with Store.open(f"sqlite:///{old_file}") as store:
        for text in ("riddle", "egg", "gg"):
            assert store.trace_ids(f'"{text}"') == ["trace"]
    (copy,) = old_file.parent.glob("old.db.backup-0001-*")
    assert copy.stat().st_mode & 0o077 == 0
    with closing(connect(copy)) as backup:
        assert backup.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
        assert backup.execute("SELECT id FROM traces").fetchone() == ("trace",)


# a trace's reasoning, its verdicts (verifier, subject, passed) in their order, and what they come to
JUDGED = {
    "passed": ("so", [("exact", "answer", True), ("steps", "steps", True)], True),
    "in-the-end": ("so", [("exact", "answer", None), ("exact", "answer", True)], True),
    "no-steps": (" ", [("exact", "answer", True), ("steps", "steps", None)], True),
    "open-answer": ("so", [("schema", "answer", True), ("exact", "answer", True), ("exact", "answer", None)], None),
    "open-steps": ("so", [("exact", "answer", True), ("steps", "steps", None)], None),
    "refused": ("so", [("exact", "answer", None), ("steps", "steps", False)], False),
    "unjudged": ("so", [], None),
}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_was_called_verified_too_lightly_is_open_again(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/x.db" if kind == "sqlite" else request.getfixturevalue("blank_postgres_url")
    with Store.open(url) as store:
        store.add_task(Task(id="task", name="k", instructions=""))
        store.add_problems([Problem(id="problem", task_id="task", input="?")])
        for name, (reasoning, said, _) in JUDGED.items():
            store.add_traces(
                [Trace(id=name, task_id="task", problem_id="problem", origin="human", reasoning=reasoning)]
            )
            for verifier, judges, passed in said:
                verdict = Verdict(passed=passed)
                store.add_scores([Score(trace_id=name, verifier=verifier, judges=judges, verdict=verdict)])
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE traces SET verified = TRUE WHERE id IN ('open-answer', 'open-steps')")
        connection.exec_driver_sql("ALTER TABLE alias_changes DROP COLUMN removes")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0003'")
    engine.dispose()
    with Store.open(url) as store:
        found = {
            one: {"yes": True, "no": False}.get(word)
            for word in ("yes", "no", "unknown")
            for one in store.trace_ids(f"verified:{word}")
        }
    assert found == {name: expected for name, (_, _, expected) in JUDGED.items()}


def backups(file: Path) -> list[str]:
    return sorted(path.name for path in file.parent.iterdir() if path != file)


def test_the_newest_three_copies_are_kept_and_nothing_else_is_touched(old_file: Path) -> None:
    days = ("0009-20200101", "0001-20210101", "0001-20220101")
    older = [f"old.db.backup-{day}T120000000000" for day in days]
    others = ["old.db.backup-mine", "other.db.backup-0001-20200101T120000000000"]
    for name in older + others:
        (old_file.parent / name).write_text("")
    Store.open(f"sqlite:///{old_file}").close()
    kept = [name for name in backups(old_file) if name not in others]
    assert set(others) <= set(backups(old_file))
    assert kept[:2] == older[1:]
    (copy,) = kept[2:]
    with closing(connect(old_file.parent / copy)) as backup:
        assert backup.execute("SELECT id FROM traces").fetchone() == ("trace",)


def test_a_disk_too_full_for_the_copy_stops_the_migration(old_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older = [f"old.db.backup-0001-202{year}0101T120000000000" for year in range(3)]
    for name in older:
        (old_file.parent / name).write_text("")
    before = old_file.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="No space left"):
            Store.open(f"sqlite:///{old_file}")
    assert old_file.read_bytes() == before
    assert backups(old_file) == older


def test_a_failed_migration_leaves_the_old_database_usable(old_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(connect(old_file)) as connection:
        connection.execute("CREATE TABLE trace_search (in_the_way)")
        connection.commit()
    with pytest.raises(StoreError, match=r"from schema 0001 to 0005 failed: table trace_search already exists.*It is"):
        Store.open(f"sqlite:///{old_file}")
    with closing(connect(old_file)) as connection:
        connection.execute("DROP TABLE trace_search")
        connection.commit()
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "HEAD", "0001")
        with Store.open(f"sqlite:///{old_file}") as store:
            assert store.trace("trace").id == "trace"
            store.add_problems([Problem(task_id="task", input="more")])
    Store.open(f"sqlite:///{old_file}").close()


def test_a_newer_database_is_refused_and_not_touched(store_url: str) -> None:
    engine = create_engine(store_url)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(StoreError, match="schema 9999, newer"):
            Store.open(store_url)
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{migrations.HEAD}'")
        engine.dispose()


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    with closing(connect(file)) as connection:
        connection.execute("CREATE TABLE tasks (x)")
    with pytest.raises(StoreError, match="another program"):
        Store.open(f"sqlite:///{file}")


OPEN = "import sys; from forethought.store.store import Store; Store.open(sys.argv[1]).tasks()"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_processes_that_open_a_new_database_at_once_all_succeed(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/new.db" if kind == "sqlite" else request.getfixturevalue("blank_postgres_url")
    opening = [subprocess.Popen([sys.executable, "-c", OPEN, url], stderr=subprocess.PIPE) for _ in range(3)]
    for process in opening:
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()


def test_a_folder_with_a_percent_sign_works(tmp_path: Path) -> None:
    (tmp_path / "100%").mkdir()
    url = make_url("sqlite://").set(database=str(tmp_path / "100%" / "x.db"))
    with Store.open(url.render_as_string()) as store:
        assert store.tasks() == []
