"""Statistics against brute force and published values."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forethought.core.stats import (
    chance_level,
    holm,
    majority_vote,
    mcnemar,
    paired_bootstrap,
    pass_at_k,
    wilson,
)
from forethought.errors import UsageError

pairs = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


def test_wilson_known_value():
    # Newcombe 1998, Statistics in Medicine 17:857-872, table I: 81 of 263 gives 0.2553 to 0.3662.
    share = wilson(81, 263)
    assert (round(share.low, 4), round(share.high, 4)) == (0.2553, 0.3662)
    assert share.value == 81 / 263


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_bounds_are_the_roots_of_the_score_test(case):
    successes, n = case
    share = wilson(successes, n)
    z = NormalDist().inv_cdf(0.975)
    for bound in (share.low, share.high):
        if 1e-9 < bound < 1 - 1e-9:
            score = abs(successes / n - bound) / math.sqrt(bound * (1 - bound) / n)
            assert score == pytest.approx(z, rel=1e-6)
    assert 0 <= share.low <= successes / n + 1e-12
    assert successes / n <= share.high + 1e-12 <= 1 + 1e-9


def test_wilson_of_nothing_knows_nothing():
    share = wilson(0, 0)
    assert (share.value, share.low, share.high) == (None, 0.0, 1.0)
    with pytest.raises(UsageError, match="found 3 of 2"):
        wilson(3, 2)


@given(pairs)
def test_mcnemar_equals_enumeration_of_the_binomial(case):
    a, b = [x for x, _ in case], [y for _, y in case]
    result = mcnemar(a, b)
    discordant = result.only_a + result.only_b
    observed = math.comb(discordant, result.only_a)
    tail = sum(math.comb(discordant, k) for k in range(discordant + 1) if math.comb(discordant, k) <= observed)
    assert result.p_value == pytest.approx(float(Fraction(tail, 2**discordant)))
    assert (result.only_a, result.only_b) == (case.count((True, False)), case.count((False, True)))


@given(pairs)
def test_mcnemar_is_symmetric(case):
    a, b = [x for x, _ in case], [y for _, y in case]
    assert mcnemar(a, b).p_value == pytest.approx(mcnemar(b, a).p_value)


def test_mcnemar_known_value():
    # 1 against 9 discordant pairs: 2 * (1 + 10) / 2**10.
    assert mcnemar([True] + [False] * 9, [False] + [True] * 9).p_value == pytest.approx(22 / 1024)


def test_bootstrap_equals_full_enumeration_of_resamples():
    a, b = [1, 1, 0, 1, 1], [0, 1, 1, 0, 0]
    differences = [x - y for x, y in zip(a, b, strict=True)]
    means = sorted(sum(draw) / 5 for draw in itertools.product(differences, repeat=5))
    found = paired_bootstrap(a, b, confidence=0.8, resamples=200_000)
    assert found.value == pytest.approx(0.4)
    assert found.low == pytest.approx(means[int(0.1 * len(means))])
    assert found.high == pytest.approx(means[int(0.9 * len(means))])


def test_bootstrap_agrees_with_scipy():
    from scipy.stats import bootstrap

    rng = random.Random(7)
    a = [float(rng.random() < 0.9) for _ in range(150)]
    b = [float(rng.random() < 0.5) for _ in range(150)]
    differences = [x - y for x, y in zip(a, b, strict=True)]
    theirs = bootstrap(
        (differences,), lambda x, axis: x.mean(axis=axis), method="percentile", rng=1, n_resamples=20_000
    )
    ours = paired_bootstrap(a, b)
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.008)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.008)


@settings(max_examples=40)
@given(pairs, st.integers(0, 1000))
def test_bootstrap_is_seeded_and_antisymmetric(case, seed):
    a, b = [float(x) for x, _ in case], [float(y) for _, y in case]
    first = paired_bootstrap(a, b, seed=seed, resamples=500)
    assert first == paired_bootstrap(a, b, seed=seed, resamples=500)
    assert first.low - 1e-12 <= first.high
    assert first.value == pytest.approx(-paired_bootstrap(b, a, seed=seed, resamples=500).value)
    assert -1 <= first.low <= first.high <= 1


def test_unpaired_values_are_refused():
    with pytest.raises(UsageError, match="found 1 and 2"):
        mcnemar([True], [True, False])
    with pytest.raises(UsageError, match="found none"):
        paired_bootstrap([], [])


def test_holm_known_values():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    with pytest.raises(UsageError, match="between 0 and 1"):
        holm([0.2, 1.5])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7), st.floats(0.001, 0.5))
def test_holm_rejects_exactly_what_the_step_down_procedure_rejects(p_values, alpha):
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    rejected = set()
    for rank, index in enumerate(order):
        if (len(p_values) - rank) * p_values[index] > alpha:
            break
        rejected.add(index)
    assert {i for i, p in enumerate(holm(p_values)) if p <= alpha} == rejected


@given(st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_equals_enumeration_of_all_draws(case):
    n, correct, k = case
    draws = list(itertools.combinations([i < correct for i in range(n)], k))
    assert pass_at_k(n, correct, k) == pytest.approx(sum(any(draw) for draw in draws) / len(draws))


def test_pass_at_k_survives_large_counts_and_refuses_nonsense():
    assert pass_at_k(5000, 1, 2500) == pytest.approx(0.5)
    with pytest.raises(UsageError, match="k=4"):
        pass_at_k(3, 1, 4)


def test_majority_vote_skips_abstentions_and_breaks_ties_by_order():
    vote = majority_vote(["no", None, "yes", "yes", "no", None])
    assert vote is not None
    assert (vote.winner, vote.count, vote.n, vote.share) == ("no", 2, 4, 0.5)
    assert majority_vote([None, None]) is None


@given(st.lists(st.sampled_from(["yes", "no", " yes", "unknown"])))
def test_chance_level_is_the_best_constant_answer(references):
    chance = chance_level(references)
    stripped = [reference.strip() for reference in references]
    best = max((stripped.count(answer) / len(stripped) for answer in stripped), default=None)
    assert (chance.share if chance else None) == best
