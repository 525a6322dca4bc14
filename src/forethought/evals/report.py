"""The report of an evaluation: ``report.json`` for programs and one self-contained ``report.html`` for people.

The page is made from the very data of the JSON, so the two cannot disagree. It loads nothing, runs nothing (its
Content-Security-Policy allows one style sheet, by hash) and shows everything a model wrote as inert text.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import Field

from forethought.core.files import write_text
from forethought.core.ids import utc_now
from forethought.core.judging import proven
from forethought.core.records import Evaluation, Frozen, Json, Problem, Task
from forethought.core.stats import chance_level
from forethought.errors import UsageError
from forethought.evals.compare import Comparison
from forethought.evals.metrics import right_by_level
from forethought.evals.page import render_page
from forethought.evals.verdict import verdict

LAYOUT = 1
"""Version of the layout of ``report.json``; raised when a field changes its meaning."""


class Command(Frozen):
    """One command of those that repeat the work, and what it is for."""

    purpose: str
    command: str


class TrainingFacts(Frozen):
    """What is worth telling of one training run. Curves are (step, loss) points."""

    name: str
    facts: dict[str, Json] = Field(default_factory=dict)
    """Label -> value, shown in order: ``{"Problems": 1200, "Minutes": 4.1}``."""
    train_loss: tuple[tuple[int, float], ...] = ()
    heldout_loss: tuple[tuple[int, float], ...] = ()


class ReportExtra(Frozen):
    """What a report tells beside the outcomes. Everything may be left out."""

    labels: dict[str, str] = Field(default_factory=dict)
    """Arm name -> how a sentence calls it, in lower case: ``{"answer": "training on answers only"}``."""
    headline: tuple[str, str] | None = None
    """(arm, baseline) that the first sentence compares; left out: the best arm and the next best."""
    dataset_name: str = ""
    dataset_hash: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    commands: tuple[Command, ...] = ()
    training: tuple[TrainingFacts, ...] = ()
    warnings: tuple[str, ...] = ()
    """Why the figures say less than they seem to, such as problems that a model was trained on."""


def write_report(
    folder: Path,
    title: str,
    task: Task,
    evaluations: Sequence[Evaluation],
    comparisons: Sequence[Comparison],
    problems: Sequence[Problem],
    extra: ReportExtra | None = None,
) -> tuple[Path, Path]:
    """Writes ``report.html`` and ``report.json`` into ``folder`` (made if absent); each appears whole or not at all."""
    data = report_data(title, task, evaluations, comparisons, problems, extra)
    folder.mkdir(parents=True, exist_ok=True)
    html_path, json_path = folder / "report.html", folder / "report.json"
    write_text(json_path, json.dumps(data, indent=2, allow_nan=False) + "\n")
    write_text(html_path, render_page(data, evaluations, problems))
    return html_path, json_path


def report_data(
    title: str,
    task: Task,
    evaluations: Sequence[Evaluation],
    comparisons: Sequence[Comparison],
    problems: Sequence[Problem],
    extra: ReportExtra | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """The content of ``report.json``. Shares are fractions of 1; what is not known is null."""
    extra = extra or ReportExtra()
    if not evaluations:
        raise UsageError("A report needs at least one evaluation, found none.")
    chance = chance_level(problem.reference for problem in problems)
    steps_checked = any(o.steps_valid is not None for evaluation in evaluations for o in evaluation.outcomes)
    data: dict[str, Any] = {
        "layout": LAYOUT,
        "title": title,
        "created_at": (created_at or utc_now()).isoformat(timespec="seconds"),
        "task": {"id": task.id, "revision": task.revision, "name": task.name, "instructions": task.instructions},
        "chance_level": chance.share if chance else None,
        "chance_answer": chance.winner if chance else None,
        "steps_checked": steps_checked,
        "warnings": list(extra.warnings),
        "arms": [_arm(evaluation, problems, extra) for evaluation in evaluations],
        "comparisons": [
            comparison.model_dump() | {"significant": comparison.significant} for comparison in comparisons
        ],
        "problems": {"n": len(problems), "sha256": _problems_hash(problems)},
        "results": _results(evaluations, problems),
        "dataset": {"name": extra.dataset_name, "sha256": extra.dataset_hash},
        "versions": {"forethought": version("forethought"), "python": platform.python_version()} | extra.versions,
        "commands": [command.model_dump() for command in extra.commands],
        "training": [facts.model_dump(mode="json") for facts in extra.training],
    }
    data["verdict"] = verdict(data["arms"], data["comparisons"], chance, steps_checked, extra.headline)
    finite: dict[str, Any] = _finite(data)
    return finite


def _arm(evaluation: Evaluation, problems: Sequence[Problem], extra: ReportExtra) -> dict[str, Any]:
    by_level = right_by_level(evaluation.outcomes, problems)
    return {
        "name": evaluation.arm,
        "label": extra.labels.get(evaluation.arm, evaluation.arm),
        "model": evaluation.model,
        "model_id": evaluation.model_id,
        "style": evaluation.style,
        "shots": len(evaluation.prompt.examples),
        "reasons": any(outcome.attempt.reasoning for outcome in evaluation.outcomes),
        "sampling": evaluation.sampling.model_dump(mode="json"),
        **evaluation.metrics,
        "by_level": [
            {"level": level, "n": share.n, "accuracy": share.value, "ci_low": share.low, "ci_high": share.high}
            for level, share in by_level.items()
        ],
    }


def _results(evaluations: Sequence[Evaluation], problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """Who got what right, problem by problem: enough to repeat every test of the report."""
    outcomes = {e.arm: {outcome.problem_id: outcome for outcome in e.outcomes} for e in evaluations}
    return [
        {
            "problem_id": problem.id,
            "level": problem.level,
            "reference": problem.reference,
            "arms": {
                arm: {"correct": of_arm[problem.id].correct, "verified": proven(of_arm[problem.id])}
                for arm, of_arm in outcomes.items()
                if problem.id in of_arm
            },
        }
        for problem in problems
    ]


def _problems_hash(problems: Sequence[Problem]) -> str:
    """SHA-256 over input and reference of every problem in order: same problems, same hash."""
    digest = hashlib.sha256()
    for problem in problems:
        digest.update(json.dumps([problem.input, problem.reference], sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def _finite(value: Any) -> Any:
    """The value with NaN and infinities (a diverged loss) as null: JSON has no word for them."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
