from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forethought.core.records import Attempt, Problem, Task, Verdict
from forethought.verifiers.equation_reading import Equation, read_equations
from forethought.verifiers.equations import EquationsVerifier

TASK = Task(name="sums", instructions="Solve it.")


def verdict(reasoning: str | None, answer: str = "25", text: str = "", **options: bool) -> Verdict:
    problem = Problem(task_id=TASK.id, input=text, reference=answer)
    return EquationsVerifier(**options).verify(TASK, problem, Attempt(reasoning=reasoning, answer=answer))


@pytest.mark.parametrize(
    "reasoning",
    [
        "12 + 18 = 30. 30 - 5 = 25.",
        "First 3 * 6 = 18, then 12 + 18 - 5 = 25",
        "(2 + 3) * 5 = 25",
        "5^2 = 25",
        "5**2 = 25",
        "100 / 4 = 25",
        "100 ÷ 4 = 50/2 = 25",
        "2 × 12.5 = 25.0",
        "5 x 5 = 25",
        "12 pens + 13 pens = 25 pens",
        "Total = 20 + 5 = 25",
        "1) 20 + 5 = 25",
        "1,000 - 975 = 25",
        "$20 + $5 = $25",
        "-5 + 30 = 25",
        "30 − 5 = 25",
        "1/2 + 1/2 + 24 = 25",
        "0.1 + 0.2 + 24.7 = 25",
    ],
)
def test_right_equations_pass(reasoning: str) -> None:
    assert verdict(reasoning).passed is True


@pytest.mark.parametrize(
    ("reasoning", "reason"),
    [
        (None, "no equation"),
        ("", "no equation"),
        ("It is 25, obviously. All equations are correct.", "no equation"),
        ("25 = 25", "no equation"),
        ("12 + 18 = 31. 30 - 5 = 25.", "12 + 18 is 30, not 31"),
        ("12 + 18 = 30.", "the last step gives 30"),
        ("20 + 5 = 25. 25 + 1 = 26.", "the last step gives 26"),
        ("10 / 3 = 3.33. 20 + 5 = 25", "10/3, not 3.33"),
        ("__import__('os').system('true') = 25", "could not be read"),
    ],
)
def test_wrong_or_missing_equations_do_not_pass(reasoning: str | None, reason: str) -> None:
    found = verdict(reasoning)
    assert found.passed is False
    assert reason in found.reason


GIVEN = "Nora has 10 pens and buys 62 pens. How many pens does Nora have now?"


@pytest.mark.parametrize(
    ("reasoning", "reason"),
    [
        ("10 + 62 = 72 = 73.", "72 is 72, not 73"),
        ("10 + 62 = 73 = 72.", "10 + 62 is 72, not 73"),
        ("10 red pens + 62 red pens = 75 red pens. 10 + 62 = 72", "is 72, not 75"),
        ("10 + 62 = 72. 72 = 80.", "72 is 72, not 80"),
        ("10 / 0 = 5. 10 + 62 = 72", "divides by zero"),
        ("10 + 62 = 72. 72 = 5 / (10 - 10)", "divides by zero"),
        ("(10 + 62) pens = 80 pens. 10 + 62 = 72", "is 72, not 80"),
        ("10 + 63% = 99. 10 + 62 = 72", "not 99"),
        ("10 + 62 = 72. So 71 is the answer.", "another answer than 72"),
        ("10 + 62 = 72. So the answer is 71.", "another answer than 72"),
        ("10 + 62 = 72. The answer is $71 in all.", "another answer than 72"),
        ("10 + 62 = 72. Answer: 71", "another answer than 72"),
        ("10 + 62 = total = 73. 10 + 62 = 72", "10 + 62 is 72, not 73"),
        ("Total = 99. 10 + 62 = 72", "99 is neither given nor worked out"),
        ("10 plus 62 = 75. 10 + 62 = 72", "is 72, not 75"),
        ("10 plus 62 is 75. 10 + 62 = 72", "is 72, not 75"),
        ("10 pens plus 62 pens equals 75 pens. 10 + 62 = 72", "is 72, not 75"),
        ("10 + 62\n= 73. 10 + 62 = 72", "is 72, not 73"),
        ("10 + 62 =\n73. 10 + 62 = 72", "is 72, not 73"),
        ("10 + 62 != 72. 10 + 62 = 72", "could not be read"),
        ("10 + 62 > 80. 10 + 62 = 72", "could not be read"),
        ("= 80. 10 + 62 = 72", "could not be read"),
        ("10 + 62 = ? 10 + 62 = 72", "could not be read"),
        ("2(10 + 62) = 72. 10 + 62 = 72", "could not be read"),
        ("√10 + 62 = 72. 10 + 62 = 72", "could not be read"),
        ("3 times (10 + 62 = 72). 10 + 62 = 72", "could not be read"),
        ("half 10 + 62 = 72. 10 + 62 = 72", "could not be read"),
        ("ten + 62 = 62. 10 + 62 = 72", "could not be read"),
        ("10 + 62 = 72 thousand. 10 + 62 = 72", "could not be read"),
        ("10 + 62 = 72 and a half pens. 10 + 62 = 72", "could not be read"),
        ("10 + 62 = 72 + a bonus. 10 + 62 = 72", "could not be read"),
        ("5! - 10 = -10. 10 + 62 = 72", "could not be read"),
        ("10 + 62 = 72 then 10 + 62 = 73 and 10 + 62 = 72", "is 72, not 73"),
    ],
)
def test_no_equality_is_passed_over(reasoning: str, reason: str) -> None:
    for grounded in (True, False):
        found = verdict(reasoning, answer="72", text=GIVEN, grounded=grounded)
        assert found.passed is False
        assert reason in found.reason


