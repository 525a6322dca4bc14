"""Whole runs in real processes: they finish, fail, are killed at every level, go on, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from forethought.cli import runs as commands
from forethought.core import registry
from forethought.core.ids import short_id
from forethought.core.records import Progress, Run
from forethought.errors import JobError, NotFoundError, UsageError
from forethought.jobs import client, supervisor, worker
from forethought.jobs.context import log_file, open_workspace
from forethought.jobs.executors import executor_named
from forethought.jobs.redaction import _known_secrets
from forethought.jobs.torch_lock import WAITING
from forethought.services import runs
from forethought.services.workbench import Workbench
from forethought.store.run_queue import RunQueue

PLUGIN = Path(__file__).parent / "plugin"


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return found


def gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """The plug-in is found here and in every process started; locks are this test's own."""
    monkeypatch.syspath_prepend(PLUGIN)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PLUGIN), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("FORETHOUGHT_RUNTIME_DIR", str(tmp_path / "locks"))
    registry._table.cache_clear()
    yield
    registry._table.cache_clear()


class Place:
    """A workspace with its store, and the steps tests are made of."""

    def __init__(self, store, workspace):
        self.store, self.workspace, self.queue = store, workspace, RunQueue(store)
        self.processes = []

    def submit(self, kind, **fields):
        config = fields.pop("config", {})
        return client.submit(self.store, self.workspace, Run(kind=f"example-{kind}", config=config, **fields))

    def worker(self, *options):
        command = [sys.executable, "-m", "forethought.jobs.worker", "--workspace", str(self.workspace.root), *options]
        process = subprocess.Popen(command)
        self.processes.append(process)
        return process

    def work(self, *options):
        """A worker in this process; its runs have processes of their own all the same."""
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
        try:
            return worker.main(["--workspace", str(self.workspace.root), *options])
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def file(self, run, name):
        path = self.workspace.run_folder(run.id) / name
        return until(lambda: path.exists() and path)

    def lines(self, run):
        return [row.value for row in self.queue.stream("log", run.id)]


@pytest.fixture
def place(store, store_url, workspace, monkeypatch):
    """Over SQLite and over PostgreSQL."""
    yield from _place(store, store_url, workspace, monkeypatch)


@pytest.fixture
def local(sqlite_store, sqlite_url, workspace, monkeypatch):
    """Over SQLite, for what no database decides."""
    yield from _place(sqlite_store, sqlite_url, workspace, monkeypatch)


def _place(store, url, workspace, monkeypatch):
    monkeypatch.setenv("FORETHOUGHT_DATABASE_URL", url)
    place = Place(store, workspace)
    yield place
    for process in place.processes:
        process.kill()
        process.wait()


def child_of(process):
    return until(lambda: [c for c in psutil.Process(process.pid).children() if "jobs.child" in " ".join(c.cmdline())])[
        0
    ]


# --- the whole way ---


def test_a_submitted_run_is_done_by_a_detached_worker_and_watched(place):
    run = place.submit("count", config={"steps": 5})
    handle = client.start_worker(place.workspace, run.id)
    events = list(client.watch(place.store, run.id))
    assert events[-1] == client.StatusChanged("done", "")
    assert [e.line for e in events if isinstance(e, client.Logged)] == ["from 0"]
    assert [e.step for e in events if isinstance(e, client.Measured)] == [1, 2, 3, 4, 5]
    assert [e.values["odd"] for e in events if isinstance(e, client.Measured)] == [None] * 5
    assert [e.text for e in events if isinstance(e, client.Sampled)] == [{"answer": "<b>yes</b>\x00"}]
    assert [e.progress.done for e in events if isinstance(e, client.Progressed)][-1] == 5
    ended = client.wait(place.store, run.id)
    assert (ended.metrics, ended.artefacts) == ({"first": 0, "last": 5}, {"count": "checkpoint"})
    until(lambda: not executor_named("local").alive(handle))
    assert f"Run {run.id} is done." in log_file(place.workspace, run.id).read_text()
    with pytest.raises(JobError, match="it is done"):
        client.resume(place.store, run.id)


def test_one_worker_does_all_that_waits_and_ends(local):
    waiting = [
        local.submit("count", config={"steps": 1}),
        local.submit("raise"),
        local.submit("count", config={"steps": 1}),
    ]
    assert local.work("--once") == 0
    assert [local.queue.get(run.id).status for run in waiting] == ["done", "failed", "done"]


