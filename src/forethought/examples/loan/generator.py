"""Loan applications by seed: decisions and reasons balanced, many of them at the edge of a rule."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from forethought.core.records import Json
from forethought.core.seams import ProblemDraft
from forethought.errors import DataError, UsageError
from forethought.verifiers.policy_rules import Decision, Rule, decide, expression, read_policy

PURPOSES: dict[str, tuple[str, ...]] = {
    "train": ("van", "oven", "stock", "roof", "lathe", "website", "tractor", "freezer", "shop", "printer"),
    "heldout": ("crane", "kiln", "boiler", "truck", "garden", "scales", "loom", "bakery"),
}
"""What the money is for. No rule reads it: a model must learn to leave it aside."""

_PATIENCE = 20_000


@dataclass(frozen=True)
class _Level:
    """How hard: the most rules that may hold, and how often two compared numbers are within one of each other."""

    reasons: int
    edge: float


_LEVELS = {1: _Level(reasons=1, edge=0.1), 2: _Level(reasons=2, edge=0.25), 3: _Level(reasons=5, edge=0.5)}


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
                group="-".join(str(application[name]) for name in ("income", "debt", "amount")),
                tags=decision.reasons,
            )

    def _fitting(self, rng: random.Random, level: _Level, vocabulary: str) -> tuple[dict[str, Json], Decision]:
        wanted = self._wanted(rng, level)
        for _ in range(_PATIENCE):
            application = _application(rng, level, vocabulary)
            if application and (decision := decide(self._policy, application)) == wanted:
                return application, decision
        raise DataError(f"No application comes to {wanted.as_answer()} under this policy.")

    def _wanted(self, rng: random.Random, level: _Level) -> Decision:
        """Every outcome is as likely; within one, every set of rules that leads to it."""
        outcome = rng.choice(self._policy.outcomes)
        while True:
            holding = [rule for rule in self._policy.rules if rng.random() < _share(rule)]
            decision = self._policy.combined(holding)
            if decision.outcome == outcome and len(holding) <= level.reasons:
                return decision


def _share(rule: Rule) -> float:
    """A rule that reads one fact alone is drawn less often, so that this field does not tell the decision."""
    return 0.5 if len(set(expression(rule.when).names)) > 1 else 0.35


def _application(rng: random.Random, level: _Level, vocabulary: str) -> dict[str, Json] | None:
    """One application whose compared numbers are near each other as often as the level says; None: not in the stock."""

    def near(value: int, spread: int) -> int:
        return value + (rng.randint(-1, 1) if rng.random() < level.edge else rng.randint(-spread, spread))

    income = near(20, 0) if rng.random() < level.edge / 4 else rng.randint(10, 45)
    amount = near(income, 12)
    debt = near(2 * income - amount, 12)
    age = rng.randint(1, 9)
    term = near(age, 6)
    missed = near(age, 6)
    small_enough = amount >= 1 and debt >= 0 and debt + amount <= 99 and 1 <= term <= 9 and 0 <= missed <= 9
    if not small_enough or ((3 * debt + amount) % 4 == 0) != (vocabulary == "heldout"):
        return None
    return {
        "purpose": rng.choice(PURPOSES[vocabulary]),
        "income": income,
        "debt": debt,
        "amount": amount,
        "term": term,
        "age": age,
        "missed": missed,
    }
