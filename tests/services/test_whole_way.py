"""The whole way of the data on the toy model: the demonstration's service calls, with real worker processes."""

import json
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from fixtures.toy_model import make_toy_model
from openai import NotFoundError as OpenAINotFound
from openai import OpenAI

from forethought.core.seams import SilentReporter
from forethought.engine.loading import attach
from forethought.errors import ConflictError, DataError, ModelFileError, NotFoundError, UsageError
from forethought.services import data, datasets, evaluations, models, runs, tasks, training
from forethought.services.workbench import Workbench
from forethought.serving.hub import Hub
from forethought.serving.server import listen, make_server
from forethought.serving.workspace import StoreCatalogue


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return make_toy_model(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def bench(request, tmp_path_factory) -> Iterator[Workbench]:
    with pytest.MonkeyPatch.context() as environment:
        if request.param == "postgresql":
            environment.setenv("FORETHOUGHT_DATABASE_URL", request.getfixturevalue("postgres_own"))
        bench = Workbench.open(tmp_path_factory.mktemp("workspace"))
        _prepare(bench)
        yield bench
        bench.store.close()


def _prepare(bench: Workbench) -> None:
    tasks.create_example(bench, "syllogism")
    data.generate(bench, "syllogism", count=32, seed=1, tags=("learn",))
    data.generate(bench, "syllogism", count=10, seed=2, vocabulary="heldout", tags=("judge",), solve=False)
    datasets.create(bench, "learn", task="syllogism", where="tag:learn verified:yes", split="train=0.75,val=0.25")
    datasets.create(bench, "judge", task="syllogism", where="tag:judge", kind="problems", split="test=1")


@pytest.fixture(scope="module")
def trained(bench, base) -> str:
    run = training.submit_sft(
        bench, dataset="learn", name="learner", style="reasoning", base=str(base), config={"max_steps": 3}
    )
    ended = runs.follow(bench, run.id, SilentReporter())
    assert ended.status == "done", ended.error
    return "learner"


def test_a_trained_model_remembers_how_it_was_made(bench, trained):
    shown = models.show(bench, trained)
    assert shown["style"] == "reasoning"
    assert shown["prompt"]["instructions"]
    assert shown["lineage"] == ["toy"]
    assert shown["metrics"]["steps"] == 3
    files = {path.suffix for path in bench.workspace.inside(shown["path"]).iterdir()}
    assert ".safetensors" in files
    assert not files & {".bin", ".pt", ".pkl"}


def test_the_curves_of_a_run_are_kept(bench, trained):
    run_id = models.show(bench, trained)["run_id"]
    points = runs.curves(bench, run_id)
    assert [step for step, values in points if "loss" in values]
    assert [step for step, values in points if "val_loss" in values]
    assert any("examples" in line for line in runs.logs(bench, run_id))


def test_arms_are_judged_on_the_same_problems_and_reported(bench, trained, tmp_path):
    run = evaluations.submit(
        bench,
        dataset="judge",
        arms=["base=toy@answer", "few-shot=toy+few-shot@reasoning", "learner=learner"],
        shots_from="learn",
        max_tokens=24,
    )
    ended = runs.follow(bench, run.id, SilentReporter())
    assert ended.status == "done", ended.error
    page = evaluations.copy_report(bench, run.id, tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [arm["name"] for arm in report["arms"]] == ["base", "few-shot", "learner"]
    assert {arm["n"] for arm in report["arms"]} == {10}
    assert len(report["comparisons"]) == 3
    assert report["dataset"]["sha256"] == bench.store.dataset("judge").content_hash
    assert "learner" in page.read_text()
    stored = bench.store.evaluations(run_id=run.id)
    compared = evaluations.compare(bench, stored[0].id, stored[2].id)
    assert compared["n"] == 10


def test_a_model_file_that_is_not_safetensors_is_refused(bench, base, tmp_path):
    folder = tmp_path / "pickled"
    folder.mkdir()
    for path in base.iterdir():
        if path.suffix != ".safetensors":
            (folder / path.name).write_bytes(path.read_bytes())
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ModelFileError, match="safetensors"):
        models.load_chat(bench, models.find_or_register_base(bench, str(folder)))


def test_what_cannot_be_trained_is_refused_before_anything_is_queued(bench, base, trained):
    before = len(runs.list_all(bench))
    with pytest.raises(NotFoundError, match="learn"):
        training.submit_sft(bench, dataset="learm", name="x", base=str(base))
    with pytest.raises(ConflictError, match="learner"):
        training.submit_sft(bench, dataset="learn", name=trained, base=str(base))
    with pytest.raises(UsageError, match="problems"):
        training.submit_sft(bench, dataset="judge", name="x", base=str(base))
    with pytest.raises(UsageError, match="rank"):
        training.submit_sft(bench, dataset="learn", name="x", base=str(base), config={"rank": 0})
    with pytest.raises(NotFoundError, match="reasoning"):
        training.submit_sft(bench, dataset="learn", name="x", base=str(base), style="reasonning")
    assert len(runs.list_all(bench)) == before


def test_a_split_that_leaves_an_arm_empty_is_refused(bench):
    with pytest.raises(DataError):
        datasets.create(
            bench, "tiny", task="syllogism", where="tag:judge", kind="problems", split="test=0.999,val=0.001"
        )


def test_aliases_move_and_move_back(bench, trained):
    models.promote(bench, "toy", "best")
    assert "toy" in models.promote(bench, trained, "best")
    assert models.show(bench, "best")["name"] == trained
    models.rollback(bench, "best")
    assert models.show(bench, "best")["name"] == "toy"
    with pytest.raises(ConflictError):
        models.delete(bench, "toy")


def test_a_merged_model_answers_like_its_adapter(bench, trained):
    merged = models.merge(bench, trained, "merged")
    adapter = bench.store.model(trained)
    assert merged.created_at > adapter.created_at
    assert (adapter.run_id is not None, merged.run_id) == (True, None)
    answers = []
    for name in (trained, merged.name):
        session = models.open_chat(bench, name, max_tokens=12)
        answers.append("".join(delta.text for delta in session.ask("All bloops are razzies. Are all bloops razzies?")))
        session.close()
    assert answers[0] == answers[1]
    models.delete(bench, "merged")
    with pytest.raises(NotFoundError):
        models.show(bench, "merged")


def test_a_registered_model_is_served(bench, trained):
    models.promote(bench, trained, "served")
    hub = Hub(StoreCatalogue(bench), lambda model: models.load_chat(bench, model))
    listener = listen("127.0.0.1", 0)
    server = make_server(hub)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        client = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=3)
        assert {"served", trained, "toy"} <= {model.id for model in client.models.list()}
        question = [{"role": "user", "content": "All bloops are razzies. Are all bloops razzies?"}]
        said = client.chat.completions.create(model="served", messages=question, max_tokens=8)
        assert said.usage.completion_tokens == 8
        with pytest.raises(OpenAINotFound, match="served"):
            client.chat.completions.create(model="servde", messages=question)
        assert urllib.request.urlopen(f"{url}/health").status == 200
    finally:
        server.should_exit = True
        thread.join(20)
        hub.close()
        listener.close()


