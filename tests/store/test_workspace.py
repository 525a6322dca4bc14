"""The settings and the workspace folder."""

import stat
from pathlib import Path

import pytest

from forethought.errors import StoreError, UsageError
from forethought.settings import DATABASE_FILE, Settings, Workspace
from forethought.store.store import Store


def test_settings_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETHOUGHT_WORKSPACE", str(tmp_path / "w"))
    monkeypatch.setenv("FORETHOUGHT_CACHE", str(tmp_path / "c"))
    settings = Settings.read()
    assert (settings.workspace, settings.cache) == (tmp_path / "w", tmp_path / "c")
    assert str(settings.store_url) == f"sqlite:///{tmp_path}/w/forethought.db"
    assert Settings.read(tmp_path / "other").workspace == tmp_path / "other"
    monkeypatch.setenv("FORETHOUGHT_DATABASE_URL", "postgresql://me:secret-word@host/x")
    assert Settings.read().store_url == "postgresql://me:secret-word@host/x"
    assert "secret-word" not in repr(Settings.read())


def test_without_settings_the_workspace_is_in_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORETHOUGHT_WORKSPACE", "FORETHOUGHT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert Settings.read().workspace == Path.home() / ".forethought"
    assert Settings.read().cache == Path.home() / ".cache" / "forethought"


def test_folders_are_their_owners_alone(workspace: Workspace) -> None:
    folders = [workspace.root, *workspace.root.iterdir(), workspace.run_folder("run-1")]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
    assert workspace.run_folder("run-1") == workspace.root / "runs" / "run-1"
    assert workspace.model_folder("m").parent.name == "models"


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "..\\x", "a\0b", "runs/../..", "link", "link/x"])
def test_nothing_leads_out(workspace: Workspace, path: str) -> None:
    (workspace.root / "link").symlink_to("/etc")
    with pytest.raises(UsageError):
        workspace.inside(path)


@pytest.mark.parametrize("id_", ["../x", "..", "", "a/b", "a\\b", "a\0", "a" * 65, "\u202ex", ".hidden"])
def test_folders_are_made_of_ids_only(workspace: Workspace, id_: str) -> None:
    with pytest.raises(UsageError):
        workspace.run_folder(id_)


def test_a_link_in_the_place_of_a_folder_is_not_followed(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (workspace.root / "runs" / "run-1").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError):
        workspace.run_folder("run-1")
    (workspace.root / "models").rmdir()
    (workspace.root / "models").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError):
        Workspace.open(Settings(workspace=workspace.root))


def test_paths_inside_are_stored_relative_and_read_back(workspace: Workspace) -> None:
    folder = workspace.run_folder("run-1") / "final"
    folder.mkdir()
    (workspace.root / "alias").symlink_to(folder)
    assert workspace.relative(folder) == "runs/run-1/final"
    assert workspace.inside("runs/run-1/final") == workspace.inside("alias") == folder
    with pytest.raises(UsageError):
        workspace.relative("/etc")


def test_a_workspace_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be used"):
        Workspace.open(Settings(workspace=tmp_path / "file" / "w"))


@pytest.mark.parametrize("name", ["a?b", "a%20b", "a#b", "a:b@c", "a b", "ä"])
def test_a_workspace_is_a_path_and_not_a_part_of_a_url(tmp_path: Path, name: str) -> None:
    settings = Settings.read(tmp_path / name)
    workspace = Workspace.open(settings)
    Store.open(settings.store_url).close()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (workspace.root / DATABASE_FILE).stat().st_size > 0


@pytest.mark.parametrize("folder", ["~nosuchuser/x", "~nosuchuser"])
def test_a_home_folder_that_nobody_has_is_one_line(folder: str) -> None:
    with pytest.raises(UsageError, match=r"nosuchuser.*--workspace"):
        Settings.read(folder)


def test_an_empty_setting_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETHOUGHT_WORKSPACE", "")
    assert Settings.read().workspace == Settings.read("").workspace == Path.home() / ".forethought"


@pytest.mark.parametrize(
    "url", ["postgresql://host:port/x", "sqlite:///x?timeout=soon", "postgresql://h/x?foo=1", "nonsense"]
)
def test_a_database_url_that_cannot_be_used_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((UsageError, StoreError)) as refused:
        Store.open(url)
    assert "\n" not in str(refused.value)
