"""A policy: named quantities, named rules in CEL, and how the rules that hold combine into one decision.

The file a person writes is TOML or JSON; a task carries it whole in its part options, so a stored task needs no file.
Expressions are the task author's, written in the Common Expression Language (https://cel.dev): no loops (the
comprehension macros are refused), no side effects. Facts come from anybody: only scalars that the policy names reach
an expression, and their sizes are capped, so every evaluation is short.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError, model_validator

from forethought.core.records import Frozen, Json
from forethought.errors import DataError, UnsolvableError

MAX_FILE_BYTES = 64 * 1024
MAX_EXPRESSION = 200
MAX_ENTRIES = 32
MAX_TEXT = 1000
MAX_NUMBER = 2**53
"""Whole numbers beyond this lose digits as soon as anything reads them as floating point."""

Scalar = bool | int | float | str
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,39}$")]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,39}$")]
Formula = Annotated[str, StringConstraints(min_length=1, max_length=MAX_EXPRESSION)]


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
                raise ValueError(f"quantity '{quantity.name}' uses {_listed(early)} before it is worked out")
            known_later.discard(quantity.name)
        for rule in self.rules:
            expression(rule.when)
            if rule.outcome not in self.outcomes:
                raise ValueError(f"rule '{rule.name}' leads to '{rule.outcome}', not one of {_listed(self.outcomes)}")
            if rule.code == NO_REASON:
                raise ValueError(f"rule '{rule.name}' may not use the reason '{NO_REASON}'")
        return self

    @cached_property
    def facts(self) -> frozenset[str]:
        """The input fields that the policy reads."""
        formulas = [quantity.value for quantity in self.derived] + [rule.when for rule in self.rules]
        named = {name for formula in formulas for name in expression(formula).names}
        return frozenset(named - {quantity.name for quantity in self.derived})

    def combined(self, holding: Sequence[Rule]) -> Decision:
        """The decision once exactly these rules hold, given in the order they were gone through."""
        counting = holding[:1] if self.combine == "first" else holding
        rank = self.outcomes.index
        outcome = max((rule.outcome for rule in counting), key=rank, default=self.outcomes[0])
        return Decision(outcome, tuple(dict.fromkeys(rule.code for rule in counting)))


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
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"The policy file {path.name} cannot be read: {error}.", hint="Write it as TOML or JSON."
        ) from error
    return read_policy(content).model_dump(mode="json", exclude_defaults=True)


def read_policy(content: object) -> Policy:
    """A checked policy from plain data. DataError names the first fault and where it stands."""
    try:
        return Policy.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "policy"
        raise DataError(
            f"The policy is refused at {where}: {first['msg']}.",
            hint="A policy has outcomes, derived quantities (name, value) and rules (name, when, outcome, reason).",
        ) from error


def facts_of(policy: Policy, problem_input: Json) -> dict[str, Scalar]:
    """The fields of the input that the policy reads. UnsolvableError when one is absent or no plain value."""
    if not isinstance(problem_input, Mapping):
        raise UnsolvableError(f"A policy reads a JSON object, found {type(problem_input).__name__}.")
    return {name: _checked(name, problem_input[name]) for name in policy.facts if name in problem_input}


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
    return _checked(quantity.name, expression(quantity.value).evaluate(values, f"quantity '{quantity.name}'"))


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


# --- expressions ------------------------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
    r"|(?P<number>\d[\w.]*)"
    r"|(?P<member>\.\s*[A-Za-z_]\w*)"
    r"|(?P<call>[A-Za-z_]\w*(?=\s*\())"
    r"|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<space>\s+)"
    r"|(?P<other>.)"
)
_COMPARISON = re.compile(r"([A-Za-z]\w*|\d+(?:\.\d+)?) ?[<>]=? ?([A-Za-z]\w*|\d+(?:\.\d+)?)")
_LITERALS = {"true", "false", "null", "in"}
_MACROS = {"all", "exists", "exists_one", "map", "filter"}


@dataclass(frozen=True)
class Expression:
    """A compiled CEL expression and the names it quotes."""

    text: str
    """With single spaces."""
    pieces: tuple[tuple[str, bool], ...]
    """The text cut into (piece, is it the name of a value), so that values can be written beside their names."""
    program: Any

    @property
    def names(self) -> tuple[str, ...]:
        """The values it quotes, as often as it quotes them."""
        return tuple(piece for piece, is_name in self.pieces if is_name)

    def evaluate(self, values: Mapping[str, Scalar], owner: str) -> Any:
        """Its result. UnsolvableError names the owner: a missing value, types that do not fit, an overflow."""
        if missing := [name for name in self.names if name not in values]:
            raise UnsolvableError(f"The {owner} needs '{missing[0]}', which the input does not have.")
        try:
            return self.program.execute({name: values[name] for name in self.names})
        except (ValueError, TypeError, RuntimeError, ArithmeticError) as error:
            cause = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UnsolvableError(f"The {owner} cannot be worked out ({self.text}): {cause}") from error


@cache
def expression(text: str) -> Expression:
    """Compiles an expression once. ValueError when it is no CEL, loops, or quotes no value at all."""
    import cel

    pieces = _pieces(" ".join(text.split()))
    if not any(is_name for _, is_name in pieces):
        raise ValueError(f"'{text}' names no value")
    clean = "".join(piece for piece, _ in pieces)
    try:
        program = cel.compile(clean)
    except ValueError as error:
        raise ValueError(f"'{text}' is no CEL expression ({str(error).splitlines()[0]})") from error
    return Expression(clean, pieces, program)


def _pieces(text: str) -> tuple[tuple[str, bool], ...]:
    """The text cut at the names of values. ValueError for the two things CEL allows and a policy does not."""
    pieces: list[tuple[str, bool]] = []
    before = ""
    for token in _TOKEN.finditer(text):
        kind, word = token.lastgroup, token.group()
        if kind in ("member", "call") and word.lstrip(". ") in _MACROS:
            raise ValueError(f"'{text}' loops over a list ({word.strip()})")
        if kind == "member" and (before in ("", "in") or not re.search(r"[\w)\]}\"']$", before)):
            raise ValueError(f"'{text}' has a name that begins with a dot ({word})")
        before = before if kind == "space" else word
        is_name = kind == "name" and word not in _LITERALS
        if pieces and not is_name and not pieces[-1][1]:
            pieces[-1] = (pieces[-1][0] + word, False)
        else:
            pieces.append((word, is_name))
    return tuple(pieces)


def _checked(name: str, value: object) -> Scalar:
    """A value small and plain enough to be quoted and computed with."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) <= MAX_NUMBER:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, str) and len(value) <= MAX_TEXT and value.isprintable():
        return value
    shown = (
        f"{type(value).__name__} {str(value)[:40]!r}" if isinstance(value, int | float | str) else type(value).__name__
    )
    raise UnsolvableError(
        f"The value of '{name}' is no plain value: {shown}.",
        hint=f"Numbers up to 2^53, true or false, and printable text up to {MAX_TEXT} characters can be judged.",
    )


def _refuse_twins(what: str, names: Sequence[str]) -> None:
    twins = {name for name in names if list(names).count(name) > 1}
    if twins:
        raise ValueError(f"{what} {_listed(twins)} appears twice")


def _listed(names: Sequence[str] | set[str]) -> str:
    return ", ".join(f"'{name}'" for name in (sorted(names) if isinstance(names, set) else names))
