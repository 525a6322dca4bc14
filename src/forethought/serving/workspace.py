"""Serves the models of a workspace: the hub's catalogue over the store, its loader over the model services."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from forethought.core.records import Model, Task
from forethought.engine.optional import refuse_without_extra
from forethought.errors import NotFoundError
from forethought.services import models
from forethought.services.workbench import Workbench
from forethought.serving.hub import Hub
from forethought.serving.server import serve


def serve_workspace(
    bench: Workbench,
    *,
    only: Sequence[str] = (),
    host: str = "127.0.0.1",
    port: int = 8000,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Answers for the workspace's models until interrupted.

    MissingExtraError without the libraries local models need, NotFoundError for a name in ``only`` that is none.
    """
    refuse_without_extra()
    for name in only:
        bench.store.model(name)
    hub = Hub(StoreCatalogue(bench), lambda model: models.load_chat(bench, model), only=only)
    try:
        serve(hub, host, port, on_ready=on_ready)
    finally:
        hub.close()


class StoreCatalogue:
    """Models by name and alias, looked up anew each time, so that a promotion takes effect at the next request."""

    def __init__(self, bench: Workbench) -> None:
        self._store = bench.store

    def find(self, name: str) -> Model | None:
        return self.names().get(name)

    def names(self) -> Mapping[str, Model]:
        by_id = {model.id: model for model in self._store.models()}
        aliases = {alias: by_id[model_id] for alias, model_id in self._store.aliases().items() if model_id in by_id}
        return {model.name: model for model in by_id.values()} | aliases

    def task(self, model: Model) -> Task | None:
        if model.task_id is None:
            return None
        try:
            return self._store.task(model.task_id, model.task_revision)
        except NotFoundError:
            return None
