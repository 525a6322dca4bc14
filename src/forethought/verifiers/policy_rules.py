"""A policy: what goes in, named quantities, named rules in CEL, and how the rules that hold combine into one decision.

The file a person writes is TOML or JSON; a task carries it whole in its part options, so a stored task needs no file.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator

from forethought.core.records import Frozen, Json
from forethought.errors import DataError, UnsolvableError, did_you_mean
from forethought.verifiers.policy_expressions import (
    MAX_EXPRESSION,
    MAX_NUMBER,
    MAX_TEXT,
    Scalar,
    checked,
    expression,
)
from forethought.verifiers.policy_faults import in_plain_words

MAX_FILE_BYTES = 64 * 1024
MAX_ENTRIES = 32
MAX_CHOICES = 256


def _compiled(text: str) -> str:
    expression(text)
    return text


Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,39}$")]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,39}$")]
Formula = Annotated[str, StringConstraints(min_length=1, max_length=MAX_EXPRESSION), AfterValidator(_compiled)]
Whole = Annotated[int, Field(strict=True, ge=-MAX_NUMBER, le=MAX_NUMBER)]
Words = Annotated[str, StringConstraints(max_length=MAX_TEXT)]


class Input(Frozen):
    """What a field of the input may hold: whole numbers from ``min`` to ``max``, or one of ``choices``."""

    about: Words = ""
    """What it means, in plain words."""
    min: Whole | None = None
    max: Whole | None = None
    step: Annotated[int, Field(strict=True, ge=1, le=MAX_NUMBER)] = 1
    """Between one number and the next, from ``min`` on."""
    choices: tuple[Scalar, ...] = Field(default=(), max_length=MAX_CHOICES)
    """Texts, numbers, or true and false: all of one kind."""

    @model_validator(mode="after")
    def _is_one_or_the_other(self) -> Input:
        if self.choices:
            if self.min is not None or self.max is not None:
                raise ValueError("it has 'choices' and a range; give it one of the two")
            if len({type(choice) for choice in self.choices}) > 1:
                raise ValueError("its 'choices' are of several kinds (a whole number and a decimal are two)")
            if len(set(self.choices)) < len(self.choices):
                raise ValueError("one of its 'choices' appears twice")
            for choice in self.choices:
                checked("choices", choice)
        elif self.min is None or self.max is None:
            raise ValueError("it needs 'min' and 'max', or 'choices'")
        elif self.min > self.max:
            raise ValueError(f"its 'min' {self.min} is above its 'max' {self.max}")
        return self

    @property
    def values(self) -> Sequence[Scalar]:
        """All it may hold, in order."""
        if self.min is None or self.max is None:
            return self.choices
        return range(self.min, self.max + 1, self.step)

    def as_schema(self) -> dict[str, Json]:
        """JSON Schema of one value."""
        kind: dict[str, Json] = (
            {"enum": [*self.choices]} if self.choices else {"type": "integer", "minimum": self.min, "maximum": self.max}
        )
        return kind | ({"description": self.about} if self.about else {})


class Quantity(Frozen):
    """Something worked out from the facts. One operation each makes steps a small model can follow."""

    name: Identifier
    value: Formula
    """CEL over facts and earlier quantities, such as ``debt + amount``."""


class Rule(Frozen):
    """What follows when a condition holds."""

    name: Word
    when: Formula
    """CEL that is true or false, such as ``total > limit``."""
    outcome: Word
    reason: Word = ""
    """The code the answer names; empty takes the rule's name."""

    @property
    def code(self) -> str:
        """The reason an answer gives when this rule holds."""
        return self.reason or self.name


class Policy(Frozen):
    """Quantities and rules in the order they are gone through."""

    about: Words = ""
    """What is decided, in plain words: the beginning of the instructions."""
    inputs: dict[Identifier, Input] = Field(default={}, max_length=MAX_ENTRIES)
    """What goes in, by name. Where it is given, names are checked against it and problems can be generated."""
    outcomes: tuple[Word, ...] = Field(min_length=2, max_length=MAX_ENTRIES)
    """From mildest to strictest; the first holds when no rule does."""
    combine: Literal["strictest", "first"] = "strictest"
    """Of the rules that hold, all count and the strictest outcome wins; or the first decides alone."""
    derived: tuple[Quantity, ...] = Field(default=(), max_length=MAX_ENTRIES)
    rules: tuple[Rule, ...] = Field(min_length=1, max_length=MAX_ENTRIES)

    @model_validator(mode="after")
    def _hangs_together(self) -> Policy:
        _refuse_twins("outcome", self.outcomes)
        _refuse_twins("derived quantity", [quantity.name for quantity in self.derived])
        _refuse_twins("rule", [rule.name for rule in self.rules])
        _refuse_twins("condition", [expression(rule.when).text for rule in self.rules])
        known_later = {quantity.name for quantity in self.derived}
        for quantity in self.derived:
            if early := known_later & set(expression(quantity.value).names):
                raise ValueError(f"the quantity '{quantity.name}' uses {_listed(early)} before it is worked out")
            known_later.discard(quantity.name)
        for rule in self.rules:
            if rule.outcome not in self.outcomes:
                raise ValueError(
                    f"the rule '{rule.name}' leads to '{rule.outcome}', which is not one of the outcomes "
                    + _listed(self.outcomes)
                )
            if rule.code == NO_REASON:
                raise ValueError(f"the rule '{rule.name}' may not use the reason '{NO_REASON}'")
        if self.inputs:
            self._refuse_unknown_names()
        return self

    def _refuse_unknown_names(self) -> None:
        derived = {quantity.name for quantity in self.derived}
        if both := derived & set(self.inputs):
            raise ValueError(f"{_listed(both)} is an input and a derived quantity")
        known = derived | set(self.inputs)
        for owner, formula in self._formulas():
            for name in expression(formula).names:
                if name not in known:
                    raise ValueError(
                        f"the {owner} needs '{name}', which is neither an input nor a derived quantity. "
                        + did_you_mean(name, known)
                    )

    def _formulas(self) -> Iterator[tuple[str, str]]:
        """Whose each formula is, and the formula."""
        yield from ((f"quantity '{quantity.name}'", quantity.value) for quantity in self.derived)
        yield from ((f"rule '{rule.name}'", rule.when) for rule in self.rules)

    @cached_property
    def facts(self) -> frozenset[str]:
        """The input fields that the policy reads."""
        named = {name for _, formula in self._formulas() for name in expression(formula).names}
        return frozenset(named - {quantity.name for quantity in self.derived})

    def combined(self, holding: Sequence[Rule]) -> Decision:
        """The decision once exactly these rules hold, given in the order they were gone through."""
        counting = holding[:1] if self.combine == "first" else holding
        rank = self.outcomes.index
        outcome = max((rule.outcome for rule in counting), key=rank, default=self.outcomes[0])
        return Decision(outcome, tuple(dict.fromkeys(rule.code for rule in counting)))


