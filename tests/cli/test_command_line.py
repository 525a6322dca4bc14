"""The command line as a person meets it: in a process of its own."""

import json
import socket
import subprocess
import sys

import pytest
from fixtures.command_line import answer, forethought, refusal_here


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return tmp_path_factory.mktemp("workspace")


def test_help_names_every_noun(workspace):
    shown = forethought(workspace, "--help").stdout
    for noun in (
        "demo",
        "init",
        "doctor",
        "serve",
        "worker",
        "task",
        "data",
        "dataset",
        "train",
        "runs",
        "eval",
        "models",
    ):
        assert noun in shown


def test_help_does_not_import_torch():
    script = "import sys; sys.argv = ['forethought', '--help']\ntry:\n from forethought.cli import main; main()\n"
    script += (
        "except SystemExit: pass\nassert not {'torch', 'transformers', 'sqlalchemy', 'fastapi'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == 0


def test_a_task_becomes_verified_data_and_a_frozen_dataset(workspace):
    task = answer(workspace, "task", "example", "syllogism")
    assert task["revision"] == 1
    assert answer(workspace, "task", "example", "syllogism")["id"] == task["id"]
    made = answer(
        workspace, "data", "generate", "--task", "syllogism", "--count", "30", "--seed", "1", "--tag", "first"
    )
    assert (made["problems"], made["traces"], made["verified"]) == (30, 30, 30)
    again = answer(workspace, "data", "generate", "--task", "syllogism", "--count", "30", "--seed", "1")
    assert (again["problems"], again["already_there"]) == (0, 30)
    listed = answer(
        workspace, "data", "list", "--task", "syllogism", "--filter", "verified:yes tag:first", "--limit", "7"
    )
    assert len(listed) == 7
    trace = answer(workspace, "data", "show", listed[0]["id"])
    assert trace["problem"]["id"] == listed[0]["problem_id"]
    assert {score["verdict"]["passed"] for score in trace["scores"]} == {True}
    freeze = ("--task", "syllogism", "--filter", "verified:yes", "--split", "train=0.8,test=0.2")
    dataset = answer(workspace, "dataset", "create", "thirty", *freeze)
    assert sum(dataset["counts"].values()) == 30
    assert answer(workspace, "dataset", "create", "again", *freeze)["content_hash"] == dataset["content_hash"]
    heldout = answer(
        workspace, "dataset", "create", "questions", "--task", "syllogism", "--kind", "problems", "--split", "test=1"
    )
    assert heldout["counts"] == {"test": 30}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("task", "example", "sylogism"), "Did you mean 'syllogism'"),
        (("task", "show", "nothing"), "nothing"),
        (("data", "generate", "--task", "syllogysm"), "Did you mean 'syllogism'"),
        (("data", "list", "--task", "syllogism", "--filter", "verfied:yes"), "verified"),
        (("dataset", "create", "x", "--task", "syllogism", "--split", "train=0.5"), "sum to 1"),
        (("dataset", "create", "../x", "--task", "syllogism"), "not a name"),
        (("runs", "show", "0000"), "0000"),
        (("models", "show", "gpt"), "gpt"),
        (("serve", "--host", "0.0.0.0"), "loopback"),
        (("demo", "--task", "chess"), "chess"),
    ],
)
def test_wrong_input_is_one_line_that_says_what_to_do(workspace, words, said, monkeypatch, capsys):
    assert said in refusal_here(workspace, words, monkeypatch, capsys)


def test_an_empty_dataset_is_refused(workspace):
    done = forethought(workspace, "dataset", "create", "none", "--task", "syllogism", "--filter", "tag:nowhere")
    assert done.returncode == 1
    assert "tag:nowhere" in done.stderr


def test_debug_shows_the_traceback(workspace):
    done = forethought(workspace, "--debug", "task", "show", "nothing")
    assert "Traceback" in done.stderr


def test_doctor_says_what_this_machine_can_do(workspace):
    checks = {check["name"]: check for check in answer(workspace, "doctor", "--quick")}
    assert checks["database"]["found"].startswith("sqlite")
    assert {"python", "processor", "memory", "disk", "torch", "bf16", "gpu", "embedded model"} <= set(checks)
    assert checks["python"]["status"] == checks["database"]["status"] == "ok"
    assert all(check["advice"] for check in checks.values() if check["status"] == "missing")


def test_a_doctor_who_finds_something_missing_says_what_to_do_and_fails(tmp_path):
    (tmp_path / "forethought.db").mkdir()
    done = forethought(tmp_path, "doctor", "--quick", "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert checks["database"]["status"] == "missing"
    assert "folder" in checks["database"]["advice"]
    assert done.returncode == 1


def test_a_busy_port_is_one_line(workspace):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = forethought(workspace, "serve", "--port", str(port))
    assert done.returncode == 1
    assert str(port) in done.stderr
    assert "--port" in done.stderr
    assert done.stderr.strip().count("\n") == 0


def test_an_edit_makes_a_revision_and_keeps_the_old_one(workspace, tmp_path):
    answer(workspace, "task", "example", "arithmetic")
    changes = tmp_path / "changes.json"
    changes.write_text(json.dumps({"instructions": "Solve it slowly."}))
    assert forethought(workspace, "task", "edit", "arithmetic", str(changes)).returncode == 0
    assert answer(workspace, "task", "show", "arithmetic")["instructions"] == "Solve it slowly."
    assert answer(workspace, "task", "show", "arithmetic", "--revision", "1")["instructions"] != "Solve it slowly."
    changes.write_text(json.dumps({"id": "x"}))
    refused = forethought(workspace, "task", "edit", "arithmetic", str(changes))
    assert refused.returncode == 2
    assert "'id'" in refused.stderr


def test_a_task_from_a_file_is_checked_before_it_is_stored(workspace, tmp_path):
    file = tmp_path / "task.json"
    file.write_text(json.dumps({"name": "mine", "instructions": "x", "verifiers": [{"name": "exakt"}]}))
    refused = forethought(workspace, "task", "create", str(file))
    assert refused.returncode == 2
    assert "Did you mean 'exact'" in refused.stderr
    file.write_text(json.dumps({"name": "mine", "instructions": "x", "verifiers": [{"name": "exact"}]}))
    assert forethought(workspace, "task", "create", str(file)).returncode == 0
    file.write_text("{")
    assert "not JSON" in forethought(workspace, "task", "create", str(file)).stderr
