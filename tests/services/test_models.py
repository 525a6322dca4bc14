"""What may be deleted, and what a chat tells a person who writes something else than the task takes."""

import json

import pytest
from fixtures.parrot import ParrotModel

from forethought.core.records import Model
from forethought.errors import ConflictError, UsageError
from forethought.services import data, models, tasks
from forethought.services.workbench import Workbench


@pytest.fixture
def bench(tmp_path):
    bench = Workbench.open(tmp_path)
    yield bench
    bench.store.close()


def test_what_cannot_be_deleted_is_refused_before_anybody_is_asked(bench):
    bench.store.add_model(Model(name="mine", base="embedded", path="models/mine"))
    bench.store.add_model(
        Model(name="adapter", base="embedded", adapter="lora", parent_id=bench.store.model("mine").id)
    )
    models.promote(bench, "mine", "live")
    for name in ("mine", "live"):
        with pytest.raises(ConflictError, match=r"alias 'live'.*models unalias live"):
            models.must_be_deletable(bench, name)
    assert models.unalias(bench, "live") == "'live' is no alias any more (it was 'mine')"
    with pytest.raises(ConflictError, match="'adapter' is an adapter"):
        models.must_be_deletable(bench, "mine")
    models.delete(bench, "adapter")
    assert models.must_be_deletable(bench, "mine")["name"] == "mine"
    with pytest.raises(UsageError, match="embedded"):
        models.must_be_deletable(bench, "smollm2")


def test_a_base_that_was_only_named_keeps_its_files(bench, tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "model.safetensors").write_text("")
    bench.store.add_model(Model(name="outside", base=str(folder)))
    models.delete(bench, "outside")
    assert (folder / "model.safetensors").exists()


@pytest.mark.parametrize("stored", [True, False])
def test_a_chat_shows_an_input_that_the_task_takes(bench, monkeypatch, stored):
    task = tasks.create_example(bench, "loan")
    if stored:
        data.generate(bench, "loan", count=1, seed=5)
    bench.store.add_model(Model(name="loaner", base="embedded", style="answer", task_id=task.id, task_revision=1))
    monkeypatch.setattr(models, "load_chat", lambda *_: ParrotModel("parrot"))
    session = models.open_chat(bench, "loaner")
    with pytest.raises(UsageError, match="takes JSON") as refused:
        list(session.ask("May I have a loan?"))
    said = str(refused.value)
    assert "\n" not in said
    example = json.loads(said.split("Write it like ")[1])
    assert set(task.input_schema["required"]) <= set(example) <= set(task.input_schema["properties"])
    if stored:
        assert example == bench.store.problems(task.id)[0].input
    assert [piece.kind for piece in session.ask(json.dumps(example))]
