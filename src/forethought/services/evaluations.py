"""Evaluations: arms on the same held-out problems, as a durable run that ends in a report."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from forethought.core.files import replacing_file
from forethought.core.ids import short_id
from forethought.core.records import (
    Dataset,
    Evaluation,
    Frozen,
    Json,
    Outcome,
    Problem,
    Prompt,
    Run,
    Sampling,
    Task,
    dump,
)
from forethought.errors import DataError, NotFoundError, UsageError
from forethought.evals.compare import compare as compare_arms
from forethought.evals.report import ReportExtra, TrainingFacts, write_report
from forethought.evals.runner import Arm, evaluate
from forethought.jobs.context import JobContext, JobResult
from forethought.services import datasets, models, runs
from forethought.services.evaluation_warnings import warnings_of_calling, warnings_of_learning
from forethought.services.tasks import Parts, style_named
from forethought.services.workbench import Workbench

_ARM = re.compile(r"(?P<name>[\w.-]+)=(?P<model>[^+@]+)(\+(?P<prompt>[\w-]+))?(@(?P<style>[\w-]+))?")


class ArmSpec(Frozen):
    """One arm as it is stored with the run: everything resolved, nothing left to a default that may change."""

    name: str
    model_id: str
    style: str
    prompt: Prompt


def submit(
    bench: Workbench,
    *,
    dataset: str,
    arms: Sequence[str],
    split: str = "test",
    shots_from: str = "",
    limit: int | None = None,
    max_tokens: int = 256,
    report: ReportExtra | None = None,
    parallel: bool = False,
) -> Run:
    """Queues an evaluation of ``arms`` (``NAME=MODEL[+PROMPT][@STYLE]``) and starts its worker.

    A trained model is called with the prompt and style it was trained with unless the arm names others. The run's log
    and its report warn of that, and of problems that a model was trained on.
    """
    frozen = bench.store.dataset(dataset)
    task = bench.store.task(frozen.task_id, frozen.task_revision)
    problems = datasets.problems(bench, frozen, split)[:limit]
    if not problems:
        raise DataError(f"Split '{split}' of dataset '{dataset}' is empty.")
    specs = [_arm_spec(bench, text, task, shots_from) for text in arms]
    names = [spec.name for spec in specs]
    if not names or len(set(names)) < len(names):
        raise UsageError(f"An evaluation needs arms with different names, found {', '.join(names) or 'none'}.")
    extra = (report or ReportExtra()).model_copy(update={"warnings": _warnings(bench, specs, problems)})
    run = Run(
        kind="eval",
        task_id=task.id,
        task_revision=task.revision,
        dataset_id=frozen.id,
        uses_torch=True,
        parallel=parallel,
        config={
            "split": split,
            "limit": limit,
            "sampling": dump(Sampling(max_tokens=max_tokens)),
            "arms": [dump(spec) for spec in specs],
            "report": dump(extra),
        },
        versions=runs.versions(),
    )
    return runs.submit(bench, run)


def run_evaluation(context: JobContext) -> JobResult:
    """The job body of ``eval``: outcomes are kept as they come, so a resumed run asks only what is missing."""
    bench = Workbench.around(context.workspace, context.store)
    config = context.run.config
    frozen = bench.store.dataset(cast(str, context.run.dataset_id))
    task = bench.store.task(frozen.task_id, frozen.task_revision)
    split = str(config["split"])
    problems = datasets.problems(bench, frozen, split)[: cast("int | None", config["limit"])]
    specs = [ArmSpec.model_validate(spec) for spec in cast(list[Json], config["arms"])]
    sampling = Sampling.model_validate(config["sampling"])
    for warning in ReportExtra.model_validate(config["report"]).warnings:
        context.reporter.log(f"warning: {warning}")
    kept = OutcomeLog(context.folder / "outcomes.jsonl")
    finished, spent = kept.read() if context.resuming else ({}, {})
    evaluations: list[Evaluation] = []
    for position, spec in enumerate(specs):
        context.reporter.log(f"arm '{spec.name}'")
        model = bench.store.model(spec.model_id)
        with models.opened(bench, model) as chat:
            arm = Arm(
                name=spec.name,
                chat=chat,
                style=style_named(spec.style),
                prompt=spec.prompt,
                sampling=sampling,
                model=model.name,
                model_id=model.id,
                json_schema=task.output_schema,
            )
            evaluations += evaluate(
                task,
                problems,
                [arm],
                Parts(task).verifiers,
                _ArmReporter(context, position, len(specs)),
                kept.append,
                finished=finished,
                spent=spent,
                dataset_id=frozen.id,
                split=split,
                run_id=context.run.id,
            )
    stored = {evaluation.arm for evaluation in bench.store.evaluations(run_id=context.run.id)}
    for evaluation in evaluations:
        if evaluation.arm not in stored:
            bench.store.add_evaluation(evaluation)
    _write(bench, context, task, frozen, evaluations)
    return JobResult(
        metrics={e.arm: e.metrics.get("accuracy") for e in evaluations}, artefacts={"report": "report/report.html"}
    )


def list_all(bench: Workbench) -> list[Evaluation]:
    """All evaluations, newest first, without their outcomes."""
    return bench.store.evaluations()[::-1]


def compare(bench: Workbench, first: str, second: str) -> dict[str, Json]:
    """The paired comparison of ``second`` against ``first`` on the problems both were judged on."""
    pair = [bench.store.evaluation(first), bench.store.evaluation(second)]
    if pair[0].id == pair[1].id:
        raise UsageError("An evaluation cannot be compared with itself.")
    found = compare_arms([e.model_copy(update={"arm": f"{e.arm}:{short_id(e.id)}"}) for e in pair])
    if not found:
        raise UsageError("These evaluations share no problem that both were judged on.")
    return found[0].model_dump(mode="json")


def report_folder(bench: Workbench, run_id: str) -> Path:
    """Where the report of a finished evaluation run lies."""
    run = bench.store.run(run_id)
    folder = bench.workspace.run_folder(run.id) / "report"
    if not (folder / "report.json").is_file():
        raise NotFoundError(f"Run {run.id} has no report; it is {run.status}.")
    return folder


def read_report(bench: Workbench, run_id: str) -> dict[str, Any]:
    """The content of ``report.json``."""
    text = (report_folder(bench, run_id) / "report.json").read_text("utf-8")
    return cast(dict[str, Any], json.loads(text))


def unreadable(report: dict[str, Any]) -> list[str]:
    """A sentence for each arm of a report whose answers could be read in less than half of the problems."""
    found: list[str] = []
    for arm in report["arms"]:
        share, n = arm["format_valid"], int(arm["n"])
        if share is not None and share < 0.5:
            found.append(f"{arm['name']}: no answer could be read in {round((1 - share) * n)} of {n}")
    return found


def must_be_writable(out: Path) -> None:
    """Makes the folder; UsageError when nothing can be written there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UsageError(f"Nothing can be written to {out}: {error.strerror or error}.") from error


