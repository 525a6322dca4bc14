"""What needs torch says so in one line where it is not installed; the rest works."""

import json

import pytest
from fixtures.command_line import answer, forethought, refusal

from forethought.services import data, datasets, models, tasks
from forethought.services.workbench import Workbench

SAYS = "Local models need the library 'torch', which is not installed. Run: pip install 'forethought[train]'"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    bench = Workbench.open(tmp_path_factory.mktemp("workspace"))
    tasks.create_example(bench, "syllogism")
    data.generate(bench, "syllogism", count=8)
    datasets.create(bench, "learn", task="syllogism", split="train=0.75,test=0.25")
    bench.store.close()
    return bench.workspace.root


@pytest.fixture
def without_torch(tmp_path):
    """The environment of a command, and of the workers it starts, in which torch cannot be imported."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None\n")
    return {"PYTHONPATH": str(tmp_path)}


@pytest.mark.parametrize(
    "words",
    [
        "models chat smollm2 hi",
        "serve --port 0",
        "train sft -d learn -n learner",
        "eval run -d learn --arm base=smollm2@answer",
    ],
)
def test_a_command_that_needs_torch_says_how_to_install_it(workspace, without_torch, words):
    done = forethought(workspace, *words.split(), environment=without_torch)
    assert (done.returncode, done.stdout, done.stderr.split()) == (2, "", ["error:", *SAYS.split()])
    assert answer(workspace, "runs", "list") == []


def test_the_doctor_names_the_extra_instead_of_an_import_that_failed(workspace, without_torch):
    done = forethought(workspace, "doctor", "--json", environment=without_torch)
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    for name in ("bf16", "gpu", "speed"):
        assert checks[name]["status"] == "missing"
        assert checks[name]["advice"] == "Run: pip install 'forethought[train]'"


def test_a_folder_that_is_no_model_is_refused_and_not_registered(workspace, tmp_path):
    (tmp_path / "empty").mkdir()
    said = refusal(workspace, "train", "sft", "-d", "learn", "-n", "learner", "--base", str(tmp_path / "empty"))
    assert "config.json" in said
    said = refusal(workspace, "eval", "run", "-d", "learn", "--arm", f"base={tmp_path / 'empty'}")
    assert "config.json" in said
    assert [model["name"] for model in models.list_all(Workbench.open(workspace))] == ["smollm2"]
