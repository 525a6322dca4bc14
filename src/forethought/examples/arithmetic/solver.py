"""Reads a word problem sentence by sentence and works it out in steps a small model can copy.

Every step names what happens and restates the running number. Sums of two-digit numbers take the tens first and carry
the ones along (``19 + 18 = 29 + 8 = 37``): whole two-digit sums are what small models get wrong, and ones written in a
later sentence are what they forget.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from forethought.core.records import Attempt, Json, Task
from forethought.errors import UnsolvableError
from forethought.examples.arithmetic.stories import (
    ASK_ONE,
    ASK_TOGETHER,
    COMPARING_OPENING,
    COMPARISONS,
    RUNNING,
    Running,
    fill,
    match,
)

MAX_CHARS = 10_000


class ArithmeticSolver:
    """Solves the example's own kinds of story; anything else is refused with the sentence it does not know."""

    name = "arithmetic"

    def solve(self, task: Task, problem_input: Json) -> Attempt:
        if not isinstance(problem_input, str) or len(problem_input) > MAX_CHARS:
            raise UnsolvableError("A word problem is a text of at most 10,000 characters.")
        sentences = re.findall(r"[^.?]+[.?]", " ".join(problem_input.split()))
        *told, asked = [sentence.strip() for sentence in sentences] or [""]
        sheet = _follow(told, asked)
        return Attempt(
            reasoning=" ".join([*sheet.lines, f"So the answer is {sheet.result}."]), answer=str(sheet.result)
        )


@dataclass
class _Sheet:
    """The working so far; ``result`` is the running number."""

    result: int
    lines: list[str] = field(default_factory=list)

    def add(self, amount: int) -> None:
        self._work("+", amount)

    def subtract(self, amount: int) -> None:
        if amount > self.result:
            raise UnsolvableError(f"{amount} cannot be taken from {self.result}.")
        self._work("-", amount)

    def _work(self, sign: str, amount: int) -> None:
        sides = [f"{self.result} {sign} {amount}"]
        *higher, lowest = place_values(amount)
        rest = amount
        for part in higher:
            self.result += part if sign == "+" else -part
            rest -= part
            sides.append(f"{self.result} {sign} {rest}")
        self.result += lowest if sign == "+" else -lowest
        self.lines.append(" = ".join([*sides, f"{self.result}."]))


def place_values(number: int) -> list[int]:
    """137 is 100, 30, 7. Zero is itself."""
    digits = str(number)
    parts = [int(digit) * 10 ** (len(digits) - place - 1) for place, digit in enumerate(digits)]
    return [part for part in parts if part] or [0]


def _follow(told: list[str], asked: str) -> _Sheet:
    for story in RUNNING.values():
        if told and match(story.opening, told[0]) and match(story.question, asked) is not None:
            return _running(story, told)
    if told and match(COMPARING_OPENING, told[0]):
        return _comparing(told, asked)
    raise UnsolvableError(f"No known story begins '{(told or [''])[0][:80]}' and asks '{asked[:80]}'.")


def _running(story: Running, told: list[str]) -> _Sheet:
    opening = match(story.opening, told[0]) or {}
    sheet = _Sheet(int(opening["a"]))
    sheet.lines.append(f"Start with {sheet.result}.")
    for sentence in told[1:]:
        for event in story.events:
            slots = match(event.text, sentence)
            if slots is not None and slots.get("item", "") == opening.get("item", ""):
                break
        else:
            raise UnsolvableError(f"The sentence '{sentence[:80]}' is not known.")
        sheet.lines.append(f"{fill(event.note, **slots).capitalize()}:")
        amount = _amount(sheet, event.effect, slots)
        (sheet.subtract if event.effect.startswith("subtract") else sheet.add)(amount)
    return sheet


def _amount(sheet: _Sheet, effect: str, slots: dict[str, str]) -> int:
    if effect == "double":
        return sheet.result
    first = int(slots["a"])
    if not effect.endswith("packs"):
        return first
    second = int(slots["b"])
    sheet.lines.append(f"{first} * {second} = {first * second}.")
    return first * second


def _comparing(told: list[str], asked: str) -> _Sheet:
    opening = match(COMPARING_OPENING, told[0]) or {}
    item = opening["item"]
    owned = {opening["name"]: int(opening["a"])}
    lines = [f"{opening['name']} has {opening['a']}."]
    for sentence in told[1:]:
        who, sheet = _compared(sentence, owned, item)
        lines += sheet.lines
        owned[who] = sheet.result
    if (slots := match(ASK_ONE, asked)) and slots["name"] in owned and slots["item"] == item:
        return _Sheet(owned[slots["name"]], lines)
    if (slots := match(ASK_TOGETHER, asked)) and slots["item"] == item:
        first, *others = owned.values()
        together = _Sheet(first, [*lines, f"Together {' and '.join(map(str, owned.values()))}:"])
        for amount in others:
            together.add(amount)
        return together
    raise UnsolvableError(f"The question '{asked[:80]}' is not known.")


def _compared(sentence: str, owned: dict[str, int], item: str) -> tuple[str, _Sheet]:
    for comparison in COMPARISONS:
        slots = match(comparison.text, sentence)
        if not slots or slots["item"] != item or slots["other"] not in owned or slots["name"] in owned:
            continue
        amount = int(slots["a"])
        sheet = _Sheet(owned[slots["other"]], [f"{fill(comparison.note, **slots)}:"])
        if comparison.relation == "more":
            sheet.add(amount)
        elif comparison.relation == "fewer":
            sheet.subtract(amount)
        else:
            sheet.lines.append(f"{amount} * {sheet.result} = {amount * sheet.result}.")
            sheet.result *= amount
        return slots["name"], sheet
    raise UnsolvableError(f"The sentence '{sentence[:80]}' is not known.")
