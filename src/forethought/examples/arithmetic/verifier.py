"""Judges the steps of a word problem: do the equations work out what the story says, or only hit its answer?

Any numbers can be combined until the answer comes out. What cannot be hit by chance is the right answer to the same
story with other numbers, so that is what is asked: the story is told again with other numbers, the equations are worked
out with those, and they must lead to what the solver makes of the new story (see docs/decisions/0021).
"""

from __future__ import annotations

import operator
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from forethought.core.records import Attempt, Finding, Json, Judges, Problem, Task, Verdict
from forethought.errors import UnsolvableError
from forethought.examples.arithmetic.solver import ArithmeticSolver, place_values
from forethought.verifiers.equation_reading import Equation, numbers_in, read_equations
from forethought.verifiers.equations import EquationsVerifier
from forethought.verifiers.expressions import Exact, Side

RETELLINGS = 4
MAX_WORK = 20_000
"""Pairs of readings that are worked out for one attempt."""
MAX_DETAIL = 10
"""Equations there may be for each of the solver's."""

_NUMBER = re.compile(r"(?<!\w)\d+(?!\w)")
_OPENING_NUMBERS = (100_000, 999_999)
_OTHER_NUMBERS = (11, 149)
"""The opening is so large that nothing taken from it later makes the story impossible."""

_PRIME = 2**61 - 1

Values = tuple[int, ...]
"""What a number of the steps is in each retelling, modulo a large prime: fractions are whole there too."""
Readings = dict[Values, frozenset[int]]
"""What a number may stand for, and the steps it comes from."""


class ArithmeticStepsVerifier:
    """Every equation holds, and together they work out the story.

    Order, grouping and detail of the steps are free: what counts is that the last equation, traced back to the numbers
    of the story, gives the right answer for any numbers. Steps that have no part in it may not outnumber those that do.
    """

    name = "arithmetic-steps"
    judges: Judges = "steps"

    def __init__(self) -> None:
        self._equations = EquationsVerifier(grounded=True)

    def verify(self, task: Task, problem: Problem, attempt: Attempt) -> Verdict:
        """Not judged: stories that the solver does not know, unless an equation is wrong."""
        verdict = self._equations.verify(task, problem, attempt)
        if not verdict.passed:
            return verdict
        try:
            story = _retold(task, problem.input)
        except UnsolvableError as error:
            return Verdict(reason=error.message)
        steps = list(_steps(attempt.reasoning or ""))
        if len(steps) > MAX_DETAIL * story.steps:
            return _refused(verdict, steps[-1], f"there are over {MAX_DETAIL * story.steps} equations")
        parts = _parts(steps, story, closely=True) or _parts(steps, story, closely=False)
        if not parts:
            return _refused(verdict, steps[-1], "this is not how the numbers of the story lead to the answer")
        if len(steps) > 2 * len(parts):
            aside = next(step for index, step in enumerate(steps) if index not in parts)
            return _refused(verdict, aside, "most equations have no part in working out the story")
        return verdict


def _refused(verdict: Verdict, step: _Step, reason: str) -> Verdict:
    findings = tuple(
        Finding(start=found.start, end=found.end, ok=False, message=reason) if found.start == step.start else found
        for found in verdict.findings
    )
    good = sum(found.ok is True for found in findings)
    return Verdict(value=good / len(findings), passed=False, reason=reason, findings=findings)


# --- the story with other numbers -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Story:
    """What becomes of its numbers, of the results of the solver's steps, and of the answer."""

    given: dict[Fraction, set[Values]]
    totals: frozenset[Values]
    answer: Values
    steps: int
    """Steps the solver takes."""


def _retold(task: Task, problem_input: Json) -> _Story:
    """UnsolvableError when the story, or the story with other numbers, is none the solver knows."""
    solver = ArithmeticSolver()
    solver.solve(task, problem_input)
    text = str(problem_input)
    rng = random.Random(text)
    numbers = _NUMBER.findall(text)
    draws = [
        [rng.randint(*(_OTHER_NUMBERS if index else _OPENING_NUMBERS)) for index in range(len(numbers))]
        for _ in range(RETELLINGS)
    ]
    solved = [solver.solve(task, _with_numbers(text, draw)) for draw in draws]
    results = [[int(step.result) for step in _steps(attempt.reasoning or "")] for attempt in solved]
    given: dict[Fraction, set[Values]] = {}
    for number, values in zip(numbers, zip(*draws, strict=True), strict=True):
        given.setdefault(Fraction(number), set()).add(values)
    for number in map(_fraction, numbers_in(_NUMBER.sub("", text))):  # "doubles" is two in every story
        given.setdefault(number, set()).add((int(number),) * RETELLINGS)
    answer = tuple(int(attempt.answer) for attempt in solved)
    return _Story(given, frozenset(zip(*results, strict=True)), answer, len(results[0]))


