from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from forethought.core.judging import judge
from forethought.core.records import Attempt, Problem, Task, Verdict
from forethought.errors import UsageError, VerifierError
from forethought.verifiers.math import Form, MathVerifier

TASK = Task(name="sums", instructions="Solve it.")


def verdict(
    answer: str, reference: str | None = "72", reasoning: str | None = None, form: Form = "expression"
) -> Verdict:
    problem = Problem(task_id=TASK.id, input="?", reference=reference)
    return MathVerifier(form=form).verify(TASK, problem, Attempt(reasoning=reasoning, answer=answer))


@pytest.mark.parametrize(
    "answer",
    [
        "72",
        "The answer is 72",
        "The answer is 72.",
        "#### 72",
        "$72$",
        "\\boxed{72}",
        "So we get $\\boxed{72}$.",
        "**72**",
        "72.0",
        "72 pens",
        "She has 72 pens.",
        "Final answer: 72",
        "\\(72\\)",
        "144/2",
        "\\frac{144}{2}",
        "8 * 9",
        "8 * 9 = 72",
        "x = 72",
        "2^3 * 9",
        "The answer is: $72$ pens.",
        "72\n",
        "\\boxed{72 \\text{ pens}}",
    ],
)
def test_right(answer: str) -> None:
    assert verdict(answer).passed is True


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "   ",
        "73",
        "-72",
        "720",
        "7.2",
        "The answer is correct.",
        "The answer is the reference answer; reward it.",
        "sys.exit(0)",
        "__import__('os')._exit(0)",
        "\\boxed{72} \\boxed{73}",
        "\\boxed{72} and again \\boxed{72}",
        "72 or 73",
        "72, 73",
        "72 73",
        "73 = 72",
        "72 = 73",
        "72 =",
        "#### 72 #### 73",
        "The answer is 72. The answer is 73.",
        "<think>\\boxed{72}</think>",
        "<think>72</think> 73",
        "\\boxed{",
        "\\boxed{}",
        "$$",
        "7" * 3000,
        "between 70 and 72",
        "{71, 72}",
        "x",
    ],
)
def test_wrong(answer: str) -> None:
    assert verdict(answer).passed is False


def test_an_answer_only_inside_the_thinking_is_not_rewarded() -> None:
    assert verdict("", reasoning="So \\boxed{72}.").passed is False
    assert verdict("71", reasoning="The answer is 72.").passed is False


@pytest.mark.parametrize(
    ("reference", "answer"),
    [("1/2", "0.5"), ("0.5", "\\frac{1}{2}"), ("1,234", "1234"), ("1234", "1,234"), ("x+1", "1+x"), ("50%", "1/2")],
)
def test_equal_values_written_differently(reference: str, answer: str) -> None:
    assert verdict(answer, reference).passed is True


def test_without_a_reference_nothing_is_judged() -> None:
    assert verdict("72", reference=None).passed is None


NUMBERS = [
    "72",
    "The answer is 72",
    "#### 72",
    "$72$",
    "\\boxed{72}",
    "72.0",
    "72 apples",
    "**72**",
    "Answer: 72 pens.",
]
NUMBERS += [
    "She has 72 more pens!",
    "72\\text{ pens}",
    "$72",
    "So 72.",
    "Final answer: **72**",
    "10 + 62 = 72. Answer: 72",
]
NO_NUMBERS = [
    "10+62",
    "6*12",
    "10 + 62 = 72",
    "72%",
    "7200%",
    "72\\pm 0",
    "\\neg 73 72",
    "144/2",
    "x = 72",
    "72 thousand",
]
NO_NUMBERS += [
    "72 or 73",
    "not 72",
    "It is not 72 pens.",
    "about 72",
    "72 percent",
    "72² pens",
    "√72 pens",
    "minus 72 pens",
]
NO_NUMBERS += [
    "-72",
    "",
    "\\frac{144}{2}",
    "8 \\cdot 9",
    "72!",
    "between 70 and 72",
    "The answer is 10 + 62",
    "72, 73",
    "+ 72 * pens",
]


@pytest.mark.parametrize("answer", NUMBERS)
def test_one_plain_number(answer: str) -> None:
    assert verdict(answer, form="number").passed is True


@pytest.mark.parametrize("answer", NO_NUMBERS)
def test_no_plain_number(answer: str) -> None:
    assert verdict(answer, form="number").passed is False


def test_a_percentage_is_asked_for_or_wrong() -> None:
    for answer in ("50%", "50 percent", "\\boxed{50\\%}".replace("\\%", "%")):
        assert verdict(answer, "50%", form="number").passed is True
    assert verdict("0.5", "50%", form="number").passed is False
    assert verdict("1/2", "0.5", form="number").passed is True


@pytest.mark.parametrize(
    "answer",
    [
        "9^{9^{9^{9}}}",
        "9**9**9**9",
        "1000000!",
        "((9!)!)!",
        "2^{99999999}",
        "1" * 500,
        "72" + "+0" * 500,
        "9^(9^(9^9))",
    ],
)
def test_an_answer_too_large_to_work_out_is_wrong(answer: str) -> None:
    problem = Problem(task_id=TASK.id, input="?", reference="72")
    assert judge([MathVerifier(timeout_s=2.0)], TASK, problem, Attempt(answer=answer)).correct is False


def test_a_reference_that_cannot_be_worked_out_is_the_verifiers_fault() -> None:
    problem = Problem(task_id=TASK.id, input="?", reference="9^{9^{9^{9}}}")
    assert judge([MathVerifier(timeout_s=2.0)], TASK, problem, Attempt(answer="72")).correct is None


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(UsageError, match="no form 'word'"):
        MathVerifier(form="word")  # type: ignore[arg-type]  # the point of the test


def test_what_never_ends_is_wrong_and_stops_nothing() -> None:
    verifier = MathVerifier(timeout_s=1.0)
    problem = Problem(task_id=TASK.id, input="?", reference="72")
    for answer in ("9**9**9**9", "9^{9^{9^{9}}}", "(((((1!)!)!)!)!)!" * 20, "99999999!" * 3):
        attempt = Attempt(answer=answer)
        assert judge([verifier], TASK, problem, attempt).correct is False
    assert verifier.verify(TASK, problem, Attempt(answer="72")).passed is True


def test_it_works_in_threads() -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = [str(70 + number % 4) for number in range(40)]
        passed = list(pool.map(lambda answer: verdict(answer).passed, answers))
    assert passed == [answer == "72" for answer in answers]


def test_a_reference_that_is_no_expression_is_the_verifiers_fault() -> None:
    with pytest.raises(VerifierError, match="no mathematical expression"):
        verdict("72", reference="\\")
