"""Tasks: made from an example or a file, edited by revision, and the parts they name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from forethought.core import registry, strict_json
from forethought.core.facts import fold
from forethought.core.judging import refuse_unsound
from forethought.core.records import SLUG, Json, Task
from forethought.core.seams import Generator, Solver, Style, Verifier
from forethought.errors import DataError, NotFoundError, UsageError, VerifierError
from forethought.services.workbench import Workbench
from forethought.verifiers import json_schema
from forethought.verifiers.policy import policy_task

CHECK_SECONDS = 10.0
"""Longest check of some inputs against a schema, whose patterns may take for ever."""
FAULT_CHARS = 200
_IDENTITY = {"id", "created_at", "revision", "version"}


@dataclass(frozen=True)
class Parts:
    """The working parts a task names, built when first asked for."""

    task: Task

    @cached_property
    def verifiers(self) -> Sequence[Verifier]:
        return [registry.build("verifier", spec.name, spec.options) for spec in self.task.verifiers]

    @cached_property
    def solver(self) -> Solver:
        spec = self.task.solver
        if spec is None:
            raise UsageError(
                f"Task '{self.task.name}' has no solver.", hint="Generate with --no-solve, or give the task one."
            )
        return cast(Solver, registry.build("solver", spec.name, spec.options))

    @cached_property
    def generator(self) -> Generator:
        spec = self.task.generator
        if spec is None:
            raise UsageError(
                f"Task '{self.task.name}' has no problem generator.", hint="Give the task one, or bring problems."
            )
        return cast(Generator, registry.build("generator", spec.name, spec.options))


def must_be_name(text: str) -> str:
    """The text, if it can name a task, dataset, model or alias; UsageError says what a name is."""
    if not re.fullmatch(SLUG, text):
        raise UsageError(
            f"'{text[:80]}' is not a name.", hint="Use up to 64 small letters, digits, dots, dashes and underscores."
        )
    return text


def style_named(name: str) -> Style:
    """The style of that name; NotFoundError suggests the nearest."""
    return cast(Style, registry.build("style", name))


def create(bench: Workbench, task: Task) -> Task:
    """Stores a new task after building every part it names, so that a typing error shows now and not at night."""
    _check_parts(task)
    bench.store.add_task(task)
    return task


def create_example(bench: Workbench, name: str) -> Task:
    """Adds an example task. Where it is there already and the example has changed, a new revision is made."""
    example: Task = registry.lookup("example", name)()
    try:
        stored = bench.store.task(example.name)
    except NotFoundError:
        return create(bench, example)
    if _content(stored) == _content(example):
        return stored
    return edit(bench, stored.name, _content(example))


def create_from_file(bench: Workbench, file: Path) -> Task:
    """Adds a task from a JSON file: ``name``, ``instructions`` and any other field of a Task."""
    described = _read_object(file)
    given = sorted(set(described) & _IDENTITY)
    if given:
        raise UsageError(f"{file} sets the task's '{given[0]}', which Forethought gives itself.", hint="Leave it out.")
    if {"outcomes", "rules"} <= set(described):
        raise UsageError(f"{file} describes a policy, and no task.", hint=_if_policy(file))
    return create(bench, _validated(Task, described, file))


def create_policy(bench: Workbench, file: Path, *, name: str = "", opening: str = "") -> Task:
    """Adds the task that a policy file describes, or makes a new revision of it where the file has changed.

    ``name`` is the file's stem where it is empty, ``opening`` the policy's ``about``. DataError names the first fault
    of the policy, or says that it decides problems otherwise that the task already has.
    """
    task = policy_task(must_be_name(name or file.stem), file, opening=opening)
    try:
        stored = bench.store.task(task.name)
    except NotFoundError:
        return create(bench, task)
    if stored.solver is None or stored.solver.name != "policy":
        raise UsageError(
            f"There is a task '{task.name}' that was not made from a policy.", hint="Choose a name with --name."
        )
    changes = task.model_dump(exclude=_IDENTITY, exclude_unset=True)
    if _content(stored) == _content(stored) | changes:
        return stored
    try:
        refuse_unsound(Parts(task).verifiers, task, bench.store.problems(stored.id))
    except DataError as error:
        raise DataError(
            f"By the changed policy, problems that task '{task.name}' already has would be decided otherwise.",
            hint="Make it a task of its own: --name NAME.",
        ) from error
    return edit(bench, stored.name, changes)


def edit(bench: Workbench, name: str, changes: dict[str, Any]) -> Task:
    """A new revision with the fields changed. The old revision stays for the runs and models made from it.

    Where nothing changes, the task stays as it is.
    """
    stored = bench.store.task(name)
    unknown = sorted(set(changes) - set(Task.model_fields) | set(changes) & _IDENTITY)
    if unknown:
        raise UsageError(f"A task's '{unknown[0]}' cannot be edited.", hint="Editable: " + ", ".join(_editable()) + ".")
    task = _validated(Task, stored.model_dump() | changes, None)
    if _content(task) == _content(stored):
        return stored
    _check_parts(task)
    return bench.store.edit_task(task)


def edit_from_file(bench: Workbench, name: str, file: Path) -> Task:
    """``edit`` with the changes read from a JSON file."""
    return edit(bench, name, _read_object(file))


def show(bench: Workbench, name: str, revision: int | None = None) -> Task:
    """One task by name or id; the newest revision unless another is asked for."""
    return bench.store.task(name, revision)


def template(bench: Workbench, name: str, revision: int | None = None) -> dict[str, Json]:
    """The fields of a task that ``create_from_file`` takes, without those left at their defaults."""
    return show(bench, name, revision).model_dump(mode="json", exclude=_IDENTITY, exclude_defaults=True)


def list_all(bench: Workbench) -> list[Task]:
    """All tasks, newest revision each."""
    return list(bench.store.tasks())


def must_fit(task: Task, inputs: Sequence[Json]) -> None:
    """DataError when one of the inputs breaks the task's input schema, or cannot be checked against it in time."""
    if task.input_schema is None:
        return
    try:
        fault = json_schema.fault_of(task.input_schema, inputs, CHECK_SECONDS)
    except VerifierError as error:
        raise DataError(f"An input cannot be checked against the input schema of task '{task.name}': {error}") from None
    if fault:
        raise DataError(f"An input does not fit the input schema of task '{task.name}': {fault}.")