_FIELDS = {
    "policy": Policy.model_fields,
    "inputs": Input.model_fields,
    "derived": Quantity.model_fields,
    "rules": Rule.model_fields,
}

NO_REASON = "none"
"""How the steps write that no rule holds."""


@dataclass(frozen=True)
class Decision:
    """What the policy says: the outcome and the reason codes in the policy's order, each once."""

    outcome: str
    reasons: tuple[str, ...]

    def as_answer(self) -> str:
        """The JSON text a model is to write."""
        return json.dumps({"decision": self.outcome, "reasons": list(self.reasons)}, ensure_ascii=False)


def load_policy(path: Path) -> dict[str, Json]:
    """Reads and checks a policy file (``.toml`` or ``.json``), for a part's options. DataError names the fault."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise DataError(f"The policy file {path.name} is over {MAX_FILE_BYTES // 1024} KiB.")
        content = json.loads(data) if path.suffix == ".json" else tomllib.loads(data.decode())
    except OSError as error:
        raise DataError(f"The policy file {path.name} cannot be read: {error.strerror}.") from error
    except DataError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"The policy file {path.name} cannot be read: {error}.",
            hint="It is TOML or JSON; a text within a formula stands in single quotes.",
        ) from error
    try:
        return read_policy(content).model_dump(mode="json", exclude_defaults=True)
    except DataError as error:
        raise DataError(f"In {path.name}: {error.message}", hint=error.hint) from error


def read_policy(content: object) -> Policy:
    """A checked policy from plain data. DataError names the first fault in plain words, and where it stands."""
    try:
        return Policy.model_validate(content)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        # What is missing is often there under a misspelt name, which is told rather.
        first = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
        raise DataError(in_plain_words(content, first, _FIELDS)) from error


def facts_of(policy: Policy, problem_input: Json) -> dict[str, Scalar]:
    """The fields of the input that the policy reads. UnsolvableError when one is absent or no plain value."""
    if not isinstance(problem_input, Mapping):
        raise UnsolvableError(f"A policy reads a JSON object, found {type(problem_input).__name__}.")
    return {name: checked(name, problem_input[name]) for name in policy.facts if name in problem_input}


def decide(policy: Policy, problem_input: Json) -> Decision:
    """What the policy says of the input. UnsolvableError names the rule or quantity that cannot be worked out."""
    values = worked_out(policy, facts_of(policy, problem_input))
    return policy.combined([rule for rule in policy.rules if holds(rule, values)])


def worked_out(policy: Policy, facts: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Facts and derived quantities together."""
    values = dict(facts)
    for quantity in policy.derived:
        values[quantity.name] = value_of(quantity, values)
    return values


def value_of(quantity: Quantity, values: Mapping[str, Scalar]) -> Scalar:
    """The quantity from the values before it."""
    return checked(quantity.name, expression(quantity.value).evaluate(values, f"quantity '{quantity.name}'"))


def holds(rule: Rule, values: Mapping[str, Scalar]) -> bool:
    """Whether the rule's condition is true."""
    result = expression(rule.when).evaluate(values, f"rule '{rule.name}'")
    if not isinstance(result, bool):
        raise UnsolvableError(f"The condition of rule '{rule.name}' is {result!r}, neither true nor false.")
    return result


Relation = Literal["less", "equal", "more"]


def relation(rule: Rule, values: Mapping[str, Scalar]) -> Relation | None:
    """How the two sides of a plain comparison stand to each other; None for any other condition."""
    found = _COMPARISON.fullmatch(expression(rule.when).text)
    if not found:
        return None
    left, right = (values[side] if side in values else float(side) for side in found.groups())
    # CEL has compared the two before, so they are of one kind.
    return "equal" if left == right else "less" if left < right else "more"  # type: ignore[operator]


def is_comparison(rule: Rule) -> bool:
    """Whether the condition compares two values and does nothing else, such as ``total > limit``."""
    return bool(_COMPARISON.fullmatch(expression(rule.when).text))


_COMPARISON = re.compile(r"([A-Za-z]\w*|\d+(?:\.\d+)?) ?[<>]=? ?([A-Za-z]\w*|\d+(?:\.\d+)?)")


def _refuse_twins(what: str, names: Sequence[str]) -> None:
    twins = {name for name in names if list(names).count(name) > 1}
    if twins:
        raise ValueError(f"{what} {_listed(twins)} appears twice")


def _listed(names: Sequence[str] | set[str]) -> str:
    return ", ".join(f"'{name}'" for name in (sorted(names) if isinstance(names, set) else names))
