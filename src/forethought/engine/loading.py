"""Loads a base model, with an adapter or without, after looking at its files."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forethought.engine.embedded import embedded_folder
from forethought.engine.inspection import TensorShapes, inspect_adapter_folder, inspect_model_folder
from forethought.engine.optional import require
from forethought.errors import ModelFileError

if TYPE_CHECKING:
    import torch

    from forethought.engine.precision import DTypeName

EMBEDDED = "embedded"
_HUB_NAME = re.compile(r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")
_HUB_FILES = ["*.json", "model*.safetensors", "*.model", "*.txt", "*.jinja"]


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory, in evaluation mode, with its tokenizer."""

    model: Any
    """A transformers causal LM, or a PEFT model around one."""
    tokenizer: Any
    name: str
    dtype: torch.dtype
    device: torch.device

    @property
    def stop_ids(self) -> frozenset[int]:
        """Every token at which generation stops."""
        end = self.tokenizer.eos_token_id
        return stop_ids_of(self.model) | ({end} if end is not None else set())


def stop_ids_of(model: Any) -> frozenset[int]:
    """End-of-sequence ids of a model's generation config."""
    ids = getattr(model.generation_config, "eos_token_id", None)
    return frozenset([ids] if isinstance(ids, int) else ids or ())


def load(
    base: str,
    *,
    adapter: Path | None = None,
    dtype: DTypeName = "auto",
    device: str = "auto",
    cache: Path | None = None,
) -> LoadedModel:
    """``base`` is ``embedded``, a folder or a hub name. Nothing but safetensors is read and no foreign code is run.

    Raises ModelFileError (missing, unsafe or mismatched files), MissingExtraError (no torch).
    """
    torch = require("torch")
    transformers = require("transformers")
    from forethought.engine.precision import resolve_dtype

    place = torch.device(device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
    chosen = resolve_dtype(dtype, place)
    folder = resolve_base(base, cache)
    inspect_model_folder(folder)
    try:
        model = _load_weights(transformers, folder, chosen)
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, padding_side="left"
        )
    except ModelFileError:
        raise
    except Exception as error:  # the libraries raise anything from KeyError to a Rust panic on broken files
        raise ModelFileError(f"{base} cannot be loaded: {_first_line(error)}.") from error
    model = model.to(place).eval()
    loaded = LoadedModel(model=model, tokenizer=tokenizer, name=base, dtype=chosen, device=place)
    return loaded if adapter is None else attach(loaded, adapter)


def attach(loaded: LoadedModel, adapter: Path) -> LoadedModel:
    """The model with a PEFT adapter on it. ModelFileError when the adapter is unsafe or was made for another base."""
    peft = require("peft")
    config, shapes = inspect_adapter_folder(adapter)
    base_shapes = {name: tuple(weight.shape) for name, weight in loaded.model.named_parameters()}
    _refuse_other_base(config, shapes, loaded.name, base_shapes)
    try:
        model = peft.PeftModel.from_pretrained(loaded.model, adapter, is_trainable=False, local_files_only=True)
    except Exception as error:  # PEFT raises many kinds for files that do not fit
        raise ModelFileError(f"The adapter {adapter.name} does not fit {loaded.name}: {_first_line(error)}.") from error
    model = model.to(loaded.device).eval()
    return dataclasses.replace(loaded, model=model, name=f"{loaded.name}+{adapter.name}")


def resolve_base(base: str, cache: Path | None = None) -> Path:
    """The folder behind ``embedded``, a path or a hub name; a hub model is fetched, its pickles left behind."""
    if base == EMBEDDED:
        return embedded_folder(cache)
    path = Path(base).expanduser()
    if path.is_dir():
        return path
    if not _HUB_NAME.match(base):
        raise ModelFileError(f"There is no model folder '{base}'.", hint="Name a folder, 'embedded' or a hub model.")
    return _download(base)


def _download(name: str) -> Path:
    hub = require("huggingface_hub")
    try:
        return Path(hub.snapshot_download(name, allow_patterns=_HUB_FILES, ignore_patterns=["*/*"]))
    except Exception as error:  # network stacks raise many kinds; all of them mean the same to the caller
        raise ModelFileError(
            f"The model '{name}' is neither a folder here nor to be had from the hub: {_first_line(error)}.",
            hint="Check the name and the network, or start from the embedded model.",
        ) from error


def _load_weights(transformers: Any, folder: Path, dtype: torch.dtype) -> Any:
    """Weights that the files lack would be left random by the library: refused."""
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        output_loading_info=True,
    )
    lacking = sorted(info.get("missing_keys") or ())
    if lacking:
        raise ModelFileError(f"{folder.name} lacks {len(lacking)} weights its config asks for, such as {lacking[0]}.")
    return model


def _refuse_other_base(config: dict[str, Any], shapes: TensorShapes, base: str, base_shapes: TensorShapes) -> None:
    """By name where both sides have one, and by the shape of every low-rank pair."""
    recorded = str(config.get("base_model_name_or_path") or "")
    is_name = recorded == EMBEDDED or (_HUB_NAME.match(recorded) and "/" in recorded and not Path(recorded).exists())
    if is_name and recorded != base and not Path(base).exists():
        raise ModelFileError(
            f"The adapter was trained on '{recorded}', not on '{base}'.", hint="Load it with the base it was made for."
        )
    for name, shape in shapes.items():
        if ".lora_A." not in name or len(shape) != 2:
            continue
        module = name.partition(".lora_A.")[0].removeprefix("base_model.model.")
        target = base_shapes.get(f"{module}.weight")
        if target is None or len(target) != 2 or target[1] != shape[1]:
            found = "no such layer" if target is None else f"{target[1]} inputs there, {shape[1]} in the adapter"
            raise ModelFileError(
                f"The adapter was trained on another base: {module} has {found}.",
                hint="Load it with the base it was made for.",
            )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(". ")[:300]
