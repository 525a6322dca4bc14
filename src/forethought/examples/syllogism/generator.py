"""Seeded syllogisms with distractor facts. A level is the number of hops the search takes.

Yes and no problems look alike: the same number of facts and words, both asked words among the facts, and the same
chances for what each of them is the subject or object of. Only following the facts tells them apart. A no problem
asks about a word on another chain (*broken*) or about a word that comes before the start (*reversed*), and its search
runs exactly as many hops until no fact leads on.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from forethought.core.seams import ProblemDraft
from forethought.errors import UsageError
from forethought.examples.syllogism.words import draw

DEFAULT_LEVELS = (3, 4, 5, 6)
ALL_LEVELS = tuple(range(2, 10))
_REVERSED_SHARE = 0.4


class SyllogismGenerator:
    """Endless problems; answers alternate in random pairs, so every even count is balanced."""

    name = "syllogism"

    def __init__(self, levels: tuple[int, ...] | list[int] = DEFAULT_LEVELS) -> None:
        unknown = sorted(set(levels) - set(ALL_LEVELS))
        if unknown or not levels:
            raise UsageError(f"Syllogisms have levels 2 to 9, found {unknown or 'none'}.", hint="A level is a hop.")
        self.levels = tuple(levels)

    def generate(self, *, seed: int, level: int | None = None, vocabulary: str = "train") -> Iterator[ProblemDraft]:
        if level is not None and level not in ALL_LEVELS:
            raise UsageError(f"Syllogisms have levels 2 to 9, found {level}.", hint="A level is a hop.")
        rng = random.Random(f"syllogism {seed} {vocabulary}")
        while True:
            hops = rng.choice(self.levels) if level is None else level
            answers = [True, False]
            rng.shuffle(answers)
            for follows in answers:
                yield _problem(rng, hops, follows, vocabulary)


@dataclass(frozen=True)
class _Plan:
    """Lengths of two chains, in edges, and where the asked words stand on them."""

    lengths: tuple[int, int]
    start: tuple[int, int]
    target: tuple[int, int]


def _problem(rng: random.Random, hops: int, follows: bool, vocabulary: str) -> ProblemDraft:
    plan = _plan(rng, hops, follows)
    words = draw(rng, vocabulary, sum(plan.lengths) + 2)
    chains = (words[: plan.lengths[0] + 1], words[plan.lengths[0] + 1 :])
    facts = [fact for chain in chains for fact in pairwise(chain)]
    rng.shuffle(facts)
    start, target = chains[plan.start[0]][plan.start[1]], chains[plan.target[0]][plan.target[1]]
    text = " ".join(f"All {subject} are {what}." for subject, what in facts)
    return ProblemDraft(
        input=f"{text} Are all {start} definitely {target}?",
        reference="yes" if follows else "no",
        topic=("syllogism",),
        level=hops,
    )


def _plan(rng: random.Random, hops: int, follows: bool) -> _Plan:
    """Draws the shape. ``before``: something is said to be the start; ``after``: the target is said to be something."""
    total = 2 * hops + 2
    turned = rng.random() < _REVERSED_SHARE
    before, after = (1, 1) if turned else (rng.randint(0, 1), rng.randint(0, 1))
    if follows:
        first = before + hops + after
        return _Plan((first, total - first), (0, before), (0, before + hops))
    if turned:
        lead, back = rng.choice(((1, 1), (1, 2), (2, 1)))
        first = lead + back + hops
        return _Plan((first, total - first), (0, lead + back), (0, lead))
    first = before + hops
    second = total - first
    return _Plan((first, second), (0, before), (1, second - after))
