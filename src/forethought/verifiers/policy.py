"""Policy tasks: a rules file makes the solver, the verifier of answers and the verifier of steps.

``policy_task`` builds a complete task from a policy; see ``policy_rules`` for what the file holds and
``policy_steps`` for how a step reads. The answer is JSON: ``{"decision": "refer", "reasons": ["term"]}``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forethought.core.records import Attempt, Finding, Json, Judges, PartSpec, Problem, Task, Verdict
from forethought.errors import UnsolvableError, VerifierError
from forethought.verifiers.policy_expressions import Scalar, expression
from forethought.verifiers.policy_rules import (
    Decision,
    Policy,
    decide,
    facts_of,
    holds,
    load_policy,
    read_policy,
    relation,
    value_of,
)
from forethought.verifiers.policy_steps import (
    Application,
    Calculation,
    Claim,
    Conclusion,
    Kind,
    Misfit,
    StepForms,
    claims_of,
)

__all__ = ["PolicySolver", "PolicyStepsVerifier", "PolicyVerifier", "load_policy", "policy_task"]

MAX_ANSWER = 4_000
MAX_REASONING = 50_000


def policy_task(
    name: str,
    policy: Mapping[str, Json] | Path | str,
    *,
    opening: str = "",
    input_schema: dict[str, Json] | None = None,
    generator: PartSpec | None = None,
    **others: Any,
) -> Task:
    """A task whose instructions, schemas, solver, verifiers and generator all come from the policy or its file.

    ``opening`` is the sentence that says what is decided, the policy's ``about`` where it is empty; ``others`` are
    further fields of ``Task``. DataError names the first fault of the policy.
    """
    rules = read_policy(policy if isinstance(policy, Mapping) else load_policy(Path(policy)))
    options: dict[str, Json] = {"policy": rules.model_dump(mode="json", exclude_defaults=True)}
    return Task(
        name=name,
        instructions=f"{opening or rules.about or 'Decide by these rules.'}\n{in_words(rules)}",
        thinking_instructions=(
            "First work out each quantity. Then go through the rules in order: quote the values, compare them, "
            "say yes or no, and the decision so far. Last, say the reasons and the decision."
        ),
        input_schema=input_schema or schema_of_inputs(rules),
        output_schema=output_schema(rules),
        verifiers=(PartSpec(name="policy", options=options), PartSpec(name="policy-steps", options=options)),
        solver=PartSpec(name="policy", options=options),
        generator=generator or PartSpec(name="policy", options=options),
        **others,
    )


def in_words(policy: Policy) -> str:
    """The policy as instructions to a model or a person."""
    counting = (
        "The strictest outcome decides, and every rule that holds gives its reason."
        if policy.combine == "strictest"
        else "The first rule that holds decides alone."
    )
    return "\n".join(
        [
            *(f"- {name}: {given.about}" for name, given in policy.inputs.items() if given.about),
            *(f"- {quantity.name} = {expression(quantity.value).text}" for quantity in policy.derived),
            *(f"- {expression(rule.when).text}: {rule.outcome}, reason {rule.code}" for rule in policy.rules),
            f"- otherwise: {policy.outcomes[0]}",
            f"{counting} From mildest to strictest: {', '.join(policy.outcomes)}.",
            'Answer with JSON: {"decision": "…", "reasons": ["…"]}.',
        ]
    )


def schema_of_inputs(policy: Policy) -> dict[str, Json]:
    """JSON Schema of the input: what the policy says of it, or only the names that its formulas need."""
    if not policy.inputs:
        return {"type": "object", "required": [*sorted(policy.facts)]}
    return {
        "type": "object",
        "properties": {name: given.as_schema() for name, given in policy.inputs.items()},
        "required": [name for name in policy.inputs if name in policy.facts],
        "additionalProperties": False,
    }


def output_schema(policy: Policy) -> dict[str, Json]:
    """JSON Schema of the answer."""
    codes: list[Json] = list(dict.fromkeys(rule.code for rule in policy.rules))
    return {
        "type": "object",
        "properties": {
            "decision": {"enum": list(policy.outcomes)},
            "reasons": {"type": "array", "items": {"enum": codes}, "uniqueItems": True},
        },
        "required": ["decision", "reasons"],
        "additionalProperties": False,
    }


class PolicySolver:
    """Goes through the policy and writes every step."""

    name = "policy"

    def __init__(self, policy: Mapping[str, Json]) -> None:
        self._policy = read_policy(policy)
        self._forms = StepForms(self._policy)

    def solve(self, task: Task, problem_input: Json) -> Attempt:
        """UnsolvableError names the rule or quantity that the input does not let be worked out."""
        del task  # the policy says it all
        claims = claims_of(self._policy, problem_input)
        steps = "\n".join(self._forms.write(claim) for claim in claims)
        return Attempt(reasoning=steps, answer=decide(self._policy, problem_input).as_answer())


class PolicyVerifier:
    """The answer is the policy's decision with exactly the policy's reasons, in any order."""

    name = "policy"
    judges: Judges = "answer"

    def __init__(self, policy: Mapping[str, Json]) -> None:
        self._policy = read_policy(policy)

    def verify(self, task: Task, problem: Problem, attempt: Attempt) -> Verdict:
        """VerifierError when the input cannot be judged by this policy."""
        del task  # the policy says it all
        right = _judged(self._policy, problem.input)
        given = read_answer(attempt.answer)
        if isinstance(given, str):
            return _verdict(given)
        if given.outcome != right.outcome:
            return _verdict(f"the decision is {right.outcome}, not {_shown(given.outcome)}")
        if missing := set(right.reasons) - set(given.reasons):
            return _verdict(f"the reason {sorted(missing)[0]} is missing")
        if extra := set(given.reasons) - set(right.reasons):
            return _verdict(f"the reason {_shown(sorted(extra)[0])} does not apply")
        return _verdict("")


class PolicyStepsVerifier:
    """Every line is read with the solver's own forms; arithmetic, rules and conclusion are checked apart.

    A line that speaks of quantities, rules or outcomes in any other way cannot be checked and fails; remarks do not.

    A calculation must quote the true values and have the right result. A rule must quote the input and the quantities
    *as the steps worked them out*, and be applied rightly to those: a wrong sum is one fault, not two. The conclusion
    must follow from the rules as applied, stand last and be the answer. Every rule must be applied.
    """

    name = "policy-steps"
    judges: Judges = "steps"

    def __init__(self, policy: Mapping[str, Json]) -> None:
        self._policy = read_policy(policy)
        self._forms = StepForms(self._policy)

    def verify(self, task: Task, problem: Problem, attempt: Attempt) -> Verdict:
        """``value`` is the share of lines and missing rules that check. VerifierError as the answer's verifier."""
        del task  # the policy says it all
        _judged(self._policy, problem.input)
        reasoning = attempt.reasoning or ""
        if len(reasoning) > MAX_REASONING:
            return _verdict(f"the reasoning is over {MAX_REASONING} characters")
        reading = _Reading(self._policy, facts_of(self._policy, problem.input), read_answer(attempt.answer))
        findings: list[Finding] = []
        for start, line in _lines(reasoning):
            claim = self._forms.read(line)
            fault = reading.fault_of(claim)
            kind = _KINDS.get(type(claim)) or (claim.kind if isinstance(claim, Misfit) else None)
            message = f"{kind}: {fault or 'right'}" if kind else "not a step of the policy"
            ok = None if claim is None else not fault
            findings.append(Finding(start=start, end=start + len(line), ok=ok, message=message))
        return _steps_verdict(findings, reading)


