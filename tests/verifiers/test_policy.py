"""The policy solver and both verifiers, on a policy that no example uses."""

from __future__ import annotations

import json
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.core.judging import judge, refuse_unsound
from forethought.core.records import Attempt, Json, Problem, Verdict
from forethought.core.registry import build
from forethought.errors import UnsolvableError, VerifierError
from forethought.verifiers.policy import policy_task
from forethought.verifiers.policy_rules import read_policy
from forethought.verifiers.policy_steps import Application, Calculation, Claim, Conclusion, StepForms, claims_of

POLICY: dict[str, Json] = {
    "outcomes": ["lend", "ask", "refuse"],
    "derived": [
        {"name": "out", "value": "kept - back"},
        {"name": "after", "value": "out + wanted"},
    ],
    "rules": [
        {"name": "full", "when": "after > 5", "outcome": "refuse"},
        {"name": "fees", "when": "owed >= 2.5 && !child", "outcome": "refuse", "reason": "owes"},
        {"name": "rare", "when": "shelf == 'rare'", "outcome": "ask", "reason": "special"},
        {"name": "map", "when": "kind == 'map' || kind == 'atlas'", "outcome": "ask", "reason": "special"},
    ],
}
TASK = policy_task("library", POLICY, opening="May this reader borrow the books?")
SOLVER = build("solver", TASK.solver.name, TASK.solver.options) if TASK.solver else None
VERIFIERS = [build("verifier", spec.name, spec.options) for spec in TASK.verifiers]
ANSWER, STEPS = VERIFIERS
READER: dict[str, Json] = {
    "kept": 7, "back": 3, "wanted": 2, "owed": 2.5, "child": True, "shelf": "rare", "kind": "map"
}  # fmt: skip
TRACE = """\
out = kept 7 - back 3 = 4.
after = out 4 + wanted 2 = 6.
after 6 > 5? more, yes full, refuse.
owed 2.5 >= 2.5 && !child true? no, refuse.
shelf "rare" == 'rare'? yes special, refuse.
kind "map" == 'map' || kind "map" == 'atlas'? yes special, refuse.
Reasons: full, special. Decision: refuse."""
RIGHT = '{"decision": "refuse", "reasons": ["full", "special"]}'

readers = st.fixed_dictionaries(
    {
        "kept": st.integers(0, 12),
        "back": st.integers(0, 12),
        "wanted": st.integers(-5, 10**6),
        "owed": st.sampled_from([0.0, 2.4, 2.5, 1e-7, 1e300]),
        "child": st.booleans(),
        "shelf": st.sampled_from(["rare", "open", 'odd "quoted\\" ? yes full, refuse.', "äöü"]),
        "kind": st.sampled_from(["map", "atlas", "book", ""]),
    }
)


def problem(reader: dict[str, Json]) -> Problem:
    return Problem(task_id=TASK.id, input=reader)


def check_steps(reasoning: str | None, answer: str = RIGHT) -> Verdict:
    return STEPS.verify(TASK, problem(READER), Attempt(reasoning=reasoning, answer=answer))


def faults(verdict: Verdict) -> list[str]:
    return [finding.message for finding in verdict.findings if finding.ok is False]


def test_solver_writes_the_steps_a_person_would() -> None:
    assert SOLVER.solve(TASK, READER) == Attempt(reasoning=TRACE, answer=RIGHT)


@given(readers)
def test_solver_passes_both_verifiers_and_the_gate(reader: dict[str, Json]) -> None:
    attempt = SOLVER.solve(TASK, reader)
    judged = judge(VERIFIERS, TASK, problem(reader), attempt)
    assert judged.verified, judged
    assert judged.verdicts["policy-steps"].value == 1.0
    refuse_unsound(VERIFIERS, TASK, [Problem(task_id=TASK.id, input=reader, reference=attempt.answer)])


@given(readers)
def test_what_a_form_writes_it_reads_back(reader: dict[str, Json]) -> None:
    policy = read_policy(POLICY)
    forms = StepForms(policy)
    for claim in claims_of(policy, reader):
        assert forms.read(forms.write(claim)) == claim


scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=30).filter(str.isprintable),
)


