"""A real server on a free loopback port, over a small deterministic model."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import openai
import pytest
from fixtures.parrot import ParrotModel
from fixtures.shelf import Shelf

from forethought.core.records import Model, Task
from forethought.core.seams import ChatModel
from forethought.serving.hub import Hub
from forethought.serving.server import base_url, listen, make_server
from forethought.serving.settings import ServingSettings


@dataclass
class Rig:
    """A running server and what is behind it."""

    url: str
    shelf: Shelf
    hub: Hub
    loaded: dict[str, ParrotModel]
    """Every model that was loaded, by name; the latest of each."""
    stop: Callable[[], None]
    """Asks the server to stop, as Ctrl-C does."""

    @property
    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=20)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


def default_shelf() -> Shelf:
    shelf = Shelf()
    trained = {"instructions": "Look closely.", "thinking_instructions": "Slowly."}
    shelf.add("thinker", "reasoning", **trained)
    shelf.add("plainer", "answer", **trained)
    shelf.add("twice", "two-turn", **trained)
    shelf.add("loaner", "reasoning", task=LOAN, instructions="Decide.")
    shelf.aliases["best"] = "thinker"
    return shelf


LOAN = Task(
    name="loan",
    instructions="Decide.",
    input_schema={"type": "object"},
    output_schema={"type": "object", "required": ["decision"]},
)


@contextlib.contextmanager
def running(settings: ServingSettings, shelf: Shelf, load: Callable[[Model], ChatModel] | None = None) -> Iterator[Rig]:
    loaded: dict[str, ParrotModel] = {}

    def load_parrot(model: Model) -> ChatModel:
        loaded[model.name] = ParrotModel(model.name)
        return loaded[model.name]

    hub = Hub(shelf, load or load_parrot, max_loaded=2, wait_seconds=5)
    listener = listen("127.0.0.1", 0)
    server = make_server(hub, settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()

    def stop() -> None:
        server.should_exit = True

    try:
        yield Rig(base_url(listener), shelf, hub, loaded, stop)
    finally:
        for model in loaded.values():
            model.gate.set()
        stop()
        thread.join(20)
        listener.close()
        assert not thread.is_alive()


@pytest.fixture
def rig() -> Iterator[Rig]:
    with running(ServingSettings(), default_shelf()) as rig:
        yield rig


@pytest.fixture
def start() -> Callable[..., contextlib.AbstractContextManager[Rig]]:
    """Starts a server with settings of its own: ``with start(max_queued=0) as rig``."""

    def start(
        load: Callable[[Model], ChatModel] | None = None, shelf: Shelf | None = None, **settings: float
    ) -> contextlib.AbstractContextManager[Rig]:
        return running(ServingSettings(**settings), shelf or default_shelf(), load)

    return start
