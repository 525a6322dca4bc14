"""Evaluation runs, with a model and a clock that are wound by hand."""

import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from forethought.core.records import Model, Problem, Prompt, Run, Sampling, Task, Trace, Usage, dump
from forethought.core.seams import Completion, SilentReporter
from forethought.errors import JobCancelled
from forethought.evals import runner
from forethought.evals.report import ReportExtra
from forethought.jobs.context import JobContext
from forethought.services import datasets, evaluations, models, runs
from forethought.services.workbench import Workbench

PROBLEMS = 8


class Clock:
    """Stands still unless somebody takes time."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


class SlowChat:
    """Takes a second for each answer."""

    name = "slow"

    def __init__(self, clock: Clock) -> None:
        self.clock, self.asked = clock, 0

    def complete(self, requests, on_done=None):
        completions = []
        for index, _ in enumerate(requests):
            self.clock.now += 1
            self.asked += 1
            completions.append(Completion("1", "stop", Usage()))
            on_done(index, completions[-1])
        return completions


class Impatient(SilentReporter):
    """Stops the run after so many problems, over all arms."""

    def __init__(self, patience: float) -> None:
        super().__init__()
        self.patience, self.done = patience, 0.0

    def progress(self, done, total, *, unit="steps", message=""):
        self.done = done

    def check(self):
        if self.done >= self.patience:
            raise JobCancelled("enough")


@pytest.fixture
def bench(tmp_path):
    bench = Workbench.open(tmp_path)
    task = bench.store.add_task(Task(name="ones", instructions="Say 1.", verifiers=[{"name": "exact"}], style="answer"))
    bench.store.add_problems([Problem(task_id=task.id, input=str(n), reference="1") for n in range(PROBLEMS)])
    datasets.create(bench, "ones", task="ones", kind="problems", split="test=1")
    return bench


@pytest.fixture
def chat(monkeypatch):
    clock = Clock()
    chat = SlowChat(clock)
    monkeypatch.setattr(runner, "time", SimpleNamespace(perf_counter=clock.perf_counter))
    monkeypatch.setattr(models, "opened", lambda bench, model: nullcontext(chat))
    return chat


@pytest.fixture
def run(bench):
    dataset = bench.store.dataset("ones")
    model = bench.store.model("smollm2")
    arms = [
        evaluations.ArmSpec(name=name, model_id=model.id, style="answer", prompt=Prompt(instructions="Say 1."))
        for name in ("first", "second")
    ]
    config = {"split": "test", "limit": None, "arms": [dump(arm) for arm in arms]}
    config |= {"sampling": dump(Sampling()), "report": dump(ReportExtra())}
    return Run(kind="eval", task_id=dataset.task_id, dataset_id=dataset.id, config=config)


def test_the_seconds_of_a_resumed_arm_are_those_of_all_its_parts(bench, chat, run):
    folder = bench.workspace.run_folder(run.id)

    def go(reporter, *, resuming):
        context = JobContext(bench.workspace, bench.store, run, reporter, folder, resuming)
        return evaluations.run_evaluation(context)

    for patience in (3, PROBLEMS + 3):
        with pytest.raises(JobCancelled):
            go(Impatient(patience), resuming=chat.asked > 0)
    go(SilentReporter(), resuming=True)
    assert chat.asked == 2 * PROBLEMS
    for evaluation in bench.store.evaluations(run_id=run.id):
        measured = {name: evaluation.metrics[name] for name in ("seconds", "timed", "seconds_per_problem")}
        assert measured == {"seconds": PROBLEMS, "timed": PROBLEMS, "seconds_per_problem": 1.0}, evaluation.arm


def train_model(bench, name, numbers, *, parent=None, groups=None):
    """A model on record that learnt problems of these numbers, as if a run had trained it."""
    task = bench.store.task("ones")
    learnt = [
        Problem(task_id=task.id, input=f"{name} {n}", reference="1", group=(groups or {}).get(n, ""), tags=(name,))
        if groups
        else Problem(task_id=task.id, input=str(n), reference="1", tags=(name,))
        for n in numbers
    ]
    bench.store.add_problems(learnt)
    bench.store.add_traces([Trace(task_id=task.id, problem_id=p.id, answer="1", origin="human") for p in learnt])
    dataset = datasets.create(bench, name, task="ones", where=f"tag:{name}", split="train=0.5,val=0.5")
    run = bench.store.add_run(Run(kind="sft", task_id=task.id, dataset_id=dataset.id))
    return bench.store.add_model(
        Model(
            name=name,
            base="embedded",
            adapter="lora",
            style="answer",
            prompt=Prompt(instructions="Count."),
            task_id=task.id,
            run_id=run.id,
            parent_id=parent,
        )
    )


@pytest.fixture
def submitted(bench, monkeypatch):
    """Submits an evaluation of problems 0 to 7 without starting a worker."""
    monkeypatch.setattr(runs, "submit", lambda bench, run: run)
    return lambda *arms, **options: evaluations.submit(bench, dataset="ones", arms=arms, **options)


def warned(run):
    return run.config["report"]["warnings"]


def test_problems_that_a_model_was_trained_on_are_told(bench, submitted):
    parent = train_model(bench, "thinker", [0, 1, 20, 21])
    train_model(bench, "heir", [30, 31], parent=parent.id)
    train_model(bench, "stranger", [40, 41])
    assert warned(submitted("base=smollm2@answer", "a=stranger")) == []
    told = "2 of 8 problems share a group with what '{}' was trained on"
    assert warned(submitted("a=thinker", "b=heir", "c=thinker")) == [told.format("thinker"), told.format("heir")]
    train_model(bench, "all", range(PROBLEMS))
    assert warned(submitted("a=all", limit=3)) == ["3 of 3 problems share a group with what 'all' was trained on"]


def test_a_shared_group_is_enough(bench, submitted):
    task = bench.store.task("ones")
    apart = [Problem(task_id=task.id, input=f"like {n}", reference="1", group=f"g{n}", tags=("new",)) for n in range(3)]
    bench.store.add_problems(apart)
    datasets.create(bench, "grouped", task="ones", where="tag:new", kind="problems", split="test=1")
    train_model(bench, "thinker", range(4), groups={0: "g0", 1: "g1", 2: "other", 3: "more"})
    run = evaluations.submit(bench, dataset="grouped", arms=["a=thinker"])
    assert warned(run) == ["2 of 3 problems share a group with what 'thinker' was trained on"]


def test_a_model_called_otherwise_than_it_was_trained_is_told(bench, submitted):
    train_model(bench, "thinker", [40, 41])
    assert warned(submitted("a=thinker", "b=thinker@answer", "base=smollm2+plain@reasoning")) == []
    assert warned(submitted("a=thinker+plain", "b=thinker@reasoning", "c=thinker+plain@reasoning")) == [
        "arm 'a' calls 'thinker' with another prompt than it was trained with",
        "arm 'b' calls 'thinker' with another style than it was trained with",
        "arm 'c' calls 'thinker' with another prompt and style than it was trained with",
    ]


def test_warnings_are_in_the_log_and_both_reports(bench, chat, run):
    extra = ReportExtra(warnings=("2 of 8 problems are <known>",))
    run = run.model_copy(update={"config": run.config | {"report": dump(extra)}})
    reporter = SilentReporter()
    folder = bench.workspace.run_folder(run.id)
    evaluations.run_evaluation(JobContext(bench.workspace, bench.store, run, reporter, folder, False))
    assert reporter.lines[0] == "warning: 2 of 8 problems are <known>"
    page = (folder / "report" / "report.html").read_text("utf-8")
    assert "2 of 8 problems are &lt;known&gt;" in page
    assert "held-out problems" not in page
    assert json.loads((folder / "report" / "report.json").read_text("utf-8"))["warnings"] == list(extra.warnings)


def test_an_arm_that_could_mostly_not_be_read_is_told():
    arms = [
        {"name": "thinker", "format_valid": 0.0, "n": 24},
        {"name": "half", "format_valid": 0.5, "n": 24},
        {"name": "unheard", "format_valid": None, "n": 0},
        {"name": "third", "format_valid": 1 / 3, "n": 9},
    ]
    assert evaluations.unreadable({"arms": arms}) == [
        "thinker: no answer could be read in 24 of 24",
        "third: no answer could be read in 6 of 9",
    ]


def test_an_evaluation_does_not_wait_for_its_turn_where_that_is_asked_for(submitted):
    assert not submitted("base=smollm2").parallel
    assert submitted("base=smollm2", parallel=True).parallel
