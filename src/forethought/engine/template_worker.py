"""Renders chat templates in a process of its own with little memory. Run as a script; imports nothing of ours.

Reads one JSON object a line (``template``, ``messages``, ``variables``), answers one a line (``text`` or ``error``).
A template comes with a model from anywhere: it is sandboxed here, and what escapes the sandbox's notice (huge
strings, endless loops) meets the limits of this process.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import Template, nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

MEMORY_BYTES = 512 * 1024 * 1024
MAX_CHARACTERS = 2_000_000
"""Of a rendered conversation: some half a million tokens."""
MAX_ERROR = 300


class _Generation(Extension):
    """``{% generation %}`` marks the assistant's part for training; here it renders what it holds."""

    tags = {"generation"}  # noqa: RUF012  # the name and type jinja2 asks for

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.Scope(body, lineno=line)


class _Sandbox(ImmutableSandboxedEnvironment):
    def unsafe_undefined(self, obj: Any, attribute: str) -> NoReturn:
        """The library's own would render as nothing where it is only printed."""
        raise SecurityError(f"access to attribute {attribute!r} of a {type(obj).__name__} is unsafe")


def main() -> None:
    """Serves until the input ends."""
    _limit_memory()
    environment = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    compiled = lru_cache(maxsize=4)(environment.from_string)
    for line in sys.stdin:
        print(json.dumps(_answer(compiled, json.loads(line))), flush=True)


def _answer(compiled: Callable[[str], Template], asked: dict[str, Any]) -> dict[str, str]:
    try:
        text = compiled(asked["template"]).render(messages=asked["messages"], **asked["variables"])
        if len(text) > MAX_CHARACTERS:
            return {"error": f"it writes {len(text):,} characters, more than the {MAX_CHARACTERS:,} it may"}
        return {"text": text}
    except MemoryError:
        return {"error": "it needs more memory than a chat template may have"}
    except Exception as error:  # a template can raise whatever Python can
        return {"error": " ".join(f"{type(error).__name__}: {error}"[:MAX_ERROR].split())}


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limit: the time-out is left
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def _tojson(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)


if __name__ == "__main__":
    main()
