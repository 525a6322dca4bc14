"""Reads and works out one arithmetic expression, exactly.

The text is never evaluated as code: a small grammar is read and worked out with SymPy rationals, and sizes are capped,
so that ``9**9**9`` costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

Exact = Any
"""A SymPy rational. SymPy ships no types."""

MAX_DIGITS = 40
MAX_EXPONENT = 64
MAX_BITS = 4_096
MAX_DEPTH = 20

_OPERATORS = {"−": "-", "–": "-", "×": "*", "·": "*", "x": "*", "÷": "/"}
_OPERATORS |= {"\\times": "*", "\\cdot": "*", "\\div": "/", "plus": "+", "minus": "-", "times": "*", "over": "/"}


@dataclass(frozen=True)
class Token:
    """A piece of text: number, op, power, open, close, percent, or what an expression does not hold."""

    kind: str
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Side:
    """One side of an equation. ``value`` None: too large to evaluate."""

    text: str
    value: Exact | None
    literals: tuple[Exact, ...]
    """The numbers written in it."""
    worked: bool
    """Holds an operation."""
    start: int
    end: int
    postfix: tuple[Exact | str, ...] = ()
    """Numbers and operators (``+ - * / ^``, ``negative``, ``percent``) in postfix order, to work it out otherwise."""


def read_expression(tokens: Sequence[Token]) -> Side | None:
    """All tokens as one expression, or None when they are not one. ZeroDivisionError when it divides by zero."""
    reader = _Reader(tokens)
    text, span = " ".join(token.text for token in tokens), (tokens[0].start, tokens[-1].end)
    try:
        value = reader.value()
    except _TooLarge:
        return Side(text, None, (), True, *span)
    except SyntaxError:
        return None
    return Side(text, value, tuple(reader.literals), reader.worked, *span, tuple(reader.postfix))


def rational(text: str) -> Exact | None:
    """A written number as an exact rational; None when it has too many digits."""
    plain = text.replace(",", "")
    if len(plain) > MAX_DIGITS:
        return None
    whole, _, decimals = plain.partition(".")
    return _rational_type()(int(whole + decimals), 10 ** len(decimals))


class _TooLarge(Exception):
    """The value exceeds the caps."""


@dataclass
class _Reader:
    """Recursive descent: sum > product > sign > power > number or parentheses. No names, no calls."""

    tokens: Sequence[Token]
    at: int = 0
    literals: list[Exact] = field(default_factory=list)
    postfix: list[Exact | str] = field(default_factory=list)
    worked: bool = False
    depth: int = 0

    def value(self) -> Exact:
        """What it comes to. SyntaxError unless the tokens are one expression."""
        value = self._sum()
        if self.at < len(self.tokens):
            raise SyntaxError
        return value

    def _sum(self) -> Exact:
        value = self._product()
        while (operator := self._operator("+-")) is not None:
            other = self._product()
            value = _capped(value + other if operator == "+" else value - other)
            self.postfix.append(operator)
        return value

    def _product(self) -> Exact:
        value = self._signed()
        while (operator := self._operator("*/")) is not None:
            other = self._signed()
            if operator == "/" and other == 0:
                raise ZeroDivisionError
            value = _capped(value * other if operator == "*" else value / other)
            self.postfix.append(operator)
        return value

    def _signed(self) -> Exact:
        negative = False
        while self.at < len(self.tokens) and self.tokens[self.at].text in "+-−–":
            negative ^= self.tokens[self.at].text != "+"
            self.at += 1
        value = self._power()
        if negative:
            self.postfix.append("negative")
        return -value if negative else value

    def _power(self) -> Exact:
        base = self._atom()
        if self.at < len(self.tokens) and self.tokens[self.at].kind == "power":
            self.at, self.worked, self.depth = self.at + 1, True, self.depth + 1
            if self.depth > MAX_DEPTH:
                raise _TooLarge
            exponent = self._signed()
            self.postfix.append("^")
            return _power(base, exponent)
        return base

    def _atom(self) -> Exact:
        if self.at >= len(self.tokens):
            raise SyntaxError
        token = self.tokens[self.at]
        self.at += 1
        if token.kind == "number":
            number = rational(token.text)
            if number is None:
                raise _TooLarge
            self.literals.append(number)
            self.postfix.append(number)
            return number / 100 if self._percent() else number
        self.depth += 1
        if token.kind != "open" or self.depth > MAX_DEPTH:
            raise SyntaxError
        value = self._sum()
        if self.at >= len(self.tokens) or self.tokens[self.at].kind != "close":
            raise SyntaxError
        self.at += 1
        return value

    def _percent(self) -> bool:
        found = self.at < len(self.tokens) and self.tokens[self.at].kind == "percent"
        self.at += found
        self.postfix += ["percent"] * found
        return found

    def _operator(self, which: str) -> str | None:
        if self.at >= len(self.tokens) or self.tokens[self.at].kind != "op":
            return None
        operator = _OPERATORS.get(self.tokens[self.at].text, self.tokens[self.at].text)
        if operator not in which:
            return None
        self.at, self.worked = self.at + 1, True
        return operator


def _power(base: Exact, exponent: Exact) -> Exact:
    if exponent.q != 1 or abs(exponent.p) > MAX_EXPONENT:
        raise _TooLarge
    if base == 0 and exponent < 0:
        raise ZeroDivisionError
    if max(abs(int(base.p)).bit_length(), int(base.q).bit_length()) * max(1, abs(int(exponent.p))) > MAX_BITS:
        raise _TooLarge
    return _capped(base**exponent)


def _capped(value: Exact) -> Exact:
    if max(abs(int(value.p)).bit_length(), int(value.q).bit_length()) > MAX_BITS:
        raise _TooLarge
    return value


@cache
def _rational_type() -> Any:
    from sympy import Rational

    return Rational
