"""Steps of word problems, judged: right ways pass, combinations that only hit the answer do not."""

from __future__ import annotations

import random
import re
from itertools import islice

import pytest

from forethought.core.records import Attempt, Problem, Verdict
from forethought.examples import arithmetic
from forethought.examples.arithmetic.generator import ALL_LEVELS, ArithmeticGenerator
from forethought.examples.arithmetic.solver import ArithmeticSolver
from forethought.examples.arithmetic.verifier import ArithmeticStepsVerifier

TASK = arithmetic.task()
STEPS = ArithmeticStepsVerifier()
SOLVER = ArithmeticSolver()

CLIPS = (
    "Nora has 7 clips. Nora doubles the number of clips. Nora buys 2 boxes with 5 clips each. Nora finds 4 more clips."
)
CLIPS += " How many clips does Nora have now?"
SHELLS = (
    "Ada has 8 shells. Ben has 5 more shells than Ada. Cleo has 4 fewer shells than Ben. How many shells do they have"
)
SHELLS += " together?"
LAMPS = (
    "A shop has 20 lamps. A van brings 3 crates with 6 lamps each. The shop sells 9 lamps. How many lamps does the shop"
)
LAMPS += " have now?"
RIBBONS = "Nora has 15 ribbons. Nora finds 5 more ribbons. Nora loses 2 ribbons. How many ribbons does Nora have now?"
RETURNED = "A shop has 12 lamps. Nora returns 9 lamps. The shop sells 9 lamps. How many lamps does the shop have now?"


def verdict(text: str, reasoning: str, answer: str | None = None) -> Verdict:
    answer = SOLVER.solve(TASK, text).answer if answer is None else answer
    return STEPS.verify(TASK, Problem(task_id=TASK.id, input=text), Attempt(reasoning=reasoning, answer=answer))


def test_the_task_is_judged_by_it() -> None:
    assert [spec.name for spec in TASK.verifiers] == ["math", "arithmetic-steps"]


@pytest.mark.parametrize("level", ALL_LEVELS)
@pytest.mark.parametrize("vocabulary", ["train", "heldout"])
def test_every_trace_of_the_solver_passes(level: int, vocabulary: str) -> None:
    for made in islice(ArithmeticGenerator().generate(seed=7, level=level, vocabulary=vocabulary), 60):
        found = verdict(str(made.input), str(SOLVER.solve(TASK, made.input).reasoning))
        assert found.passed is True, (made.input, found.reason)


def test_no_combination_that_leaves_out_a_number_passes() -> None:
    rng = random.Random(1)
    forged = 0
    for made in islice(ArithmeticGenerator().generate(seed=11, vocabulary="heldout"), 300):
        numbers = re.findall(r"\d+", str(made.input))
        for _ in range(300):
            left_out = rng.choice(numbers)
            used = rng.choices([number for number in numbers if number != left_out] or ["1"], k=rng.randint(2, 5))
            equations, result = _combination(rng, used)
            if str(result) == made.reference and left_out not in re.findall(r"\d+", " ".join(equations)):
                forged += 1
                for proof in (equations, [_in_one(equations)]):
                    reasoning = f"{' '.join(proof)} So the answer is {made.reference}."
                    assert verdict(str(made.input), reasoning).passed is False, (made.input, reasoning)
    assert forged > 500


def test_no_combination_of_all_numbers_passes_unless_it_is_right_for_other_numbers() -> None:
    rng = random.Random(2)
    forged = right = 0
    for made in islice(ArithmeticGenerator().generate(seed=12, vocabulary="heldout"), 400):
        text = str(made.input)
        numbers = re.findall(r"\d+", text)
        if "doubles" in text:
            continue  # a number with two meanings may be read either way
        for _ in range(300):
            order = rng.sample(range(len(numbers)), len(numbers))
            signs = [rng.choice("+-*") for _ in order[1:]]
            equations, result = _combination(rng, [numbers[index] for index in order], signs)
            worked = [*numbers, *re.findall(r"= (-?\d+)", " ".join(equations))]
            if str(result) != made.reference or len({abs(int(number)) for number in worked}) < len(worked):
                continue
            general = _right_for_others(rng, text, order, signs)
            reasoning = f"{' '.join(equations)} So the answer is {made.reference}."
            assert verdict(text, reasoning).passed is general, (text, reasoning)
            forged, right = forged + (not general), right + general
    assert forged > 100
    assert right > 100


def _combination(rng: random.Random, numbers: list[str], signs: list[str] | None = None) -> tuple[list[str], int]:
    """The numbers worked together from left to right, an equation for each sign."""
    total = int(numbers[0])
    equations: list[str] = []
    for number, sign in zip(numbers[1:], signs or [rng.choice("+-*") for _ in numbers[1:]], strict=True):
        before = total
        total = {"+": total + int(number), "-": total - int(number), "*": total * int(number)}[sign]
        equations.append(f"{before} {sign} {number} = {total}.")
    return equations, total


def _in_one(equations: list[str]) -> str:
    """All equations as one line."""
    made = equations[0].partition(" = ")[0]
    for equation in equations[1:]:
        _, sign, number = equation.partition(" = ")[0].split()
        made = f"({made}) {sign} {number}"
    return f"{made} = {equations[-1].rpartition('= ')[2]}"