@pytest.mark.parametrize(
    "reasoning",
    [
        "10 red pens + 62 red pens = 72 red pens",
        "(10 + 62) pens = 72 pens",
        "10 + 62 = 72 = 72.0",
        "Nora has 10. She buys 62: 10 + 62 = 72. The answer is 72.",
        "Nora has 10 pens and buys 62 pens (10 + 62 = 72). So 72 is the answer.",
        "**10 + 62 = 72**",
        "- 10 + 62 = 72\n- So the answer is 72 pens.",
        "1. 10 + 62 = 72",
        "\\(10 + 62 = 72\\)",
        "pens left = 10 + 62 = 72, so Total = 72",
        "first 10 + 62 = 70 + 2 = 72 then 72 = 72 which is all",
        "10 plus 62 is 72",
        "10\n+ 62 pens are there.\n10 + 62\n= 72",
        "The answer is not 71. 10 + 62 = 72. The answer is 10 + 62 = 72.",
    ],
)
def test_ways_to_write_right_equations(reasoning: str) -> None:
    found = verdict(reasoning, answer="72", text=GIVEN, grounded=True)
    assert found.passed is True, found


def test_findings_are_the_equations() -> None:
    reasoning = "Start: 12.\nBuys: 3 * 6 = 18. Then 12 + 18 = 31 pens, and 30 - 5 = 25."
    found = verdict(reasoning)
    assert [(reasoning[f.start : f.end], f.ok) for f in found.findings] == [
        ("3 * 6 = 18", True),
        ("12 + 18 = 31", False),
        ("30 - 5 = 25", True),
    ]
    assert found.value == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "equation",
    ["9**9**9 = 1", "9^9^9^9 = 1", "9" * 50 + " + 1 = 2", "2^99999 = 1", "((9^60)^60)^60 = 1", "1 = 9**9**9**9"],
)
def test_what_is_too_large_costs_nothing_and_does_not_escape_judgement(equation: str) -> None:
    found = verdict(f"20 + 5 = 25. {equation}. 20 + 5 = 25.")
    assert found.passed is False
    assert found.reason == "too large to check"


@pytest.mark.parametrize(
    "reasoning",
    ["(" * 20_000, "1 + " * 10_000 + "= 2", "2 ^ " * 10_000 + "2 = 4", "- " * 20_000 + "1 = 1", "1 / 0 = 5"],
)
def test_hostile_text_is_read_in_bounded_time(reasoning: str) -> None:
    assert verdict(reasoning).passed is not True


def test_grounded_numbers_come_from_the_problem() -> None:
    text = "Nora has 12 pens and buys 3 boxes with 6 pens each. She gives five to Tom."
    assert verdict("3 * 6 = 18. 12 + 18 = 30. 30 - 5 = 25", text=text, grounded=True).passed is True
    assert verdict("3 * 6 = 18. 12 + 10 = 22. 22 + 8 = 30. 30 - 5 = 25", text=text, grounded=True).passed is True
    assert verdict("3 * 6 = 18. 12 + 18 = 22 + 8 = 30. 30 - 5 = 25", text=text, grounded=True).passed is True
    assert verdict("12 + 6 = 11 + 7 - 9 + 9. 20 + 5 = 25", text=text, grounded=True).passed is False
    guess = verdict("24 + 1 = 25", text=text, grounded=True)
    assert guess.passed is False
    assert guess.reason == "24 is neither given nor worked out before"
    assert verdict("25 = 24 + 1", text=text, grounded=True).passed is False
    assert verdict("24 + 1 = 25", text=text).passed is True


def test_the_answer_may_be_asked_to_stand_apart() -> None:
    assert verdict("20 + 5 = 25", answer='{"decision": "refer"}').passed is False
    assert verdict("20 + 5 = 25", answer='{"decision": "refer"}', leads_to_answer=False).passed is True


numbers = st.integers(0, 10_000)
expressions = st.recursive(
    numbers.map(lambda n: (str(n), Fraction(n))),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(
        lambda p: (
            f"({p[0][0]} {p[1]} {p[2][0]})",
            {"+": p[0][1] + p[2][1], "-": p[0][1] - p[2][1], "*": p[0][1] * p[2][1]}[p[1]],
        )
    ),
    max_leaves=6,
)


@given(expressions, expressions)
@settings(max_examples=200, deadline=None)
def test_evaluation_is_exact(left: tuple[str, Fraction], right: tuple[str, Fraction]) -> None:
    text = f"so {left[0]} + {right[0]} = {left[1] + right[1]}, done"
    (equation,) = read_equations(text)
    assert isinstance(equation, Equation)
    assert equation.holds is True
    assert text[equation.start : equation.end] == text[3:-6]
    (off,) = read_equations(f"{left[0]} + {right[0]} = {left[1] + right[1] + 1}")
    assert isinstance(off, Equation)
    assert off.holds is False


@given(st.text(alphabet="0123456789+-*/^()=. x\n", max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_text_gives_spans_inside_it(text: str) -> None:
    for claim in read_equations(text):
        assert 0 <= claim.start < claim.end <= len(text)
        assert "=" in text[claim.start : claim.end]
