"""Names to parts. One row here (or one entry point ``forethought.<kind>`` in another package) adds a part.

Rows are strings, so looking a name up imports only the part asked for.
"""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Literal

from forethought.errors import NotFoundError, did_you_mean

Kind = Literal["style", "verifier", "solver", "generator", "example", "method", "job", "prompt"]

BUILTIN: dict[Kind, dict[str, str]] = {
    "style": {
        "answer": "forethought.styles.answer:AnswerStyle",
        "reasoning": "forethought.styles.reasoning:ReasoningStyle",
        "two-turn": "forethought.styles.two_turn:TwoTurnStyle",
    },
    "prompt": {
        "plain": "forethought.prompts.builders:plain",
        "few-shot": "forethought.prompts.builders:few_shot",
        "short": "forethought.prompts.builders:short",
    },
    "verifier": {
        "exact": "forethought.verifiers.exact:ExactVerifier",
        "json-schema": "forethought.verifiers.json_schema:JsonSchemaVerifier",
        "math": "forethought.verifiers.math:MathVerifier",
        "equations": "forethought.verifiers.equations:EquationsVerifier",
        "policy": "forethought.verifiers.policy:PolicyVerifier",
        "policy-steps": "forethought.verifiers.policy:PolicyStepsVerifier",
        "arithmetic-steps": "forethought.examples.arithmetic.verifier:ArithmeticStepsVerifier",
        "syllogism": "forethought.examples.syllogism.verifier:SyllogismVerifier",
        "syllogism-steps": "forethought.examples.syllogism.verifier:SyllogismStepsVerifier",
    },
    "solver": {
        "syllogism": "forethought.examples.syllogism.solver:SyllogismSolver",
        "policy": "forethought.verifiers.policy:PolicySolver",
        "arithmetic": "forethought.examples.arithmetic.solver:ArithmeticSolver",
    },
    "generator": {
        "syllogism": "forethought.examples.syllogism.generator:SyllogismGenerator",
        "loan": "forethought.examples.loan.generator:LoanGenerator",
        "arithmetic": "forethought.examples.arithmetic.generator:ArithmeticGenerator",
    },
    "example": {
        "syllogism": "forethought.examples.syllogism:task",
        "loan": "forethought.examples.loan:task",
        "arithmetic": "forethought.examples.arithmetic:task",
    },
    "method": {
        "sft": "forethought.training.sft:SFT",
    },
    "job": {
        "eval": "forethought.services.evaluations:run_evaluation",
    },
}

TRAINING_JOB = "forethought.services.training:run_method"
"""The job that every training method is run by, under the method's own name."""


@cache
def _table(kind: Kind) -> dict[str, str]:
    rows = dict(BUILTIN.get(kind, {}))
    for entry in entry_points(group=f"forethought.{kind}"):
        rows.setdefault(entry.name, entry.value)
    return dict.fromkeys(_table("method"), TRAINING_JOB) | rows if kind == "job" else rows


def names(kind: Kind) -> list[str]:
    """All known names of a kind, sorted."""
    return sorted(_table(kind))


def lookup(kind: Kind, name: str) -> Any:
    """The class or function a name stands for. NotFoundError suggests the nearest name."""
    table = _table(kind)
    if name not in table:
        raise NotFoundError(f"There is no {kind} called '{name}'.", hint=did_you_mean(name, table))
    module, _, attribute = table[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def build(kind: Kind, name: str, options: dict[str, Any] | None = None) -> Any:
    """An instance: ``lookup(kind, name)(**options)``. Wrong options are a NotFoundError that names the part."""
    part = lookup(kind, name)
    try:
        return part(**(options or {}))
    except TypeError as error:
        raise NotFoundError(f"The {kind} '{name}' refuses its options: {error}.") from error
