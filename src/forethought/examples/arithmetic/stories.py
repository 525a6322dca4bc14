"""The sentences of the word problems: each is written and read by the same pattern, so the two cannot drift.

A *running* story follows one quantity through events. A *comparing* story tells what several people have, each by
comparison with the one before. ``{a}`` and ``{b}`` are whole numbers, ``{name}`` and ``{other}`` are names,
``{item}`` is the plural of a thing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

Effect = Literal["add", "subtract", "add-packs", "subtract-packs", "double"]
Relation = Literal["more", "fewer", "times"]

_SLOTS = {"a": r"\d{1,6}", "b": r"\d{1,6}", "name": r"[A-Z]\w*", "other": r"[A-Z]\w*", "item": r"[a-z]+(?: [a-z]+)?"}


@dataclass(frozen=True)
class Event:
    """Something that changes the quantity. ``note`` is how a step names it."""

    text: str
    note: str
    effect: Effect

    @property
    def operations(self) -> int:
        """Arithmetic operations it takes: packs are multiplied first."""
        return 2 if self.effect.endswith("packs") else 1


@dataclass(frozen=True)
class Running:
    """Opening, what may happen, and the question."""

    opening: str
    events: tuple[Event, ...]
    question: str


@dataclass(frozen=True)
class Comparison:
    """What one person has, told by what another has. ``note`` is how a step names it."""

    text: str
    note: str
    relation: Relation


RUNNING: dict[str, Running] = {
    "person": Running(
        "{name} has {a} {item}.",
        (
            Event("{name} finds {a} more {item}.", "finds {a}", "add"),
            Event("{name} gets {a} {item} from {other}.", "gets {a}", "add"),
            Event("{name} gives {a} {item} to {other}.", "gives {a}", "subtract"),
            Event("{name} loses {a} {item}.", "loses {a}", "subtract"),
            Event("{name} buys {a} boxes with {b} {item} each.", "buys {a} boxes with {b}", "add-packs"),
            Event("{name} sells {a} bags with {b} {item} each.", "sells {a} bags with {b}", "subtract-packs"),
            Event("{name} doubles the number of {item}.", "doubles", "double"),
        ),
        "How many {item} does {name} have now?",
    ),
    "shop": Running(
        "A shop has {a} {item}.",
        (
            Event("A van brings {a} crates with {b} {item} each.", "brings {a} crates with {b}", "add-packs"),
            Event("{name} returns {a} {item}.", "returns {a}", "add"),
            Event("The shop sells {a} {item}.", "sells {a}", "subtract"),
            Event("The shop sells {a} trays with {b} {item} each.", "sells {a} trays with {b}", "subtract-packs"),
            Event("The shop throws away {a} {item}.", "throws {a}", "subtract"),
        ),
        "How many {item} does the shop have now?",
    ),
    "bus": Running(
        "A bus leaves with {a} people.",
        (
            Event("At {name} Street {a} people get on.", "on {a}", "add"),
            Event("At {name} Street {a} people get off.", "off {a}", "subtract"),
            Event("At {name} School {a} groups of {b} people get on.", "on {a} groups of {b}", "add-packs"),
        ),
        "How many people are on the bus now?",
    ),
}
COMPARISONS = (
    Comparison("{name} has {a} more {item} than {other}.", "{name} has {a} more than {other}", "more"),
    Comparison("{name} has {a} fewer {item} than {other}.", "{name} has {a} fewer than {other}", "fewer"),
    Comparison("{name} has {a} times as many {item} as {other}.", "{name} has {a} times {other}", "times"),
)
COMPARING_OPENING = "{name} has {a} {item}."
ASK_ONE = "How many {item} does {name} have?"
ASK_TOGETHER = "How many {item} do they have together?"


def fill(pattern: str, **slots: str | int) -> str:
    """The sentence with its slots filled; slots it does not have are passed over."""
    return re.sub(r"\{(\w+)\}", lambda slot: str(slots[slot[1]]), pattern)


def match(pattern: str, sentence: str) -> dict[str, str] | None:
    """The slots of a sentence made by this pattern, or None when it was not."""
    found = _compiled(pattern).fullmatch(sentence)
    return found.groupdict() if found else None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", pattern)
    return re.compile(
        "".join(f"(?P<{part}>{_SLOTS[part]})" if odd % 2 else re.escape(part) for odd, part in enumerate(parts))
    )
