"""A model of its own is written whole or not at all."""

from __future__ import annotations

import dataclasses
import errno

import pytest
from safetensors import SafetensorError

from forethought.engine import merging
from forethought.engine.loading import load
from forethought.errors import ModelFileError

FULL = [
    OSError(errno.ENOSPC, "No space left on device"),
    SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
]


class FullDisk:
    """A tokenizer, or a model, whose files find no room."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def save_pretrained(self, folder, **options):
        (folder / "half.safetensors").write_bytes(b"half")
        raise self.error


@pytest.mark.parametrize("part", ["model", "tokenizer"])
@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__)
def test_a_disk_that_fills_up_leaves_nothing(toy, tmp_path, part, error):
    folder = tmp_path / "merged"
    folder.mkdir()
    with pytest.raises(ModelFileError, match=r"could not be written.*No space left"):
        merging.save(dataclasses.replace(toy, **{part: FullDisk(error)}), folder)
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]
    assert list(folder.iterdir()) == []


def test_a_folder_with_something_in_it_is_not_written_to(toy, tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(ModelFileError, match="not empty"):
        merging.save(toy, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_saved_model_loads_again(toy, tmp_path):
    saved = load(str(merging.save(toy, tmp_path / "merged")), dtype="float32", device="cpu")
    assert saved.model.state_dict().keys() == toy.model.state_dict().keys()
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]
