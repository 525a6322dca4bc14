"""The command line in clumsy and in hostile hands."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures.command_line import answer, forethought, refusal, refusal_here
from fixtures.parrot import ParrotModel

from forethought.cli.app import run
from forethought.core.ids import short_id
from forethought.core.records import Prompt, Run, Sampling
from forethought.services import models
from forethought.services.models import ChatSession
from forethought.services.tasks import style_named
from forethought.services.workbench import Workbench
from forethought.store.run_queue import RunQueue


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workspace")
    answer(folder, "task", "example", "syllogism")
    answer(folder, "data", "generate", "--task", "syllogism", "--count", "12")
    answer(folder, "dataset", "create", "twelve", "--task", "syllogism", "--split", "train=1")
    return folder


@pytest.fixture(scope="module")
def run_id(workspace):
    """A finished run that said something."""
    queue = RunQueue(Workbench.open(workspace).store)
    run = queue.enqueue(Run(kind="sft"))
    lease = queue.claim(run.id, "somebody").lease
    samples = [(step, {"input": "?", "text": f"so far {step}"}) for step in (1, 2)]
    queue.append(lease, log=["one", "two"], metrics=[(1, {"loss": 2.0})], samples=samples)
    queue.finish(lease, "done")
    return run.id


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tsk",), "Did you mean 'task'"),
        (("task", "shw"), "Did you mean 'show'"),
        (("task", "list", "--jsn"), "--json"),
        (("task", "create"), "forethought task create -h"),
        (("task", "list", "extra"), "extra"),
        (("data", "generate", "--task", "syllogism", "--count", "-3"), "--count"),
        (("data", "generate", "--task", "syllogism", "--count", "many"), "--count"),
        (("data", "generate", "--task", "syllogism", "--level", "99"), "levels 2 to 9"),
        (("data", "generate", "--task", "syllogism", "--vocabulary", "latin"), "latin"),
        (("data", "generate", "--task", "syllogism", "--seed", "9" * 400, "--count", "1", "--level", "x"), "--level"),
        (("data", "list", "--task", "syllogism", "--limit", "0"), "--limit"),
        (("data", "list", "--task", "syllogism", "--after", "nowhere"), "nowhere"),
        (("data", "list", "--task", "syllogism", "--filter", '"open'), "quote"),
        (("data", "list", "--task", "syllogism", "--filter", "level>=" + "9" * 400), "level"),
        (("data", "list", "--task", ""), "task"),
        (("data", "show", "x" * 5000), "trace"),
        (("data", "show", "%"), "trace"),
        (("dataset", "create", "x", "--task", "syllogism", "--split", "train=0.5,train=1"), "'train'"),
        (("dataset", "create", "x", "--task", "syllogism", "--split", "a=0.5, a=0.5"), "'a'"),
        (("dataset", "create", "x", "--task", "syllogism", "--seed", "-1", "--stratify", "levl"), "level"),
        (("dataset", "create", "x", "--task", "syllogism", "--kind", "problem"), "problems"),
        (("dataset", "show", "nothing"), "nothing"),
        (("task", "show", "syllogism", "--revision", "0"), "revision"),
        (("task", "show", "syllogism", "--revision", "-1"), "revision"),
        (("task", "show", "syllogism", "--revision", "9" * 30), "revision"),
        (("runs", "list", "--status", "don"), "Did you mean 'done'"),
        (("runs", "resume", ""), "run"),
        (("models", "promote", "smollm2", "../x"), "name"),
        (("models", "promote", "smollm2", "smollm2"), "model"),
        (("models", "promote", "smolm2", "x"), "Did you mean 'smollm2'"),
        (("models", "rollback", "nobody"), "nobody"),
        (("models", "delete", "smollm2"), "embedded"),
        (("models", "delete", "smollm2", "--yes"), "embedded"),
        (("models", "unalias", "nobody"), "nobody"),
        (("models", "merge", "smollm2", "--name", "x"), "no adapter"),
        (("models", "chat", "smolm2", "hello"), "Did you mean 'smollm2'"),
        (("models", "chat", "smollm2", "--temperature", "nan", "hello"), "--temperature"),
        (("eval", "compare", "a", "b"), "a"),
        (("eval", "report", "a", "--out", "/tmp"), "a"),
        (("eval", "run", "--dataset", "nothing", "--arm", "x"), "nothing"),
        (
            ("eval", "run", "--dataset", "twelve", "--arm", "a=smollm2", "--split", "train", "--max-tokens", "99999"),
            "--max-tokens",
        ),
        (("data", "generate", "--task", "syllogism", "--tag", " "), "tag"),
        (("train", "sft", "--dataset", "nothing", "--name", "x"), "nothing"),
        (("train", "sft", "--dataset", "twelve", "--name", "x", "--lr", "inf"), "learning_rate"),
        (("train", "sft", "--dataset", "twelve", "--name", "x", "--seed", "-1"), "seed"),
        (("train", "sft", "--dataset", "twelve", "--name", "X Y"), "name"),
        (("train", "sft", "--dataset", "twelve", "--name", "x", "--prompt", "shrt"), "Did you mean 'short'"),
        (("train", "sft", "--dataset", "twelve", "--name", "x", "--prompt", "few-shot"), "--shots-from"),
        (("train", "sft", "--dataset", "twelve", "--name", "x", "--style", "reasonin"), "Did you mean 'reasoning'"),
        (("train", "sft", "--dataset", "twelve", "--name", "x", "--base", "/nowhere"), "/nowhere"),
        (("serve", "--port", "70000"), "--port"),
        (("serve", "--model", "smolm2"), "Did you mean 'smollm2'"),
        (("worker", "--run", "nothing"), "nothing"),
        (("--workspace", "~nosuchuser/x", "init"), "--workspace"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_one_line(workspace, words, said, monkeypatch, capsys):
    assert said in refusal_here(workspace, words, monkeypatch, capsys)


@pytest.mark.parametrize("command", [("task", "create"), ("task", "edit", "syllogism")])
@pytest.mark.parametrize("content", ["folder", b"", b"\xff\xfe{}", b"null", b"{", b'{"name": NaN}', None])
def test_a_file_that_is_none_is_one_line(workspace, tmp_path, command, content, monkeypatch, capsys):
    file = tmp_path / "file.json"
    if content == "folder":
        file.mkdir()
    elif content is not None:
        file.write_bytes(content)
    assert str(file) in refusal_here(workspace, (*command, str(file)), monkeypatch, capsys)


@pytest.mark.parametrize("url", ["postgresql://me:pass-word-1@host:port/x", "mysql://x/y", "sqlite:///x?timeout=soon"])
def test_a_wrong_database_is_one_line_without_the_password(workspace, url):
    line = refusal(workspace, "task", "list", environment={"FORETHOUGHT_DATABASE_URL": url})
    assert "pass-word-1" not in line


def test_an_empty_workspace_setting_does_not_fill_the_folder_one_is_in(tmp_path):
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    environment = {"FORETHOUGHT_WORKSPACE": "", "HOME": str(home)}
    script = "import sys; sys.argv = ['forethought', *sys.argv[1:]]\nfrom forethought.cli import main; main()"
    for words in (("init",), ("--workspace", "", "init")):
        command = [sys.executable, "-c", script, *words]
        subprocess.run(command, env=os.environ | environment, cwd=here, check=True, capture_output=True)
    assert list(here.iterdir()) == []
    assert [path.name for path in home.iterdir()] == [".forethought"]


@pytest.fixture
def broken(tmp_path):
    """The environment of a program with a mistake in it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import forethought.services.tasks as tasks\n"
        "def list_all(bench):\n"
        "    raise KeyError('several\\nlines with sk-abcdefghijklmnop')\n"
        "tasks.list_all = list_all\n"
    )
    return {"PYTHONPATH": str(tmp_path)}