def _with_numbers(text: str, numbers: list[int]) -> str:
    remaining = iter(numbers)
    return _NUMBER.sub(lambda _: str(next(remaining)), text)


# --- the steps worked out with other numbers --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Step:
    """``side`` is worked out and comes to ``result``; what follows in the same chain only writes it differently."""

    side: Side
    result: Fraction
    start: int


def _steps(reasoning: str) -> Iterator[_Step]:
    """The worked equations, each chain (``19 + 18 = 29 + 8 = 37``) as one step."""
    equations = [claim for claim in read_equations(reasoning) if isinstance(claim, Equation)]
    end = 0
    for equation in equations:
        chained = equation.start < end
        if equation.worked:
            end = equation.end
        side = equation.left if equation.left.worked else equation.right
        if side.worked and side.value is not None and not chained:
            yield _Step(side, _fraction(side.value), equation.start)


def _parts(steps: list[_Step], story: _Story, closely: bool) -> frozenset[int]:
    """The steps that have part in working out the story; none when the last one does not give its answer.

    Read ``closely``, a step that may be one of the solver's is that one: in long stories the same small numbers come up
    so often that all ways to read them are too many.
    """
    tracing = _Tracing(story)
    parts: frozenset[int] = frozenset()
    readings: Readings = {}
    for index, step in enumerate(steps):
        found = tracing.readings(step.side)
        told = {values: used for values, used in found.items() if values in story.totals} if closely else {}
        readings = {values: used | {index} for values, used in (told or found).items()}
        tracing.learn(step.result, readings)
        parts |= readings.get(story.answer, frozenset())
    return parts if story.answer in readings else frozenset()


class _Tracing:
    """What the numbers known so far may stand for. Gives up, and then reads nothing more, after ``MAX_WORK``."""

    def __init__(self, story: _Story) -> None:
        self._known: dict[Fraction, Readings] = {}
        self._places: dict[Fraction, Readings] = {}
        self._left = MAX_WORK
        for number, found in story.given.items():
            self.learn(number, dict.fromkeys(found, frozenset[int]()))

    def learn(self, number: Fraction, readings: Readings) -> None:
        """Also without its sign, and taken by place: 18 is 10, and what is then left of it."""
        _join(self._known, number, readings)
        if number < 0:
            _join(self._known, -number, self._combined("-", _constant(0), readings))
        if not readings or number.denominator != 1 or number <= 10:
            return
        *higher, lowest = place_values(int(number))
        for place in higher:
            _join(self._places, Fraction(place), _constant(place))
        _join(self._places, Fraction(lowest), self._combined("-", readings, _constant(sum(higher))))

    def readings(self, side: Side) -> Readings:
        """Everything an expression may come to in the retellings."""
        stack: list[Readings] = []
        for item in side.postfix:
            if not isinstance(item, str):
                stack.append(self._meant(_fraction(item)))
            elif item == "negative":
                stack.append(self._combined("-", _constant(0), stack.pop()))
            elif item in _OPERATIONS:
                right = stack.pop()
                stack.append(self._combined(item, stack.pop(), right))
            else:  # no story takes powers or percentages
                return {}
        (found,) = stack
        return found

    def _combined(self, sign: str, a: Readings, b: Readings) -> Readings:
        self._left -= len(a) * len(b)
        if self._left < 0:
            return {}
        work = _OPERATIONS[sign]
        return {
            tuple(work(one, other) % _PRIME for one, other in zip(left, right, strict=True)): left_from | right_from
            for left, left_from in a.items()
            for right, right_from in b.items()
            if sign != "/" or all(right)
        }

    def _meant(self, number: Fraction) -> Readings:
        """A number of the story or a result; only what is neither can be part of a number taken by place."""
        return self._known[number] if number in self._known else self._places.get(number, {})


def _join(table: dict[Fraction, Readings], number: Fraction, readings: Readings) -> None:
    known = table.setdefault(number, {})
    for values, come_from in readings.items():
        known.setdefault(values, come_from)


def _constant(number: int) -> Readings:
    return {(number,) * RETELLINGS: frozenset()}


def _fraction(number: Exact) -> Fraction:
    return Fraction(int(number.p), int(number.q))


def _divided(one: int, other: int) -> int:
    return one * pow(other, -1, _PRIME)


_OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divided,
}
