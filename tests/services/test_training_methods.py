"""A training method is one class and one row."""

import pytest

from forethought.core import registry
from forethought.core.records import Run
from forethought.core.seams import SilentReporter
from forethought.errors import NotFoundError, UsageError
from forethought.jobs.context import JobContext
from forethought.services import data, datasets, models, runs, tasks, training
from forethought.services.workbench import Workbench


@pytest.fixture(autouse=True)
def one_row_more(monkeypatch):
    monkeypatch.setitem(registry.BUILTIN["method"], "rote", "fixtures.rote_method:Rote")
    registry._table.cache_clear()
    yield
    registry._table.cache_clear()


@pytest.fixture
def bench(tmp_path, monkeypatch):
    bench = Workbench.open(tmp_path)
    tasks.create_example(bench, "syllogism")
    data.generate(bench, "syllogism", count=8)
    datasets.create(bench, "learn", task="syllogism", split="train=0.75,val=0.25")
    monkeypatch.setattr(runs, "submit", lambda bench, run: run)
    monkeypatch.setattr(models, "load_for_training", lambda bench, parent, dtype: dtype)
    return bench


def submitted(bench, **config) -> Run:
    return training.submit(bench, method="rote", dataset="learn", name="parrot", base="smollm2", config=config)


@pytest.mark.parametrize(("adapts", "adapter"), [(True, "lora"), (False, "")])
def test_a_new_method_is_submitted_run_and_registered(bench, adapts, adapter):
    run = submitted(bench, adapts=adapts)
    assert (run.kind, run.seed) == ("rote", 3)
    context = JobContext(bench.workspace, bench.store, run, SilentReporter(), bench.workspace.run_folder(run.id), False)
    result = registry.lookup("job", run.kind)(context)
    model = bench.store.model("parrot")
    assert (model.adapter, model.run_id, result.metrics["steps"]) == (adapter, run.id, 6)
    assert (bench.workspace.inside(model.path) / "learnt.txt").is_file()


def test_a_training_of_few_steps_is_warned_of(bench, monkeypatch):
    class Listening(SilentReporter):
        def log(self, line):
            said.append(line)

    for few, warned in ((7, ["warning: 6 steps are very few"]), (6, [])):
        said = []
        monkeypatch.setattr(training, "FEW_STEPS", few)
        run = training.submit(bench, method="rote", dataset="learn", name=f"parrot{few}", base="smollm2")
        context = JobContext(bench.workspace, bench.store, run, Listening(), bench.workspace.run_folder(run.id), False)
        registry.lookup("job", run.kind)(context)
        assert [line.rpartition(":")[0] for line in said if line.startswith("warning")] == warned


def test_what_a_method_cannot_be_told_is_refused(bench):
    with pytest.raises(UsageError, match="louder"):
        submitted(bench, louder=True)
    with pytest.raises(NotFoundError, match="Did you mean 'rote'"):
        training.submit(bench, method="rotes", dataset="learn", name="parrot")


def test_every_method_is_a_job_and_the_other_jobs_stay():
    assert set(registry.names("job")) >= {*registry.names("method"), "eval"}
