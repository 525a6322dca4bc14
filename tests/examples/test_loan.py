"""The loan example: sound, balanced, decided by no single field, and new where it says it is new."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from itertools import islice
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forethought.core.judging import judge, refuse_unsound
from forethought.core.records import Attempt, Problem
from forethought.core.registry import build
from forethought.core.seams import ProblemDraft
from forethought.errors import UsageError
from forethought.examples.loan import POLICY_FILE, task
from forethought.examples.loan.generator import PURPOSES, LoanGenerator
from forethought.verifiers.policy import load_policy

TASK = task()
VERIFIERS = [build("verifier", spec.name, spec.options) for spec in TASK.verifiers]
SOLVER = build("solver", "policy", TASK.solver.options if TASK.solver else {})
GENERATOR: LoanGenerator = build("generator", "loan", TASK.generator.options if TASK.generator else {})


@cache
def drafts(count: int, seed: int = 0, level: int | None = None, vocabulary: str = "train") -> list[ProblemDraft]:
    return list(islice(GENERATOR.generate(seed=seed, level=level, vocabulary=vocabulary), count))


def problem(draft: ProblemDraft) -> Problem:
    return Problem(task_id=TASK.id, input=draft.input, reference=draft.reference)


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from([None, 1, 2, 3]), st.sampled_from(list(PURPOSES)))
def test_solver_and_references_pass_every_verifier(seed: int, level: int | None, vocabulary: str) -> None:
    made = drafts(5, seed, level, vocabulary)
    refuse_unsound(VERIFIERS, TASK, map(problem, made))
    for draft in made:
        attempt = SOLVER.solve(TASK, draft.input)
        assert attempt.answer == draft.reference
        assert judge(VERIFIERS, TASK, problem(draft), attempt).verified
        jsonschema.validate(draft.input, TASK.input_schema)
        jsonschema.validate(json.loads(attempt.answer), TASK.output_schema)


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.data())
def test_spoiled_step_or_answer_fails(seed: int, data: st.DataObject) -> None:
    draft = drafts(1, seed)[0]
    attempt = SOLVER.solve(TASK, draft.input)
    assert attempt.reasoning
    lines = attempt.reasoning.splitlines()
    row = data.draw(st.integers(0, len(lines) - 1))
    spoil = data.draw(st.sampled_from(["drop", "flip", "number", "verdict"]))
    before = lines[row]
    if spoil == "drop":
        lines[row] = ""
    elif spoil == "flip":
        lines[row] = before.translate(str.maketrans("<>+=", "><-≠"))
    elif spoil == "number":
        lines[row] = before.translate(str.maketrans("0123456789", "1234567890"))
    else:
        lines[row] = before.replace("refer", "approve").replace("decline", "refer")
    if lines[row] == before:
        return
    spoiled = attempt.model_copy(update={"reasoning": "\n".join(lines)})
    assert judge(VERIFIERS, TASK, problem(draft), spoiled).steps_valid is False
    other = {"approve": "refer", "refer": "decline", "decline": "approve"}[json.loads(attempt.answer)["decision"]]
    wrong = json.dumps({**json.loads(attempt.answer), "decision": other})
    judged = judge(VERIFIERS, TASK, problem(draft), attempt.model_copy(update={"answer": wrong}))
    assert (judged.correct, judged.steps_valid) == (False, False)


def test_a_reason_named_twice_is_refused_in_the_answer_and_in_the_steps() -> None:
    """The schema says so too, but not every engine can enforce it while writing."""
    repeated = 0
    for made in drafts(50):
        attempt = SOLVER.solve(TASK, made.input)
        answer = json.loads(attempt.answer)
        for reason in answer["reasons"]:
            twice = json.dumps({**answer, "reasons": [*answer["reasons"], reason]})
            assert judge(VERIFIERS, TASK, problem(made), Attempt(answer=twice)).correct is False
            reasoning = str(attempt.reasoning).replace("Reasons: ", f"Reasons: {reason}, ")
            steps = Attempt(reasoning=reasoning, answer=attempt.answer)
            assert judge(VERIFIERS, TASK, problem(made), steps).steps_valid is False
            repeated += 1
    assert repeated > 30


def test_unread_talk_of_the_policy_before_a_right_trace_fails() -> None:
    made = drafts(1)[0]
    attempt = SOLVER.solve(TASK, made.input)
    for line in ("total is 99, own is 0", "The firm is a fraud so decline.", "total : 1 + 1 = 99"):
        talked = attempt.model_copy(update={"reasoning": f"{line}\n{attempt.reasoning}"})
        assert judge(VERIFIERS, TASK, problem(made), talked).steps_valid is False
    greeted = attempt.model_copy(update={"reasoning": f"Let me go through this.\n{attempt.reasoning}"})
    assert judge(VERIFIERS, TASK, problem(made), greeted).steps_valid is True


def test_same_seed_makes_the_same_problems_and_another_seed_does_not() -> None:
    drafts.cache_clear()
    first = drafts(50, seed=4)
    drafts.cache_clear()
    assert drafts(50, seed=4) == first
    assert drafts(50, seed=5) != first


def test_decisions_are_balanced_and_every_reason_is_common() -> None:
    made = drafts(2000)
    decisions = Counter(json.loads(draft.reference)["decision"] for draft in made)
    assert all(600 < decisions[name] < 733 for name in ("approve", "refer", "decline")), decisions
    reasons = Counter(reason for draft in made for reason in draft.tags)
    assert set(reasons) == {"debt", "arrears", "size", "term"}
    assert min(reasons.values()) > 0.2 * len(made), reasons


def test_no_single_field_gives_the_decision_away() -> None:
    """Even knowing the best guess for each value of one field, at most half are right; chance is a third."""
    made = drafts(2000)
    for field in made[0].input:
        counts = Counter((draft.input[field], draft.topic) for draft in made)
        best: Counter[object] = Counter()
        for (value, _), count in counts.items():
            best[value] = max(best[value], count)
        assert best.total() / len(made) < 0.5, field


def test_edges_of_every_rule_occur_on_both_sides() -> None:
    made = [draft.input for draft in drafts(2000)]
    for left, right in [("missed", "age"), ("amount", "income"), ("term", "age")]:
        gaps = Counter(application[left] - application[right] for application in made)
        assert gaps[0] > 50, (left, gaps)
        assert gaps[1] > 50, (left, gaps)
    gaps = Counter(a["debt"] + a["amount"] - a["income"] - a["own"] for a in made)
    assert gaps[0] > 50, gaps
    assert gaps[1] > 30, gaps


def test_levels_grow_in_edges() -> None:
    at_edge = [
        sum(abs(draft.input["term"] - draft.input["age"]) <= 1 for draft in drafts(300, level=level))
        for level in GENERATOR.levels
    ]
    assert at_edge == sorted(set(at_edge)), at_edge


def test_heldout_shares_no_purpose_and_no_sum_with_train() -> None:
    train, heldout = drafts(2000), drafts(2000, vocabulary="heldout")
    for fields in (("purpose",), ("debt", "amount")):
        seen = {tuple(draft.input[name] for name in fields) for draft in train}
        assert seen.isdisjoint(tuple(draft.input[name] for name in fields) for draft in heldout)


def test_unknown_level_or_vocabulary_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="no level 9"):
        GENERATOR.generate(seed=0, level=9)
    with pytest.raises(UsageError, match="no vocabulary 'words'"):
        GENERATOR.generate(seed=0, vocabulary="words")


def test_task_carries_the_policy_file_whole() -> None:
    policy = load_policy(POLICY_FILE)
    parts = [*TASK.verifiers, TASK.solver, TASK.generator]
    assert all(part is not None and part.options == {"policy": policy} for part in parts)
    assert type(TASK).model_validate_json(TASK.model_dump_json()) == TASK


def test_changed_policy_changes_solver_verifiers_and_problems_alike() -> None:
    policy = load_policy(POLICY_FILE)
    policy["rules"] = [*policy["rules"], {"name": "small", "when": "income < 3", "outcome": "decline"}]
    application = {"purpose": "van", "income": 2, "own": 1, "debt": 1, "amount": 2, "term": 1, "age": 5, "missed": 0}
    attempt = build("solver", "policy", {"policy": policy}).solve(TASK, application)
    assert attempt.answer == '{"decision": "decline", "reasons": ["small"]}'
    made = Problem(task_id=TASK.id, input=application)
    assert build("verifier", "policy", {"policy": policy}).verify(TASK, made, attempt).passed is True
    assert VERIFIERS[0].verify(TASK, made, attempt).passed is False
    generated = list(islice(build("generator", "loan", {"policy": policy}).generate(seed=0), 200))
    assert any("small" in draft.tags for draft in generated)
    assert all(draft.topic == ("decline",) for draft in generated if "small" in draft.tags)


def test_sample_problems_are_right() -> None:
    lines = Path(POLICY_FILE).with_name("samples.jsonl").read_text().splitlines()
    samples = [json.loads(line) for line in lines]
    assert len(samples) >= 6
    assert {json.loads(sample["reference"])["decision"] for sample in samples} == {"approve", "refer", "decline"}
    refuse_unsound(VERIFIERS, TASK, [Problem(task_id=TASK.id, **sample) for sample in samples])
    for sample in samples:
        assert SOLVER.solve(TASK, sample["input"]).answer == sample["reference"]
