"""Models: bases and adapters by name or alias, loaded, talked to, promoted, merged, deleted."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from forethought.core import registry, strict_json
from forethought.core.facts import input_text
from forethought.core.flow import Rollout, stream_out
from forethought.core.ids import new_id, utc_now
from forethought.core.records import Json, Model, Prompt, Sampling, Shot, Task, dump
from forethought.core.seams import Delta, Style
from forethought.engine.optional import refuse_without_extra
from forethought.errors import ConflictError, NotFoundError, UsageError
from forethought.services.data import example_input
from forethought.services.tasks import first_fault, must_be_name, style_named
from forethought.services.workbench import BASE, Workbench
from forethought.settings import Settings

if TYPE_CHECKING:
    from forethought.engine.loading import LoadedModel
    from forethought.engine.local import LocalModel
    from forethought.engine.precision import DTypeName


EXAMPLE_CHARS = 500
"""A longer input is no example for a line of text."""


def list_all(bench: Workbench) -> list[dict[str, Any]]:
    """All models with their aliases, newest first."""
    aliases = bench.store.aliases()
    return [
        dump(model) | {"aliases": sorted(alias for alias, model_id in aliases.items() if model_id == model.id)}
        for model in bench.store.models()
    ]


def show(bench: Workbench, name: str) -> dict[str, Any]:
    """One model by name, alias or id, with its aliases and the names of the models it was made from."""
    model = bench.store.model(name)
    lineage: list[str] = []
    parent = model.parent_id
    while parent is not None:
        ancestor = bench.store.model(parent)
        lineage.append(ancestor.name)
        parent = ancestor.parent_id
    aliases = sorted(alias for alias, model_id in bench.store.aliases().items() if model_id == model.id)
    return dump(model) | {"aliases": aliases, "lineage": lineage}


def find_or_register_base(bench: Workbench, name: str) -> Model:
    """``find_base``, registered now where it is new."""
    model = find_base(bench, name)
    register(bench, model)
    return model


def find_base(bench: Workbench, name: str) -> Model:
    """A registered model by name, alias or id; else one, yet unstored, of a model folder or hub name (``owner/model``).

    NotFoundError when it is none of these, ModelFileError when its files are not those of a model.
    """
    try:
        return bench.store.model(name)
    except NotFoundError:
        folder = Path(name).expanduser()
        if not folder.is_dir() and not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
            raise
    from forethought.engine.inspection import inspect_model_folder
    from forethought.engine.loading import resolve_base

    inspect_model_folder(resolve_base(name))
    base = str(folder.resolve()) if folder.is_dir() else name
    known = [model for model in bench.store.models() if model.base == base and not model.path]
    if known:
        return known[0]
    slug = re.sub(r"[^a-z0-9._-]+", "-", name.rstrip("/").rsplit("/", 1)[-1].lower()).strip("-._") or "base"
    taken = {model.name for model in bench.store.models()}
    slug = slug[:56]
    unique = next(s for s in (slug, *(f"{slug}-{n}" for n in range(2, len(taken) + 3))) if s not in taken)
    return Model(name=unique, base=base, style="answer")


def register(bench: Workbench, base: Model) -> None:
    """Stores what ``find_base`` found, unless it was there already."""
    if all(model.id != base.id for model in bench.store.models()):
        bench.store.add_model(base)


def refuse_taken(bench: Workbench, name: str) -> None:
    """UsageError for a name that is not one, ConflictError for one that is used."""
    must_be_name(name)
    if name in {model.name for model in bench.store.models()} | set(bench.store.aliases()):
        raise ConflictError(f"There is a model or alias called '{name}' already.", hint="Choose another name.")


def build_prompt(name: str, task: Task, style: Style, shots: Sequence[Shot] = ()) -> Prompt:
    """The prompt that a builder, by its registered name, makes for a task."""
    return cast(Prompt, registry.lookup("prompt", name)(task, style, shots))


# --- in memory --------------------------------------------------------------------------------------------------------


@contextmanager
def opened(bench: Workbench, model: Model) -> Iterator[LocalModel]:
    """The model, ready to generate, for as long as the block lasts."""
    chat = load_chat(bench, model)
    try:
        yield chat
    finally:
        chat.close()


def load_chat(bench: Workbench, model: Model) -> LocalModel:
    """The model, ready to generate; its adapter is folded into the weights in memory, which is faster.

    MissingExtraError without the libraries local models need.
    """
    refuse_without_extra()
    from forethought.engine.local import LocalModel

    return LocalModel(_load(bench, model), name=model.name)


@contextmanager
def open_base(settings: Settings) -> Iterator[LocalModel]:
    """The embedded model as it is, without a workspace. MissingExtraError as in ``load_chat``."""
    refuse_without_extra()
    from forethought.engine.loading import load
    from forethought.engine.local import LocalModel

    chat = LocalModel(load("embedded", cache=settings.cache), name=BASE)
    try:
        yield chat
    finally:
        chat.close()


def load_for_training(bench: Workbench, parent: Model, dtype: DTypeName = "auto") -> LoadedModel:
    """The weights a run starts from; a parent's adapter is folded in first, so that the new one stands alone."""
    return _load(bench, parent, dtype)