_KINDS: dict[type, Kind] = {Calculation: "arithmetic", Application: "rule", Conclusion: "conclusion"}


@dataclass
class _Reading:
    """What the steps have said so far, against what is known."""

    policy: Policy
    facts: Mapping[str, Scalar]
    answer: Decision | str
    worked_out: dict[str, Scalar] = field(default_factory=dict)
    """Quantities as the steps say, right or wrong."""
    applied: dict[str, bool] = field(default_factory=dict)
    """Rules by name, and whether the steps say that they hold."""
    concluded: bool = False
    ends_in_conclusion: bool = False

    @property
    def unapplied(self) -> list[str]:
        return [rule.name for rule in self.policy.rules if rule.name not in self.applied]

    def fault_of(self, claim: Claim | Misfit | None) -> str:
        """What is wrong with the next line; empty when nothing is, or when it claims nothing."""
        self.ends_in_conclusion = isinstance(claim, Conclusion)
        match claim:
            case Calculation():
                return self._calculation(claim)
            case Application():
                return self._application(claim)
            case Conclusion(decision):
                return self._conclusion(decision)
            case Misfit(message=message):
                return message
            case None:
                return ""

    def _calculation(self, claim: Calculation) -> str:
        name = claim.quantity.name
        if name in self.worked_out:
            return f"{name} is worked out twice"
        values = {**self.facts, **self.worked_out}
        self.worked_out[name] = claim.result
        if fault := _misquote(claim.quantity.value, claim.quoted, values):
            return fault
        try:
            right = value_of(claim.quantity, values)
        except UnsolvableError as error:
            return error.message
        return "" if _same(right, claim.result) else f"{name} is {_shown(right)}, not {_shown(claim.result)}"

    def _application(self, claim: Application) -> str:
        rule = claim.rule
        if rule.name in self.applied:
            return f"{rule.name} is applied twice"
        self.applied[rule.name] = claim.reason is not None
        values = {**self.facts, **self.worked_out}
        if fault := _misquote(rule.when, claim.quoted, values):
            return fault
        try:
            applies = holds(rule, values)
        except UnsolvableError as error:
            return error.message
        if claim.relation != (right := relation(rule, values)):
            return f"the left side is {right}, not {claim.relation}"
        if applies != (claim.reason is not None):
            return f"{rule.name} {'holds' if applies else 'does not hold'}"
        if claim.reason not in (None, rule.code):
            return f"the reason of {rule.name} is {rule.code}, not {claim.reason}"
        so_far = self._entailed().outcome
        return "" if claim.so_far == so_far else f"the decision so far is {so_far}, not {claim.so_far}"

    def _conclusion(self, decision: Decision) -> str:
        if self.concluded:
            return "concludes twice"
        self.concluded = True
        if self.unapplied:
            return f"concludes without {', '.join(self.unapplied)}"
        entailed = self._entailed()
        if decision.outcome != entailed.outcome:
            return f"the steps lead to {entailed.outcome}, not {decision.outcome}"
        if sorted(decision.reasons) != sorted(entailed.reasons):
            return f"the steps give the reasons {', '.join(entailed.reasons) or 'none'}"
        if isinstance(self.answer, str) or not _agree(self.answer, decision):
            return "the answer is not what the steps conclude"
        return ""

    def _entailed(self) -> Decision:
        return self.policy.combined([rule for rule in self.policy.rules if self.applied.get(rule.name)])