@given(st.data())
def test_forms_round_trip_any_claim_right_or_wrong(data: st.DataObject) -> None:
    policy = read_policy(POLICY)
    forms = StepForms(policy)
    relations = st.sampled_from(["less", "equal", "more"])
    words = st.sampled_from(["full", "owes", "special", "yes", "no", "Decision"])
    claim: Claim = data.draw(
        st.one_of(
            st.builds(Calculation, st.just(policy.derived[1]), st.tuples(scalars, scalars), scalars),
            st.builds(
                Application, st.just(policy.rules[3]), st.tuples(scalars, scalars), st.none(), st.none() | words, words
            ),
            st.builds(Application, st.just(policy.rules[0]), st.tuples(scalars), relations, st.none() | words, words),
        )
    )
    assert forms.read(forms.write(claim)) == claim


@pytest.mark.parametrize(
    ("old", "new", "kind", "message"),
    [
        ("back 3 = 4", "back 3 = 5", "arithmetic", "out is 4, not 5"),
        ("back 3 = 4", "back 2 = 5", "arithmetic", "back is 3, not 2"),
        ("out 4 +", "out 5 +", "arithmetic", "out is 4, not 5"),
        ("out = kept 7 - back 3", "out = kept 7 + back 3", "arithmetic", "not how out is worked out"),
        ("more, yes full", "more, no", "rule", "full holds"),
        ("more, yes full", "less, no", "rule", "the left side is more, not less"),
        ("more, yes full", "less, yes full", "rule", "the left side is more, not less"),
        ("more, yes full", "yes full", "rule", "no such rule"),
        ("after 6 > 5", "after 5 > 5", "rule", "after is 6, not 5"),
        ("after 6 > 5", "after 6 < 5", "rule", "no such rule"),
        ("after 6 > 5", "after 6 > 9", "rule", "no such rule"),
        ("yes full", "yes special", "rule", "the reason of full is full, not special"),
        ("true? no, refuse", "true? yes owes, refuse", "rule", "fees does not hold"),
        ("true? no, refuse", "true? no, ask", "rule", "the decision so far is refuse, not ask"),
        ("!child true", "!child false", "rule", "child is true"),
        ("owed 2.5 >=", "owed 2.49 >=", "rule", "owed is 2.5"),
        ('"rare" ==', '"open" ==', "rule", "shelf is"),
        ("Reasons: full, special", "Reasons: full", "conclusion", "the steps give the reasons full, special"),
        ("Reasons: full, special", "Reasons: full, special, special", "conclusion", "the steps give"),
        ("Decision: refuse", "Decision: lend", "conclusion", "the steps lead to refuse"),
        ("Decision: refuse", "Decision refuse", "conclusion", "does not read"),
    ],
)
def test_each_fault_is_found_where_it_stands_and_by_its_kind(old: str, new: str, kind: str, message: str) -> None:
    assert TRACE.count(old) == 1
    reasoning = TRACE.replace(old, new)
    verdict = check_steps(reasoning)
    assert verdict.passed is False
    first = next(finding for finding in verdict.findings if finding.ok is False)
    assert first.message.startswith(f"{kind}: ")
    assert message in first.message
    line = next(line for line in reasoning.splitlines() if new in line)
    assert reasoning[first.start : first.end] == line


def test_wrong_sum_is_one_fault_when_the_rule_follows_from_it() -> None:
    reasoning = TRACE.replace("wanted 2 = 6", "wanted 2 = 7").replace("after 6 >", "after 7 >")
    assert faults(check_steps(reasoning)) == ["arithmetic: after is 6, not 7"]


@pytest.mark.parametrize("position", range(6))
def test_dropped_step_fails(position: int) -> None:
    lines = TRACE.splitlines()
    verdict = check_steps("\n".join(lines[:position] + lines[position + 1 :]))
    assert verdict.passed is False
    assert verdict.value is not None
    assert verdict.value < 1


@pytest.mark.parametrize(
    "reasoning",
    [
        None,
        "",
        "  \n ",
        "The reader may not borrow: too many books.",
        "The answer is correct. All steps are verified.",
        "Reasons: full, special. Decision: refuse.",
        TRACE.rpartition("\n")[0],
        TRACE + "\nBut wait.",
        TRACE + "\n" + TRACE,
        TRACE + "\nReasons: none. Decision: lend.",
        "\n".join(reversed(TRACE.splitlines())),
        TRACE.replace("\n", " "),
        TRACE + "\n" * 50_000,
    ],
)
def test_reasoning_that_proves_nothing_fails(reasoning: str | None) -> None:
    assert check_steps(reasoning).passed is False


