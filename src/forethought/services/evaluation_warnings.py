"""What the reader of an evaluation must be warned of. Nothing here is refused; the figures only say less."""

from __future__ import annotations

from collections.abc import Sequence

from forethought.core.records import Model, Problem, Prompt
from forethought.errors import NotFoundError
from forethought.services import datasets
from forethought.services.data import group_of, input_key
from forethought.services.training import TRAIN, VALIDATION
from forethought.services.workbench import Workbench


def warnings_of_learning(bench: Workbench, model: Model, problems: Sequence[Problem]) -> list[str]:
    """Says how many of the problems the model, or a model it was made from, was trained on.

    A near-identical problem (one of the same group) counts like the problem itself, and a validation split like the
    training split: it chose the weights.
    """
    lineage, is_whole = _lineage(bench, model)
    learnt = {key for one in lineage for problem in _trained_on(bench, one) for key in _keys(problem)}
    shared = sum(not learnt.isdisjoint(_keys(problem)) for problem in problems)
    found: list[str] = []
    if shared:
        found.append(f"{shared} of {len(problems)} problems share a group with what '{model.name}' was trained on")
    if not is_whole:
        found.append(f"a model that '{model.name}' was made from is deleted: what that one learnt is not known")
    return found


def warnings_of_calling(arm: str, model: Model, style: str, prompt: Prompt) -> list[str]:
    """Says when a trained model is called otherwise than it was trained."""
    if model.task_id is None:
        return []
    other = [what for what, differs in (("prompt", prompt != model.prompt), ("style", style != model.style)) if differs]
    if not other:
        return []
    return [f"arm '{arm}' calls '{model.name}' with another {' and '.join(other)} than it was trained with"]


def _lineage(bench: Workbench, model: Model) -> tuple[list[Model], bool]:
    """The model and those it was made from, newest first, and whether none of them is deleted."""
    lineage = [model]
    while (parent := lineage[-1].parent_id) is not None:
        try:
            lineage.append(bench.store.model(parent))
        except NotFoundError:
            return lineage, False
    return lineage, True


def _trained_on(bench: Workbench, model: Model) -> list[Problem]:
    run = bench.store.run(model.run_id) if model.run_id else None
    if run is None or run.dataset_id is None:
        return []
    dataset = bench.store.dataset(run.dataset_id)
    parts = [part for part in (TRAIN, VALIDATION) if part in dataset.counts]
    return [problem for part in parts for problem in datasets.problems(bench, dataset, part)]


def _keys(problem: Problem) -> set[tuple[str, str]]:
    """Equal groups mean something within a task only; equal inputs are equal anywhere."""
    return {(problem.task_id, group_of(problem)), ("", input_key(problem.input))}
