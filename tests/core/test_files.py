"""Files and folders appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import shutil
import signal
from pathlib import Path

import pytest

from forethought.core.files import recover, replacing_file, replacing_folder, sha256_of, write_text

FULL = OSError(errno.ENOSPC, "No space left on device")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(folder: Path, said: str) -> None:
    (folder / "inner").mkdir()
    for path in (folder / "weights", folder / "inner" / "vocabulary"):
        path.write_text(said)


def contents(folder: Path) -> set[str]:
    return {(folder / "weights").read_text(), (folder / "inner" / "vocabulary").read_text()}


def write_folder(target: Path, said: str, fault: str = "") -> None:
    with replacing_folder(target) as new:
        fill(new, said)
        if fault == "write":
            raise FULL


def write_file(target: Path, said: str, fault: str = "") -> None:
    with replacing_file(target) as new:
        new.write_text(said)
        if fault == "write":
            raise FULL


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, call: int = 1) -> None:
    """The disk is full at the n-th call of this function of ``os``."""
    if name == "write":
        return
    real, calls = getattr(os, name), itertools.count(1)

    def function(*args, **kwargs):
        if next(calls) == call:
            raise FULL
        return real(*args, **kwargs)

    monkeypatch.setattr(os, name, function)


def test_a_file_is_made_and_replaced(tmp_path):
    path = tmp_path / "report.json"
    for text in ("{}\n", "größer\n"):
        write_text(path, text)
        assert path.read_bytes() == text.encode()
    assert sha256_of(path) == hashlib.sha256("größer\n".encode()).hexdigest()
    plain = tmp_path / "plain"
    plain.write_text("")
    assert path.stat().st_mode == plain.stat().st_mode
    assert names(tmp_path) == ["plain", "report.json"]


@pytest.mark.parametrize("old", [None, "old"])
@pytest.mark.parametrize("fault", ["write", "fsync", "replace"])
def test_a_disk_that_fills_up_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, fault, old):
    path = tmp_path / "report.json"
    if old is not None:
        path.write_text(old)
    refuse(monkeypatch, fault)
    with pytest.raises(OSError, match="No space"):
        write_file(path, "half", fault)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == ([("report.json", old)] if old else [])


def test_what_is_no_file_is_not_replaced_by_one(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="not a file"):
        write_text(pipe, "text")
    assert pipe.is_fifo()
    assert names(tmp_path) == ["pipe"]


def test_a_folder_is_made_and_replaced_with_all_that_is_below_it(tmp_path):
    for said in ("old", "new"):
        write_folder(tmp_path / "some" / "adapter", said)
        assert contents(tmp_path / "some" / "adapter") == {said}
        assert names(tmp_path / "some") == ["adapter"]


FAULTS = [("write", 1), ("mkdir", 1), *(("fsync", call) for call in range(1, 5)), ("replace", 1), ("replace", 2)]


@pytest.mark.parametrize(("fault", "call"), FAULTS)
def test_a_disk_that_fills_up_leaves_the_old_folder_and_no_other(tmp_path, monkeypatch, fault, call):
    target = tmp_path / "adapter"
    write_folder(target, "old")
    refuse(monkeypatch, fault, call)
    with pytest.raises(OSError, match="No space"):
        write_folder(target, "new", fault)
    assert names(tmp_path) == ["adapter"]
    assert contents(target) == {"old"}


def test_a_disk_that_fills_up_leaves_no_folder_where_there_was_none(tmp_path, monkeypatch):
    refuse(monkeypatch, "replace")
    with pytest.raises(OSError, match="No space"):
        write_folder(tmp_path / "adapter", "new")
    assert names(tmp_path) == []


def test_a_write_killed_at_any_call_leaves_the_old_folder_or_the_new(tmp_path):
    target, seen = tmp_path / "adapter", []
    for survived in itertools.count():
        write_folder(target, "old")
        lived = _write_and_die(target, survived)
        recover(tmp_path)
        assert names(tmp_path) == ["adapter"], f"killed after {survived} calls"
        (said,) = contents(target)
        seen.append(said)
        if lived:
            break
    assert seen == sorted(seen, reverse=True)
    assert seen.count("old") > 3
    assert seen.count("new") > 1


def test_a_write_finishes_what_a_killed_one_left_of_its_own_target_and_no_other(tmp_path):
    target, half = tmp_path / "adapter", tmp_path / ".writing-adapter"
    (tmp_path / ".writing-other").mkdir()
    write_folder(target, "old")
    target.rename(tmp_path / ".replaced-adapter")
    with pytest.raises(OSError, match="No space"):
        write_folder(target, "new", "write")
    assert contents(target) == {"old"}
    half.mkdir()
    write_folder(target, "new")
    assert contents(target) == {"new"}
    assert names(tmp_path) == [".writing-other", "adapter"]


def test_a_swap_that_a_kill_cut_in_two_ends_with_the_new_folder(tmp_path):
    target = tmp_path / "adapter"
    write_folder(target, "new")
    target.rename(tmp_path / ".writing-adapter")
    write_folder(tmp_path / ".replaced-adapter", "old")
    recover(tmp_path)
    assert names(tmp_path) == ["adapter"]
    assert contents(target) == {"new"}


def _write_and_die(target: Path, survived: int) -> bool:
    """Replaces the folder in a child that is killed at the call after so many; True when it lived to the end."""
    child = os.fork()
    if child == 0:
        left = [survived]
        for module, name in ((os, "replace"), (os, "fsync"), (shutil, "rmtree")):
            setattr(module, name, _mortal(getattr(module, name), left))
        write_folder(target, "new")
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _mortal(function, left):
    def call(*args, **kwargs):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    return call
