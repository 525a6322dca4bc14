"""Paired comparison of arms: the same problems, so the difference is not blurred by which problems were drawn."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from forethought.core.judging import proven
from forethought.core.records import Evaluation, Frozen
from forethought.core.stats import holm, mcnemar, paired_bootstrap


class Comparison(Frozen):
    """``arm`` against ``baseline`` on the problems both were judged on. Shares and differences are fractions of 1."""

    arm: str
    baseline: str
    n: int
    accuracy: float
    baseline_accuracy: float
    difference: float
    """``accuracy - baseline_accuracy``, with its 95 % percentile bootstrap interval."""
    ci_low: float
    ci_high: float
    both: int
    only_arm: int
    only_baseline: int
    neither: int
    p_value: float
    """McNemar, exact, two-sided."""
    p_adjusted: float
    """The same after Holm's correction for all pairs compared here."""
    verified_n: int = 0
    """Problems where both arms' answers and steps could be judged; what follows is measured on them."""
    verified_difference: float | None = None
    """Difference in right answers whose every step checks. None without such problems, or where no arm's reasoning was
    checked."""
    verified_ci_low: float | None = None
    verified_ci_high: float | None = None

    @property
    def significant(self) -> bool:
        """A difference chance does not explain, at the 5 % level over all pairs together."""
        return self.p_adjusted < 0.05


def compare(evaluations: Sequence[Evaluation], *, seed: int = 0) -> list[Comparison]:
    """Every later arm against every earlier one. A pair without a problem judged in both is left out."""
    steps_checked = any(o.steps_valid is not None for evaluation in evaluations for o in evaluation.outcomes)
    found = [
        comparison
        for baseline, arm in combinations(evaluations, 2)
        if (comparison := _pair(arm, baseline, steps_checked, seed)) is not None
    ]
    adjusted = holm([comparison.p_value for comparison in found])
    return [c.model_copy(update={"p_adjusted": p}) for c, p in zip(found, adjusted, strict=True)]


def _pair(arm: Evaluation, baseline: Evaluation, steps_checked: bool, seed: int) -> Comparison | None:
    others = {outcome.problem_id: outcome for outcome in baseline.outcomes}
    pairs = [(o, others[o.problem_id]) for o in arm.outcomes if o.problem_id in others]
    pairs = [(a, b) for a, b in pairs if a.correct is not None and b.correct is not None]
    if not pairs:
        return None
    ours, theirs = [bool(a.correct) for a, _ in pairs], [bool(b.correct) for _, b in pairs]
    test = mcnemar(ours, theirs)
    difference = paired_bootstrap(ours, theirs, seed=seed)
    checked = [(x, y) for a, b in pairs if (x := proven(a)) is not None and (y := proven(b)) is not None]
    checked = checked if steps_checked else []
    verified = paired_bootstrap([x for x, _ in checked], [y for _, y in checked], seed=seed) if checked else None
    both = sum(x and y for x, y in zip(ours, theirs, strict=True))
    return Comparison(
        arm=arm.arm,
        baseline=baseline.arm,
        n=len(pairs),
        accuracy=sum(ours) / len(pairs),
        baseline_accuracy=sum(theirs) / len(pairs),
        difference=difference.value,
        ci_low=difference.low,
        ci_high=difference.high,
        both=both,
        only_arm=test.only_a,
        only_baseline=test.only_b,
        neither=len(pairs) - both - test.only_a - test.only_b,
        p_value=test.p_value,
        p_adjusted=test.p_value,
        verified_n=len(checked),
        verified_difference=verified.value if verified else None,
        verified_ci_low=verified.low if verified else None,
        verified_ci_high=verified.high if verified else None,
    )
