"""Checks every equation in the reasoning, exactly.

``12 + 7 = 19`` is found, read by the small grammar below and evaluated with SymPy rationals. The text is never
evaluated as code; sizes are capped, so that ``9**9**9`` costs nothing. An equation that is too large to evaluate makes
the attempt *not judged*, unless another equation is already wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from forethought.core.records import Attempt, Finding, Judges, Problem, Task, Verdict
from forethought.verifiers.extract import as_number, final_value

if TYPE_CHECKING:
    Exact = Any
    """A SymPy rational. SymPy ships no types."""

MAX_CHARS = 50_000
MAX_DIGITS = 40
MAX_TOKENS = 80
MAX_EXPONENT = 64
MAX_BITS = 4_096
MAX_DEPTH = 20

_LEXER = re.compile(
    r"(?P<number>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?)|(?P<power>\*\*|\^)|(?P<op>[-+−–*×·/÷]|\bx\b)"
    r"|(?P<open>\()|(?P<close>\))|(?P<equal>=)|(?P<space>[ \t$]+)|(?P<word>[^\W\d_]+)|(?P<other>.)",
    re.DOTALL,
)
_OPERATORS = {"−": "-", "–": "-", "×": "*", "·": "*", "x": "*", "÷": "/"}
_COUNTING = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_WORDS = {word: number for number, word in enumerate(_COUNTING.split())}
_WORDS |= {"twice": 2, "double": 2, "doubles": 2, "half": 2, "pair": 2, "thrice": 3, "triple": 3, "triples": 3}
_WORDS |= {"third": 3, "quarter": 4, "dozen": 12, "hundred": 100}


class EquationsVerifier:
    """Every equation holds, and they lead to the answer.

    - ``leads_to_answer``: the last equation's result is the number the answer states;
    - ``grounded``: numbers on the worked-out side come from the problem's text or from an earlier result, so that
      ``71 + 1 = 72`` does not prove a guess. Numbers may be taken by place (18 as 10 and 8), and working on
      (``19 + 18 = 29 + 8``) may bring in one new number, which the others determine.

    Reasoning without an equation has shown nothing and does not pass.
    """

    name = "equations"
    judges: Judges = "steps"

    def __init__(self, leads_to_answer: bool = True, grounded: bool = False) -> None:
        self.leads_to_answer = leads_to_answer
        self.grounded = grounded

    def verify(self, task: Task, problem: Problem, attempt: Attempt) -> Verdict:  # noqa: ARG002 - the contract
        reasoning = attempt.reasoning or ""
        if len(reasoning) > MAX_CHARS:
            return Verdict(value=0.0, passed=False, reason=f"the reasoning is over {MAX_CHARS} characters")
        known = numbers_in(str(problem.input)) if self.grounded else None
        equations = list(find_equations(reasoning))
        findings = [_finding(equation, known) for equation in equations]
        if not findings:
            return Verdict(value=0.0, passed=False, reason="no equation to check")
        good = sum(finding.ok is True for finding in findings)
        wrong = next((finding for finding in findings if finding.ok is False), None)
        missed = self._missed_answer(equations[-1], attempt.answer) if self.leads_to_answer and not wrong else ""
        if wrong or missed:
            value = good / (len(findings) + bool(missed))
            return Verdict(
                value=value, passed=False, reason=wrong.message if wrong else missed, findings=tuple(findings)
            )
        if good < len(findings):
            return Verdict(reason="an equation is too large to check", findings=tuple(findings))
        return Verdict(value=1.0, passed=True, reason="every equation holds", findings=tuple(findings))

    def _missed_answer(self, last: Equation, answer: str) -> str:
        stated = final_value(answer)
        number = as_number(stated.value) if stated.value is not None else None
        if number is None:
            return f"the steps lead to {last.right.text}; the answer states no plain number"
        result = last.right.value
        if result is None or (result.p, result.q) != (number.numerator, number.denominator):
            return f"the last step gives {last.right.text}, the answer is {stated.value}"
        return ""


@dataclass(frozen=True)
class Side:
    """One side of an equation. ``value`` None: too large to evaluate."""

    text: str
    value: Exact | None
    literals: tuple[Exact, ...]
    """The numbers written in it."""
    worked: bool
    """Holds an operation."""


@dataclass(frozen=True)
class Equation:
    """``left = right`` at characters ``start`` to ``end``."""

    left: Side
    right: Side
    start: int
    end: int

    @property
    def sides(self) -> tuple[Side, Side]:
        """Left, right."""
        return self.left, self.right

    @property
    def holds(self) -> bool | None:
        """None when a side is too large to evaluate."""
        if self.left.value is None or self.right.value is None:
            return None
        return bool(self.left.value == self.right.value)


def find_equations(text: str) -> Iterator[Equation]:
    """Every equation with an operation on one side at least; ``a = b = c`` is two."""
    for run in _runs(text):
        cuts = [index for index, token in enumerate(run) if token.kind == "equal"]
        edges = [-1, *cuts, len(run)]
        parts = [run[first + 1 : last] for first, last in pairwise(edges)]
        for left_tokens, right_tokens in pairwise(parts):
            left, right = _longest(left_tokens, from_end=True), _longest(right_tokens, from_end=False)
            if left is None or right is None:
                continue
            (left_side, start, _), (right_side, _, end) = left, right
            if left_side.worked or right_side.worked:
                yield Equation(left_side, right_side, start, end)


def numbers_in(text: str) -> set[Exact]:
    """All numbers a text names, in digits or simple words (``twice`` is 2, ``half`` is 2, ``a dozen`` is 12)."""
    found = {_rational(match[0]) for match in _LEXER.finditer(text) if match.lastgroup == "number"}
    words = (match[0].lower() for match in _LEXER.finditer(text) if match.lastgroup == "word")
    return {number for number in found if number is not None} | {
        _rational(str(_WORDS[word])) for word in words if word in _WORDS
    }


def _finding(equation: Equation, known: set[Exact] | None) -> Finding:
    """One equation, checked; where grounding is asked for, its result joins the known numbers."""
    ok, message = equation.holds, ""
    if ok is None:
        message = "too large to check"
    elif not ok:
        message = f"{equation.left.text} is {_shown(equation.left.value)}, not {equation.right.text}"
    elif known is not None:
        strange = _ungrounded(equation, known)
        if strange is None:
            known.update((equation.left.value, *equation.right.literals))
        else:
            ok, message = False, f"{_shown(strange)} is neither given nor worked out before"
    return Finding(start=equation.start, end=equation.end, ok=ok, message=message)


def _ungrounded(equation: Equation, known: set[Exact]) -> Exact | None:
    """The first number of a true equation that comes from nowhere."""
    given = known | {part for number in known for part in _places(number)}
    left, right = ([number for number in side.literals if number not in given] for side in equation.sides)
    if not equation.left.worked:
        return right[0] if right else None
    new = left or (right[1:] if equation.right.worked else [])
    return new[0] if new else None


def _places(number: Exact) -> Iterator[Exact]:
    """137 may be worked with as 100, 30 and 7."""
    if number.q == 1 and 10 < abs(number.p) < 10**MAX_DIGITS:
        digits = str(abs(number.p))
        for place, digit in enumerate(digits):
            yield _rational(digit + "0" * (len(digits) - place - 1))


def _shown(value: Exact) -> str:
    text = str(value)
    return text if len(text) <= MAX_DIGITS else f"a number of {len(text)} digits"


# --- reading --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


def _runs(text: str) -> Iterator[list[_Token]]:
    """Stretches of arithmetic. One word after a number is its unit (``12 pens + 7 pens = 19``) and is passed over."""
    run: list[_Token] = []
    tokens = [_Token(m.lastgroup or "", m[0], m.start(), m.end()) for m in _LEXER.finditer(text)]
    tokens = [token for token in tokens if token.kind != "space"]
    for index, token in enumerate(tokens):
        if token.kind in ("number", "power", "op", "open", "close", "equal"):
            run.append(token)
            continue
        follows = tokens[index + 1].kind if index + 1 < len(tokens) else ""
        if token.kind == "word" and run and run[-1].kind == "number" and follows in ("op", "equal"):
            continue
        yield run
        run = []
    yield run


def _longest(tokens: list[_Token], *, from_end: bool) -> tuple[Side, int, int] | None:
    """The longest readable expression that touches the equals sign, with its span."""
    for cut in range(min(len(tokens), MAX_TOKENS)):
        part = tokens[cut:] if from_end else tokens[: len(tokens) - cut]
        if len(part) > MAX_TOKENS:
            part = part[-MAX_TOKENS:] if from_end else part[:MAX_TOKENS]
        side = _Reader(part).side()
        if side is not None:
            return side, part[0].start, part[-1].end
    return None


class _TooLarge(Exception):
    """The value exceeds the caps."""


@dataclass
class _Reader:
    """Recursive descent: sum > product > sign > power > number or parentheses. No names, no calls."""

    tokens: list[_Token]
    at: int = 0
    literals: list[Exact] = field(default_factory=list)
    worked: bool = False
    depth: int = 0

    def side(self) -> Side | None:
        """The whole run as one expression, or None when it is not one."""
        text = " ".join(token.text for token in self.tokens)
        try:
            value: Exact | None = self._sum()
        except _TooLarge:
            return Side(text, None, (), True)
        except (SyntaxError, ZeroDivisionError):
            return None
        return Side(text, value, tuple(self.literals), self.worked) if self.at == len(self.tokens) else None

    def _sum(self) -> Exact:
        value = self._product()
        while (operator := self._operator("+-")) is not None:
            other = self._product()
            value = _capped(value + other if operator == "+" else value - other)
        return value

    def _product(self) -> Exact:
        value = self._signed()
        while (operator := self._operator("*/")) is not None:
            other = self._signed()
            if operator == "/" and other == 0:
                raise ZeroDivisionError
            value = _capped(value * other if operator == "*" else value / other)
        return value

    def _signed(self) -> Exact:
        negative = False
        while self.at < len(self.tokens) and self.tokens[self.at].text in "+-−–":
            negative ^= self.tokens[self.at].text != "+"
            self.at += 1
        value = self._power()
        return -value if negative else value

    def _power(self) -> Exact:
        base = self._atom()
        if self.at < len(self.tokens) and self.tokens[self.at].kind == "power":
            self.at, self.worked, self.depth = self.at + 1, True, self.depth + 1
            if self.depth > MAX_DEPTH:
                raise _TooLarge
            exponent = self._signed()
            return _power(base, exponent)
        return base

    def _atom(self) -> Exact:
        if self.at >= len(self.tokens):
            raise SyntaxError
        token = self.tokens[self.at]
        self.at += 1
        if token.kind == "number":
            number = _rational(token.text)
            if number is None:
                raise _TooLarge
            self.literals.append(number)
            return number
        self.depth += 1
        if token.kind != "open" or self.depth > MAX_DEPTH:
            raise SyntaxError
        value = self._sum()
        if self.at >= len(self.tokens) or self.tokens[self.at].kind != "close":
            raise SyntaxError
        self.at += 1
        return value

    def _operator(self, which: str) -> str | None:
        if self.at >= len(self.tokens) or self.tokens[self.at].kind != "op":
            return None
        operator = _OPERATORS.get(self.tokens[self.at].text, self.tokens[self.at].text)
        if operator not in which:
            return None
        self.at, self.worked = self.at + 1, True
        return operator


def _rational(text: str) -> Exact | None:
    """A written number as an exact rational; None when it has too many digits."""
    plain = text.replace(",", "")
    if len(plain) > MAX_DIGITS:
        return None
    whole, _, decimals = plain.partition(".")
    return _rational_type()(int(whole + decimals), 10 ** len(decimals))


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