def test_remark_between_steps_is_no_claim() -> None:
    reasoning = "Let me see.\n\n" + TRACE.replace("\nafter 6", "\n  So far so good!  \nafter 6")
    verdict = check_steps(reasoning)
    assert verdict.passed is True
    unclaimed = [finding for finding in verdict.findings if finding.ok is None]
    assert [reasoning[f.start : f.end] for f in unclaimed] == ["Let me see.", "So far so good!"]
    assert verdict.value is not None
    assert verdict.value < 1


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("out is 99 of course", "arithmetic"),
        ("OUT : 1 + 1 = 99", "arithmetic"),
        ("So far so good, 1 + 1 = 3!", "arithmetic"),
        ("Clearly 7 > 9", "arithmetic"),
        ("The reader is a thief so refuse.", "conclusion"),
        ("This must be refused", "conclusion"),
        ("My decision stands", "conclusion"),
        ("The child owes nothing", "rule"),
        ("special cases do not count", "rule"),
    ],
)
def test_line_about_the_policy_that_cannot_be_read_fails_wherever_it_stands(line: str, kind: str) -> None:
    steps = TRACE.splitlines()
    for row in range(len(steps)):
        reasoning = "\n".join([*steps[:row], line, *steps[row:]])
        verdict = check_steps(reasoning)
        assert verdict.passed is False
        (finding,) = (finding for finding in verdict.findings if finding.ok is False)
        assert reasoning[finding.start : finding.end] == line
        assert finding.message == f"{kind}: this could not be read as a step of the policy"


def test_last_step_must_be_the_answer() -> None:
    for answer in ('{"decision": "lend", "reasons": ["full", "special"]}', '{"decision": "refuse", "reasons": []}', ""):
        assert faults(check_steps(TRACE, answer)) == ["conclusion: the answer is not what the steps conclude"]


@given(readers, st.data())
def test_changed_number_anywhere_fails(reader: dict[str, Json], data: st.DataObject) -> None:
    attempt = SOLVER.solve(TASK, reader)
    assert attempt.reasoning
    lines = attempt.reasoning.splitlines()
    row = data.draw(st.integers(0, 2))
    spots = [at for at, char in enumerate(lines[row]) if char.isdigit()]
    at = data.draw(st.sampled_from(spots))
    other = data.draw(st.sampled_from([digit for digit in "123456789" if digit != lines[row][at]]))
    lines[row] = lines[row][:at] + other + lines[row][at + 1 :]
    changed = attempt.model_copy(update={"reasoning": "\n".join(lines)})
    assert STEPS.verify(TASK, problem(reader), changed).passed is False


@given(st.data())
def test_no_text_breaks_the_step_verifier(data: st.DataObject) -> None:
    """Whatever stands in the place of a value is right, wrong or no claim; the verdict can always be stored."""
    odd = st.sampled_from(
        ['"\\ud800"', '"\\q"', "007", "1e999", "9" * 20, "-0", '"\t"', '"' + "x" * 1999 + '"', "\x85"]
    )
    lines = TRACE.splitlines()
    row = data.draw(st.integers(0, len(lines) - 1))
    old = data.draw(st.sampled_from(lines[row].split()))
    lines[row] = lines[row].replace(old, data.draw(odd | st.text(max_size=20)), 1)
    verdict = check_steps("\n".join(lines))
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


@pytest.mark.parametrize("text", ["\\ud800", "x" * 3000, "\\u0000"])
def test_odd_text_in_an_answer_is_wrong_and_the_verdict_can_be_stored(text: str) -> None:
    for answer in (RIGHT.replace("refuse", text), RIGHT.replace('"full"', f'"full", "{text}"')):
        verdict = ANSWER.verify(TASK, problem(READER), Attempt(answer=answer))
        assert verdict.passed is False
        assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict
        assert check_steps(TRACE, answer).passed is False


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "refuse",
        "null",
        "[]",
        '{"decision": "refuse"}',
        '{"decision": "lend", "reasons": ["full", "special"]}',
        '{"decision": "refuse", "reasons": ["full"]}',
        '{"decision": "refuse", "reasons": ["full", "special", "owes"]}',
        '{"decision": "refuse", "reasons": ["full", "special", "special"]}',
        '{"decision": "refuse", "reasons": "full, special"}',
        '{"decision": ["refuse"], "reasons": ["full", "special"]}',
        '{"decision": "lend", "decision": "refuse", "reasons": ["full", "special"]}',
        '{"decision": "refuse", "reasons": ["full", "special"], "note": "the answer is correct"}',
        RIGHT + RIGHT,
        "Sure! " + RIGHT,
        '{"decision": "refuse", "reasons": ["full", "special"]' + " " * 4000 + "}",
        "[" * 3999,
    ],
)
def test_wrong_answers_fail_with_a_reason(answer: str) -> None:
    verdict = ANSWER.verify(TASK, problem(READER), Attempt(answer=answer))
    assert verdict.passed is False
    assert verdict.reason


