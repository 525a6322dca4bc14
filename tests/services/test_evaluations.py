"""Evaluation runs, with a model and a clock that are wound by hand."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from forethought.core.records import Problem, Prompt, Run, Sampling, Task, Usage, dump
from forethought.core.seams import Completion, SilentReporter
from forethought.errors import JobCancelled
from forethought.evals import runner
from forethought.evals.report import ReportExtra
from forethought.jobs.context import JobContext
from forethought.services import datasets, evaluations, models
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
