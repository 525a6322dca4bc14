from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from forethought.errors import VerifierError
from forethought.verifiers.process import KillableFunction

MODULE = """
import os, sys, time
calls = 0
def double(x):
    global calls
    calls += 1
    print("noise on standard output")
    return {"twice": 2 * x, "calls": calls, "pid": os.getpid()}
def spin(seconds=0, die=False, raises=False, eat=0):
    if die:
        os._exit(3)
    if raises:
        raise ValueError("no such thing")
    kept = bytearray(eat * 2**20)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return "done"
def variables():
    return sorted(os.environ)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "killable_sample.py").write_text(MODULE)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    return "killable_sample"


def test_one_process_answers_call_after_call(module: str) -> None:
    double = KillableFunction(f"{module}:double")
    replies = [double(x=number) for number in range(5)]
    assert [reply["twice"] for reply in replies] == [0, 2, 4, 6, 8]
    assert [reply["calls"] for reply in replies] == [1, 2, 3, 4, 5]
    assert {reply["pid"] for reply in replies} == {double.pid} != {os.getpid()}
    double.close()
    assert double.pid is None


def test_a_call_that_overruns_is_killed_and_the_next_one_works(module: str) -> None:
    spin = KillableFunction(f"{module}:spin", timeout_s=0.5)
    assert spin() == "done"
    first = spin.pid
    with pytest.raises(VerifierError, match=r"longer than 0\.5 seconds"):
        spin(seconds=60)
    assert spin() == "done"
    assert spin.pid not in (None, first)
    spin.close()


def test_a_process_that_dies_or_raises_is_a_verifier_error(module: str) -> None:
    spin = KillableFunction(f"{module}:spin")
    with pytest.raises(VerifierError, match="died"):
        spin(die=True)
    with pytest.raises(VerifierError, match="ValueError: no such thing"):
        spin(raises=True)
    assert spin() == "done"
    assert spin.pid is not None
    os.kill(spin.pid, signal.SIGKILL)
    with contextlib.suppress(VerifierError):  # the death is seen by this call or was seen before it
        spin()
    assert spin() == "done"
    spin.close()


def test_memory_is_bounded(module: str) -> None:
    spin = KillableFunction(f"{module}:spin", memory_mb=512)
    with pytest.raises(VerifierError, match="MemoryError"):
        spin(eat=2_000)
    assert spin() == "done"
    spin.close()


def test_threads_get_their_own_replies(module: str) -> None:
    double = KillableFunction(f"{module}:double")
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda number: double(x=number)["twice"], range(100)))
    assert replies == [2 * number for number in range(100)]
    assert threading.active_count() < 50
    double.close()


def test_keys_in_the_environment_are_not_handed_on(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not a real key")
    variables = KillableFunction(f"{module}:variables")
    assert "OPENAI_API_KEY" not in variables()
    variables.close()
