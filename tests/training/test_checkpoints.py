from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from forethought.errors import TrainingError
from forethought.training.checkpoints import Checkpoints, damage, write_folder


def filled(text):
    def fill(folder):
        (folder / "weights.safetensors").write_text(text)
        (folder / "state.json").write_text("{}")

    return fill


def test_old_checkpoints_go_when_newer_ones_are_safe(tmp_path):
    store = Checkpoints(tmp_path, keep=2)
    for step in (5, 10, 100):
        store.write(step, filled(str(step)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000100"]
    assert store.newest_whole(pytest.fail) == store.path(100)


@pytest.mark.parametrize("harm", ["flip", "cut", "remove", "no manifest", "bad manifest"])
def test_any_damage_is_found_and_named(tmp_path, harm):
    store = Checkpoints(tmp_path)
    store.write(1, filled("one"))
    newest = store.write(2, filled("two"))
    weights, manifest = newest / "weights.safetensors", newest / "manifest.json"
    {
        "flip": lambda: weights.write_text("twp"),
        "cut": lambda: weights.write_text("tw"),
        "remove": weights.unlink,
        "no manifest": manifest.unlink,
        "bad manifest": lambda: manifest.write_text("{"),
    }[harm]()
    lines = []
    assert store.newest_whole(lines.append) == store.path(1)
    assert "step-00000002 is damaged" in lines[0]


def test_files_in_inner_folders_are_written_and_watched_too(tmp_path):
    def fill(folder):
        (folder / "additional_chat_templates").mkdir()
        (folder / "additional_chat_templates" / "tool_use.jinja").write_text("{{ messages }}")

    model = write_folder(tmp_path / "model", fill)
    assert damage(model) is None
    (model / "additional_chat_templates" / "tool_use.jinja").write_text("{{ evil }}")
    assert damage(model) == "additional_chat_templates/tool_use.jinja has changed"


def test_a_half_written_checkpoint_is_none(tmp_path):
    store = Checkpoints(tmp_path)

    def fails(folder):
        filled("half")(folder)
        raise OSError(28, "No space left on device")

    store.write(1, filled("one"))
    with pytest.raises(TrainingError, match="the disk is full"):
        store.write(2, fails)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert damage(store.path(1)) is None


def test_the_best_weights_are_replaced_only_by_whole_ones(tmp_path):
    store = Checkpoints(tmp_path)
    store.write_best(3, filled("three"))

    def fails(folder):
        raise OSError(28, "No space left on device")

    with pytest.raises(TrainingError):
        store.write_best(6, fails)
    assert damage(store.best(3)) is None
    store.write_best(9, filled("nine"))
    assert [path.name for path in tmp_path.iterdir()] == [store.best(9).name]


LIMITED = """
import resource, signal, sys
from pathlib import Path
from forethought.errors import TrainingError
from forethought.training.checkpoints import Checkpoints
import torch
from safetensors.torch import save_file

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Checkpoints(Path(sys.argv[1]))
small, large = {"w": torch.zeros(10)}, {"w": torch.zeros(1_000_000)}
store.write(1, lambda folder: save_file(small, folder / "weights.safetensors"))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    store.write(2, lambda folder: save_file(large, folder / "weights.safetensors"))
except TrainingError as error:
    print(error)
print(store.newest_whole(print).name)
"""


def test_a_file_system_that_takes_no_more_leaves_the_previous_checkpoint(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path], capture_output=True, text=True, check=True, timeout=60
    )
    message, newest = done.stdout.splitlines()
    assert message.startswith("Could not write step-00000002")
    assert newest == "step-00000001"
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


ENDLESS = """
import sys
from pathlib import Path
from forethought.training.checkpoints import Checkpoints

store = Checkpoints(Path(sys.argv[1]))
for step in range(1, 10_000):
    store.write(step, lambda folder: (folder / "weights.safetensors").write_bytes(bytes([step % 256]) * 2_000_000))
    print(step, flush=True)
"""


@pytest.mark.parametrize("after", [2, 5, 9])
def test_a_writer_killed_while_writing_leaves_a_whole_checkpoint(tmp_path, after):
    writer = subprocess.Popen([sys.executable, "-c", ENDLESS, tmp_path], stdout=subprocess.PIPE, text=True)
    for line in writer.stdout:
        if int(line) == after:
            break
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    newest = Checkpoints(tmp_path).newest_whole(pytest.fail)
    assert newest is not None
    step = int(newest.name.removeprefix("step-"))
    assert step >= after
    assert (newest / "weights.safetensors").read_bytes() == bytes([step % 256]) * 2_000_000


def test_a_swap_that_a_kill_cut_in_two_is_finished_where_the_run_starts_again(tmp_path):
    store = Checkpoints(tmp_path)
    step = store.write(1, filled("old"))
    step.rename(tmp_path / ".replaced-step-00000001")
    assert Checkpoints(tmp_path).newest_whole(pytest.fail) == step
    assert (step / "weights.safetensors").read_text() == "old"
    write_folder(tmp_path / ".writing-step-00000001", filled("new"))
    step.rename(tmp_path / ".replaced-step-00000001")
    assert Checkpoints(tmp_path).newest_whole(pytest.fail) == step
    assert (step / "weights.safetensors").read_text() == "new"


def test_a_disk_that_refuses_the_swap_gives_the_old_folder_back(tmp_path, monkeypatch):
    target = write_folder(tmp_path / "adapter", filled("old"))
    replace = os.replace

    def refuse(source, destination):
        if Path(source).name.startswith(".writing-"):
            raise OSError(5, "Input/output error")
        replace(source, destination)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(TrainingError, match="Input/output"):
        write_folder(target, filled("new"))
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]
    assert (target / "weights.safetensors").read_text() == "old"
