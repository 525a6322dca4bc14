"""What is measured of an arm. A metric is one function of its outcomes and one row of ``METRICS``.

A function returns None where there is nothing to measure: that is not 0. Outcomes nobody could judge are in no
denominator of a share of right answers; ``judged`` against ``n`` says how many they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from forethought.core.judging import proven
from forethought.core.records import Json, Outcome, Problem
from forethought.core.stats import Proportion, wilson

Unit = Literal["share", "count", "tokens"]


@dataclass(frozen=True)
class Metric:
    """One row: how it is measured and how it is explained to a reader."""

    measure: Callable[[Sequence[Outcome]], float | None]
    unit: Unit
    label: str
    explanation: str


def measure(outcomes: Sequence[Outcome]) -> dict[str, Json]:
    """Every metric of the table, by name."""
    return {name: metric.measure(outcomes) for name, metric in METRICS.items()}


def right(outcomes: Iterable[Outcome]) -> Proportion:
    """Right answers among those that could be judged."""
    return _share(outcome.correct for outcome in outcomes)


def right_and_checked(outcomes: Iterable[Outcome]) -> Proportion:
    """Right answers reached by steps that all check, among those that could be judged."""
    return _share(proven(outcome) for outcome in outcomes)


def right_by_level(outcomes: Iterable[Outcome], problems: Iterable[Problem]) -> dict[int, Proportion]:
    """Accuracy at each difficulty level that occurs, easiest first. Problems without a level are left out."""
    levels = {problem.id: problem.level for problem in problems}
    found: dict[int, list[Outcome]] = {}
    for outcome in outcomes:
        level = levels.get(outcome.problem_id)
        if level is not None:
            found.setdefault(level, []).append(outcome)
    return {level: right(found[level]) for level in sorted(found)}


def _accuracy(outcomes: Sequence[Outcome]) -> float | None:
    return right(outcomes).value


def _ci_low(outcomes: Sequence[Outcome]) -> float | None:
    return right(outcomes).low


def _ci_high(outcomes: Sequence[Outcome]) -> float | None:
    return right(outcomes).high


def _verified_accuracy(outcomes: Sequence[Outcome]) -> float | None:
    return right_and_checked(outcomes).value


def _verified_ci_low(outcomes: Sequence[Outcome]) -> float | None:
    return right_and_checked(outcomes).low


def _verified_ci_high(outcomes: Sequence[Outcome]) -> float | None:
    return right_and_checked(outcomes).high


def _n(outcomes: Sequence[Outcome]) -> float | None:
    return len(outcomes)


def _judged(outcomes: Sequence[Outcome]) -> float | None:
    return sum(outcome.correct is not None for outcome in outcomes)


def _format_valid(outcomes: Sequence[Outcome]) -> float | None:
    return _share(outcome.failure is None for outcome in outcomes).value


def _steps_valid(outcomes: Sequence[Outcome]) -> float | None:
    return _share(outcome.steps_valid for outcome in outcomes).value


def _truncated(outcomes: Sequence[Outcome]) -> float | None:
    return _share(outcome.truncated for outcome in outcomes).value


def _mean_tokens(outcomes: Sequence[Outcome]) -> float | None:
    return sum(outcome.completion_tokens for outcome in outcomes) / len(outcomes) if outcomes else None


METRICS: dict[str, Metric] = {
    "accuracy": Metric(_accuracy, "share", "Right answers", "Share of problems whose final answer is right."),
    "ci_low": Metric(_ci_low, "share", "Right answers, lower bound", "95 % Wilson interval of the share."),
    "ci_high": Metric(_ci_high, "share", "Right answers, upper bound", "95 % Wilson interval of the share."),
    "verified_accuracy": Metric(
        _verified_accuracy,
        "share",
        "Right and every step checks",
        "The final answer is right and a program checked every step that led to it, "
        "of the problems where both could be judged. Guessing cannot win this one.",
    ),
    "verified_ci_low": Metric(
        _verified_ci_low, "share", "Right and every step checks, lower bound", "95 % Wilson interval of the share."
    ),
    "verified_ci_high": Metric(
        _verified_ci_high, "share", "Right and every step checks, upper bound", "95 % Wilson interval of the share."
    ),
    "steps_valid": Metric(
        _steps_valid,
        "share",
        "Reasoning without a wrong step",
        "Of the readable reasoning a program could check, the share in which every step holds, "
        "whatever the final answer.",
    ),
    "format_valid": Metric(
        _format_valid, "share", "Readable", "The model kept to the agreed form, so that an answer could be read."
    ),
    "truncated": Metric(
        _truncated, "share", "Cut off", "The model used up its tokens before it was done. Counts as wrong."
    ),
    "mean_tokens": Metric(
        _mean_tokens, "tokens", "Tokens written", "Mean length of what the model wrote, thinking included."
    ),
    "n": Metric(_n, "count", "Problems", "Problems put to the model."),
    "judged": Metric(
        _judged, "count", "Judged", "Problems on which a verifier could decide. The others count neither way."
    ),
}


def _share(flags: Iterable[bool | None]) -> Proportion:
    known = [flag for flag in flags if flag is not None]
    return wilson(sum(known), len(known))