def test_two_workers_race_for_one_run_and_one_does_it(place):
    run = place.submit("count", config={"steps": 3})
    codes = sorted(process.wait() for process in [place.worker("--run", run.id) for _ in range(2)])
    assert codes == [0, 1] or codes == [0, 0]  # the slower one may look when it is done already
    assert place.lines(run) == ["from 0"]
    assert place.queue.attempts(run.id) == 1


# --- kill -9 at every level ---


def test_a_killed_run_is_interrupted_and_goes_on_from_its_checkpoint(place):
    run = place.submit("count", config={"steps": 6, "pause_at": 4})
    process = place.worker("--run", run.id)
    place.file(run, "paused")
    child_of(process).kill()
    assert process.wait() == 1
    ended = place.queue.get(run.id)
    assert ended.status == "interrupted"
    assert "SIGKILL" in ended.error
    assert f"forethought runs resume {run.id}" in ended.error
    (place.workspace.run_folder(run.id) / "go").touch()
    client.resume(place.store, run.id)
    assert place.work("--run", run.id) == 0
    assert place.queue.get(run.id).metrics == {"first": 4, "last": 6}
    assert place.lines(run)[-1] == "from 4"


def test_a_killed_worker_takes_its_run_along_and_resume_goes_on(place):
    run = place.submit("count", config={"steps": 6, "pause_at": 4})
    process = place.worker("--run", run.id)
    place.file(run, "paused")
    child = child_of(process)
    process.kill()
    process.wait()
    until(lambda: gone(child.pid))
    assert client.wait(place.store, run.id, timeout=20).status == "interrupted"
    (place.workspace.run_folder(run.id) / "go").touch()
    client.resume(place.store, run.id)
    assert place.work("--run", run.id) == 0
    assert place.queue.get(run.id).metrics == {"first": 4, "last": 6}


def test_a_run_whose_worker_was_killed_is_not_shown_as_running(local):
    bench = Workbench.around(local.workspace, local.store)
    shown, listed = (local.submit("count", config={"steps": 6, "pause_at": 4}) for _ in range(2))
    for run in (shown, listed):
        process = local.worker("--run", run.id)
        local.file(run, "paused")
        process.kill()
        process.wait()
        if run is shown:
            assert runs.show(bench, run.id).status == "interrupted"
    assert [run.id for run in runs.list_all(bench, "interrupted")] == [listed.id, shown.id]


def test_another_worker_takes_over_what_a_killed_one_lost(local):
    run = local.submit("count", config={"steps": 6, "pause_at": 4})
    process = local.worker("--run", run.id)
    local.file(run, "paused")
    (local.workspace.run_folder(run.id) / "go").touch()
    process.send_signal(signal.SIGSTOP)  # so that the child cannot end well before the worker is killed
    process.kill()
    process.wait()
    local.work("--once")
    assert local.queue.get(run.id).status == "done"


def test_a_run_that_keeps_losing_its_worker_is_not_taken_over_for_ever(local):
    run = local.submit("count", config={"steps": 1})
    for _ in range(worker.MAX_CLAIMS):
        local.queue.claim(run.id, "gone")
        local.queue.expire(lambda owner: True)
        local.queue.requeue_lost(max_claims=worker.MAX_CLAIMS)
    local.work("--once")
    assert local.queue.get(run.id).status == "interrupted"
    assert local.queue.attempts(run.id) == worker.MAX_CLAIMS


def test_the_children_of_a_run_end_with_the_worker(local):
    run = local.submit("parent")
    process = local.worker("--run", run.id)
    pids = [int(pid) for pid in local.file(run, "pids").read_text().split()]
    assert not any(gone(pid) for pid in pids)
    process.kill()
    process.wait()
    until(lambda: all(gone(pid) for pid in pids))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGSEGV, "failed"), (signal.SIGKILL, "interrupted")])
def test_the_signal_that_ended_a_run_is_named(local, number, status):
    run = local.submit("signal", config={"number": int(number)})
    assert local.work("--run", run.id) == 1
    ended = local.queue.get(run.id)
    assert ended.status == status
    assert number.name in ended.error


# --- stopping ---


