"""Forethought: task-specific models that think before they answer.

    from forethought import Workbench, data, datasets, tasks, training

    bench = Workbench.open()
    tasks.create_example(bench, "syllogism")

The public names are loaded when first used, so importing the package is quick and needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forethought.core.records import (
        Attempt,
        Dataset,
        Evaluation,
        Model,
        Problem,
        Prompt,
        Ranking,
        Review,
        Run,
        Sampling,
        Score,
        Task,
        Trace,
        Verdict,
    )
    from forethought.errors import ForethoughtError
    from forethought.services import data, datasets, doctor, evaluations, models, runs, tasks, training
    from forethought.services.workbench import Workbench

__version__ = "0.1.0"

_HOMES = {
    "ForethoughtError": "forethought.errors",
    "Workbench": "forethought.services.workbench",
} | dict.fromkeys(("data", "datasets", "doctor", "evaluations", "models", "runs", "tasks", "training"), "")
"""Where a public name lives; an empty home is a service module, a name not listed here is a record."""

__all__ = [
    "Attempt",
    "Dataset",
    "Evaluation",
    "ForethoughtError",
    "Model",
    "Problem",
    "Prompt",
    "Ranking",
    "Review",
    "Run",
    "Sampling",
    "Score",
    "Task",
    "Trace",
    "Verdict",
    "Workbench",
    "data",
    "datasets",
    "doctor",
    "evaluations",
    "models",
    "runs",
    "tasks",
    "training",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'forethought' has no attribute '{name}'")
    home = _HOMES.get(name, "forethought.core.records")
    return (
        getattr(importlib.import_module(home), name)
        if home
        else importlib.import_module(f"forethought.services.{name}")
    )
