"""How runs are shown while they wait and work, and what is said of them."""

import json
import re
import sys

import pytest
from rich.progress import Progress as RichProgress

from forethought.cli.app import run as run_command
from forethought.cli.progress import BarReporter, bar, times
from forethought.cli.runs import _not_done
from forethought.core.ids import short_id
from forethought.core.records import Progress, Run
from forethought.jobs.processes import this_process
from forethought.jobs.torch_lock import WAITING
from forethought.services import data, datasets, evaluations, runs, tasks
from forethought.services.workbench import Workbench
from forethought.store.run_queue import RunQueue, how_to_resume


@pytest.fixture
def bench(tmp_path):
    bench = Workbench.open(tmp_path / "workspace")
    yield bench
    bench.store.close()


@pytest.fixture
def said(bench, monkeypatch, capsys):
    """Runs a command that must succeed; returns what it printed and what it said on standard error."""
    monkeypatch.setattr(runs.client, "start_worker", lambda *_, **__: "")

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["forethought", "-w", str(bench.workspace.root), *words])
        with pytest.raises(SystemExit) as ended:
            run_command()
        printed = capsys.readouterr()
        assert ended.value.code == 0, printed.err
        return printed.out, printed.err

    return command


def interrupted(bench, **fields):
    queue = RunQueue(bench.store)
    run = queue.enqueue(Run(**({"kind": "sft"} | fields)))
    queue.finish(queue.claim(run.id, "somebody").lease, "stopped")
    return run


# --- progress ---


def test_waiting_is_told_once_and_whole_without_a_terminal(capsys):
    with bar("sft ab12cd34") as reporter:
        for minutes in (1, 2, 3):
            reporter.progress(10, 42, unit="", message=f"{WAITING}{'long ' * 20}for {minutes} min")
    assert capsys.readouterr().err == f"sft ab12cd34: waiting: {'long ' * 20}for 1 min\n"


def test_a_bar_keeps_what_was_done_while_it_waits_and_counts_the_time_from_its_turn_on():
    now = 0.0
    drawn = RichProgress(disable=True, get_time=lambda: now)
    reporter = BarReporter("sft ab12cd34", drawn, False)
    now = 100.0
    reporter.progress(10, 42, unit="", message=f"{WAITING}another one")
    (task,) = drawn.tasks
    assert (task.description, task.completed, task.total) == ("sft ab12cd34: waiting", 10, 42)
    now = 103.0
    reporter.progress(11, 42, message="loss 1.000")
    assert (task.description, task.elapsed) == ("sft ab12cd34: loss 1.000", 3)


@pytest.mark.parametrize(
    ("elapsed", "left", "shown"),
    [(229, 30, "3:49, 0:30 left"), (3829.7, 3600, "1:03:49, 1:00:00 left"), (5, None, "0:05"), (5, 0, "0:05")],
)
def test_times_cannot_be_read_as_one(elapsed, left, shown):
    assert times(elapsed, left) == shown


# --- runs ---


def test_a_run_that_waits_is_shown_as_waiting_with_what_it_did_before(bench, said):
    queue = RunQueue(bench.store)
    run = queue.enqueue(Run(kind="sft", config={"name": "thinker"}))
    lease = queue.claim(run.id, str(this_process())).lease
    queue.append(lease, progress=Progress(done=10, total=42, unit="", message=f"{WAITING}another one"))
    table, _ = said("runs", "list")
    assert "waiting" in table
    assert "10/42" in table
    shown, _ = said("runs", "show", run.id)
    assert re.search("^status +waiting$", shown, re.MULTILINE)
    assert json.loads(said("runs", "show", run.id, "--json")[0])["status"] == "running"


def test_an_evaluation_is_listed_with_its_dataset_and_its_arms(bench, said):
    tasks.create_example(bench, "syllogism")
    data.generate(bench, "syllogism", count=4)
    dataset = datasets.create(bench, "four", task="syllogism", kind="problems", split="test=1")
    arms = [{"name": "base"}, {"name": "thinker"}]
    RunQueue(bench.store).enqueue(Run(kind="eval", dataset_id=dataset.id, config={"arms": arms}))
    assert "four: base, thinker" in said("runs", "list")[0]


def test_a_run_is_shown_by_the_end_of_its_id(bench, said):
    run = interrupted(bench)
    assert run.id in said("runs", "show", short_id(run.id))[0]


def test_what_is_done_to_a_run_is_one_sentence_unless_json_is_asked_for(bench, said):
    first, second, third = (interrupted(bench) for _ in range(3))
    assert said("runs", "cancel", first.id) == (f"run {short_id(first.id)} is cancelled\n", "")
    followed = f"running in the background; follow it with: forethought runs watch {short_id(second.id)}\n"
    assert said("runs", "resume", second.id, "--detach") == ("", followed)
    assert json.loads(said("runs", "cancel", third.id, "--json")[0])["status"] == "cancelled"
    assert json.loads(said("runs", "resume", third.id, "--detach", "--json")[0])["id"] == third.id


def test_a_resumed_run_goes_on_in_parallel_where_that_is_asked_for(bench, said):
    run = interrupted(bench)
    said("runs", "resume", run.id, "--detach", "--parallel")
    assert bench.store.run(run.id).parallel


def test_a_log_says_the_day(bench, said):
    queue = RunQueue(bench.store)
    run = queue.enqueue(Run(kind="sft"))
    queue.append(queue.claim(run.id, "somebody").lease, log=["one"])
    at = queue.stream("log", run.id)[0].at
    assert said("runs", "logs", run.id)[0] == f"{at:%Y-%m-%dT%H:%M:%S}Z one\n"


@pytest.mark.parametrize("error", ["", "ValueError: no.", f"Stopped before it was done. {how_to_resume('x')}"])
def test_how_to_go_on_is_said_once(error):
    assert str(_not_done(Run(kind="sft", status="interrupted", error=error))).count("runs resume") == 1


def test_a_report_is_written_here_when_no_folder_is_named(bench, said, tmp_path, monkeypatch):
    run = interrupted(bench, kind="eval")
    folder = bench.workspace.run_folder(run.id) / "report"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text("{}")
    (folder / "report.html").write_text("<p>")
    monkeypatch.chdir(tmp_path)
    assert said("eval", "report", short_id(run.id))[0] == f"report-{short_id(run.id)}/report.html\n"
    assert (tmp_path / f"report-{short_id(run.id)}" / "report.html").read_text() == "<p>"


def test_an_evaluation_in_which_nothing_could_be_read_ends_with_a_warning(bench, said, monkeypatch):
    run = Run(kind="eval", status="done")
    arm = dict.fromkeys(("accuracy", "ci_low", "ci_high", "verified_accuracy", "steps_valid", "mean_tokens", "seconds"))
    report = {"arms": [arm | {"name": "thinker", "format_valid": 0.0, "n": 24}]}
    monkeypatch.setattr(evaluations, "submit", lambda *_, **__: run)
    monkeypatch.setattr(runs, "follow", lambda *_: run)
    monkeypatch.setattr(evaluations, "read_report", lambda *_: report)
    monkeypatch.setattr(evaluations, "report_folder", lambda *_: bench.workspace.root)
    _, warned = said("eval", "run", "--dataset", "d", "--arm", "thinker=smollm2")
    advice = f"look at: forethought eval report {short_id(run.id)}"
    assert warned == f"thinker: no answer could be read in 24 of 24; {advice}\n"