def test_a_mistake_in_the_program_is_one_line_that_names_where_the_traceback_is(workspace, broken):
    line = refusal(workspace, "task", "list", environment=broken)
    assert "KeyError" in line
    log = Path(line.split("The traceback is in ")[1].split(". ")[0])
    assert log.parent == workspace / "logs"
    assert log.stat().st_mode & 0o777 == 0o600
    assert "Traceback" in log.read_text()
    assert "sk-abcdefghijklmnop" not in log.read_text() + line


def test_a_mistake_is_shown_whole_when_debugging(workspace, broken):
    for words, environment in ((("--debug",), broken), ((), broken | {"FORETHOUGHT_DEBUG": "1"})):
        done = forethought(workspace, *words, "task", "list", environment=environment)
        assert "Traceback" in done.stderr
        assert done.returncode == 1


def test_a_bad_line_does_not_end_a_conversation(workspace, monkeypatch, capsys):
    answer(workspace, "task", "example", "loan")
    with Workbench.open(workspace).store as store:
        task = store.task("loan")
        session = ChatSession(ParrotModel("parrot"), style_named("answer"), Prompt(), Sampling(), task)
    lines = ["not JSON", "", '{"amount": NaN}', '"refuse"', '"fail"', '{"amount": 7}']
    monkeypatch.setattr(models, "open_chat", lambda *_, **__: session)
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines)))
    monkeypatch.setattr(sys, "argv", ["forethought", "-w", str(workspace), "models", "chat", "smollm2"])
    with pytest.raises(SystemExit, match="0"):
        run()
    said = capsys.readouterr()
    assert said.out.count('{"seen": true}') == 2
    assert said.err.count("takes JSON") == 2
    assert "9999 tokens" in said.err


