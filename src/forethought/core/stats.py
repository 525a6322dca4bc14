"""Statistics for comparing models: intervals, paired tests, pass@k, votes. Results are frozen values.

numpy and scipy are imported where they are used, so that importing this module costs nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from forethought.errors import UsageError

T = TypeVar("T")

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Proportion:
    """A share of ``n`` with its interval, all as fractions of 1. ``value`` is None when ``n`` is 0."""

    successes: int
    n: int
    value: float | None
    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """Exact McNemar test on problems that two arms both attempted."""

    only_a: int
    """Problems A got right and B got wrong."""
    only_b: int
    p_value: float
    """Two-sided, of the hypothesis that both are right equally often."""


@dataclass(frozen=True)
class Difference:
    """Mean of ``a - b`` over pairs, with its interval."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Vote(Generic[T]):
    """The most frequent of several values."""

    winner: T
    count: int
    n: int

    @property
    def share(self) -> float:
        """Fraction of the votes the winner got."""
        return self.count / self.n


def wilson(successes: int, n: int, confidence: float = CONFIDENCE) -> Proportion:
    """A share with its Wilson score interval (Wilson 1927, without continuity correction).

    Nothing observed (``n`` 0) is the interval 0 to 1: nothing is known.
    """
    if not 0 <= successes <= n:
        raise UsageError(f"A share needs 0 <= successes <= n, found {successes} of {n}.")
    if n == 0:
        return Proportion(0, 0, None, 0.0, 1.0)
    from scipy.stats import binomtest

    interval = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return Proportion(successes, n, successes / n, float(interval.low), float(interval.high))


def mcnemar(a: Sequence[bool], b: Sequence[bool]) -> PairedTest:
    """The exact (binomial) McNemar test on paired outcomes, ``a[i]`` and ``b[i]`` being the same problem."""
    _must_pair(a, b)
    only_a = sum(x and not y for x, y in zip(a, b, strict=True))
    only_b = sum(y and not x for x, y in zip(a, b, strict=True))
    if only_a + only_b == 0:
        return PairedTest(0, 0, 1.0)
    from scipy.stats import binomtest

    return PairedTest(only_a, only_b, float(binomtest(only_a, only_a + only_b, 0.5).pvalue))


def paired_bootstrap(
    a: Sequence[float],
    b: Sequence[float],
    *,
    confidence: float = CONFIDENCE,
    resamples: int = 20_000,
    seed: int = 0,
) -> Difference:
    """Mean of ``a - b`` with its *percentile* bootstrap interval, problems resampled in pairs (Efron 1979).

    Percentile rather than BCa, because BCa is undefined where all differences are alike; there the percentile
    interval has no width, and the discordant counts say how little that means. Same seed, same interval.
    """
    _must_pair(a, b)
    if not a:
        raise UsageError("A difference needs at least one pair, found none.")
    import numpy as np

    differences = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    # Drawing n pairs with replacement is one multinomial draw over the distinct differences.
    values, counts = np.unique(differences, return_counts=True)
    n = len(differences)
    draws = np.random.default_rng(seed).multinomial(n, counts / n, size=resamples)
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws @ values / n, [tail, 1 - tail])
    return Difference(float(differences.mean()), float(low), float(high), n)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values in the order given (Holm 1979): below alpha all hold together at family-wise error alpha."""
    for p in p_values:
        if not 0 <= p <= 1:
            raise UsageError(f"A p-value lies between 0 and 1, found {p}.")
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Unbiased chance that one of ``k`` samples or more is right, when ``correct`` of ``n`` were (Chen et al. 2021)."""
    if not (0 <= correct <= n and 1 <= k <= n):
        raise UsageError(f"pass@k needs 0 <= correct <= n and 1 <= k <= n, found n={n}, correct={correct}, k={k}.")
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


def majority_vote(votes: Iterable[T | None]) -> Vote[T] | None:
    """The most frequent value; a tie goes to the one seen first. None votes abstain; no vote at all gives None."""
    cast = [vote for vote in votes if vote is not None]
    if not cast:
        return None
    winner, count = Counter(cast).most_common(1)[0]
    return Vote(winner, count, len(cast))


def chance_level(references: Iterable[str | None]) -> Vote[str] | None:
    """What always giving the most frequent right answer would score: ``.share``. None without references."""
    return majority_vote(None if reference is None else reference.strip() for reference in references)


def _must_pair(a: Sequence[object], b: Sequence[object]) -> None:
    if len(a) != len(b):
        raise UsageError(f"Paired values must be equally many, found {len(a)} and {len(b)}.")
