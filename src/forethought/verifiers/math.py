"""Is the answer mathematically equal to the reference? Decided by math-verify, in a process that can be killed."""

from __future__ import annotations

import re
from typing import Any, Literal

from forethought.core.records import Attempt, Judges, Problem, Task, Verdict
from forethought.errors import UsageError, VerifierError
from forethought.verifiers.extract import as_number, final_number, final_value
from forethought.verifiers.process import killable

Form = Literal["expression", "number"]

MAX_EXPRESSION = 400
"""Characters of an expression; what is longer is no answer."""

_ENORMOUS = re.compile(
    r"\d{60}"  # more digits than anybody counts
    r"|(?:\^|\*\*)[\s{(]*(?:\d{4,}|[^{}()\s]*[\s{(]*(?:\^|\*\*))"  # a huge exponent, a tower of powers
    r"|\d{4,}[\s)}]*!|!\s*[)}\s]*!"  # a huge factorial, a factorial of a factorial
)


class MathVerifier:
    """``72``, ``$72$``, ``#### 72``, ``\\boxed{72}`` and "The answer is 72" all state 72.

    ``form`` says what the answer may be: any ``"expression"``, or one plainly written ``"number"`` (``72``, ``72.0``,
    ``72 pens``; not ``10 + 62``, not ``7200%``). An answer that states no value, or more than one, is wrong.
    ``timeout_s`` bounds one comparison in seconds. An answer too large to be worked out in that time is wrong: a model
    must not be able to leave a problem uncounted. Only what fails on the reference alone is not judged.
    """

    name = "math"
    judges: Judges = "answer"

    def __init__(self, timeout_s: float = 10.0, form: Form = "expression") -> None:
        if form not in ("expression", "number"):
            raise UsageError(f"'math' knows no form '{form}'.", hint="Known: expression, number.")
        self.timeout_s = timeout_s
        self.form = form

    def verify(self, task: Task, problem: Problem, attempt: Attempt) -> Verdict:
        if problem.reference is None:
            return Verdict(reason="the problem has no reference answer")
        gold = final_value(problem.reference).value or problem.reference
        stated = (final_number if self.form == "number" else final_value)(attempt.answer)
        if stated.value is None:
            return _wrong(stated.reason)
        if self.form == "number" and (other := _other_form(gold, stated.value)):
            return _wrong(other)
        if stated.value != gold and (len(stated.value) > MAX_EXPRESSION or _ENORMOUS.search(stated.value)):
            return _wrong("the answer is too large to be one")
        same = self._equal(gold, stated.value)
        if same is None:
            raise VerifierError(f"The reference {problem.reference[:80]!r} is no mathematical expression.")
        return Verdict(value=1.0, passed=True, reason="equal") if same else _wrong(_unequal(stated.value))

    def _equal(self, gold: str, stated: str) -> bool | None:
        compare = killable(f"{__name__}:equal", self.timeout_s, '{"reference": "1/2", "stated": "0.5"}')
        try:
            same: bool | None = compare(reference=gold, stated=stated)
        except VerifierError:
            harmless = compare(reference=gold, stated="1")  # raises again when the fault is not the answer's
            return None if harmless is None else False
        return same


def _unequal(stated: str) -> str:
    return f"'{stated[:80]}' is not equal to the reference"


def _wrong(reason: str) -> Verdict:
    return Verdict(value=0.0, passed=False, reason=reason)


def _other_form(gold: str, stated: str) -> str:
    """A percentage where none is asked for, or a division left undone where the reference is whole."""
    if ("%" in stated) != ("%" in gold):
        return "the answer and the reference are not both percentages"
    number = as_number(gold)
    if "/" in stated and number is not None and number.denominator == 1:
        return "the answer is a division left undone"
    return ""


def equal(reference: str, stated: str) -> bool | None:
    """Whether math-verify takes the two for equal; None when it cannot read the reference. Runs in its own process."""
    import logging

    from math_verify import verify

    logging.disable(logging.WARNING)  # it warns at every call that its own time-out is off; ours is the process
    gold = _read(reference)
    if not gold:
        return None
    parts = stated.split("=")
    if len(parts) > 1 and re.fullmatch(r"\s*[A-Za-z]\s*", parts[0]):
        parts = parts[1:]  # "x = 72" states 72
    return all(verify(gold, _read(part), timeout_seconds=None) for part in parts)


def _read(expression: str) -> list[Any]:
    from math_verify import parse

    found: list[Any] = parse(f"${expression}$", parsing_timeout=None)
    return found
