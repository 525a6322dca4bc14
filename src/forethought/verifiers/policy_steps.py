"""How going through a policy is written down: one form for each step, used to write it and to read it back.

A quantity:     ``total = debt 14 + amount 22 = 36.``
A rule:         ``total 36 > limit 50? less, no, approve.`` or ``term 5 > age 3? more, yes term, refer.``: how the two
                sides stand (only where the condition is one comparison), the outcome, the decision so far
The conclusion: ``Reasons: term. Decision: refer.``, which the answer only has to copy
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from forethought.core.records import Json
from forethought.verifiers.policy_expressions import Scalar, expression
from forethought.verifiers.policy_rules import (
    NO_REASON,
    Decision,
    Policy,
    Quantity,
    Relation,
    Rule,
    facts_of,
    holds,
    is_comparison,
    relation,
    value_of,
)

Kind = Literal["arithmetic", "rule", "conclusion"]


@dataclass(frozen=True)
class Calculation:
    """A quantity worked out: the values quoted, in the order of its formula, and the result."""

    quantity: Quantity
    quoted: tuple[Scalar, ...]
    result: Scalar


@dataclass(frozen=True)
class Application:
    """A rule applied: the values quoted, how the two sides of a plain comparison stand (None: it is no plain
    comparison), the reason it gives (None: it does not hold), the decision so far."""

    rule: Rule
    quoted: tuple[Scalar, ...]
    relation: Relation | None
    reason: str | None
    so_far: str


@dataclass(frozen=True)
class Conclusion:
    """The reasons collected and the decision."""

    decision: Decision


@dataclass(frozen=True)
class Misfit:
    """A line that claims something, or speaks of what the policy is about, and is no step of this policy."""

    kind: Kind
    message: str


Claim = Calculation | Application | Conclusion


def claims_of(policy: Policy, problem_input: Json) -> tuple[Claim, ...]:
    """Every step of going through the policy, the conclusion last. UnsolvableError as in ``policy_rules.decide``."""
    values = facts_of(policy, problem_input)
    claims: list[Claim] = []
    for quantity in policy.derived:
        values[quantity.name] = value_of(quantity, values)
        claims.append(Calculation(quantity, quoted_from(quantity.value, values), values[quantity.name]))
    holding: list[Rule] = []
    for rule in policy.rules:
        reason = rule.code if holds(rule, values) else None
        holding += [rule] if reason else []
        so_far = policy.combined(holding).outcome
        quoted = quoted_from(rule.when, values)
        claims.append(Application(rule, quoted, relation(rule, values), reason, so_far))
    return (*claims, Conclusion(policy.combined(holding)))


def quoted_from(formula: str, values: dict[str, Scalar]) -> tuple[Scalar, ...]:
    """The values a formula quotes, as often as it quotes them."""
    return tuple(values[name] for name in expression(formula).names)


class StepForms:
    """The forms of one policy's steps. ``read(write(claim)) == claim`` for every claim about the policy."""

    def __init__(self, policy: Policy) -> None:
        self._calculations = {
            quantity.name: _Form(f"{quantity.name} = ", *_formula(quantity.value), " = ", _VALUE, ".")
            for quantity in policy.derived
        }
        self._applications = {
            rule.name: _Form(*_formula(rule.when), "? ", *_relation_slot(rule), _HOLDS, ", ", _WORD, ".")
            for rule in policy.rules
        }
        self._conclusion = _Form("Reasons: ", _REASONS, ". Decision: ", _WORD, ".")
        self._policy = policy
        self._words = _telling_words(policy)

    def write(self, claim: Claim) -> str:
        """The claim as one line."""
        match claim:
            case Calculation(quantity, quoted, result):
                return self._calculations[quantity.name].write(*quoted, result)
            case Application(rule, quoted, stands, reason, so_far):
                shown = [stands] if stands else []
                return self._applications[rule.name].write(*quoted, *shown, reason, so_far)
            case Conclusion(decision):
                return self._conclusion.write(decision.reasons, decision.outcome)

    def read(self, line: str) -> Claim | Misfit | None:
        """The claim a line makes; a misfit when it may claim something and cannot be read; None for a remark."""
        if values := self._conclusion.read(line):
            return Conclusion(Decision(outcome=values[1], reasons=values[0]))
        for quantity in self._policy.derived:
            if values := self._calculations[quantity.name].read(line):
                return Calculation(quantity, tuple(values[:-1]), values[-1])
        for rule in self._policy.rules:
            if values := self._applications[rule.name].read(line):
                *quoted, reason, so_far = values
                stands = quoted.pop() if is_comparison(rule) else None
                return Application(rule, tuple(quoted), stands, reason, so_far)
        return self._misfit(line)

    def _misfit(self, line: str) -> Misfit | None:
        for quantity in self._policy.derived:
            if re.match(rf"{quantity.name}\s*=", line):
                return Misfit("arithmetic", f"this is not how {quantity.name} is worked out: {quantity.value}")
        if re.match(r"(Reasons|Decision)\b", line):
            return Misfit("conclusion", "the conclusion does not read 'Reasons: … . Decision: … .'")
        if re.search(r"\?.*\b(yes|no)\b", line):
            return Misfit("rule", "the policy has no such rule")
        kind = next((kind for kind, words in self._words.items() if words.search(line)), None)
        return Misfit(kind, "this could not be read as a step of the policy") if kind else None


