"""JSON that others wrote, read as it is defined: no NaN, nothing infinite, no key twice."""

from __future__ import annotations

import json
import math
from typing import Any

from forethought.core.records import Json


def loads(text: str) -> Json:
    """The value the text stands for. ValueError says in one line what is wrong with it."""
    try:
        value: Json = json.loads(
            text, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_unique_keys
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"{digits[:40]} is too large a number")
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key '{key[:80]}' occurs twice")
        found[key] = value
    return found
