"""Looks at model files before any library opens them: only safetensors, no code, headers that tell the truth."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from forethought.errors import ModelFileError

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
MAX_HEADER_BYTES = 100_000_000
MAX_JSON_BYTES = 200_000_000
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64,
}  # fmt: skip

TensorShapes = dict[str, tuple[int, ...]]


def inspect_model_folder(folder: Path) -> TensorShapes:
    """Names and shapes of all weights. ModelFileError when the folder is incomplete, unsafe or untrue."""
    refuse_code(folder)
    if not (folder / "config.json").is_file():
        raise ModelFileError(f"{folder.name} has no config.json.", hint="Name a folder that save_pretrained wrote.")
    return _weights(folder, "model")


def inspect_adapter_folder(folder: Path) -> tuple[dict[str, Any], TensorShapes]:
    """The adapter's configuration and the names and shapes of its weights."""
    refuse_code(folder)
    if not (folder / "adapter_config.json").is_file():
        raise ModelFileError(f"{folder.name} has no adapter_config.json.", hint="Name a folder that PEFT wrote.")
    return read_json(folder / "adapter_config.json"), _weights(folder, "adapter_model")


def refuse_code(folder: Path) -> None:
    """A configuration that names its own Python classes is refused; nothing of it is ever run."""
    if not folder.is_dir():
        raise ModelFileError(f"There is no model folder {folder.name}.", hint="Check the path.")
    for name in ("config.json", "tokenizer_config.json", "processor_config.json", "adapter_config.json"):
        if (folder / name).is_file() and _mentions_auto_map(read_json(folder / name)):
            raise ModelFileError(
                f"{name} asks to run code of its own (auto_map), which is never done.",
                hint="Use a model whose architecture is part of transformers.",
            )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of sane size."""
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ModelFileError(f"{path.name} is larger than {MAX_JSON_BYTES:,} bytes.")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path.name} is not valid JSON.") from error
    if not isinstance(value, dict):
        raise ModelFileError(f"{path.name} is not a JSON object.")
    return value


def read_header(path: Path) -> TensorShapes:
    """Names and shapes in a safetensors file, after checking that the header describes the file exactly.

    https://huggingface.co/docs/safetensors, "Format": 8 bytes little-endian header length, JSON, tensor data
    without holes or overlaps.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(MAX_HEADER_BYTES, size - 8):
            raise _lies(path, f"its header claims {length:,} bytes of {size:,}")
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError) as error:
            raise _lies(path, "its header is not JSON") from error
    if not isinstance(header, dict):
        raise _lies(path, "its header is not an object")
    header.pop("__metadata__", None)
    spans, shapes = [], {}
    for name, entry in header.items():
        shapes[name], start, end = _tensor(path, name, entry)
        spans.append((start, end))
    position = 0
    for start, end in sorted(spans):
        if start != position:
            raise _lies(path, f"its tensors leave a hole or overlap at byte {position:,}")
        position = end
    if position != size - 8 - length:
        raise _lies(path, f"its tensors need {position:,} bytes of data, found {size - 8 - length:,}")
    return shapes


def _tensor(path: Path, name: str, entry: Any) -> tuple[tuple[int, ...], int, int]:
    try:
        shape, (start, end), bits = tuple(entry["shape"]), entry["data_offsets"], BITS[entry["dtype"]]
        numbers = (*shape, start, end)
    except (KeyError, TypeError, ValueError) as error:
        raise _lies(path, f"the entry of '{name[:80]}' is malformed") from error
    if any(type(number) is not int or number < 0 for number in numbers):
        raise _lies(path, f"the entry of '{name[:80]}' holds something other than sizes")
    if math.prod(shape) * bits != (end - start) * 8:
        raise _lies(path, f"'{name[:80]}' of shape {list(shape)} cannot fill {end - start:,} bytes")
    return shape, start, end


def _weights(folder: Path, stem: str) -> TensorShapes:
    index = folder / f"{stem}.safetensors.index.json"
    if (folder / f"{stem}.safetensors").is_file():
        names = [f"{stem}.safetensors"]
    elif index.is_file():
        names = sorted({str(name) for name in dict(read_json(index).get("weight_map") or {}).values()})
    else:
        raise _no_weights(folder)
    shapes: TensorShapes = {}
    for name in names:
        path = folder / name
        if Path(name).name != name or not name.endswith(".safetensors") or not path.is_file():
            raise ModelFileError(f"{index.name} names the file '{name[:80]}', which is not a safetensors file here.")
        shapes.update(read_header(path))
    if not shapes:
        raise ModelFileError(f"{folder.name} holds no tensors.")
    return shapes


def _no_weights(folder: Path) -> ModelFileError:
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles:
        return ModelFileError(
            f"{pickles[0]} is a pickle file, which can run code when opened; it is not loaded.",
            hint="Save the model as safetensors: model.save_pretrained(folder).",
        )
    return ModelFileError(f"{folder.name} holds no weights.", hint="Weights are read from *.safetensors files.")


def _mentions_auto_map(value: Any) -> bool:
    if isinstance(value, dict):
        return "auto_map" in value or any(_mentions_auto_map(inner) for inner in value.values())
    if isinstance(value, list):
        return any(_mentions_auto_map(inner) for inner in value)
    return False


def _lies(path: Path, what: str) -> ModelFileError:
    return ModelFileError(f"{path.name} is not a sound safetensors file: {what}.", hint="Fetch or save it again.")