def test_a_killed_training_run_is_interrupted_and_resumes(bench, base):
    run = training.submit_sft(
        bench,
        dataset="learn",
        name="survivor",
        style="reasoning",
        base=str(base),
        config={"epochs": 15, "checkpoint_seconds": 0, "eval_every": 0, "batch_size": 8},
    )
    _kill_once_past(bench, run.id, steps=6)
    ended = runs.follow(bench, run.id, SilentReporter())
    assert ended.status == "interrupted"
    assert ended.error
    resumed = runs.resume(bench, run.id)
    runs.follow(bench, resumed.id, SilentReporter())
    assert bench.store.run(run.id).status == "done"
    assert models.show(bench, "survivor")["metrics"]["steps"] == 45
    steps = [step for step, values in runs.curves(bench, run.id) if "loss" in values]
    assert steps.index(45) < 45 + 2, "the steps before the checkpoint were not done again"


def _kill_once_past(bench: Workbench, run_id: str, *, steps: int) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        run = bench.store.run(run_id)
        assert run.status in ("queued", "running"), run.error
        if run.progress.done >= steps:
            break
        time.sleep(0.05)
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "forethought.jobs.child" in words and run_id in words:
            process.send_signal(signal.SIGKILL)
            return
    raise AssertionError("the run's process was not found")


def test_a_child_of_a_trained_model_is_loaded_on_what_it_was_trained_on(bench, trained):
    run = training.submit_sft(
        bench, dataset="learn", name="grandchild", style="reasoning", base=trained, config={"max_steps": 2, "seed": 7}
    )
    ended = runs.follow(bench, run.id, SilentReporter())
    assert ended.status == "done", ended.error
    assert models.show(bench, "grandchild")["lineage"] == [trained, "toy"]
    loaded = models.load_for_training(bench, bench.store.model("grandchild"), "float32").model
    parent = models.load_for_training(bench, bench.store.model(trained), "float32")
    adapter = bench.workspace.inside(bench.store.model("grandchild").path)
    expected = attach(parent, adapter).model.merge_and_unload()
    own = dict(loaded.named_parameters())
    assert all(torch.allclose(weight, own[name], atol=1e-6) for name, weight in expected.named_parameters())
    assert own.keys() == dict(expected.named_parameters()).keys()
    with pytest.raises(ConflictError):
        models.delete(bench, trained)


def test_arms_need_different_names(bench, trained):
    for arms in ([], ["a=toy@answer", "a=learner"]):
        with pytest.raises(UsageError, match="different names"):
            evaluations.submit(bench, dataset="judge", arms=arms)
