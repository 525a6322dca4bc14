"""The demonstration: the whole way of the data on one example task, every step an ordinary service call.

Each step says the command that repeats it. What an earlier, interrupted demonstration finished is kept and used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forethought.core.records import Model, Run
from forethought.core.seams import Reporter
from forethought.errors import JobError, NotFoundError, UsageError, did_you_mean
from forethought.evals.report import Command, ReportExtra
from forethought.services import data, datasets, evaluations, models, runs, tasks, training
from forethought.services.demo_script import FAST, PLANS, Script
from forethought.services.workbench import Workbench

LABELS = {
    "base": "the base model",
    "few-shot": "the base model with worked examples",
    "answer": "training on answers only",
    "reasoning": "training on reasoning",
}


@dataclass(frozen=True)
class Step:
    """One service call of the demonstration."""

    title: str
    command: str
    """The command line that does the same."""
    act: Callable[[Reporter], str]
    """Does it and returns what came of it, in words."""
    needs_result: bool = False
    """The command depends on what the evaluation found."""


@dataclass
class Demo:
    """The steps for one task, and what they leave behind."""

    bench: Workbench
    script: Script
    report: dict[str, Any] = field(default_factory=dict)
    best: str = ""

    @classmethod
    def plan_for(cls, bench: Workbench, task: str, out: Path, *, fast: bool = False, fresh: bool = False) -> Demo:
        """Goes on with the latest demonstration of the task, or begins another one where ``fresh``.

        UsageError for a task that has no plan, or an ``out`` that cannot be written to: now, not after training.
        """
        if task not in PLANS:
            raise UsageError(f"There is no demonstration of '{task}'.", hint=did_you_mean(task, PLANS))
        evaluations.must_be_writable(out)
        alias = f"{task}-fast" if fast else task
        prefix = _prefix(alias, {dataset.name for dataset in bench.store.datasets()}, fresh=fresh)
        return cls(bench, Script(task, (FAST if fast else PLANS)[task], alias, prefix, bench.workspace.root, out))

    def steps(self) -> Iterator[Step]:
        """In order; each may use what the ones before it made."""
        script = self.script
        yield Step("the task", script.make_task(), self._make_task)
        yield Step(
            "problems to learn from, solved and verified",
            script.generate("train"),
            lambda reporter: self._make_problems("train", reporter),
        )
        yield Step(
            "problems of unseen words to be judged on",
            script.generate("heldout"),
            lambda reporter: self._make_problems("heldout", reporter),
        )
        yield Step("the training data, frozen", script.freeze("train"), lambda _: self._make_dataset("train"))
        yield Step("the held-out problems, frozen", script.freeze("heldout"), lambda _: self._make_dataset("heldout"))
        yield Step(
            "a model trained on answers only",
            script.train("answer"),
            lambda reporter: self._make_model("answer", reporter),
        )
        yield Step(
            "a model trained on reasoning",
            script.train("reasoning"),
            lambda reporter: self._make_model("reasoning", reporter),
        )
        yield Step("proof on the held-out problems", script.evaluate(), self._make_evaluation)
        best = self.best or script.named("reasoning")
        yield Step(
            f"the best model becomes '{script.alias}'", script.promote(best), self._make_alias, needs_result=True
        )

    def next_commands(self) -> dict[str, str]:
        """What to do with the model, and the command for it."""
        return {
            "talk to the model": self.script.command("models", "chat", self.script.alias),
            "serve it": self.script.command("serve"),
        }

    # --- what the steps do ----------------------------------------------------------------------------------------

    def _make_task(self, _: Reporter) -> str:
        task = tasks.create_example(self.bench, self.script.task)
        return f"'{task.name}', revision {task.revision}, {len(task.verifiers)} verifiers"

    def _make_problems(self, part: str, reporter: Reporter) -> str:
        options = self.script.generate_options(part)
        return data.generate(self.bench, self.script.task, **options, reporter=reporter).sentence()

    def _make_dataset(self, part: str) -> str:
        name = self.script.named(part)
        try:
            dataset = datasets.show(self.bench, name)
        except NotFoundError:
            options = self.script.freeze_options(part)
            dataset = datasets.create(self.bench, name, task=self.script.task, **options)
        counts = ", ".join(f"{count} {split}" for split, count in dataset.counts.items())
        return f"'{name}': {counts}, hash {dataset.content_hash[:12]}"

    def _make_model(self, style: str, reporter: Reporter) -> str:
        name = self.script.named(style)
        model = self._existing_model(name)
        if model is None:
            run = self._unfinished("sft", lambda run: run.config.get("name") == name)
            self._follow(run or self._submit_training(style), reporter)
            model = self.bench.store.model(name)
        return f"'{name}': {training.sentence(model)}"

    def _submit_training(self, style: str) -> Run:
        return training.submit_sft(
            self.bench,
            dataset=self.script.named("train"),
            name=self.script.named(style),
            style=style,
            config=dict(self.script.plan.sft),
        )

    def _make_evaluation(self, reporter: Reporter) -> str:
        dataset = datasets.show(self.bench, self.script.named("heldout"))
        wanted = {self.bench.store.model(self.script.named(style)).id for style in ("answer", "reasoning")}

        def same(run: Run) -> bool:
            arms = run.config.get("arms")
            used = {arm["model_id"] for arm in arms if isinstance(arm, dict)} if isinstance(arms, list) else set()
            return run.dataset_id == dataset.id and wanted <= used

        run = next((run for run in runs.list_all(self.bench, "done") if run.kind == "eval" and same(run)), None)
        if run is None:
            run = self._follow(self._unfinished("eval", same) or self._submit_evaluation(dataset.name), reporter)
        evaluations.copy_report(self.bench, run.id, self.script.out)
        self.report = evaluations.read_report(self.bench, run.id)
        trained = [arm for arm in self.report["arms"] if arm["name"] in ("answer", "reasoning")]
        best = max(trained, key=lambda arm: (arm["accuracy"] or 0.0, arm["verified_accuracy"] or 0.0))
        self.best = self.script.named(best["name"])
        return str(self.report["verdict"]["sentence"])

    def _submit_evaluation(self, dataset: str) -> Run:
        steps = [step for step in self.steps() if not step.needs_result]
        return evaluations.submit(
            self.bench,
            dataset=dataset,
            arms=self.script.arms(),
            shots_from=self.script.named("train"),
            max_tokens=self.script.plan.max_tokens,
            report=ReportExtra(
                labels=LABELS,
                headline=("reasoning", "answer"),
                commands=tuple(Command(purpose=step.title, command=step.command) for step in steps),
            ),
        )

    def _make_alias(self, _: Reporter) -> str:
        return models.promote(self.bench, self.best, self.script.alias)

    # --- going on from an earlier demonstration -------------------------------------------------------------------

    def _existing_model(self, name: str) -> Model | None:
        return next((model for model in self.bench.store.models() if model.name == name), None)

    def _unfinished(self, kind: str, same: Callable[[Run], bool]) -> Run | None:
        """A run of an earlier demonstration to go on with, queued again if it had stopped."""
        for run in runs.list_all(self.bench):
            if run.kind == kind and same(run):
                if run.status in ("queued", "running"):
                    return run
                if run.status in ("interrupted", "cancelled", "failed"):
                    return runs.resume(self.bench, run.id)
        return None

    def _follow(self, run: Run, reporter: Reporter) -> Run:
        try:
            ended = runs.follow(self.bench, run.id, reporter)
        except KeyboardInterrupt:
            runs.stop(self.bench, run.id, patience=30)
            raise
        if ended.status != "done":
            raise JobError(
                f"The demonstration stopped: run {ended.id} is {ended.status} ({ended.error or 'no reason recorded'}).",
                hint="The same command, without --fresh, goes on from here.",
            )
        return ended


def _prefix(alias: str, datasets: set[str], *, fresh: bool) -> str:
    """``alias``, ``alias-2`` …: of the latest demonstration in the workspace, or of the next one."""
    begun = 0
    while f"{_numbered(alias, begun + 1)}-train" in datasets:
        begun += 1
    return _numbered(alias, begun + 1 if fresh else max(begun, 1))


def _numbered(alias: str, number: int) -> str:
    return alias if number == 1 else f"{alias}-{number}"
