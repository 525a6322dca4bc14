"""Cancelling, swapping, queueing, and starting up."""

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import openai
import pytest
from fixtures.parrot import ParrotModel

from forethought.core.records import Model
from forethought.errors import ModelFileError, NotFoundError, ServingError, UsageError
from forethought.serving.hub import Hub
from forethought.serving.server import listen, serve


class SlowLoads:
    """Loads parrots; the slow one only when it may."""

    def __init__(self, slow: str) -> None:
        self.slow = slow
        self.names: list[str] = []
        self.begun = threading.Event()
        self.may_end = threading.Event()

    def __call__(self, model: Model) -> ParrotModel:
        self.names.append(model.name)
        if model.name == self.slow:
            self.begun.set()
            assert self.may_end.wait(20)
        return ParrotModel(model.name)


def question(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def wait_until(condition, seconds=10.0) -> None:
    """Polls for something another thread or process does; fails if it never happens."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


def health(rig):
    return httpx.get(f"{rig.url}/health").json()


def test_leaving_a_stream_stops_the_generation(rig) -> None:
    stream = rig.client.chat.completions.create(model="thinker", messages=question("endless"), stream=True)
    next(iter(stream))
    assert rig.loaded["thinker"].running == 1
    stream.close()
    assert rig.loaded["thinker"].ended.acquire(timeout=10)
    wait_until(lambda: health(rig)["answers_in_progress"] == 0)


def test_hanging_up_on_a_whole_reply_stops_the_generation(rig) -> None:
    client = rig.client.with_options(timeout=1.0)
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model="thinker", messages=question("endless"), max_tokens=4096, n=2)
    for _ in range(2):
        assert rig.loaded["thinker"].ended.acquire(timeout=10)
    wait_until(lambda: health(rig)["answers_in_progress"] == 0)


def test_moving_an_alias_swaps_the_model_and_leaves_running_answers_alone(rig) -> None:
    stream = rig.client.chat.completions.create(model="best", messages=question("wait here"), stream=True)
    chunks = []
    reader = threading.Thread(target=lambda: chunks.extend(stream))
    reader.start()
    rig.shelf.aliases["best"] = "plainer"
    assert rig.client.chat.completions.create(model="best", messages=question("x")).model == "plainer"
    rig.loaded["thinker"].gate.set()
    reader.join(10)
    assert {chunk.model for chunk in chunks} == {"thinker"}
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "I saw wait here"


def test_the_least_recently_used_idle_model_makes_room(rig) -> None:
    for name in ("thinker", "plainer", "thinker", "twice"):
        rig.client.chat.completions.create(model=name, messages=question("x"))
    wait_until(lambda: health(rig)["answers_in_progress"] == 0)
    assert health(rig)["loaded"] == ["thinker", "twice"]
    assert rig.loaded["plainer"].is_closed
    assert not rig.loaded["thinker"].is_closed


def test_a_full_queue_is_429_with_advice(start) -> None:
    with start(max_running=1, max_queued=1) as rig:
        streams = [
            threading.Thread(
                target=lambda: rig.client.chat.completions.create(model="thinker", messages=question("wait"))
            )
            for _ in range(2)
        ]
        for stream in streams:
            stream.start()
        wait_until(lambda: health(rig)["answers_in_progress"] == 2)
        with pytest.raises(openai.RateLimitError) as refusal:
            rig.client.chat.completions.create(model="thinker", messages=question("x"))
        assert refusal.value.code == "queue_full"
        assert refusal.value.response.headers["retry-after"] == "1"
        wait_until(lambda: "thinker" in rig.loaded)
        rig.loaded["thinker"].gate.set()
        for stream in streams:
            stream.join(10)
        wait_until(lambda: health(rig)["answers_in_progress"] == 0)
        assert rig.client.chat.completions.create(model="thinker", messages=question("x")).choices


def test_a_model_is_loaded_once_however_many_ask_and_others_are_served_meanwhile(start) -> None:
    loads = SlowLoads(slow="thinker")
    with start(load=loads) as rig:
        rig.client.chat.completions.create(model="plainer", messages=question("x"))
        askers = [
            threading.Thread(target=lambda: rig.client.chat.completions.create(model="thinker", messages=question("x")))
            for _ in range(10)
        ]
        for asker in askers:
            asker.start()
        assert loads.begun.wait(10)
        assert rig.client.chat.completions.create(model="plainer", messages=question("y")).model == "plainer"
        loads.may_end.set()
        for asker in askers:
            asker.join(10)
        assert sorted(loads.names) == ["plainer", "thinker"]


def test_a_model_that_cannot_be_loaded_is_a_server_error_and_takes_no_slot(start) -> None:
    def load(model: Model):
        raise ModelFileError(f"The weights of '{model.name}' are missing.")

    with start(load=load) as rig:
        with pytest.raises(openai.InternalServerError, match="are missing"):
            rig.client.chat.completions.create(model="thinker", messages=question("x"))
        assert health(rig)["answers_in_progress"] == 0


def test_a_busy_port_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServingError) as refusal:
            listen("127.0.0.1", port)
    assert str(refusal.value) == f"Port {port} of 127.0.0.1 is already in use. Choose another with --port."


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org", "", "127.0.0.1.nip.io"])
def test_only_loopback_is_listened_on(host, rig) -> None:
    with pytest.raises(ServingError, match="not a loopback address"):
        serve(rig.hub, host, 0)


def test_a_port_out_of_range_is_one_line() -> None:
    with pytest.raises(ServingError, match="Cannot listen"):
        listen("127.0.0.1", 99_999)


def test_stopping_the_server_ends_what_runs_with_an_error_and_unloads(start) -> None:
    with start(shutdown_seconds=0) as rig:
        stream = rig.client.chat.completions.create(model="thinker", messages=question("endless"), stream=True)
        next(iter(stream))
        rig.stop()
        with pytest.raises(openai.APIError, match="stopped before it was complete"):
            list(stream)
    assert rig.loaded["thinker"].running == 0
    assert rig.loaded["thinker"].is_closed


def test_stopping_the_server_lets_answers_finish(start) -> None:
    with start(shutdown_seconds=10) as rig:
        stream = rig.client.chat.completions.create(model="thinker", messages=question("wait"), stream=True)
        rig.stop()
        rig.loaded["thinker"].gate.set()
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "I saw wait"


SERVE = """
from fixtures.parrot import ParrotModel
from fixtures.shelf import Shelf
from forethought.serving.hub import Hub
from forethought.serving.server import serve

shelf = Shelf()
shelf.add("thinker", "reasoning")
serve(Hub(shelf, lambda model: ParrotModel(model.name)), port=0, on_ready=lambda url: print(url, flush=True))
print("ended")
"""


def test_an_interrupt_ends_the_server_in_order() -> None:
    tests = Path(__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", SERVE],
        cwd=tests,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        url = process.stdout.readline().strip()
        assert httpx.get(f"{url}/models").json()["data"][0]["id"] == "thinker"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "ended\n", "")


def test_a_hub_serves_only_the_names_it_was_given(rig) -> None:
    hub = Hub(rig.shelf, rig.loaded.__getitem__, only=["best"])  # type: ignore[arg-type]  # never called
    assert list(hub.names()) == ["best"]
    with pytest.raises(NotFoundError, match="no model called 'thinker'"):
        hub.find("thinker")
    with pytest.raises(NotFoundError, match="Did you mean 'best'"):
        Hub(rig.shelf, rig.loaded.__getitem__, only=["bst"])  # type: ignore[arg-type]  # never called


def test_a_hub_waits_for_room_and_gives_up_with_advice(rig) -> None:
    class Dummy:
        name = "dummy"

    hub = Hub(rig.shelf, lambda model: Dummy(), max_loaded=1, wait_seconds=0.05)
    thinker, plainer = hub.find("thinker"), hub.find("plainer")
    with hub.load(thinker):
        assert hub.lease(plainer) is None
        with pytest.raises(ServingError, match="no room to load model 'plainer'"):
            hub.load(plainer)
    with hub.load(plainer):
        assert hub.loaded() == ["plainer"]
    with pytest.raises(UsageError):
        Hub(rig.shelf, lambda model: Dummy(), max_loaded=0)
