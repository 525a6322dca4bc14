"""Loan applications by seed: decisions and reasons balanced, many of them at the edge of a rule."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from forethought.core.records import Json
from forethought.core.seams import ProblemDraft
from forethought.errors import DataError, UsageError
from forethought.verifiers.policy_rules import Decision, decide, read_policy

PURPOSES: dict[str, tuple[str, ...]] = {
    "train": ("van", "oven", "stock", "roof", "lathe", "website", "tractor", "freezer", "shop", "printer"),
    "heldout": ("crane", "kiln", "boiler", "truck", "garden", "scales", "loom", "bakery"),
}
"""What the money is for. No rule reads it: a model must learn to leave it aside."""

_PATIENCE = 20_000


@dataclass(frozen=True)
class _Level:
    """How hard: how far two compared numbers may be apart, and how often they are within one."""

    spread: int
    edge: float


_LEVELS = {1: _Level(spread=8, edge=0.0), 2: _Level(spread=6, edge=0.2), 3: _Level(spread=4, edge=0.5)}


class LoanGenerator:
    """Draws the decision first, then which rules are to hold, then applications until one fits.

    Applications of the ``heldout`` vocabulary have purposes and pairs of debt and amount that never occur in
    ``train``, so a sum that is asked for there was never seen.
    """

    name = "loan"
    levels: Sequence[int] = tuple(_LEVELS)

    def __init__(self, policy: Mapping[str, Json]) -> None:
        self._policy = read_policy(policy)

    def generate(self, *, seed: int, level: int | None = None, vocabulary: str = "train") -> Iterator[ProblemDraft]:
        """Endless stream. UsageError for an unknown level or vocabulary."""
        if level is not None and level not in _LEVELS:
            raise UsageError(f"There is no level {level}.", hint=f"Levels: {', '.join(map(str, _LEVELS))}.")
        if vocabulary not in PURPOSES:
            raise UsageError(f"There is no vocabulary '{vocabulary}'.", hint=f"Known: {', '.join(PURPOSES)}.")
        return self._stream(random.Random(f"{seed}-{level}-{vocabulary}"), level, vocabulary)

    def _stream(self, rng: random.Random, level: int | None, vocabulary: str) -> Iterator[ProblemDraft]:
        while True:
            chosen = level or rng.choice(self.levels)
            application, decision = self._fitting(rng, _LEVELS[chosen], vocabulary)
            yield ProblemDraft(
                input=application,
                reference=decision.as_answer(),
                topic=(decision.outcome,),
                level=chosen,
                group="-".join(str(application[name]) for name in ("income", "own", "debt", "amount")),
                tags=decision.reasons,
            )

    def _fitting(self, rng: random.Random, level: _Level, vocabulary: str) -> tuple[dict[str, Json], Decision]:
        wanted = self._wanted(rng)
        for _ in range(_PATIENCE):
            application = _application(rng, level, vocabulary)
            if application and (decision := decide(self._policy, application)) == wanted:
                return application, decision
        raise DataError(f"No application comes to {wanted.as_answer()} under this policy.")

    def _wanted(self, rng: random.Random) -> Decision:
        """Every outcome is as likely; within one, each rule that may hold does so rather more often than not.

        A rule that seldom holds is not learned: always saying no is right too often.
        """
        outcome = rng.choice(self._policy.outcomes)
        while True:
            holding = [rule for rule in self._policy.rules if rng.random() < 0.6]
            decision = self._policy.combined(holding)
            if decision.outcome == outcome:
                return decision


def _application(rng: random.Random, level: _Level, vocabulary: str) -> dict[str, Json] | None:
    """One application of one-digit numbers; None when its debt and amount are the other vocabulary's."""

    def near(value: int, low: int) -> int:
        apart = 1 if rng.random() < level.edge else level.spread
        return rng.randint(max(low, value - apart), max(low, min(9, value + apart)))

    income = rng.randint(1, 9)
    own = rng.randint(0, 9 - income)
    amount = near(income, 1)
    debt = near(income + own, amount) - amount
    age = rng.randint(1, 9)
    term = near(age, 1)
    missed = near(age, 0)
    if ((3 * debt + amount) % 4 == 0) != (vocabulary == "heldout"):
        return None
    return {
        "purpose": rng.choice(PURPOSES[vocabulary]),
        "income": income,
        "own": own,
        "debt": debt,
        "amount": amount,
        "term": term,
        "age": age,
        "missed": missed,
    }
