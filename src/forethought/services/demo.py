"""The demonstration: the whole way of the data on one example task, every step an ordinary service call.

Each step says the command that repeats it. What an earlier, interrupted demonstration finished is kept and used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from shlex import join
from typing import Any
from zlib import crc32

from forethought.core.records import Json, Model, Run
from forethought.core.seams import Reporter
from forethought.errors import JobError, NotFoundError, UsageError, did_you_mean
from forethought.evals.report import Command, ReportExtra
from forethought.services import data, datasets, evaluations, models, runs, tasks, training
from forethought.services.workbench import BASE, Workbench
from forethought.settings import Settings

LABELS = {
    "base": "the base model",
    "few-shot": "the base model with worked examples",
    "answer": "training on answers only",
    "reasoning": "training on reasoning",
}


@dataclass(frozen=True)
class Plan:
    """How much data and training a demonstration takes."""

    train: int
    """Problems to learn from."""
    heldout: int
    """Problems of unseen words to be judged on."""
    max_tokens: int
    """Longest completion in the evaluation."""
    level: int | None = None
    sft: dict[str, Json] = field(default_factory=dict)


PLANS = {
    "syllogism": Plan(train=700, heldout=200, max_tokens=192),
    "loan": Plan(train=1500, heldout=200, max_tokens=224, sft={"batch_size": 8}),
    "arithmetic": Plan(train=1500, heldout=200, max_tokens=192),
}
FAST = {
    "syllogism": Plan(train=200, heldout=60, max_tokens=128),
    "loan": Plan(train=200, heldout=60, max_tokens=192),
    "arithmetic": Plan(train=200, heldout=60, max_tokens=128),
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
    task: str
    out: Path
    plan: Plan
    prefix: str
    """Beginning of the names of everything made."""
    report: dict[str, Any] = field(default_factory=dict)
    best: str = ""

    @classmethod
    def plan_for(cls, bench: Workbench, task: str, out: Path, *, fast: bool = False, fresh: bool = False) -> Demo:
        """UsageError for a task that has no plan, or an ``out`` that cannot be written to: now, not after training."""
        if task not in PLANS:
            raise UsageError(f"There is no demonstration of '{task}'.", hint=did_you_mean(task, PLANS))
        evaluations.must_be_writable(out)
        prefix = f"{task}-fast" if fast else task
        if fresh:
            prefix = _unused(prefix, {dataset.name for dataset in bench.store.datasets()})
        return cls(bench, task, out, (FAST if fast else PLANS)[task], prefix)

    def steps(self) -> Iterator[Step]:
        """In order; each may use what the ones before it made."""
        yield Step("the task", self._cli("task", "example", self.task), self._make_task)
        yield Step(
            "problems to learn from, solved and verified",
            self._generate("train"),
            lambda r: self._make_problems("train", r),
        )
        yield Step(
            "problems of unseen words to be judged on",
            self._generate("heldout"),
            lambda r: self._make_problems("heldout", r),
        )
        yield Step("the training data, frozen", self._freeze("train"), lambda _: self._make_dataset("train"))
        yield Step("the held-out problems, frozen", self._freeze("heldout"), lambda _: self._make_dataset("heldout"))
        yield Step("a model trained on answers only", self._train("answer"), lambda r: self._make_model("answer", r))
        yield Step("a model trained on reasoning", self._train("reasoning"), lambda r: self._make_model("reasoning", r))
        yield Step("proof on the held-out problems", self._evaluate(), self._make_evaluation)
        yield Step("the best model gets the task's name", self._promote(), self._make_alias, needs_result=True)

    # --- what the steps do ----------------------------------------------------------------------------------------

    def _make_task(self, _: Reporter) -> str:
        task = tasks.create_example(self.bench, self.task)
        return f"'{task.name}', revision {task.revision}, {len(task.verifiers)} verifiers"

    def _make_problems(self, part: str, reporter: Reporter) -> str:
        return data.generate(self.bench, self.task, **self._generate_options(part), reporter=reporter).sentence()

    def _make_dataset(self, part: str) -> str:
        name = f"{self.prefix}-{part}"
        try:
            dataset = datasets.show(self.bench, name)
        except NotFoundError:
            dataset = datasets.create(self.bench, name, task=self.task, **self._freeze_options(part))
        counts = ", ".join(f"{count} {split}" for split, count in dataset.counts.items())
        return f"'{name}': {counts}, hash {dataset.content_hash[:12]}"

    def _make_model(self, style: str, reporter: Reporter) -> str:
        name = f"{self.prefix}-{style}"
        model = self._existing_model(name)
        if model is None:
            run = self._unfinished("sft", lambda run: run.config.get("name") == name)
            self._follow(
                run
                or training.submit_sft(
                    self.bench, dataset=f"{self.prefix}-train", name=name, style=style, config=dict(self.plan.sft)
                ),
                reporter,
            )
            model = self.bench.store.model(name)
        return f"'{name}': {training.sentence(model)}"

    def _make_evaluation(self, reporter: Reporter) -> str:
        dataset = datasets.show(self.bench, f"{self.prefix}-heldout")
        wanted = {self.bench.store.model(f"{self.prefix}-{style}").id for style in ("answer", "reasoning")}

        def same(run: Run) -> bool:
            arms = run.config.get("arms")
            used = {arm["model_id"] for arm in arms if isinstance(arm, dict)} if isinstance(arms, list) else set()
            return run.dataset_id == dataset.id and wanted <= used

        run = next((run for run in runs.list_all(self.bench, "done") if run.kind == "eval" and same(run)), None)
        if run is None:
            started = self._unfinished("eval", same)
            run = self._follow(
                started
                or evaluations.submit(
                    self.bench,
                    dataset=dataset.name,
                    arms=self._arms(),
                    shots_from=f"{self.prefix}-train",
                    max_tokens=self.plan.max_tokens,
                    report=self._report_extra(),
                ),
                reporter,
            )
        evaluations.copy_report(self.bench, run.id, self.out)
        self.report = evaluations.read_report(self.bench, run.id)
        trained = [arm for arm in self.report["arms"] if arm["name"] in ("answer", "reasoning")]
        best = max(trained, key=lambda arm: (arm["accuracy"] or 0.0, arm["verified_accuracy"] or 0.0))
        self.best = f"{self.prefix}-{best['name']}"
        return str(self.report["verdict"]["sentence"])

    def _make_alias(self, _: Reporter) -> str:
        return models.promote(self.bench, self.best, self.task)

    # --- the commands that do the same ----------------------------------------------------------------------------

    def _generate_options(self, part: str) -> dict[str, Any]:
        options: dict[str, Any] = {
            "count": self.plan.train,
            "seed": self._seed(part),
            "tags": (f"{self.prefix}-{part}",),
        }
        if self.plan.level is not None:
            options["level"] = self.plan.level
        if part == "heldout":
            options |= {"count": self.plan.heldout, "vocabulary": "heldout", "solve": False}
        return options

    def _generate(self, part: str) -> str:
        options = self._generate_options(part)
        named = [key for key in ("count", "seed", "level", "vocabulary") if key in options]
        words = [word for key in named for word in (f"--{key}", str(options[key]))]
        words += [] if options.get("solve", True) else ["--no-solve"]
        return self._cli("data", "generate", "--task", self.task, *words, "--tag", *options["tags"])

    def _freeze_options(self, part: str) -> dict[str, Any]:
        where = f"tag:{self.prefix}-{part}"
        if part == "heldout":
            return {"where": where, "kind": "problems", "split": "test=1"}
        return {"where": f"{where} verified:yes", "split": "train=0.95,val=0.05"}

    def _freeze(self, part: str) -> str:
        options = self._freeze_options(part)
        kind = ["--kind", options["kind"]] if "kind" in options else []
        return self._cli(
            "dataset", "create", f"{self.prefix}-{part}", "--task", self.task,
            "--filter", options["where"], *kind, "--split", options["split"],
        )  # fmt: skip

    def _train(self, style: str) -> str:
        options = [word for key, value in self.plan.sft.items() for word in (f"--{key.replace('_', '-')}", str(value))]
        name = f"{self.prefix}-{style}"
        return self._cli(
            "train", "sft", "--dataset", f"{self.prefix}-train", "--style", style, "--name", name, *options
        )

    def _arms(self) -> list[str]:
        return [
            f"base={BASE}@answer",
            f"few-shot={BASE}+few-shot@reasoning",
            f"answer={self.prefix}-answer",
            f"reasoning={self.prefix}-reasoning",
        ]

    def _evaluate(self) -> str:
        arms = [word for arm in self._arms() for word in ("--arm", arm)]
        return self._cli(
            "eval", "run", "--dataset", f"{self.prefix}-heldout", *arms, "--shots-from", f"{self.prefix}-train",
            "--max-tokens", str(self.plan.max_tokens), "--out", str(self.out),
        )  # fmt: skip

    def _promote(self) -> str:
        return self._cli("models", "promote", self.best or f"{self.prefix}-reasoning", self.task)

    # --- helpers --------------------------------------------------------------------------------------------------

    def _report_extra(self) -> ReportExtra:
        steps = [step for step in self.steps() if not step.needs_result]
        return ReportExtra(
            labels=LABELS,
            headline=("reasoning", "answer"),
            commands=tuple(Command(purpose=step.title, command=step.command) for step in steps),
        )

    def _cli(self, *words: str) -> str:
        """A command line that works on this very workspace from any folder."""
        here = self.bench.workspace.root
        elsewhere = [] if here == Settings.read().workspace.resolve() else ["--workspace", str(here)]
        return join(["forethought", *elsewhere, *words])

    def _seed(self, part: str) -> int:
        """Of its own for every demonstration, so that none finds its problems under another one's tag."""
        return crc32(f"{self.prefix}-{part}".encode()) % 100_000

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
            runs.stop(self.bench, run.id)
            raise
        if ended.status != "done":
            raise JobError(
                f"The demonstration stopped: run {ended.id} is {ended.status} ({ended.error or 'no reason recorded'}).",
                hint="The same command goes on from here; --fresh begins again.",
            )
        return ended


def _unused(prefix: str, taken: set[str]) -> str:
    number = 2
    while f"{prefix}-{number}-train" in taken:
        number += 1
    return f"{prefix}-{number}"
