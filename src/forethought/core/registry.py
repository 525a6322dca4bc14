"""Names to parts. One row here (or one entry point ``forethought.<kind>`` in another package) adds a part.

Rows are strings, so looking a name up imports only the part asked for.
"""

from __future__ import annotations

import importlib
import inspect
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Literal

from forethought.errors import ForethoughtError, NotFoundError, did_you_mean

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
        "policy": "forethought.verifiers.policy_generator:PolicyGenerator",
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
    part, given = lookup(kind, name), options or {}
    _refuse_misnamed(kind, name, inspect.signature(part), given)
    try:
        return part(**given)
    except ForethoughtError:
        raise
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise NotFoundError(f"The {kind} '{name}' cannot be made from its options: {said}.") from error


def _refuse_misnamed(kind: Kind, name: str, takes: inspect.Signature, given: dict[str, Any]) -> None:
    """NotFoundError when an option is missing or there is none of its name."""
    known = [option for option in takes.parameters.values() if option.kind is not option.VAR_KEYWORD]
    for option in known:
        if option.default is option.empty and option.name not in given:
            raise NotFoundError(f"The {kind} '{name}' needs the option '{option.name}'.")
    names_known = [option.name for option in known]
    if len(known) == len(takes.parameters) and (extra := sorted(set(given) - set(names_known))):
        raise NotFoundError(
            f"The {kind} '{name}' has no option '{extra[0][:80]}'.",
            hint=did_you_mean(extra[0], names_known) if names_known else "It has none.",
        )
