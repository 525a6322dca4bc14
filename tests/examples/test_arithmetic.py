from __future__ import annotations

import re
from collections import Counter
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forethought.core.judging import judge, refuse_unsound
from forethought.core.records import Attempt, Problem
from forethought.core.registry import build
from forethought.core.seams import ProblemDraft
from forethought.errors import UnsolvableError, UsageError
from forethought.examples import arithmetic
from forethought.examples.arithmetic.generator import ArithmeticGenerator
from forethought.examples.arithmetic.solver import ArithmeticSolver, place_values
from forethought.examples.arithmetic.words import stock

TASK = arithmetic.task()
VERIFIERS = [build("verifier", spec.name, dict(spec.options)) for spec in TASK.verifiers]
ANSWER, STEPS = VERIFIERS
SOLVER = ArithmeticSolver()

seeds = st.integers(0, 10_000)
levels = st.integers(1, 8)


def problem(draft: ProblemDraft) -> Problem:
    return Problem(task_id=TASK.id, input=draft.input, reference=draft.reference)


def draft(seed: int, level: int, vocabulary: str = "train", index: int = 0) -> ProblemDraft:
    stream = ArithmeticGenerator().generate(seed=seed, level=level, vocabulary=vocabulary)
    return next(islice(stream, index, None))


@given(seeds, levels, st.sampled_from(["train", "heldout"]), st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_the_solver_answers_every_generated_problem(seed: int, level: int, vocabulary: str, index: int) -> None:
    made = draft(seed, level, vocabulary, index)
    attempt = SOLVER.solve(TASK, made.input)
    assert attempt.answer == made.reference
    assert judge(VERIFIERS, TASK, problem(made), attempt).verified
    assert str(attempt.reasoning).endswith(f"So the answer is {made.reference}.")


@given(seeds, levels)
@settings(max_examples=100, deadline=None)
def test_mutated_attempts_fail(seed: int, level: int) -> None:
    made = draft(seed, level)
    attempt = SOLVER.solve(TASK, made.input)
    off = str(int(attempt.answer) + 1)
    assert ANSWER.verify(TASK, problem(made), Attempt(reasoning=attempt.reasoning, answer=off)).passed is False
    assert STEPS.verify(TASK, problem(made), Attempt(reasoning=attempt.reasoning, answer=off)).passed is False
    reasoning = str(attempt.reasoning)
    for equation in re.finditer(r"= (\d+)", reasoning):
        wrong = f"{reasoning[: equation.start()]}= {int(equation[1]) + 1}{reasoning[equation.end() :]}"
        assert STEPS.verify(TASK, problem(made), Attempt(reasoning=wrong, answer=attempt.answer)).passed is False
    for empty in (None, "", f"So the answer is {attempt.answer}.", f"{attempt.answer} = {attempt.answer}."):
        assert STEPS.verify(TASK, problem(made), Attempt(reasoning=empty, answer=attempt.answer)).passed is False


def test_a_guess_dressed_up_as_an_equation_is_no_step() -> None:
    for made in islice(ArithmeticGenerator().generate(seed=3), 50):
        guess = Attempt(reasoning=f"{1000 + int(made.reference)} - 1000 = {made.reference}.", answer=made.reference)
        assert STEPS.verify(TASK, problem(made), guess).passed is False


def test_same_seed_same_problems_and_no_story_twice() -> None:
    first, again, other = (list(islice(ArithmeticGenerator().generate(seed=s), 1500)) for s in (1, 1, 2))
    assert first == again
    assert first != other
    assert len({one.group for one in first}) == len({one.input for one in first}) == 1500


def test_names_and_things_are_disjoint() -> None:
    train, heldout = stock("train"), stock("heldout")
    assert not set(train.names) & set(heldout.names)
    assert not set(train.things) & set(heldout.things)
    assert min(len(heldout.names), len(train.names)) > 300
    strangers = {*train.names, *train.things}
    for made in islice(ArithmeticGenerator().generate(seed=3, vocabulary="heldout"), 300):
        assert not set(re.findall(r"\w+", str(made.input))) & strangers


def test_all_kinds_of_story_and_many_answers_occur() -> None:
    made = list(islice(ArithmeticGenerator().generate(seed=5), 1000))
    kinds = Counter(one.topic[1] for one in made)
    assert set(kinds) == {"person", "shop", "bus", "compare"}
    assert min(kinds.values()) > 100
    assert max(Counter(one.reference for one in made).values()) < 80
    assert all(1 <= int(one.reference) <= 30 for one in made)
    assert {one.level for one in made} == {2, 3, 4}


def test_a_level_is_the_number_of_operations() -> None:
    for level in range(1, 9):
        for made in islice(ArithmeticGenerator().generate(seed=1, level=level), 30):
            *told, asked = re.findall(r"[^.?]+[.?]", str(made.input))
            operations = sum(1 + bool(re.search(r"\d\D+\d", sentence)) for sentence in told[1:])
            together = len(told) - 1 if "together" in asked else 0
            assert operations + together == level


def test_samples_are_sound_and_solvable() -> None:
    samples = arithmetic.sample_problems()
    refuse_unsound(VERIFIERS, TASK, map(problem, samples))
    assert all(judge(VERIFIERS, TASK, problem(one), SOLVER.solve(TASK, one.input)).verified for one in samples)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "What is 2 + 2?",
        "Nora has 12 pens. Nora eats 3 pens. How many pens does Nora have now?",
        "Nora has 12 pens. Nora loses 30 pens. How many pens does Nora have now?",
        "Nora has 12 pens. Nora finds 3 more cups. How many pens does Nora have now?",
        "Nora has 12 pens. Ben has 5 more pens than Tom. How many pens does Ben have?",
        "Nora has 12 pens. Ben has 5 more pens than Nora. How many cups does Ben have?",
        "Nora has 12 pens. Ben has 5 more pens than Nora. How many pens does Tom have?",
    ],
)
def test_what_the_solver_does_not_know_is_refused(text: str) -> None:
    with pytest.raises(UnsolvableError):
        SOLVER.solve(TASK, text)


def test_unknown_levels_and_stocks_are_refused() -> None:
    with pytest.raises(UsageError, match="levels 1 to 8"):
        ArithmeticGenerator(levels=[9])
    with pytest.raises(UsageError, match="no word stock"):
        next(ArithmeticGenerator().generate(seed=1, vocabulary="test"))


def test_place_values() -> None:
    assert [place_values(number) for number in (0, 7, 10, 37, 105)] == [[0], [7], [10], [30, 7], [100, 5]]
