"""Models by name: found in the store, loaded when first asked for, kept while there is room.

An alias is looked up for every request, so moving it swaps the model for the next request; those that run keep the
weights they started on, because a leased model is never unloaded.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from forethought.core import registry
from forethought.core.records import Model, Task
from forethought.core.seams import ChatModel, Style
from forethought.errors import NotFoundError, ServingError, UsageError, did_you_mean


class Catalogue(Protocol):
    """Where models are registered. Called from several threads; cheap, because every request asks."""

    def find(self, name: str) -> Model | None:
        """The model with this name, or the one this alias points at now."""
        ...

    def names(self) -> Mapping[str, Model]:
        """Every name and alias with the model it stands for."""
        ...

    def task(self, model: Model) -> Task | None:
        """The task revision the model was trained for; None for a base model."""
        ...


@dataclass
class _Loaded:
    model: Model
    chat: ChatModel
    users: int


class Lease:
    """A loaded model that stays loaded until ``close`` (or the end of a ``with`` block)."""

    def __init__(self, hub: Hub, model: Model, chat: ChatModel) -> None:
        self.model = model
        self.chat = chat
        self._hub = hub
        self._closed = False

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._hub._give_back(self.model)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Hub:
    """Thread-safe. ``load_model`` returns a ChatModel whose ``stream`` may be called from many threads; if it has a
    ``close``, that is called when it is unloaded."""

    def __init__(
        self,
        catalogue: Catalogue,
        load_model: Callable[[Model], ChatModel],
        *,
        only: Sequence[str] = (),
        max_loaded: int = 2,
        wait_seconds: float = 60.0,
    ) -> None:
        """``only`` limits the names that are served; ``wait_seconds`` is how long a load waits for room."""
        if max_loaded < 1:
            raise UsageError(f"At least one model must be allowed in memory, found max_loaded={max_loaded}.")
        self._catalogue = catalogue
        self._load_model = load_model
        self._only = frozenset(only)
        self._max_loaded = max_loaded
        self._wait_seconds = wait_seconds
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()
        self._changed = threading.Condition()
        self._one_load = threading.Lock()
        for name in only:
            if catalogue.find(name) is None:
                raise _unknown(name, catalogue.names())

    def names(self) -> dict[str, Model]:
        """Every served name and alias with its model, sorted by name."""
        served = self._catalogue.names()
        return {name: served[name] for name in sorted(served) if not self._only or name in self._only}

    def find(self, name: str) -> Model:
        """NotFoundError suggests the nearest served name."""
        model = self._catalogue.find(name) if not self._only or name in self._only else None
        if model is None:
            raise _unknown(name, self.names())
        return model

    def task(self, model: Model) -> Task | None:
        """The task revision the model was trained for."""
        return self._catalogue.task(model)

    def style(self, model: Model) -> Style:
        """The style the model was trained in."""
        style: Style = registry.build("style", model.style)
        return style

    def loaded(self) -> list[str]:
        """Names of the models in memory, least recently used first."""
        with self._changed:
            return [entry.model.name for entry in self._loaded.values()]

    def lease(self, model: Model) -> Lease | None:
        """At once: the model if it is in memory, else None."""
        with self._changed:
            entry = self._loaded.get(model.id)
            if entry is None:
                return None
            entry.users += 1
            self._loaded.move_to_end(model.id)
            return Lease(self, model, entry.chat)

    def load(self, model: Model) -> Lease:
        """Loads the model if it is not in memory, one at a time. Takes seconds.

        Least recently used models that nobody uses make room; ServingError if none is free in time.
        """
        with self._one_load:
            lease = self.lease(model)
            if lease is not None:
                return lease
            self._make_room(model)
            chat = self._load_model(model)
            with self._changed:
                self._loaded[model.id] = _Loaded(model, chat, users=1)
            return Lease(self, model, chat)

    def close(self) -> None:
        """Unloads every model, used or not."""
        with self._changed:
            entries = list(self._loaded.values())
            self._loaded.clear()
        for entry in entries:
            _unload(entry.chat)

    def _make_room(self, model: Model) -> None:
        with self._changed:
            if len(self._loaded) < self._max_loaded:
                return
            idle = self._changed.wait_for(self._idle, timeout=self._wait_seconds)
            if idle is None:
                raise ServingError(
                    f"There is no room to load model '{model.name}': all {self._max_loaded} models in memory are busy.",
                    hint="Try again later or allow more models in memory.",
                )
            entry = self._loaded.pop(idle)
        _unload(entry.chat)

    def _idle(self) -> str | None:
        return next((model_id for model_id, entry in self._loaded.items() if entry.users == 0), None)

    def _give_back(self, model: Model) -> None:
        with self._changed:
            entry = self._loaded.get(model.id)
            if entry is not None:
                entry.users -= 1
                self._changed.notify_all()


def _unknown(name: str, known: Iterable[str]) -> NotFoundError:
    return NotFoundError(f"There is no model called '{name[:80]}'.", hint=did_you_mean(name[:80], known))


def _unload(chat: ChatModel) -> None:
    close = getattr(chat, "close", None)
    if close is not None:
        close()
