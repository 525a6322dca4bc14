"""Formulas of a policy: compiled from the Common Expression Language (https://cel.dev), cut at the names they quote.

No loops (the comprehension macros are refused), no side effects. Values come from anybody: only plain ones of a bounded
size reach a formula, so every evaluation is short.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from forethought.errors import UnsolvableError

MAX_EXPRESSION = 200
MAX_TEXT = 1000
MAX_NUMBER = 2**53
"""Whole numbers beyond this lose digits as soon as anything reads them as floating point."""

Scalar = bool | int | float | str

_TOKEN = re.compile(
    r"""(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
    r"|(?P<number>\d[\w.]*)"
    r"|(?P<member>\.\s*[A-Za-z_]\w*)"
    r"|(?P<call>[A-Za-z_]\w*(?=\s*\())"
    r"|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<space>\s+)"
    r"|(?P<other>.)"
)
_IN_CEL = "CEL compares with == and <=, joins with && and ||, negates with !, and numbers have no thousands separator."
_LITERALS = {"true", "false", "null", "in"}
_MACROS = {"all", "exists", "exists_one", "map", "filter"}


@dataclass(frozen=True)
class Expression:
    """A compiled CEL expression and the names it quotes."""

    text: str
    """With single spaces."""
    pieces: tuple[tuple[str, bool], ...]
    """The text cut into (piece, is it the name of a value), so that values can be written beside their names."""
    program: Any

    @property
    def names(self) -> tuple[str, ...]:
        """The values it quotes, as often as it quotes them."""
        return tuple(piece for piece, is_name in self.pieces if is_name)

    def evaluate(self, values: Mapping[str, Scalar], owner: str) -> Any:
        """Its result. UnsolvableError names the owner: a missing value, types that do not fit, an overflow."""
        if missing := [name for name in self.names if name not in values]:
            raise UnsolvableError(f"The {owner} needs '{missing[0]}', which the input does not have.")
        try:
            return self.program.execute({name: values[name] for name in self.names})
        except (ValueError, TypeError, RuntimeError, ArithmeticError) as error:
            cause = str(error).splitlines()[0].split(". ")[0] if str(error) else type(error).__name__
            raise UnsolvableError(f"The {owner} cannot be worked out ({self.text}): {cause.rstrip('.')}.") from error


@cache
def expression(text: str) -> Expression:
    """Compiles an expression once. ValueError when it is no CEL, loops, or quotes no value at all."""
    import cel

    pieces = _pieces(" ".join(text.split()))
    if not any(is_name for _, is_name in pieces):
        raise ValueError(f"'{text}' names no value")
    clean = "".join(piece for piece, _ in pieces)
    try:
        program = cel.compile(clean)
    except ValueError as error:
        raise ValueError(f"'{text}' is no CEL expression: {_unread(clean, str(error))}. {_IN_CEL}") from error
    return Expression(clean, pieces, program)


def _unread(text: str, complaint: str) -> str:
    """Where reading stopped, without the parser's own words."""
    found = re.search(r"<input>:1:(\d+)", complaint)
    if not found:
        return "it cannot be read"
    rest = text[int(found[1]) - 1 :].strip()
    return f"it cannot be read from '{rest}' on" if rest else "it ends too early"


def _pieces(text: str) -> tuple[tuple[str, bool], ...]:
    """The text cut at the names of values. ValueError for the two things CEL allows and a policy does not."""
    pieces: list[tuple[str, bool]] = []
    before = ""
    for token in _TOKEN.finditer(text):
        kind, word = token.lastgroup, token.group()
        if kind in ("member", "call") and word.lstrip(". ") in _MACROS:
            raise ValueError(f"'{text}' loops over a list ({word.strip()})")
        if kind == "member" and (before in ("", "in") or not re.search(r"[\w)\]}\"']$", before)):
            raise ValueError(f"'{text}' has a name that begins with a dot ({word})")
        before = before if kind == "space" else word
        is_name = kind == "name" and word not in _LITERALS
        if pieces and not is_name and not pieces[-1][1]:
            pieces[-1] = (pieces[-1][0] + word, False)
        else:
            pieces.append((word, is_name))
    return tuple(pieces)


def checked(name: str, value: object) -> Scalar:
    """A value small and plain enough to be quoted and computed with."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) <= MAX_NUMBER:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, str) and len(value) <= MAX_TEXT and value.isprintable():
        return value
    shown = (
        f"{type(value).__name__} {str(value)[:40]!r}" if isinstance(value, int | float | str) else type(value).__name__
    )
    raise UnsolvableError(
        f"The value of '{name}' is no plain value: {shown}.",
        hint=f"Numbers up to 2^53, true or false, and printable text up to {MAX_TEXT} characters can be judged.",
    )