def test_a_worker_asked_to_end_interrupts_its_run(local):
    run = local.submit("count", config={"steps": 6, "pause_at": 4})
    process = local.worker("--run", run.id)
    local.file(run, "paused")
    client.stop(local.store, run.id)
    assert process.wait() == 1
    ended = local.queue.get(run.id)
    assert ended.status == "interrupted"
    assert ended.error == f"Stopped before it was done. Go on with `forethought runs resume {run.id}`."
    assert ended.progress.done == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_foreground_command_that_is_ended_waits_until_its_run_can_be_resumed(local, number, monkeypatch, capsys):
    run = local.submit("count", config={"steps": 6, "pause_at": 4})
    local.worker("--run", run.id)
    local.file(run, "paused")
    _end_in_the_foreground(local, run, number, monkeypatch)
    assert capsys.readouterr().err.splitlines()[-2:] == [
        "finishing a checkpoint… (Ctrl-C again does not wait)",
        f"stopped; go on with: forethought runs resume {short_id(run.id)}",
    ]
    assert client.resume(local.store, run.id).status == "queued"


def test_a_foreground_command_does_not_say_stopped_of_a_run_that_is_not(local, monkeypatch, capsys):
    run = local.submit("deaf")
    local.worker("--run", run.id, "--grace", "600")
    local.file(run, "paused")
    monkeypatch.setattr(commands, "STOP_SECONDS", 0.1)
    _end_in_the_foreground(local, run, signal.SIGINT, monkeypatch)
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("still finishing")
    assert "in a few seconds" in said


def _end_in_the_foreground(place, run, number, monkeypatch):
    def follow(*_):
        os.kill(os.getpid(), number)
        time.sleep(30)

    monkeypatch.setattr(runs, "follow", follow)
    before = signal.getsignal(signal.SIGTERM)
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            commands.follow_to_the_end(Workbench.around(place.workspace, place.store), run)
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_cancelled_run_stops_at_its_next_check(place):
    run = place.submit("count", config={"steps": 6, "pause_at": 4})
    process = place.worker("--run", run.id)
    place.file(run, "paused")
    with pytest.raises(JobError, match="still running"):
        client.resume(place.store, run.id)
    assert client.cancel(place.store, run.id).status == "running"
    assert process.wait() == 1
    ended = place.queue.get(run.id)
    assert (ended.status, ended.error) == ("cancelled", "")


def test_a_run_that_does_not_stop_is_killed_after_its_grace(local):
    run = local.submit("deaf")
    process = local.worker("--run", run.id, "--grace", "0.2")
    local.file(run, "paused")
    process.terminate()
    assert process.wait() == 1
    ended = local.queue.get(run.id)
    assert ended.status == "interrupted"
    assert "did not stop when it was asked to" in ended.error


def test_asking_twice_kills_a_run_at_once(local):
    run = local.submit("deaf")
    process = local.worker("--run", run.id)
    local.file(run, "paused")
    until(lambda: process.send_signal(signal.SIGINT) or process.poll() is not None)
    assert "was killed" in local.queue.get(run.id).error


def test_a_worker_whose_run_was_taken_away_ends_it_and_leaves_the_record_alone(local):
    run = local.submit("parent")
    process = local.worker("--run", run.id)
    pids = [int(pid) for pid in local.file(run, "pids").read_text().split()]
    (taken,) = local.queue.expire(lambda owner: True)
    assert process.wait() == 1
    assert all(gone(pid) for pid in pids)
    assert local.queue.get(run.id) == taken


def test_a_process_that_stays_after_its_run_was_done_is_ended(local, monkeypatch):
    monkeypatch.setattr(supervisor, "EXIT_SECONDS", 0.1)
    run = local.submit("linger")
    assert local.work("--run", run.id) == 0
    assert local.queue.get(run.id).status == "done"


# --- how errors surface ---


def test_a_deliberate_error_is_told_in_its_own_words(local):
    run = local.submit("raise", config={"ours": True})
    assert local.work("--run", run.id) == 1
    ended = local.queue.get(run.id)
    assert (ended.status, ended.error) == ("failed", "The file is empty. Add a line.")


def test_any_other_error_is_named_by_type_with_its_traceback_in_the_log_file(local):
    run = local.submit("raise")
    assert local.work("--run", run.id) == 1
    ended = local.queue.get(run.id)
    assert (ended.status, ended.error) == ("failed", "ValueError: first line second line")
    assert local.lines(run) == ["about to fail"]
    assert "Traceback (most recent call last)" in log_file(local.workspace, run.id).read_text()