def _telling_words(policy: Policy) -> dict[Kind, re.Pattern[str]]:
    """What makes a line more than a remark: a sum or comparison in digits, a quantity, a fact, a rule or an outcome."""
    codes = {rule.name for rule in policy.rules} | {rule.code for rule in policy.rules}
    stems = [f"{re.escape(outcome.removesuffix('e'))}(?:e|es|s|d|ed|red|ing|ring|al)?" for outcome in policy.outcomes]
    quantities = [f"{re.escape(quantity.name)}s?" for quantity in policy.derived]
    named = [f"{re.escape(name)}s?" for name in sorted(policy.facts | codes)]
    return {
        "arithmetic": _any_word(quantities, r"(?=.*\d).*(?:[=<>≠≈≤≥]|\d\s*[-+*/×÷]\s*\d)"),
        "conclusion": _any_word([*stems, "decisions?", "reasons?"]),
        "rule": _any_word(named),
    }


def _any_word(words: Sequence[str], otherwise: str = "(?!)") -> re.Pattern[str]:
    said = "|".join(words) or "(?!)"
    return re.compile(rf"(?<![A-Za-z0-9_])(?:{said})(?![A-Za-z0-9_])|^{otherwise}", re.IGNORECASE)


# --- forms ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Slot:
    """A place in a form: how a value is written there and read back."""

    pattern: str
    """Regular expression without groups of its own, every repetition bounded or over disjoint characters."""
    write: Callable[[Any], str]
    read: Callable[[str], Any]


class _Form:
    """Fixed text with slots between, for one line."""

    def __init__(self, *parts: str | _Slot) -> None:
        self._parts = parts
        self._slots = [part for part in parts if isinstance(part, _Slot)]
        self._regex = re.compile(
            "".join(f"({part.pattern})" if isinstance(part, _Slot) else re.escape(part) for part in parts)
        )

    def write(self, *values: object) -> str:
        remaining = iter(values)
        return "".join(part.write(next(remaining)) if isinstance(part, _Slot) else part for part in self._parts)

    def read(self, line: str) -> list[Any] | None:
        found = self._regex.fullmatch(line)
        if not found:
            return None
        try:
            return [slot.read(text) for slot, text in zip(self._slots, found.groups(), strict=True)]
        except ValueError:  # looks like a value and is none: 007, a broken escape
            return None


def _formula(text: str) -> list[str | _Slot]:
    """A formula in which every name is followed by its value."""
    parts: list[str | _Slot] = []
    for piece, is_name in expression(text).pieces:
        parts += [f"{piece} ", _VALUE] if is_name else [piece]
    return parts


def _relation_slot(rule: Rule) -> list[str | _Slot]:
    return [_RELATION, ", "] if is_comparison(rule) else []


def _read_holds(text: str) -> str | None:
    return None if text == "no" else text.removeprefix("yes ")


def _write_reasons(reasons: Sequence[str]) -> str:
    return ", ".join(reasons) or NO_REASON


def _read_reasons(text: str) -> tuple[str, ...]:
    return () if text == NO_REASON else tuple(text.split(", "))


_CODE = r"[A-Za-z][A-Za-z0-9_-]{0,39}"
_VALUE = _Slot(
    r"true|false|-?\d{1,20}(?:\.\d{1,20})?(?:e[+-]?\d{1,3})?|" + r'"(?:[^"\\]|\\.){0,2000}"',
    lambda value: json.dumps(value, ensure_ascii=False),
    json.loads,
)
_RELATION = _Slot("less|equal|more", str, str)
_HOLDS = _Slot(rf"no|yes {_CODE}", lambda reason: f"yes {reason}" if reason else "no", _read_holds)
_WORD = _Slot(_CODE, str, str)
_REASONS = _Slot(rf"{_CODE}(?:, {_CODE}){{0,31}}", _write_reasons, _read_reasons)
