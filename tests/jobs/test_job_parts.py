"""The parts of jobs that need no store."""

import errno
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.errors import DataError
from forethought.jobs.eta import Rate
from forethought.jobs.executors import executor_named
from forethought.jobs.faults import crash_line, is_disk_full, one_line
from forethought.jobs.process_group import ProcessGroup
from forethought.jobs.processes import is_dead, is_here, name_of, read_name, this_process
from forethought.jobs.redaction import redact
from forethought.jobs.torch_lock import torch_lock


def gone(pid):
    return not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


# --- the estimate of what is left ---


@given(speed=st.floats(0.01, 1e4), remaining=st.floats(0, 1e6), start=st.floats(0, 1e6), looks=st.integers(3, 300))
def test_a_steady_rate_is_found_however_many_looks(speed, remaining, start, looks):
    rate = Rate()
    for second in range(looks):
        rate.add(start + second, speed * second)
    assert rate.seconds_left(remaining) == pytest.approx(remaining / speed, rel=1e-3, abs=1e-6)


def test_one_long_pause_does_not_spoil_the_rate():
    rate = Rate()
    for step in range(20):
        rate.add(step + (300 if step == 19 else 0), step)
    assert rate.seconds_left(10) == pytest.approx(10, rel=0.2)


def test_nothing_is_estimated_from_too_little_or_from_standing_still():
    rate = Rate()
    rate.add(0, 0)
    assert rate.seconds_left(10) is None
    for second in range(1, 9):
        rate.add(second, 0)
    assert rate.seconds_left(10) is None


def test_a_new_phase_is_estimated_from_its_own_speed():
    rate = Rate()
    for second in range(10):
        rate.add(second, 100 * second)
    for second in range(10, 20):
        rate.add(second, second - 10)
    assert rate.seconds_left(5) == pytest.approx(5)


# --- who is who ---


def test_a_process_is_known_by_its_name_until_it_ends():
    process = subprocess.Popen(["sleep", "600"])
    name = name_of(process.pid)
    assert read_name(str(name)) == name
    assert is_here(str(name))
    assert not is_dead(str(name))
    process.kill()
    until(lambda: is_dead(str(name)))  # a zombie is dead too
    process.wait()
    assert is_dead(str(name))


def test_a_reused_pid_is_another_process():
    here = this_process()
    assert not is_dead(str(here))
    assert is_dead(str(here).replace(here.started, "1"))


def test_owners_elsewhere_are_not_declared_dead():
    here = this_process()
    assert not is_dead(str(here).replace(here.machine, "0" * 16).replace(here.started, "1"))
    assert not is_dead("nonsense")
    assert not is_dead("")


# --- processes that end together ---


def test_a_group_ends_when_its_owner_is_killed(tmp_path):
    script = (
        "import sys, time\nfrom forethought.jobs.process_group import ProcessGroup\n"
        "with ProcessGroup() as group:\n"
        "    child = group.start(['/bin/sh', '-c', 'sleep 600 & echo $! $$; wait'])\n"
        "    print(child.stdout.readline().decode().strip(), flush=True)\n"
        "    time.sleep(600)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    pids = owner.stdout.readline().split()
    assert len(pids) == 2
    assert not any(gone(pid) for pid in pids)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    until(lambda: all(gone(pid) for pid in pids))


def test_a_group_ends_when_it_is_left():
    with ProcessGroup() as group:
        child = group.start(["sleep", "600"])
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()


# --- one torch run at a time ---

HOLD = """
import sys, time
from pathlib import Path
from forethought.jobs.torch_lock import torch_lock
def waiting(holder): print("waiting for", holder, flush=True)
with torch_lock(sys.argv[2], waiting, folder=Path(sys.argv[1])):
    print("mine", flush=True)
    sys.stdin.read()
"""


def holder_process(folder, name):
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_the_torch_lock_is_held_by_one_process_and_freed_by_the_kernel(tmp_path):
    first = holder_process(tmp_path, "run one")
    assert first.stdout.readline() == "mine\n"
    second = holder_process(tmp_path, "run two")
    assert second.stdout.readline() == "waiting for run one\n"
    first.kill()
    first.communicate()
    while (line := second.stdout.readline()) != "mine\n":
        assert line == "waiting for run one\n"
    second.communicate("")
    assert second.returncode == 0


def test_waiting_for_the_torch_lock_can_be_given_up(tmp_path):
    first = holder_process(tmp_path, "run one")
    assert first.stdout.readline() == "mine\n"

    def give_up(holder):
        raise KeyError(holder)

    with pytest.raises(KeyError, match="run one"), torch_lock("run two", give_up, folder=tmp_path):
        pass
    first.communicate("")


def test_how_long_the_torch_lock_was_held_is_told(tmp_path):
    first = holder_process(tmp_path, "run one")
    assert first.stdout.readline() == "mine\n"
    three_minutes_ago = time.time() - 200
    os.utime(tmp_path / "torch.holder", (three_minutes_ago, three_minutes_ago))

    def give_up(holder):
        raise KeyError(holder)

    with pytest.raises(KeyError, match="run one, for 3 min"), torch_lock("run two", give_up, folder=tmp_path):
        pass
    first.communicate("")


# --- what is said of faults ---


def test_errors_fit_one_line():
    assert one_line(ValueError("a\n  b")) == "ValueError: a b"
    assert one_line(DataError("The file is empty.", hint="Add a line.")) == "The file is empty. Add a line."
    assert one_line(KeyError()) == "KeyError"


def test_a_full_disk_is_seen_at_the_bottom_of_an_error():
    error = RuntimeError("could not save")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert is_disk_full(error)
    assert not is_disk_full(OSError(errno.EACCES, "Permission denied"))


def test_signals_are_named():
    assert crash_line(-signal.SIGKILL) == (
        True,
        "The run's process was killed by SIGKILL. Often this means that the memory ran out.",
    )
    assert crash_line(-signal.SIGSEGV) == (False, "The run's process crashed with SIGSEGV.")
    assert crash_line(3, "bye") == (False, "The run's process ended with exit code 3; its last words: bye.")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("postgresql://me:hunter22@db/x", "postgresql://me:[hidden]@db/x"),
        ("Authorization: Bearer abcdefgh12345", "Authorization: Bearer [hidden]"),
        ("GET https://x/y?key=abc123&z=1", "GET https://x/y?key=[hidden]&z=1"),
        ("sk-proj-abcdefghijklmnop", "sk-[hidden]"),
        ("token accuracy 0.5, sky-high", "token accuracy 0.5, sky-high"),
    ],
)
def test_what_looks_like_a_key_is_hidden(text, clean):
    assert redact(text) == clean


def test_an_unknown_executor_is_refused_with_the_known_ones():
    with pytest.raises(LookupError, match="local"):
        executor_named("locl")