class ChatSession:
    """A conversation of independent problems with one model, called with the style and prompt it was trained with."""

    def __init__(self, chat: LocalModel, style: Style, prompt: Prompt, sampling: Sampling, task: Task | None) -> None:
        self._chat, self._style, self._prompt, self._sampling, self._task = chat, style, prompt, sampling, task
        self.warnings: list[str] = []
        self.example: Json = None
        """An input the task takes, told to a person who wrote another."""
        self.failure: str | None = None

    def ask(self, question: str) -> Iterator[Delta]:
        """The model's thinking and answer as they are written. ``failure`` is set afterwards where it went wrong.

        As in training: the answer keeps to the task's output schema, and an input that is JSON is read as JSON.
        UsageError when the task's inputs are JSON and the question is not.
        """
        self.failure = None
        schema = self._task.output_schema if self._task else None
        pieces = stream_out(
            self._chat, self._style, self._prompt, self._input(question), sampling=self._sampling, json_schema=schema
        )
        for piece in pieces:
            if isinstance(piece, Rollout):
                self.failure = piece.parsed.failure
            else:
                yield piece

    def close(self) -> None:
        """Lets go of the model."""
        self._chat.close()

    def _input(self, question: str) -> Json:
        if self._task is None or self._task.input_schema is None:
            return question
        try:
            return strict_json.loads(question)
        except ValueError as error:
            raise UsageError(
                f"Task '{self._task.name}' takes JSON, and this is not JSON: {error}.", hint=self._expected()
            ) from None

    def _expected(self) -> str:
        example = "" if self.example is None else input_text(self.example)
        if 0 < len(example) <= EXAMPLE_CHARS:
            return f"Write it like {example}"
        return f"Its fields are in 'forethought task show {self._task.name if self._task else ''}'."


def open_chat(
    bench: Workbench, name: str, *, system: str | None = None, max_tokens: int = 512, temperature: float = 0.0
) -> ChatSession:
    """A chat with a model by name, alias or id."""
    model = bench.store.model(name)
    sampling = _sampling(max_tokens, temperature)
    prompt = model.prompt
    warnings: list[str] = []
    if system is not None:
        prompt = Prompt(instructions=system)
        if model.task_id is not None:
            warnings.append("the model was trained with another prompt; it may do worse with this one")
    task = bench.store.task(model.task_id, model.task_revision) if model.task_id else None
    session = ChatSession(load_chat(bench, model), style_named(model.style), prompt, sampling, task)
    session.warnings = warnings
    session.example = example_input(bench, task) if task and task.input_schema is not None else None
    return session


def _sampling(max_tokens: int, temperature: float) -> Sampling:
    try:
        return Sampling(max_tokens=max_tokens, temperature=temperature)
    except ValidationError as error:
        raise UsageError(f"The model cannot be called so: {first_fault(error)}.") from None