def _check_schemas(task: Task) -> None:
    for field in ("input_schema", "output_schema"):
        schema = getattr(task, field)
        fault = "" if schema is None else json_schema.fault_of_schema(schema)
        if fault:
            raise DataError(f"The {field} of task '{task.name}' cannot be used: {fault}.")


def _check_parts(task: Task) -> None:
    style_named(task.style)
    _check_schemas(task)
    parts = Parts(task)
    _check_verifier_names(task, [verifier.name for verifier in parts.verifiers])
    if task.solver is not None:
        _ = parts.solver
    if task.generator is not None:
        _ = parts.generator


def _check_verifier_names(task: Task, names: Sequence[str]) -> None:
    """What verifiers say is kept by their names: of two of one name, one would be lost."""
    twice = sorted(name for name, count in Counter(map(fold, names)).items() if count > 1)
    if twice:
        raise DataError(f"Task '{task.name}' names the verifier '{twice[0]}' twice.", hint="Name each verifier once.")


def _content(task: Task) -> dict[str, Any]:
    return task.model_dump(exclude=_IDENTITY)


def _editable() -> list[str]:
    return sorted(set(Task.model_fields) - _IDENTITY)


def _read_object(file: Path) -> dict[str, Any]:
    if file.suffix == ".toml":
        raise UsageError(f"{file} is TOML, and a task is described in JSON.", hint=_if_policy(file))
    try:
        value = strict_json.loads(file.read_text("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"Cannot read {file}: {error.strerror}.", hint="Name a JSON file.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8: {error.reason} at byte {error.start}.", hint="Save it so.") from None
    except ValueError as error:
        raise DataError(f"{file} is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise DataError(f"{file} holds a {type(value).__name__}, not a JSON object.", hint="Write {…} with fields.")
    return value


def _if_policy(file: Path) -> str:
    return f"A task is made from a policy with: forethought task policy {file}"


def _validated(kind: type[Task], values: dict[str, Any], file: Path | None) -> Task:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise DataError(f"{file or 'The task'} is not a valid task: {first_fault(error)}.") from error


def first_fault(error: ValidationError) -> str:
    """The first complaint of a validation error in one line, at most ``FAULT_CHARS`` of it."""
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"]) or "value"
    said = " ".join(f"'{where[:80]}': {fault['msg']}".split())
    return said if len(said) <= FAULT_CHARS else said[: FAULT_CHARS - 1] + "…"
