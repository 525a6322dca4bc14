"""Checks every equation in the reasoning, exactly.

``12 + 7 = 19`` is found, read (``equation_reading``) and worked out exactly. What claims equality and cannot be read,
or is too large to be worked out, does not pass: "every equation holds" is said only when every one of them was checked.

What this proves: the arithmetic is right and ends in the answer. What it does not: that these are the equations the
problem calls for. Whoever knows the answer can combine any given numbers until it comes out (``7 * 4 = 28``). A task
whose problems can be solved by a program should ask more, as the arithmetic example does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction

from forethought.core.records import Attempt, Finding, Judges, Problem, Task, Verdict
from forethought.verifiers.equation_reading import Equation, Named, Unread, numbers_in, read_equations
from forethought.verifiers.expressions import MAX_DIGITS, Exact, rational
from forethought.verifiers.extract import as_number, final_value

MAX_CHARS = 50_000

_NUMBER = r"-?\$?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?%?"
_ANSWER_IS = re.compile(r"\banswer\s*(?:(?:is|was|be|becomes|comes to|equals)\b|[:=])", re.IGNORECASE)
_IS_ANSWER = re.compile(
    rf"(?<![\w.,])(?P<number>{_NUMBER})(?:\s+[^\W\d_]+){{0,3}}\s+(?:is|was|be)\s+(?:\w+\s+)?(?:the|my|our)"
    r"\s+(?:\w+\s+)?answer\b",
    re.IGNORECASE,
)


class EquationsVerifier:
    """Every equation holds, and they lead to the answer.

    - ``leads_to_answer``: the last equation's result is the number the answer states, and wherever the reasoning says
      what the answer is, it says that number;
    - ``grounded``: numbers on the worked-out side come from the problem's text or from an earlier result, so that
      ``71 + 1 = 72`` does not prove a guess. Numbers may be taken by place (18 as 10 and 8), and working on
      (``19 + 18 = 29 + 8``) may bring in one new number, which the others determine.

    Reasoning without an equation has shown nothing and does not pass. ``grounded`` keeps numbers from being made up;
    neither option asks that all numbers of the problem are used, nor that they are used as the problem says.
    """

    name = "equations"
    judges: Judges = "steps"

    def __init__(self, leads_to_answer: bool = True, grounded: bool = False) -> None:
        self.leads_to_answer = leads_to_answer
        self.grounded = grounded

    def verify(self, task: Task, problem: Problem, attempt: Attempt) -> Verdict:
        reasoning = attempt.reasoning or ""
        if len(reasoning) > MAX_CHARS:
            return Verdict(value=0.0, passed=False, reason=f"the reasoning is over {MAX_CHARS} characters")
        claims = list(read_equations(reasoning))
        known = numbers_in(str(problem.input))
        findings = [finding for claim in claims if (finding := _finding(claim, known, self.grounded))]
        worked = [claim for claim in claims if isinstance(claim, Equation) and claim.worked]
        if self.leads_to_answer:
            findings += _other_answers(reasoning, attempt.answer)
        findings.sort(key=lambda finding: (finding.start, finding.end))
        if not worked and not any(finding.ok is False for finding in findings):
            return Verdict(value=0.0, passed=False, reason="no equation to check", findings=tuple(findings))
        missed = _missed_answer(worked[-1], attempt.answer) if self.leads_to_answer and worked else ""
        return _verdict(findings, missed)


def _verdict(findings: Sequence[Finding], missed: str) -> Verdict:
    good = sum(bool(finding.ok) for finding in findings)
    wrong = next((finding.message for finding in findings if finding.ok is False), missed)
    if wrong:
        value = good / (len(findings) + bool(missed))
        return Verdict(value=value, passed=False, reason=wrong, findings=tuple(findings))
    return Verdict(value=1.0, passed=True, reason="every equation holds", findings=tuple(findings))


def _missed_answer(last: Equation, answer: str) -> str:
    number = _number_of(answer)
    if number is None:
        return f"the steps lead to {last.right.text}; the answer states no plain number"
    result = last.right.value
    if result is None or (result.p, result.q) != (number.numerator, number.denominator):
        return f"the last step gives {last.right.text}, the answer is {final_value(answer).value}"
    return ""


def _other_answers(reasoning: str, answer: str) -> list[Finding]:
    """Where the reasoning says that the answer is another number than the one given."""
    number = _number_of(answer)
    findings: list[Finding] = []
    for start, end, stated in _answers_named(reasoning):
        if number is not None and number not in stated:
            message = f"says another answer than {final_value(answer).value}"
            findings.append(Finding(start=start, end=end, ok=False, message=message))
    return findings


def _answers_named(reasoning: str) -> Iterator[tuple[int, int, list[Fraction]]]:
    """Span and numbers of every sentence that says what the answer is."""
    for match in _IS_ANSWER.finditer(reasoning):
        yield match.start(), match.end(), _numbers([match["number"]])
    for match in _ANSWER_IS.finditer(reasoning):
        said = re.split(r"\.(?!\d)|[\n;!?]|,\s", reasoning[match.end() :], maxsplit=1)[0]
        result = said.rpartition("=")[2]
        stated = re.findall(rf"(?<![\w.,]){_NUMBER}", result)
        if not stated or re.search(r"\bnot\b|[-+*/×÷^]\s*[\d(]", result.lstrip(" $-")):
            continue
        first = re.match(rf"[\s:*$]*(?P<number>{_NUMBER})", result)
        yield match.start(), match.end() + len(said.rstrip()), _numbers([first["number"]] if first else stated)


def _numbers(texts: Sequence[str]) -> list[Fraction]:
    found = (as_number(text.replace("$", "")) for text in texts)
    return [number for number in found if number is not None]


def _number_of(answer: str) -> Fraction | None:
    stated = final_value(answer).value
    return as_number(stated) if stated is not None else None


def _finding(claim: Equation | Named | Unread, known: set[Exact], grounded: bool) -> Finding | None:
    """One claim, checked; None when it only repeats a number. The result of a true one joins the known numbers."""
    ok, message = _checked(claim, known, grounded)
    if ok and not (isinstance(claim, Equation) and claim.worked):
        return None
    return Finding(start=claim.start, end=claim.end, ok=ok, message=message)


def _checked(claim: Equation | Named | Unread, known: set[Exact], grounded: bool) -> tuple[bool, str]:
    if isinstance(claim, Unread):
        return False, f"this equality could not be read: {claim.why}"
    if isinstance(claim, Named):
        if claim.side.value is None:
            return False, "too large to check"
        strange = [number for number in (claim.side.value, *claim.side.literals) if number not in known]
        return not strange, f"{_shown(strange[0])} is neither given nor worked out before" if strange else ""
    if claim.holds is None:
        return False, "too large to check"
    if not claim.holds:
        return False, f"{claim.left.text} is {_shown(claim.left.value)}, not {claim.right.text}"
    if not claim.worked:
        return True, ""
    strange_number = _ungrounded(claim, known) if grounded else None
    if strange_number is not None:
        return False, f"{_shown(strange_number)} is neither given nor worked out before"
    known.update((claim.left.value, *claim.right.literals))
    return True, ""


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
            yield rational(digit + "0" * (len(digits) - place - 1))


def _shown(value: Exact) -> str:
    text = str(value)
    return text if len(text) <= MAX_DIGITS else f"a number of {len(text)} digits"