def test_one_document_is_printed_whatever_is_asked(workspace, run_id, tmp_path):
    assert [sample["step"] for sample in answer(workspace, "runs", "show", run_id, "--samples")] == [1, 2]
    assert answer(workspace, "runs", "show", run_id, "--curves") == [{"step": 1, "loss": 2.0}]
    assert [line.split(" ", 1)[1] for line in answer(workspace, "runs", "logs", run_id)] == ["one", "two"]
    assert answer(workspace, "runs", "watch", run_id)["status"] == "done"
    changes = tmp_path / "changes.json"
    changes.write_text(json.dumps({"instructions": "Think."}))
    assert answer(workspace, "task", "edit", "syllogism", str(changes))["instructions"] == "Think."
    assert answer(workspace, "models", "promote", "smollm2", "best")["aliases"] == ["best"]


def test_every_command_that_prints_what_it_did_can_print_json(workspace):
    silent = {"serve", "worker", "chat"}
    from typer.main import get_command

    from forethought.cli.app import app

    def leaves(command):
        inner = getattr(command, "commands", None)
        return [leaf for one in inner.values() for leaf in leaves(one)] if inner else [command]

    without = {leaf.name for leaf in leaves(get_command(app)) if all("--json" not in p.opts for p in leaf.params)}
    assert without == silent


def test_what_training_advises_can_be_asked_for(workspace):
    """Settings that errors tell a person to change are options of the command."""
    from typer.main import get_command

    from forethought.cli.app import app
    from forethought.training.sft import SFTConfig

    advised = set()
    for file in Path(sys.modules[SFTConfig.__module__].__file__).parent.glob("*.py"):
        for hint in re.findall(r"hint=(.*?)\)\s", file.read_text("utf-8"), re.DOTALL):
            advised |= {name for name in SFTConfig.model_fields if re.search(rf"\b{name}\b", hint) and "_" in name}
    options = {parameter.name for parameter in get_command(app).commands["train"].commands["sft"].params}
    assert {"max_length", "max_batch_tokens"} <= advised <= options


def test_samples_are_readable_one_after_the_other(workspace, run_id):
    shown = forethought(workspace, "runs", "show", run_id, "--samples").stdout
    assert shown.index("so far 1") < shown.index("\n\n") < shown.index("so far 2")


@pytest.mark.parametrize("words", [("task", "show", "syllogism"), ("data", "list", "-t", "syllogism"), ("--help",)])
def test_a_reader_who_has_seen_enough_is_no_failure(workspace, words):
    command = [sys.executable, "-c", "from forethought.cli import main; main()", "-w", str(workspace), *words]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    running.stdout.close()
    assert running.stderr.read() == ""
    running.wait()
    running.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_under_the_output_is_one_line(workspace):
    with Path("/dev/full").open("w") as full:
        line = refusal(workspace, "task", "list", "--json", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert "No space left" in line


@pytest.mark.parametrize("columns", ["1", "40", "wide"])
def test_a_narrow_terminal_shows_all_lists(workspace, columns):
    for noun in (("task",), ("data", "-t", "syllogism"), ("dataset",), ("runs",), ("models",), ("eval",)):
        done = forethought(workspace, noun[0], "list", *noun[1:], environment={"COLUMNS": columns})
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


def test_an_id_can_be_copied_from_a_narrow_terminal(workspace):
    traces = answer(workspace, "data", "list", "-t", "syllogism")
    shown = forethought(workspace, "data", "list", "-t", "syllogism", environment={"COLUMNS": "40"}).stdout
    ends = [line.split()[0] for line in shown.splitlines()[1:]]
    assert ends == [short_id(trace["id"]) for trace in traces]
    assert [answer(workspace, "data", "show", end)["id"] for end in ends] == [trace["id"] for trace in traces]


def test_a_terminal_that_cannot_show_a_letter_shows_another(workspace):
    environment = {"PYTHONIOENCODING": "ascii"}
    shown = forethought(workspace, "models", "list", environment=environment)
    assert shown.returncode == 0, shown.stderr
    refusal(workspace, "models", "show", "größe", environment=environment)
    refusal(workspace, "models", "show", b"\xff\xfe".decode("utf-8", "surrogateescape"))


def test_control_characters_do_not_reach_the_terminal(workspace):
    assert "\x1b" not in refusal(workspace, "models", "show", "\x1b[31mred\nline")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    assert "--workspace" in refusal(tmp_path / "w", "init")


def test_a_workspace_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "w").write_text("not a folder")
    assert "--workspace" in refusal(tmp_path / "w", "init")


@pytest.mark.parametrize("content", [b"", b"not a database", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_database_that_is_none_is_one_line_or_made_anew(tmp_path, content):
    (tmp_path / "forethought.db").write_bytes(content)
    if content:
        refusal(tmp_path, "task", "list")
    else:
        assert answer(tmp_path, "task", "list") == []
