"""Seeded syllogisms with distractor facts. A level is the number of hops the search takes.

Yes and no problems look alike: the same number of facts and words, and within two facts of either asked word the same
chances for what stands there. Only following the facts tells them apart. A no problem asks about a word on another
chain (*broken*) or about a word that comes before the start (*reversed*), and its search runs exactly as many hops
until no fact leads on.
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
_DEEP_SHARE = 0.4
"""Problems with two facts or more both before the start and after the target, as a reversed question needs."""
_REVERSED_SHARE = 0.75
"""Of the deep no problems."""
_NEAR = 2
"""How many facts around the asked words must not give the answer away."""


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
    """Draws the shape. ``before``: facts that lead to the start; ``after``: facts that lead on from the target."""
    total = max(2 * hops + 2, hops + 3 * _NEAR + 1)
    deep = rng.random() < _DEEP_SHARE
    before, after = (_NEAR, _NEAR) if deep else (rng.randint(0, _NEAR), rng.randint(0, _NEAR))
    if deep and not follows and rng.random() < _REVERSED_SHARE:
        lead, back, aside = _stretched(rng, [_NEAR, _NEAR + 1, _NEAR], total - hops)
        return _Plan((total - aside, aside), (0, lead + back), (0, lead))
    before, after, rest = _stretched(rng, [before, after, _NEAR], total - hops)
    if follows:
        return _Plan((total - rest, rest), (0, before), (0, before + hops))
    return _Plan((before + hops, rest + after), (0, before), (1, rest))


def _stretched(rng: random.Random, lengths: list[int], total: int) -> list[int]:
    """The lengths with what lacks to the total put where it cannot be seen from near: on stretches of two or more."""
    stretched = list(lengths)
    long = [index for index, length in enumerate(lengths) if length >= _NEAR]
    for _ in range(total - sum(lengths)):
        stretched[rng.choice(long)] += 1
    return stretched
