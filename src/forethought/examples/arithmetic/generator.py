"""Seeded word problems. A level is the number of arithmetic operations the story takes.

Numbers stay at 30 and below and factors below 10, so that what is hard is the reading and the order of the steps.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise

from forethought.core.seams import ProblemDraft
from forethought.errors import UsageError
from forethought.examples.arithmetic.stories import (
    ASK_ONE,
    ASK_TOGETHER,
    COMPARING_OPENING,
    COMPARISONS,
    RUNNING,
    Event,
    Running,
    fill,
)
from forethought.examples.arithmetic.words import Stock, stock

DEFAULT_LEVELS = (2, 3, 4)
ALL_LEVELS = tuple(range(1, 9))
_MOST = 30
_PATIENCE = 1_000
"""Draws without a new story after which stories may come again: easy levels run out of new ones."""


class ArithmeticGenerator:
    """Endless stories of all kinds. No story is told twice while there are new ones; other names do not make it new."""

    name = "arithmetic"

    def __init__(self, levels: tuple[int, ...] | list[int] = DEFAULT_LEVELS) -> None:
        unknown = sorted(set(levels) - set(ALL_LEVELS))
        if unknown or not levels:
            raise UsageError(
                f"Word problems have levels 1 to 8, found {unknown or 'none'}.", hint="A level is one sum."
            )
        self.levels = tuple(levels)

    def generate(self, *, seed: int, level: int | None = None, vocabulary: str = "train") -> Iterator[ProblemDraft]:
        if level is not None and level not in ALL_LEVELS:
            raise UsageError(f"Word problems have levels 1 to 8, found {level}.", hint="A level is one operation.")
        rng = random.Random(f"arithmetic {seed} {vocabulary}")
        words = stock(vocabulary)
        told: set[str] = set()
        missed = 0
        while True:
            operations = rng.choice(self.levels) if level is None else level
            kind = rng.choice((*RUNNING, "compare"))
            story = _Story(rng, words)
            made = story.comparing(operations) if kind == "compare" else story.running(RUNNING[kind], operations)
            if made is None or story.group in told:
                missed += 1
                if missed > _PATIENCE:
                    told.clear()
                continue
            missed = 0
            told.add(story.group)
            text, result = made
            yield ProblemDraft(
                input=text, reference=str(result), topic=("arithmetic", kind), level=operations, group=story.group
            )


class _Story:
    """One story in the making. ``group`` is the text with its names and things taken out."""

    def __init__(self, rng: random.Random, words: Stock) -> None:
        self.rng = rng
        self.item = rng.choice(words.things)
        self.names = rng.sample(words.names, 12)
        self.plain: list[str] = []
        self.said: list[str] = []

    @property
    def group(self) -> str:
        return " ".join(self.plain)

    def running(self, kind: Running, operations: int) -> tuple[str, int] | None:
        """Events that fit until the operations are used up; None when the draw leads nowhere."""
        hero = self.names[0]
        total = self.rng.randint(4, 20)
        self._say(kind.opening, name=hero, a=total)
        last: Event | None = None
        left = operations
        while left:
            fitting = [event for event in kind.events if event.operations <= left and event is not last]
            last = event = self.rng.choice(fitting)
            a, b, change = self._draw(event, total)
            if not 1 <= total + change <= _MOST:
                return None
            total += change
            left -= event.operations
            who, other = (hero, self.rng.choice(self.names[1:])) if kind is RUNNING["person"] else (self._someone(), "")
            self._say(event.text, name=who, other=other, a=a, b=b)
        self._say(kind.question, name=hero)
        return " ".join(self.said), total

    def comparing(self, operations: int) -> tuple[str, int] | None:
        """A chain of people; asking for all together takes one operation for each person after the first."""
        together = operations >= 2 and operations % 2 == 0 and self.rng.random() < 0.5
        people = self.names[: 1 + (operations // 2 if together else operations)]
        owned = [self.rng.randint(2, 15)]
        self._say(COMPARING_OPENING, name=people[0], a=owned[0])
        for other, name in pairwise(people):
            comparison = self.rng.choice(COMPARISONS)
            times = comparison.relation == "times"
            if times and owned[-1] > 9:
                return None
            a = self.rng.randint(2, 4) if times else self.rng.randint(2, 9)
            change = {"more": a, "fewer": -a, "times": (a - 1) * owned[-1]}[comparison.relation]
            if not 1 <= owned[-1] + change <= _MOST:
                return None
            owned.append(owned[-1] + change)
            self._say(comparison.text, name=name, other=other, a=a)
        self._say(ASK_TOGETHER if together else ASK_ONE, name=people[-1])
        result = sum(owned) if together else owned[-1]
        return (" ".join(self.said), result) if result <= _MOST else None

    def _draw(self, event: Event, total: int) -> tuple[int, int, int]:
        """The numbers of an event and how much it changes the total."""
        if event.effect == "double":
            return 0, 0, total
        if event.operations == 2:
            a, b = self.rng.randint(2, 4), self.rng.randint(2, 5)
            return a, b, a * b if event.effect == "add-packs" else -a * b
        a = self.rng.randint(2, 9)
        return a, 0, a if event.effect == "add" else -a

    def _someone(self) -> str:
        return self.rng.choice(self.names[1:])

    def _say(self, pattern: str, **slots: str | int) -> None:
        self.said.append(fill(pattern, item=self.item, **slots))
        self.plain.append(fill(pattern, **{**slots, "item": "*", "name": "*", "other": "*"}))