def copy_report(bench: Workbench, run_id: str, out: Path) -> Path:
    """Copies report.html and report.json into ``out``, each whole or not at all; returns the page's path."""
    source = report_folder(bench, run_id)
    must_be_writable(out)
    try:
        for name in ("report.json", "report.html"):
            with replacing_file(out / name) as new:
                shutil.copyfile(source / name, new)
    except OSError as error:
        raise UsageError(f"Cannot write the report to {out}: {error.strerror}.") from error
    return out / "report.html"


class OutcomeLog:
    """Outcomes of a run as JSON lines, flushed one by one, each on a line begun anew: a crash costs one at most."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, arm: str, outcome: Outcome, seconds: float) -> None:
        """``seconds``: what the outcome adds to its arm's time."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps({"arm": arm, "seconds": seconds, "outcome": dump(outcome)}))

    def read(self) -> tuple[dict[str, list[Outcome]], dict[str, float]]:
        """By arm: the outcomes, and the seconds they took together."""
        finished: dict[str, list[Outcome]] = {}
        spent: dict[str, float] = {}
        for line in self._path.read_text("utf-8").splitlines() if self._path.exists() else ():
            try:
                entry = json.loads(line)
                arm, seconds, outcome = entry["arm"], float(entry["seconds"]), Outcome.model_validate(entry["outcome"])
            except (ValueError, ValidationError, KeyError, TypeError):
                continue
            finished.setdefault(arm, []).append(outcome)
            spent[arm] = spent.get(arm, 0.0) + seconds
        return finished, spent