def _right_for_others(rng: random.Random, text: str, order: list[int], signs: list[str]) -> bool:
    for _ in range(3):
        others = [rng.randint(50_000, 60_000), *(rng.randint(20, 60) for _ in order[1:])]
        remaining = iter(others)
        told = re.sub(r"\d+", lambda _, left=remaining: str(next(left)), text)
        _, result = _combination(rng, [str(others[index]) for index in order], signs)
        if str(result) != SOLVER.solve(TASK, told).answer:
            return False
    return True


@pytest.mark.parametrize(
    ("text", "reasoning"),
    [
        (CLIPS, "7 + 7 = 14. 2 * 5 = 10. 14 + 10 = 24. 24 + 4 = 28."),
        (CLIPS, "2 * 5 = 10. 7 * 2 = 14. 10 + 4 = 14. 14 + 14 = 28."),
        (CLIPS, "First the boxes: 5 * 2 = 10 clips. Doubled, 2 * 7 = 14. In all 14 + 10 + 4 = 28 clips."),
        (CLIPS, "7 * 2 + 2 * 5 + 4 = 28."),
        (CLIPS, "2 * (7) + 5 * 2 = 24. 28 = 24 + 4. 24 + 4 = 28. So the answer is 28."),
        (SHELLS, "8 + 5 = 13. 13 - 4 = 9. 8 + 13 + 9 = 30."),
        (SHELLS, "8 + 5 = 13. 13 - 4 = 9. 13 + 9 = 22. 22 + 8 = 30."),
        (SHELLS, "8 + 5 = 13. 8 + 5 - 4 = 9. 8 + 13 = 21. 21 + 9 = 30. Check: 8 + 13 + 9 = 30."),
        (LAMPS, "3 * 6 = 18. 20 + 10 = 30. 30 + 8 = 38. 38 - 9 = 29."),
        (LAMPS, "6 * 3 = 18. 20 - 9 = 11. 11 + 18 = 21 + 8 = 29."),
        (LAMPS, "20 - 9 = 11. 3 * 6 + 11 = 29."),
        (RETURNED, "12 + 9 = 21. 21 - 9 = 12."),
        (RETURNED, "9 - 9 = 0. 12 + 0 = 12."),
    ],
)
def test_other_orders_groups_and_details_pass(text: str, reasoning: str) -> None:
    found = verdict(text, reasoning)
    assert found.passed is True, found.reason


@pytest.mark.parametrize(
    ("text", "reasoning"),
    [
        (CLIPS, "7 * 4 = 28. So the answer is 28."),
        (CLIPS, "7 + 7 = 14. 14 * 2 = 28."),
        (CLIPS, "7 + 7 = 14. 2 * 5 = 10. 14 + 10 = 24. 24 + 4 = 28. 7 * 4 = 28."),
        (CLIPS, "7 * 4 = 7 + 7 + 2 * 5 + 4 = 28."),
        (CLIPS, "7 * 4 = 28. 28 = 7 + 7 + 10 + 4."),
        (SHELLS, "8 + 5 = 13. 13 - 4 = 9. 5 * 4 = 20. 20 + 5 + 5 = 30."),
        (LAMPS, "20 + 9 = 29."),
        (LAMPS, "6 + 6 + 6 = 18. 20 + 18 = 38. 38 - 9 = 29."),
        (RIBBONS, "2 * 5 = 10. 10 - 2 = 8. 8 + 5 = 13. 13 + 5 = 18."),
        (RETURNED, "12 * 9 = 108. 108 / 9 = 12."),
        (LAMPS, "20 + 9 = 29. 29 - 9 = 20. 20 + 9 = 29."),
    ],
)
def test_what_only_hits_the_answer_does_not_pass(text: str, reasoning: str) -> None:
    found = verdict(text, reasoning)
    assert found.passed is False
    assert any(finding.ok is False for finding in found.findings)
    assert 0 <= (found.value or 0) < 1


def test_right_steps_in_a_spray_of_others_do_not_pass() -> None:
    right = "20 + 3 * 6 - 9 = 29."
    guesses = ["20 + 9 = 29.", "20 * 9 / 20 + 20 = 29.", "3 + 6 + 20 = 29."]
    assert verdict(LAMPS, f"{guesses[0]} {right}").passed is True
    found = verdict(LAMPS, f"{' '.join(guesses)} {right}")
    assert found.passed is False
    assert "no part in" in found.reason
    assert "over 30 equations" in verdict(LAMPS, f"{'20 + 9 = 29. ' * 50}{right}").reason


def test_a_wrong_equation_and_one_too_large_fail() -> None:
    assert verdict(LAMPS, "3 * 6 = 19. 20 + 18 = 38. 38 - 9 = 29.").passed is False
    assert verdict(LAMPS, "9^9^9^9 = 1. 20 + 3 * 6 - 9 = 29.").passed is False


def test_a_story_the_solver_does_not_know_is_not_judged() -> None:
    text = "Nora bakes 12 buns and eats 3. How many buns are left?"
    assert verdict(text, "12 - 3 = 9.", "9").passed is None
    assert verdict(text, "12 - 3 = 8.", "8").passed is False


def test_the_same_attempt_is_always_judged_the_same() -> None:
    made = next(ArithmeticGenerator().generate(seed=5, level=6))
    reasoning = str(SOLVER.solve(TASK, made.input).reasoning)
    assert len({verdict(str(made.input), reasoning).model_dump_json() for _ in range(3)}) == 1