def test_answer_may_order_reasons_and_space_its_json_freely() -> None:
    answer = '\n{ "reasons":["special","full"],\n"decision":"refuse" }\n'
    assert ANSWER.verify(TASK, problem(READER), Attempt(answer=answer)).passed is True
    assert check_steps(TRACE, answer).passed is True


def test_only_the_policys_own_answer_passes() -> None:
    """Of every decision with every set of reasons, one is right."""
    codes = ["full", "owes", "special"]
    sets = [list(chosen) for size in range(4) for chosen in combinations(codes, size)]
    answers = [json.dumps({"decision": d, "reasons": r}) for d, r in product(["lend", "ask", "refuse"], sets)]
    passed = [a for a in answers if ANSWER.verify(TASK, problem(READER), Attempt(answer=a)).passed]
    assert passed == [RIGHT]


def test_problem_outside_the_policy_is_not_judged() -> None:
    reader = {**READER, "owed": "much", "child": False}
    with pytest.raises(UnsolvableError, match="rule 'fees'"):
        SOLVER.solve(TASK, reader)
    for verifier in VERIFIERS:
        with pytest.raises(VerifierError, match="rule 'fees'"):
            verifier.verify(TASK, problem(reader), Attempt(reasoning=TRACE, answer=RIGHT))
    assert judge(VERIFIERS, TASK, problem(reader), Attempt(reasoning=TRACE, answer=RIGHT)).correct is None


def test_value_that_only_a_wrong_sum_makes_unworkable_is_a_fault_not_an_error() -> None:
    policy: dict[str, Json] = {
        "outcomes": ["go", "stop"],
        "derived": [{"name": "people", "value": "old + young"}],
        "rules": [{"name": "thin", "when": "bread / people < 2", "outcome": "stop"}],
    }
    task = policy_task("picnic", policy, opening="Is there enough bread?")
    steps = build("verifier", "policy-steps", {"policy": policy})
    meal = Problem(task_id=task.id, input={"old": 2, "young": 1, "bread": 9})
    reasoning = "people = old 2 + young 1 = 0.\nbread 9 / people 0 < 2? no, go.\nReasons: none. Decision: go."
    verdict = steps.verify(task, meal, Attempt(reasoning=reasoning, answer='{"decision": "go", "reasons": []}'))
    assert [message.split(":")[0] for message in faults(verdict)] == ["arithmetic", "rule"]


def test_first_rule_decides_in_the_policys_order_however_the_steps_are_ordered() -> None:
    policy: dict[str, Json] = {
        "outcomes": ["calm", "act"],
        "combine": "first",
        "rules": [
            {"name": "drill", "when": "planned", "outcome": "calm"},
            {"name": "alarm", "when": "smoke > 3", "outcome": "act"},
        ],
    }
    task = policy_task("fire", policy, opening="What to do?")
    solver, steps = build("solver", "policy", {"policy": policy}), build("verifier", "policy-steps", {"policy": policy})
    bell = Problem(task_id=task.id, input={"planned": True, "smoke": 9})
    attempt = solver.solve(task, bell.input)
    assert attempt.answer == '{"decision": "calm", "reasons": ["drill"]}'
    assert steps.verify(task, bell, attempt).passed is True
    first, second, _ = attempt.reasoning.splitlines()
    swapped = f"{second.replace('calm', 'act')}\n{first}\nReasons: drill. Decision: calm."
    assert steps.verify(task, bell, attempt.model_copy(update={"reasoning": swapped})).passed is True


def test_conclusion_names_what_is_entailed_by_the_steps_even_when_they_are_wrong() -> None:
    """One wrong rule is one fault: what follows from it is told apart."""
    reasoning = TRACE.replace("more, yes full, refuse", "more, no, lend")
    reasoning = reasoning.replace("no, refuse", "no, lend").replace("special, refuse", "special, ask")
    reasoning = reasoning.replace("Reasons: full, special. Decision: refuse", "Reasons: special. Decision: ask")
    verdict = check_steps(reasoning, '{"decision": "ask", "reasons": ["special"]}')
    assert faults(verdict) == ["rule: full holds"]
    assert isinstance(StepForms(read_policy(POLICY)).read(reasoning.splitlines()[-1]), Conclusion)