def read_answer(text: str) -> Decision | str:
    """The decision and reasons of a JSON answer, or what is wrong with it. Nothing but that one object is accepted."""
    if len(text) > MAX_ANSWER:
        return f"the answer is over {MAX_ANSWER} characters"
    try:
        answer = json.loads(text, object_pairs_hook=_without_twins)
    except (ValueError, RecursionError):
        return "the answer is no JSON object with a decision and reasons"
    if not isinstance(answer, dict) or set(answer) != {"decision", "reasons"}:
        return "the answer must have exactly the fields decision and reasons"
    outcome, reasons = answer["decision"], answer["reasons"]
    if not isinstance(outcome, str) or not isinstance(reasons, list) or not all(isinstance(r, str) for r in reasons):
        return "the decision must be text and the reasons a list of texts"
    if len(set(reasons)) < len(reasons):
        return "a reason is named twice"
    return Decision(outcome, tuple(reasons))


def _judged(policy: Policy, problem_input: Json) -> Decision:
    try:
        return decide(policy, problem_input)
    except UnsolvableError as error:
        raise VerifierError(error.message, hint=error.hint) from error


def _verdict(fault: str) -> Verdict:
    return Verdict(value=0.0 if fault else 1.0, passed=not fault, reason=fault)


def _steps_verdict(findings: Sequence[Finding], reading: _Reading) -> Verdict:
    """Passed: nothing is wrong, every rule is applied, and the conclusion stands last."""
    faults = [finding.message for finding in findings if finding.ok is False]
    if not any(finding.ok for finding in findings):
        faults.append("no step checks")
    if reading.unapplied:
        faults.append(f"rule: never applied: {', '.join(reading.unapplied)}")
    if not reading.ends_in_conclusion:
        faults.append("conclusion: the last step must conclude")
    right = sum(finding.ok is True for finding in findings)
    return Verdict(
        value=right / max(1, len(findings) + len(reading.unapplied) + (not reading.concluded)),
        passed=not faults,
        reason="; ".join(faults[:3]) + (f"; and {len(faults) - 3} more" if len(faults) > 3 else ""),
        findings=tuple(findings),
    )


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Every line that is not blank, stripped, with its offset."""
    for found in re.finditer(r"[^\n]+", text):
        line = found.group().strip()
        if line:
            yield found.start() + found.group().index(line), line


def _misquote(formula: str, quoted: Sequence[Scalar], values: Mapping[str, Scalar]) -> str:
    for name, said in zip(expression(formula).names, quoted, strict=True):
        if name not in values:
            return f"{name} is quoted but not known yet"
        if not _same(values[name], said):
            return f"{name} is {_shown(values[name])}, not {_shown(said)}"
    return ""


def _same(one: Scalar, other: Scalar) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _shown(value: Scalar) -> str:
    """For a message: short, and without half characters that no record could hold."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _agree(one: Decision, other: Decision) -> bool:
    return one.outcome == other.outcome and sorted(one.reasons) == sorted(other.reasons)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key appears twice")
    return dict(pairs)
