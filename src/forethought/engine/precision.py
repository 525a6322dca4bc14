"""Which number format generation and training should use on this machine."""

from __future__ import annotations

import time
from functools import cache
from typing import Literal

import torch

DTypeName = Literal["auto", "float32", "bfloat16", "float16"]


def resolve_dtype(dtype: DTypeName, device: torch.device) -> torch.dtype:
    """The named format, or the one that pays on the device."""
    named = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    return named[dtype] if dtype in named else pick_dtype(device.type)


@cache
def pick_dtype(device_type: str = "cpu") -> torch.dtype:
    """bfloat16 where the hardware multiplies it fast; float16 on older GPUs; float32 elsewhere.

    A CPU without bfloat16 instructions emulates it slowly. One that has them is timed as well, because virtual machines
    throttle units; only a clear loss counts, so that a busy moment does not change the format from run to run.
    """
    if device_type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device_type == "cpu" and _has_bf16_instructions() and bf16_speedup() > 0.8:
        return torch.bfloat16
    return torch.float32


def cast_weights(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Rounds the weights to ``dtype`` in place. Buffers stay: rotary frequencies in bfloat16 blur far positions."""
    for weight in model.parameters():
        weight.data = weight.data.to(dtype)


def bf16_speedup() -> float:
    """How many times faster a 256 x 1024 x 1024 product is in bfloat16 than in float32 on this CPU."""
    return _seconds(torch.float32) / _seconds(torch.bfloat16)


def _has_bf16_instructions() -> bool:
    capabilities = torch.backends.cpu.get_cpu_capability()
    return any(
        getattr(torch.cpu, probe, lambda: False)()
        for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_arm_bf16_supported")
    ) or capabilities.startswith("SVE")


def _seconds(dtype: torch.dtype, runs: int = 20) -> float:
    left, right = torch.ones(256, 1024, dtype=dtype), torch.ones(1024, 1024, dtype=dtype)
    best = float("inf")
    for _ in range(runs):
        started = time.perf_counter()
        torch.nn.functional.linear(left, right)
        best = min(best, time.perf_counter() - started)
    return best