# --- aliases, merging, deleting ---------------------------------------------------------------------------------------


def promote(bench: Workbench, name: str, alias: str) -> str:
    """Points an alias at a model; says what it pointed at before."""
    model = bench.store.model(name)
    before = bench.store.aliases().get(alias)
    bench.store.promote(alias, model.id)
    was = f" (was '{bench.store.model(before).name}')" if before and before != model.id else ""
    return f"'{alias}' is now '{model.name}'{was}"


def rollback(bench: Workbench, alias: str) -> str:
    """Points an alias back at what it pointed at before."""
    return f"'{alias}' is now '{bench.store.rollback(alias).name}'"


def unalias(bench: Workbench, alias: str) -> str:
    """Takes an alias out of use; says what it pointed at. ``rollback`` brings it back."""
    return f"'{alias}' is no alias any more (it was '{bench.store.unalias(alias).name}')"


def merge(bench: Workbench, name: str, new_name: str) -> Model:
    """A model of its own with the adapter folded into its base, saved as safetensors."""
    model = bench.store.model(name)
    if not model.adapter:
        raise UsageError(f"Model '{model.name}' has no adapter to merge.")
    refuse_taken(bench, new_name)
    refuse_without_extra()
    from forethought.engine.merging import save

    merged_id = new_id()
    folder = bench.workspace.model_folder(merged_id)
    save(_load(bench, model, "float32"), folder)
    merged = model.model_copy(
        update={
            "id": merged_id,
            "name": new_name,
            "path": str(bench.workspace.relative(folder)),
            "adapter": "",
            "parent_id": model.id,
            "run_id": None,
            "created_at": utc_now(),
        }
    )
    bench.store.add_model(merged)
    return merged


def must_be_deletable(bench: Workbench, name: str) -> dict[str, Any]:
    """The model, as ``show`` has it, if it can be deleted.

    UsageError for the embedded one, ConflictError while an alias points at it or an adapter stands on it.
    """
    model = show(bench, name)
    if model["name"] == BASE:
        raise UsageError("The embedded model cannot be deleted: it comes with the installation.")
    bench.store.must_be_without_alias(model["name"])
    children = [other.name for other in bench.store.models() if other.parent_id == model["id"] and other.adapter]
    if model["path"] and children:
        raise ConflictError(f"'{children[0]}' is an adapter on '{model['name']}'.", hint="Delete or merge it first.")
    return model


def delete(bench: Workbench, name: str) -> str:
    """Removes a model and its own files; its record stays for the evaluations that name it.

    A base that Forethought did not make has no files of its own: they stay where they are. Errors are those of
    ``must_be_deletable``.
    """
    must_be_deletable(bench, name)
    model = bench.store.model(name)
    bench.store.remove_model(model.id)
    if model.path:
        shutil.rmtree(bench.workspace.inside(model.path), ignore_errors=True)
    return f"deleted '{model.name}'"


def _load(bench: Workbench, model: Model, dtype: DTypeName = "auto") -> LoadedModel:
    """A model's weights with every adapter of its lineage folded in, which is faster than computing it beside them."""
    refuse_without_extra()
    from forethought.engine.loading import load
    from forethought.engine.merging import load_merged

    base, adapters = _lineage(bench, model)
    if not adapters:
        return load(base, dtype=dtype, cache=bench.settings.cache)
    return load_merged(base, adapters, dtype=dtype, cache=bench.settings.cache)


def _lineage(bench: Workbench, model: Model) -> tuple[str, list[Path]]:
    """What to load first (a base's name or a folder of full weights) and the adapters to fold in, oldest first."""
    adapters: list[Path] = []
    while model.adapter:
        adapters.insert(0, bench.workspace.inside(model.path))
        if model.parent_id is None:
            return model.base, adapters
        model = bench.store.model(model.parent_id)
    return (str(bench.workspace.inside(model.path)) if model.path else model.base), adapters