class _ArmReporter:
    """Counts one arm's problems as a share of all arms'."""

    def __init__(self, context: JobContext, position: int, arms: int) -> None:
        self._inner, self._position, self._arms = context.reporter, position, arms
        self.log, self.check = context.reporter.log, context.reporter.check
        self.metrics, self.sample = context.reporter.metrics, context.reporter.sample

    def progress(self, done: float, total: float, *, unit: str = "steps", message: str = "") -> None:
        self._inner.progress(self._position * total + done, self._arms * total, unit=unit, message=message)


def _arm_spec(bench: Workbench, text: str, task: Task, shots_from: str) -> ArmSpec:
    match = _ARM.fullmatch(text)
    if match is None:
        raise UsageError(
            f"'{text}' is not an arm.", hint="Write NAME=MODEL[+PROMPT][@STYLE], such as base=smollm2@answer."
        )
    model = models.find_or_register_base(bench, match["model"])
    trained = model.task_id is not None
    style = style_named(match["style"] or (model.style if trained else task.style))
    if match["prompt"]:
        shots = datasets.shots(bench, bench.store.dataset(shots_from)) if shots_from else ()
        prompt = models.build_prompt(match["prompt"], task, style, shots)
    else:
        prompt = model.prompt if trained else models.build_prompt("plain", task, style)
    return ArmSpec(name=match["name"], model_id=model.id, style=style.name, prompt=prompt)


def _warnings(bench: Workbench, specs: Sequence[ArmSpec], problems: Sequence[Problem]) -> tuple[str, ...]:
    found: list[str] = []
    for spec in specs:
        model = bench.store.model(spec.model_id)
        found += warnings_of_learning(bench, model, problems)
        found += warnings_of_calling(spec.name, model, spec.style, spec.prompt)
    return tuple(dict.fromkeys(found))


def _write(bench: Workbench, context: JobContext, task: Task, frozen: Dataset, arms: Sequence[Evaluation]) -> None:
    extra = ReportExtra.model_validate(context.run.config["report"])
    extra = extra.model_copy(
        update={
            "dataset_name": frozen.name,
            "dataset_hash": frozen.content_hash,
            "versions": context.run.versions,
            "training": tuple(_training_facts(bench, arms)),
        }
    )
    problems = datasets.problems(bench, frozen, str(context.run.config["split"]))
    seen = {outcome.problem_id for outcome in arms[0].outcomes}
    write_report(
        context.folder / "report",
        "Does training on reasoning help?"
        if extra.headline
        else f"{', '.join(arm.arm for arm in arms)} on {task.name}",
        task,
        arms,
        compare_arms(arms),
        [problem for problem in problems if problem.id in seen],
        extra,
    )


def _training_facts(bench: Workbench, arms: Sequence[Evaluation]) -> list[TrainingFacts]:
    """What is worth telling of the runs that trained the arms' models."""
    found: list[TrainingFacts] = []
    for arm in arms:
        model = bench.store.model(arm.model_id) if arm.model_id else None
        if model is None or model.run_id is None:
            continue
        points = runs.curves(bench, model.run_id)
        found.append(
            TrainingFacts(
                name=arm.arm,
                facts={"Model": model.name, "Style": model.style, **_readable(model.metrics)},
                train_loss=tuple((step, values["loss"]) for step, values in points if "loss" in values),
                heldout_loss=tuple((step, values["val_loss"]) for step, values in points if "val_loss" in values),
            )
        )
    return found


def _readable(metrics: dict[str, Json]) -> dict[str, Json]:
    return {
        key.replace("_", " ").capitalize(): value for key, value in metrics.items() if isinstance(value, int | float)
    }
