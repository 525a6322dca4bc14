"""Problems for any policy that describes its inputs: outcomes and reasons balanced, many of them at an edge."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

from forethought.core.records import Json
from forethought.core.seams import ProblemDraft
from forethought.errors import DataError, UnsolvableError, UsageError
from forethought.verifiers.policy_expressions import Scalar
from forethought.verifiers.policy_rules import Decision, Policy, holds, read_policy, worked_out

VOCABULARIES = ("train", "heldout")
HELDOUT_SHARE = 4
"""One in so many inputs is held out."""
SURVEYED = 9_000
"""Inputs drawn to learn which decisions there are."""
EDGE_SHARE = 0.35
_KNOWN = 50
_PATIENCE = 400
"""Tries for a new input of one decision, after which there is none."""

Case = dict[str, Scalar]


class PolicyGenerator:
    """Draws the outcome, then its reasons, then changes known inputs of that decision until a new one comes of it.

    So rare decisions are as quick to make as common ones. No two problems of one stream agree in all that the policy
    reads. ``heldout`` has the quarter of the inputs that a hash of what the policy reads picks out, ``train`` the rest.
    """

    name = "policy"
    levels: Sequence[int] = (1,)

    def __init__(self, policy: Mapping[str, Json]) -> None:
        """DataError for a rule that no input fulfils, or an input that a formula cannot be worked out for."""
        self._policy = read_policy(policy)
        self._draw = _Draw(self._policy)
        self._facts = sorted(self._policy.facts & set(self._policy.inputs))
        self._holding = lru_cache(maxsize=100_000)(self._holding_anew)
        self._known = self._survey() if self._policy.inputs else {}

    def generate(self, *, seed: int, level: int | None = None, vocabulary: str = "train") -> Iterator[ProblemDraft]:
        """Balanced while there are new problems of every decision; DataError when there is none of any.

        UsageError for an unknown level or vocabulary, and for a policy that does not describe its inputs.
        """
        if level not in (None, *self.levels):
            raise UsageError(f"There is no level {level}.", hint="The problems of a policy have one level: 1.")
        if vocabulary not in VOCABULARIES:
            raise UsageError(f"There is no vocabulary '{vocabulary}'.", hint=f"Known: {', '.join(VOCABULARIES)}.")
        if not self._policy.inputs:
            name = min(self._policy.facts)
            raise UsageError(
                "The policy does not describe its inputs, so no problems can be made for it.",
                hint=f"Add them to the policy file, such as [inputs.{name}] with min = 0 and max = 900, or with "
                'choices = ["a", "b"], and run \'forethought task policy\' again.',
            )
        return self._stream(random.Random(f"policy {seed} {vocabulary}"), vocabulary)

    def _stream(self, rng: random.Random, vocabulary: str) -> Iterator[ProblemDraft]:
        known = {decision: list(cases) for decision, cases in self._known.items()}
        left: dict[str, list[Decision]] = {}
        for decision in known:
            left.setdefault(decision.outcome, []).append(decision)
        taken: set[str] = set()
        while left:
            outcome = rng.choice(list(left))
            decision = rng.choice(left[outcome])
            case = self._new_case(rng, decision, known[decision], vocabulary, taken)
            if case is None:
                left[outcome].remove(decision)
                if not left[outcome]:
                    del left[outcome]
                continue
            _remember(rng, known[decision], case)
            taken.add(key := self._key(case))
            yield ProblemDraft(
                input={**case},
                reference=decision.as_answer(),
                topic=(outcome,),
                level=self.levels[0],
                group=key,
                tags=decision.reasons,
            )
        raise DataError(
            f"The inputs of the policy make only {len(taken)} different '{vocabulary}' problems.",
            hint="Ask for fewer, or give the inputs more values.",
        )

    def _new_case(
        self, rng: random.Random, decision: Decision, known: Sequence[Case], vocabulary: str, taken: set[str]
    ) -> Case | None:
        for _ in range(_PATIENCE):
            case = self._draw.varied(rng, rng.choice(known))
            if self._decision(case) != decision:
                continue
            if rng.random() < EDGE_SHARE:
                case = self._at_edge(rng, case, decision)
            key = self._key(case)
            if key not in taken and (int(key, 16) % HELDOUT_SHARE == 0) == (vocabulary == "heldout"):
                return case
        return None

    def _at_edge(self, rng: random.Random, case: Case, decision: Decision) -> Case:
        """The case with one number moved towards a drawn one, to the last value before the decision changes."""
        if not self._draw.numbers:
            return case
        name = rng.choice(self._draw.numbers)
        values = self._policy.inputs[name].values
        inside, outside = values.index(case[name]), values.index(self._draw.value(rng, name))
        while abs(outside - inside) > 1:
            middle = (inside + outside) // 2
            if self._decision({**case, name: values[middle]}) == decision:
                inside = middle
            else:
                outside = middle
        return {**case, name: values[inside]}

    def _survey(self) -> dict[Decision, list[Case]]:
        """The decisions that some inputs come to, and some of those inputs; the same whatever the seed.

        Two of three inputs are known ones changed, from rare decisions as often as from common ones, and with few rules
        holding as often as with many: an input for which none of many rules holds is not drawn by chance.
        """
        rng = random.Random("survey")
        known: dict[Decision, list[Case]] = {}
        held: dict[int, list[Case]] = {}
        never = {rule.name: rule for rule in self._policy.rules}
        for turn in range(SURVEYED):
            familiar = (None, known, held)[turn % 3] or None
            case = (
                self._draw.varied(rng, rng.choice(rng.choice([*familiar.values()])))
                if familiar
                else self._draw.case(rng)
            )
            holding = self._rules_holding(case)
            for name in holding:
                never.pop(name, None)
            _remember(rng, held.setdefault(len(holding), []), case)
            _remember(rng, known.setdefault(self._decision(case), []), case)
        if never:
            rule = next(iter(never.values()))
            raise DataError(
                f"The rule '{rule.name}' ({rule.when}) holds for none of {SURVEYED} inputs drawn from [inputs].",
                hint="Mend the rule, or give the inputs values for which it holds.",
            )
        return known

    def _decision(self, case: Case) -> Decision:
        holding = self._rules_holding(case)
        return self._policy.combined([rule for rule in self._policy.rules if rule.name in holding])

    def _rules_holding(self, case: Case) -> frozenset[str]:
        return self._holding(tuple(case[name] for name in self._facts))

    def _holding_anew(self, facts: tuple[Scalar, ...]) -> frozenset[str]:
        given = dict(zip(self._facts, facts, strict=True))
        try:
            values = worked_out(self._policy, given)
            return frozenset(rule.name for rule in self._policy.rules if holds(rule, values))
        except UnsolvableError as error:
            raise DataError(
                f"{error.message} That is with {json.dumps(given, ensure_ascii=False)}.",
                hint="CEL does not mix whole numbers with decimals: write double(amount) * 1.5."
                if "overload" in error.message
                else "Mend the formula, or the values that the inputs may have.",
            ) from error

    def _key(self, case: Case) -> str:
        """A hash of what the policy reads: inputs that differ in nothing else are one group."""
        read = json.dumps([case[name] for name in self._facts])
        return hashlib.sha256(read.encode()).hexdigest()[:16]


class _Draw:
    """Draws inputs: numbers from the spans between those that the formulas name, and close to these, as often."""

    def __init__(self, policy: Policy) -> None:
        formulas = [quantity.value for quantity in policy.derived] + [rule.when for rule in policy.rules]
        named = sorted({int(digits) for formula in formulas for digits in re.findall(r"\d+", formula)})
        self._inputs = policy.inputs
        self._spans = {
            name: _spans(values, named)
            for name, given in policy.inputs.items()
            if isinstance(values := given.values, range)
        }
        self.numbers = [name for name in self._spans if name in policy.facts]
        """The numbers that the policy reads."""

    def case(self, rng: random.Random) -> Case:
        return {name: self.value(rng, name) for name in self._inputs}

    def varied(self, rng: random.Random, case: Case) -> Case:
        """The case with some of its values drawn anew: none, all, or any number between."""
        share = rng.random() ** 2
        return {name: self.value(rng, name) if rng.random() < share else case[name] for name in self._inputs}

    def value(self, rng: random.Random, name: str) -> Scalar:
        values = self._inputs[name].values
        if name not in self._spans:
            return rng.choice(values)
        return values[rng.randint(*rng.choice(self._spans[name]))]


def _spans(values: range, named: Sequence[int]) -> list[tuple[int, int]]:
    """First and last index of each stretch between the named numbers, and of the surroundings of each of these."""
    last = len(values) - 1
    marks = [(number - values.start) // values.step for number in named]
    marks = [mark for mark in marks if 0 <= mark <= last]
    between = [*pairwise(sorted({0, last, *marks}))] or [(0, 0)]
    return between + [(max(0, mark - 1), min(last, mark + 1)) for mark in marks]


def _remember(rng: random.Random, known: list[Case], case: Case) -> None:
    """Keeps the case, in the place of any other where there are enough."""
    if len(known) < _KNOWN:
        known.append(case)
    else:
        known[rng.randrange(_KNOWN)] = case
