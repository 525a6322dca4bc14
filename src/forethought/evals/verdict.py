"""The verdict: what an evaluation found, in plain sentences that claim no more than the intervals carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from forethought.core.stats import Vote

Row = Mapping[str, Any]
"""One entry of ``arms`` or ``comparisons`` in the report's data."""


def verdict(
    arms: Sequence[Row],
    comparisons: Sequence[Row],
    chance: Vote[str] | None,
    steps_checked: bool,
    headline: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """``sentence`` is ``claim`` and ``evidence`` in one; ``more`` adds what a careful reader asks next.

    ``arm`` and ``baseline`` name whom it speaks of.

    ``headline`` names (arm, baseline); without it, or where it was not compared, the best arm meets the next best.
    """
    ranked = sorted((arm for arm in arms if arm["accuracy"] is not None), key=lambda a: -float(a["accuracy"]))
    if not ranked:
        claim = "No answer could be judged."
        return {"sentence": claim, "claim": claim, "evidence": "", "more": [], "arm": None, "baseline": None}
    comparison = _find(comparisons, headline) or _find(comparisons, tuple(arm["name"] for arm in ranked[:2]))
    names = {arm["name"]: arm for arm in arms}
    best = names[comparison["arm"]] if comparison else ranked[0]
    claim, evidence = _against(comparison, names) if comparison else _alone(best)
    return {
        "sentence": f"{claim} ({evidence}).",
        "claim": claim,
        "evidence": evidence,
        "more": [*_steps(best, steps_checked), *_chance(best, chance)],
        "arm": best["name"],
        "baseline": comparison["baseline"] if comparison else None,
    }


def percent(share: float, decimals: int = 0) -> str:
    """``0.931`` as ``93 %``, the space unbreakable."""
    return f"{share * 100:.{decimals}f}\u00a0%"


def points(difference: float, decimals: int = 0) -> str:
    """``0.41`` as ``+41``; a true minus sign, and no sign before what rounds to zero."""
    text = f"{abs(difference) * 100:.{decimals}f}"
    if float(text) == 0:
        return text
    return ("+" if difference > 0 else "\u2212") + text


def p_value(p: float) -> str:
    """``p < 0.001`` or ``p = 0.02``, the spaces unbreakable."""
    return "p\u00a0<\u00a00.001" if p < 0.001 else f"p\u00a0=\u00a0{p:.2g}"


def mirrored(comparison: Row) -> dict[str, Any]:
    """The same comparison told from the other side."""
    swapped = dict(comparison)
    for one, other in (("arm", "baseline"), ("accuracy", "baseline_accuracy"), ("only_arm", "only_baseline")):
        swapped[one], swapped[other] = comparison[other], comparison[one]
    for value, low, high in (
        ("difference", "ci_low", "ci_high"),
        ("verified_difference", "verified_ci_low", "verified_ci_high"),
    ):
        if comparison[value] is not None:
            swapped[value], swapped[low], swapped[high] = -comparison[value], -comparison[high], -comparison[low]
    return swapped


def _find(comparisons: Sequence[Row], pair: Sequence[str] | None) -> Row | None:
    for comparison in comparisons:
        if pair and (comparison["arm"], comparison["baseline"]) == tuple(pair):
            return comparison
        if pair and (comparison["baseline"], comparison["arm"]) == tuple(pair):
            return mirrored(comparison)
    return None


def _against(c: Row, names: Mapping[str, Row]) -> tuple[str, str]:
    arm, baseline = str(names[c["arm"]]["label"]), str(names[c["baseline"]]["label"])
    decimals = _decimals(c)
    ours, theirs = percent(c["accuracy"], decimals), percent(c["baseline_accuracy"], decimals)
    interval = f"95\u00a0% CI {_plain(c['ci_low'], decimals)} to {_plain(c['ci_high'], decimals)}"
    evidence = (
        f"{points(c['difference'], decimals)} points, {interval}, {p_value(c['p_adjusted'])}, "
        f"on the same {c['n']} problems"
    )
    if not c["significant"]:
        return f"No clear difference: {arm} has {ours} right, {baseline} {theirs}", evidence
    only = "only " if c["difference"] < 0 else ""
    return f"{_capital(arm)}: {only}{ours} right against {theirs} for {baseline}", evidence


def _alone(arm: Row) -> tuple[str, str]:
    interval = f"95\u00a0% CI {_plain(arm['ci_low'])} to {_plain(arm['ci_high'])}"
    return (
        f"{_capital(str(arm['label']))}: {percent(arm['accuracy'])} right",
        f"{interval}, {arm['judged']} problems",
    )


def _steps(arm: Row, steps_checked: bool) -> list[str]:
    if not steps_checked:
        return []
    if not arm["reasons"]:
        return [f"{_capital(str(arm['label']))} writes no reasoning, so there is none to check."]
    if arm["verified_accuracy"] is None:
        return [f"No verifier could judge the steps of {arm['label']}."]
    share = percent(arm["verified_accuracy"])
    return [f"In {share} of what could be judged the answer is right and every step checks."]


def _chance(arm: Row, chance: Vote[str] | None) -> list[str]:
    if chance is None:
        return []
    sentence = f"Always giving the most frequent answer would score {percent(chance.share)}"
    if arm["ci_low"] <= chance.share:
        return [f"{sentence}, and {arm['label']} is not clearly better than that."]
    return [f"{sentence}."]


def _decimals(c: Row) -> int:
    """None, unless rounding would make the two shares and their difference disagree."""
    rounded = [round(float(c[key]) * 100) for key in ("accuracy", "baseline_accuracy", "difference")]
    return 0 if rounded[0] - rounded[1] == rounded[2] else 1


def _plain(share: float, decimals: int = 0) -> str:
    return points(share, decimals).removeprefix("+")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
