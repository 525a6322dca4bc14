"""Problems for any policy: balanced, sound, at the edges, apart from the held-out ones, and at an end when used up."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forethought.core.judging import judge, refuse_unsound
from forethought.core.records import Json, Problem
from forethought.core.registry import build
from forethought.core.seams import ProblemDraft
from forethought.errors import DataError, UsageError
from forethought.verifiers.json_schema import first_fault
from forethought.verifiers.policy import policy_task
from forethought.verifiers.policy_rules import decide, read_policy

CLAIM: dict[str, Json] = {
    "outcomes": ["pay", "ask", "reject"],
    "inputs": {
        "who": {"choices": ["staff", "guest"]},
        "kind": {"choices": ["meal", "hotel", "gift"]},
        "receipt": {"choices": [True, False]},
        "amount": {"min": 0, "max": 1_000_000},
        "extra": {"min": 0, "max": 900, "step": 5},
        "budget": {"min": 100, "max": 900},
    },
    "derived": [{"name": "total", "value": "amount + extra"}],
    "rules": [
        {"name": "unproved", "when": "!receipt && amount > 25", "outcome": "reject"},
        {"name": "gift", "when": "kind == 'gift' && amount > 40 && extra >= 800", "outcome": "reject"},
        {"name": "over", "when": "total > budget", "outcome": "ask"},
    ],
}
TINY: dict[str, Json] = {
    "outcomes": ["go", "stop"],
    "inputs": {"light": {"choices": ["red", "green"]}, "cars": {"min": 0, "max": 9}, "name": {"choices": ["a", "b"]}},
    "rules": [{"name": "red", "when": "light == 'red'", "outcome": "stop"},
              {"name": "queue", "when": "cars >= 7", "outcome": "stop"}],
}  # fmt: skip


def drafts(policy: dict[str, Json], count: int, seed: int = 0, vocabulary: str = "train") -> list[ProblemDraft]:
    return list(
        islice(build("generator", "policy", {"policy": policy}).generate(seed=seed, vocabulary=vocabulary), count)
    )


def changed(**fields: Json) -> dict[str, Json]:
    return {**CLAIM, **fields}


def with_rule(when: str) -> dict[str, Json]:
    return changed(rules=[*CLAIM["rules"], {"name": "new", "when": when, "outcome": "ask"}])


def test_references_and_traces_pass_and_inputs_fit_the_schema() -> None:
    task = policy_task("claim", CLAIM)
    verifiers = [build("verifier", spec.name, spec.options) for spec in task.verifiers]
    solver = build("solver", task.solver.name, task.solver.options)
    made = [Problem(task_id=task.id, input=d.input, reference=d.reference) for d in drafts(CLAIM, 200)]
    refuse_unsound(verifiers, task, made)
    assert all(judge(verifiers, task, one, solver.solve(task, one.input)).verified for one in made)
    assert first_fault(task.input_schema, [one.input for one in made]) == ""
    assert all(one.input["extra"] % 5 == 0 for one in made)


def test_outcomes_and_the_reasons_of_each_are_balanced() -> None:
    made = drafts(CLAIM, 900)
    outcomes = Counter(draft.topic for draft in made)
    assert len(outcomes) == 3, outcomes
    assert min(outcomes.values()) > 250, outcomes
    rejected = Counter(draft.tags for draft in made if draft.topic == ("reject",))
    assert len(rejected) == 6, rejected  # unproved, gift or both, over budget or not
    assert min(rejected.values()) > 25, rejected


def test_many_lie_where_one_step_of_one_number_changes_the_decision() -> None:
    policy = read_policy(CLAIM)

    def at_edge(given: dict[str, Json]) -> bool:
        steps = {"amount": 1, "extra": 5, "budget": 1}
        near = [{**given, name: given[name] + sign * step} for name, step in steps.items() for sign in (-1, 1)]
        return len({decide(policy, one) for one in near}) > 1

    made = [draft.input for draft in drafts(CLAIM, 400)]
    assert sum(map(at_edge, made)) > 100


def test_a_seed_is_a_stream_and_another_seed_another() -> None:
    assert drafts(CLAIM, 50, seed=3) == drafts(CLAIM, 50, seed=3)
    assert drafts(CLAIM, 50, seed=3) != drafts(CLAIM, 50, seed=4)
    as_stored = json.loads(json.dumps(read_policy(CLAIM).model_dump(mode="json", exclude_defaults=True)))
    assert drafts(as_stored, 50, seed=3) == drafts(CLAIM, 50, seed=3)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_heldout_problems_never_occur_in_train(one: int, other: int) -> None:
    """Nor do they differ from them only in what no rule reads."""
    for policy in (CLAIM, TINY):
        read = sorted(read_policy(policy).facts)
        count = 4 if policy is TINY else 60
        train = {tuple(d.input[name] for name in read) for d in drafts(policy, count, one)}
        heldout = {tuple(d.input[name] for name in read) for d in drafts(policy, count, other, "heldout")}
        assert train.isdisjoint(heldout)


def test_what_no_rule_reads_makes_no_problem_new() -> None:
    made = drafts(CLAIM, 300)
    assert len({draft.group for draft in made}) == 300
    assert {draft.input["who"] for draft in made} == {"staff", "guest"}


def test_a_small_space_is_used_up_and_says_how_much_there_was() -> None:
    sizes = []
    for vocabulary in ("train", "heldout"):
        made: list[ProblemDraft] = []
        stream = build("generator", "policy", {"policy": TINY}).generate(seed=1, vocabulary=vocabulary)
        with pytest.raises(DataError, match=rf"make only \d+ different '{vocabulary}' problems") as ended:
            made.extend(stream)
        assert f"only {len(made)} " in str(ended.value)
        sizes.append(len(made))
    assert sum(sizes) == 20, sizes


def test_without_inputs_the_error_says_how_to_describe_them() -> None:
    bare = {key: value for key, value in CLAIM.items() if key != "inputs"}
    with pytest.raises(UsageError, match=r"does not describe its inputs.*\[inputs\.amount\] with min"):
        drafts(bare, 1)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (with_rule("kind == 'meel'"), r"The rule 'new' \(kind == 'meel'\) holds for none of"),
        (with_rule("extra > 900"), r"The rule 'new' .* holds for none of"),
        (with_rule("kind > 3"), r"rule 'new' cannot be worked out .* That is with \{.*\}.*"),
        (with_rule("amount * 1.5 > 20.0"), r"rule 'new' cannot be worked out .*double\(amount\)"),
        (with_rule("amount / extra > 3"), r"rule 'new' cannot be worked out .*zero.* Mend"),
        (with_rule("amount + 1"), "neither true nor false"),
    ],
)
def test_a_rule_that_cannot_be_shown_is_refused_when_the_generator_is_made(policy: dict[str, Json], said: str) -> None:
    with pytest.raises(DataError, match=said):
        build("generator", "policy", {"policy": policy})


def test_unknown_level_or_vocabulary_is_refused_at_once() -> None:
    generator = build("generator", "policy", {"policy": CLAIM})
    assert next(generator.generate(seed=0, level=1)).level == 1
    with pytest.raises(UsageError, match="no level 2"):
        generator.generate(seed=0, level=2)
    with pytest.raises(UsageError, match="no vocabulary 'words'"):
        generator.generate(seed=0, vocabulary="words")
