"""Answers to syllogisms and proofs of them, judged."""

from __future__ import annotations

import random
from itertools import islice

import pytest
from fixtures.syllogism import (
    BROKEN,
    CLASSIC,
    SOLVER,
    TASK,
    VERIFIERS,
    draft,
    judged,
    levels,
    problem,
    seeds,
    steps_pass,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from forethought.core.judging import judge
from forethought.core.records import Attempt
from forethought.examples.syllogism.generator import SyllogismGenerator
from forethought.examples.syllogism.puzzle import reachable, read
from forethought.examples.syllogism.verifier import SyllogismStepsVerifier

# --- judging answers --------------------------------------------------------------------------------------------------


SAYS_YES = ["yes", "Yes.", "YES", " yes\n", "**Yes**", "The answer is yes.", "Answer: yes", "Final answer: **Yes**"]
SAYS_YES += ["The answer to your question is yes.", "The correct answer is yes.", "I think the answer is yes."]
SAYS_YES += ["Based on the facts, yes.", "Yes, all bloops are definitely lazzies."]
SAYS_YES += ["Definitely yes.", "Yes, definitely.", "So the answer is: yes", "**Answer:** Yes", "Yes, they are."]


@pytest.mark.parametrize("answer", SAYS_YES)
def test_ways_to_say_yes(answer: str) -> None:
    assert judged(CLASSIC, None, answer).correct is True
    assert judged(BROKEN, None, answer).correct is False


SAYS_NOT_YES = ["", "no", "maybe", "yes and no", "yes or no", "The answer is correct", "yesterday", "yes?! no"]
SAYS_NOT_YES += [
    "Yes, but no",
    "yes if it rains",
    "Not yes",
    "Yes, all lazzies are bloops.",
    "yes, they are not",
    "yes man",
]
SAYS_NOT_YES += [
    "It is not clear whether yes.",
    "I don't think the answer is yes.",
    "The answer to no question is yes.",
]
SAYS_NOT_YES += ["Based on the facts no, yes.", "The answer is yes. The answer is no.", "The answer is not yes."]
SAYS_NOT_YES += ["Yes, it does not follow that all bloops are lazzies.", "yes-ish", "Yes, the moon is a cheese."]


def test_a_clause_behind_the_answer_must_agree_with_it() -> None:
    assert judged(CLASSIC, None, "Yes, all bloops are lazzies.").correct is True
    assert judged(CLASSIC, None, "Yes, because all bloops are razzies and all razzies are lazzies.").correct is True
    assert judged(BROKEN, None, "Yes, all bloops are dorps.").correct is False
    for said in (
        "No",
        "The answer is no.",
        "No, not necessarily.",
        "No, not all bloops are dorps.",
        "No, not all of them.",
        "Based on the facts, no: not all bloops are definitely dorps.",
        "Definitely not: no",
    ):
        assert judged(BROKEN, None, said).correct is (said != "Definitely not: no")


@pytest.mark.parametrize(
    "answer", ["No idea", "no-one can tell", "No one knows.", "no, all bloops are dorps", "Nobody"]
)
def test_what_does_not_say_no(answer: str) -> None:
    assert judged(BROKEN, None, answer).correct is False


@pytest.mark.parametrize("answer", SAYS_NOT_YES)
def test_what_does_not_say_yes(answer: str) -> None:
    assert judged(CLASSIC, None, answer).correct is False


def test_the_text_is_judged_not_the_stored_reference() -> None:
    wrong_label = problem(CLASSIC, reference="no")
    assert judge(VERIFIERS, TASK, wrong_label, Attempt(answer="yes")).correct is True


# --- judging steps ----------------------------------------------------------------------------------------------------

PROOF = "All bloops are razzies. All razzies are lazzies. So all bloops are lazzies."
SEARCH = "All bloops are razzies. All razzies are nothing more. So it does not follow that all bloops are dorps."
LONG = "All b are c. All d are e. All a are b. All c are d. Are all a definitely e?"


def test_proofs_pass_and_findings_cover_their_sentences() -> None:
    verdict = SyllogismStepsVerifier().verify(TASK, problem(CLASSIC), Attempt(reasoning=PROOF, answer="yes"))
    assert verdict.passed
    assert [PROOF[f.start : f.end] for f in verdict.findings] == [
        "All bloops are razzies.",
        "All razzies are lazzies.",
        "So all bloops are lazzies.",
    ]
    assert steps_pass(BROKEN, SEARCH)
    assert steps_pass(LONG, "All a are b. So all a are c. So all a are d. Therefore, all a are e.")
    assert steps_pass(LONG, "All a are b and all b are c. Since all c are d, all a are d. Thus all a are e.")


@pytest.mark.parametrize(
    ("text", "reasoning"),
    [
        (CLASSIC, ""),
        (CLASSIC, "The answer is clearly yes. Trust me, this reasoning is valid."),
        (CLASSIC, "So all bloops are lazzies."),
        (CLASSIC, "All bloops are razzies."),
        (CLASSIC, "All bloops are razzies. " * 50),
        (CLASSIC, CLASSIC),
        (CLASSIC, "All bloops are razzies. All razzies are bloops. So all bloops are lazzies."),
        (
            CLASSIC,
            "All bloops are razzies. All razzies are lazzies. So it does not follow that all bloops are lazzies.",
        ),
        (CLASSIC, "All bloops are razzies. All razzies are lazzies. So all lazzies are bloops."),
        (CLASSIC, "All bloops are wugs. All wugs are lazzies. So all bloops are lazzies."),
        (CLASSIC, "Are all bloops razzies? Are all razzies lazzies? Are all bloops lazzies?"),
        (BROKEN, "So it does not follow that all bloops are dorps."),
        (BROKEN, "All lazzies are dorps. So it does not follow that all bloops are dorps."),
        (BROKEN, "All bloops are nothing more. So it does not follow that all bloops are dorps."),
        (BROKEN, "All bloops are razzies. All razzies are lazzies. So all bloops are dorps."),
        (BROKEN, "All bloops are razzies. All razzies are nothing more."),
        (LONG, "All b are c. All d are e. All a are b. All c are d. So all a are e."),
        (LONG, "All a are b. So all a are e."),
        (LONG, "All a are b are c. All c are d. So all a are e."),
    ],
)
def test_what_is_no_proof(text: str, reasoning: str) -> None:
    assert steps_pass(text, reasoning) is False


UNREADABLE = [
    "Bloops are not razzies.",
    "No razzies are bloops.",
    "All razzies are not lazzies.",
    "Every lazzie fears a bloop.",
]
UNREADABLE += [
    "Some bloops are lazzies.",
    "A razzie is never a lazzie.",
    "Lazzies exclude bloops.",
    "All wugs are not daxes.",
]


@pytest.mark.parametrize("sentence", UNREADABLE)
def test_a_sentence_about_the_words_that_cannot_be_read_fails(sentence: str) -> None:
    for reasoning in (f"{sentence} {PROOF}", PROOF.replace(" So ", f" {sentence} So ")):
        attempt = Attempt(reasoning=reasoning, answer="yes")
        verdict = SyllogismStepsVerifier().verify(TASK, problem(CLASSIC), attempt)
        assert verdict.passed is False
        (finding,) = (finding for finding in verdict.findings if finding.ok is False)
        assert "could not be read" in finding.message
        assert reasoning[finding.start : finding.end].rstrip(".") == sentence.rstrip(".")


def test_naming_the_other_answer_fails_and_naming_the_right_one_is_no_step() -> None:
    assert steps_pass(CLASSIC, f"{PROOF} So the answer is yes.") is True
    assert steps_pass(CLASSIC, f"{PROOF} So the answer is no.") is False
    assert steps_pass(CLASSIC, "The answer is yes.") is False


@pytest.mark.parametrize("remark", ["Let me think.", "Step by step:", "That is clear.", "OK, here we go!", "1."])
def test_a_remark_about_nothing_in_particular_is_harmless(remark: str) -> None:
    assert steps_pass(CLASSIC, f"{remark} {PROOF} {remark}") is True


def test_without_a_checkable_step_nothing_is_earned() -> None:
    for reasoning in ("", "Let me think about this.", "yes yes yes", "Are all bloops razzies?"):
        verdict = SyllogismStepsVerifier().verify(TASK, problem(CLASSIC), Attempt(reasoning=reasoning, answer="yes"))
        assert (verdict.value, verdict.passed) == (0.0, False)


@given(seeds, levels, st.integers(0, 1), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_mutated_proofs_fail(seed: int, level: int, index: int, rng: random.Random) -> None:
    made = draft(seed, level, index=index)
    attempt = SOLVER.solve(TASK, made.input)
    puzzle = read(made.input)
    steps = str(attempt.reasoning).split(". ")
    other = {"yes": "no", "no": "yes"}[attempt.answer]
    assert judged(str(made.input), attempt.reasoning, other).correct is False
    assert steps_pass(str(made.input), ". ".join(steps[:-1])) is False  # the conclusion is gone
    assert steps_pass(str(made.input), steps[-1]) is False  # only the conclusion is left
    first_words = puzzle.graph[puzzle.start][0]
    stranger = rng.choice(sorted(puzzle.words - {puzzle.start} - reachable(puzzle.graph, puzzle.start)))
    wrong = str(attempt.reasoning).replace(f"are {first_words}.", f"are {stranger}.", 1)
    assert steps_pass(str(made.input), wrong) is False
    opposite = (
        f"So it does not follow that all {puzzle.start} are {puzzle.target}."
        if attempt.answer == "yes"
        else f"So all {puzzle.start} are {puzzle.target}."
    )
    assert steps_pass(str(made.input), ". ".join([*steps[:-1], opposite])) is False


def test_copying_the_facts_and_guessing_is_hardly_ever_a_proof() -> None:
    made = list(islice(SyllogismGenerator().generate(seed=8), 400))
    passed = 0
    for one in made:
        facts, _, _ = str(one.input).partition(" Are all ")
        conclusion = str(SOLVER.solve(TASK, one.input).reasoning).split(". ")[-1]
        passed += steps_pass(str(one.input), f"{facts} {conclusion}") is True
        assert steps_pass(str(one.input), f"{facts} " * 12 + conclusion) is False
    assert passed / len(made) < 0.02


def test_hostile_reasoning_is_judged_in_bounded_time() -> None:
    assert steps_pass(CLASSIC, "all bloops are " * 3000) is False
    assert steps_pass(CLASSIC, "it does not follow that " * 2000) is False


PIECES = (
    "all|every|bloops|razzies|lazzies|are|is a|nothing more|So|not all|it does not follow|that|and|because|.|,|?|\n|wug"
    "|no fact says what|ﬁ|1."
)


@given(st.lists(st.sampled_from(PIECES.split("|")), max_size=60).map(" ".join))
@settings(max_examples=300, deadline=None)
def test_any_reasoning_gives_spans_inside_it(reasoning: str) -> None:
    attempt = Attempt(reasoning=reasoning, answer="yes")
    verdict = SyllogismStepsVerifier().verify(TASK, problem(CLASSIC), attempt)
    assert verdict.passed in (True, False)
    ends = [0]
    for finding in verdict.findings:
        assert ends[-1] <= finding.start < finding.end <= len(reasoning)
        ends.append(finding.end)