def test_a_body_that_returns_what_cannot_be_stored_has_failed(local):
    something_else, bad_metrics = local.submit("wrong"), local.submit("wrong", config={"metrics": True})
    local.work("--once")
    assert "returned dict instead of a JobResult" in local.queue.get(something_else.id).error
    assert local.queue.get(bad_metrics.id).error == "TypeError: Object of type object is not JSON serializable"


def test_secrets_reach_neither_record_nor_log_nor_arguments(local, monkeypatch):
    monkeypatch.setenv("EXAMPLE_API_KEY", "correct-horse-battery")
    _known_secrets.cache_clear()
    with pytest.raises(UsageError, match="secret"):
        local.submit("leak", config={"key": "correct-horse-battery"})
    run = local.submit("leak")
    local.work("--run", run.id)
    _known_secrets.cache_clear()
    log = log_file(local.workspace, run.id).read_text()
    assert "printed [hidden]" in log
    assert local.lines(run) == ["logged [hidden]"]
    ended = local.queue.get(run.id)
    assert ended.error == "RuntimeError: raised [hidden]"
    assert "correct-horse" not in log + ended.model_dump_json()


def test_a_full_disk_pauses_the_run_with_a_plain_message(local):
    run = local.submit("full")
    local.work("--run", run.id)
    ended = local.queue.get(run.id)
    assert ended.status == "interrupted"
    assert "is full" in ended.error
    assert f"forethought runs resume {run.id}" in ended.error


def test_an_unknown_job_is_refused_with_the_nearest_name(local):
    with pytest.raises(NotFoundError, match="example-count"):
        local.submit("cuont")


def test_a_worker_that_cannot_start_is_noticed(local, monkeypatch):
    run = local.submit("count", config={"steps": 1})
    monkeypatch.setenv("FORETHOUGHT_DATABASE_URL", "mysql://nowhere")
    client.start_worker(local.workspace, run.id)
    with pytest.raises(JobError, match="ended before it took the run"):
        client.wait(local.store, run.id, timeout=30)


# --- one torch run at a time ---


def test_two_torch_runs_take_turns_unless_asked_and_the_waiting_one_says_so(local):
    first = local.submit("alone", uses_torch=True, config={"seconds": 600})
    before = Progress(done=10, total=42)
    second = local.submit("alone", uses_torch=True, progress=before, config={"seconds": 0.1})
    local.worker("--run", first.id)
    until(lambda: (local.workspace.root / "busy").exists())
    local.worker("--run", second.id)
    waiting = until(lambda: local.queue.get(second.id).progress.message and local.queue.get(second.id))
    assert waiting.progress.message == (
        "waiting: another training or evaluation uses this machine "
        f"(run {short_id(first.id)} of {local.workspace.root})"
    )
    assert (waiting.progress.done, waiting.progress.total) == (10, 42)
    assert runs.status_in_words(waiting) == "waiting"
    waited = Progress(message=f"{WAITING}for long")
    third = local.submit("alone", uses_torch=True, parallel=True, progress=waited, config={"seconds": 0.1})
    for _ in range(2):  # as often as it is resumed
        local.work("--run", third.id)
        assert "FileExistsError" in local.queue.get(third.id).error
        assert local.queue.get(third.id).progress.message == ""
        client.resume(local.store, third.id)
    (local.workspace.root / "busy").unlink()
    client.cancel(local.store, first.id)
    done = client.wait(local.store, second.id, timeout=30)
    assert (done.status, done.progress.message) == ("done", "")


def test_a_disk_filled_to_the_last_byte_leaves_the_database_whole_and_the_run_resumable(tmp_path, monkeypatch):
    monkeypatch.delenv("FORETHOUGHT_DATABASE_URL", raising=False)
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("may not mount a small disk here")
    try:
        workspace, store = open_workspace(str(disk))
        place = Place(store, workspace)
        run = place.submit("fill")
        assert place.work("--run", run.id) == 1
        ended = place.queue.get(run.id)
        assert ended.status == "interrupted"
        assert "is full (0 MB free); the run was paused. Free some space first." in ended.error
        with store.read() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
        (workspace.run_folder(run.id) / "filler").unlink()
        client.resume(store, run.id)
        assert place.work("--run", run.id) == 0
        store.close()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
