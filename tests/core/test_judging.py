from __future__ import annotations

from dataclasses import dataclass

import pytest

from forethought.core.judging import judge, refuse_unsound
from forethought.core.records import Attempt, Judges, Problem, Task, Verdict
from forethought.errors import DataError, VerifierError

TASK = Task(name="echo", instructions="Say it again.")


@dataclass
class Fixed:
    """Says the same of every attempt; ``passed`` "broken" raises."""

    name: str
    judges: Judges
    passed: bool | str | None

    def verify(self, task: Task, problem: Problem, attempt: Attempt) -> Verdict:
        if isinstance(self.passed, str):
            raise VerifierError("out of order")
        return Verdict(passed=self.passed, reason="fixed")


class Echo:
    """Right when the answer is the reference. ``heard`` are the answers it was asked about."""

    name = "echo"
    judges: Judges = "answer"

    def __init__(self) -> None:
        self.heard: list[str] = []

    def verify(self, task: Task, problem: Problem, attempt: Attempt) -> Verdict:
        self.heard.append(attempt.answer)
        return Verdict(passed=attempt.answer == problem.reference, reason="not the same")


def problem(reference: str | None = "yes") -> Problem:
    return Problem(task_id=TASK.id, input="?", reference=reference)


THOUGHT = Attempt(reasoning="because", answer="yes")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([True, True], True),
        ([True, False], False),
        ([True, None], None),
        ([None, None], None),
        ([], None),
        (["broken"], None),
        (["broken", True], None),
        (["broken", False], False),
        ([None, False], False),
    ],
)
def test_one_refusal_is_false_and_otherwise_one_that_could_not_judge_leaves_it_open(
    answers: list[bool | str | None], expected: bool | None
) -> None:
    for kind in ("answer", "steps"):
        verifiers = [Fixed(f"v{index}", kind, passed) for index, passed in enumerate(answers)]
        result = judge(verifiers, TASK, problem(), THOUGHT)
        assert (result.correct if kind == "answer" else result.steps_valid) is expected


def test_a_verifier_that_breaks_has_not_judged() -> None:
    result = judge([Fixed("weak", "answer", "broken")], TASK, problem(), THOUGHT)
    assert result.correct is None
    assert result.verdicts["weak"] == Verdict(reason="could not judge: out of order")


def test_verified_takes_a_right_answer_and_checked_steps() -> None:
    right, valid = Fixed("right", "answer", True), Fixed("valid", "steps", True)
    assert judge([right, valid], TASK, problem(), THOUGHT).verified
    assert not judge([right, valid], TASK, problem(), Attempt(answer="yes")).verified
    assert not judge([right], TASK, problem(), THOUGHT).verified
    assert not judge([right, Fixed("unsure", "steps", None)], TASK, problem(), THOUGHT).verified
    assert not judge([Fixed("wrong", "answer", False), valid], TASK, problem(), THOUGHT).verified


def test_sound_references_go_through_and_problems_without_one_are_passed_over() -> None:
    echo = Echo()
    refuse_unsound([echo], TASK, [problem("yes"), problem(None), problem("no")])
    assert echo.heard == ["yes", "", "no", ""]


def test_unsound_references_are_refused_with_the_first_three() -> None:
    problems = [problem(str(number)) for number in range(5)]
    with pytest.raises(DataError) as caught:
        refuse_unsound([Fixed("never", "answer", False)], TASK, problems)
    message = str(caught.value)
    assert "refuse 5 of its own references" in message
    assert all((one.id in message) == (index < 3) for index, one in enumerate(problems))


def test_a_verifier_that_accepts_nothing_said_is_refused() -> None:
    with pytest.raises(DataError, match="an empty answer is accepted"):
        refuse_unsound([Fixed("always", "answer", True)], TASK, [problem()])


def test_references_that_no_verifier_can_judge_are_refused() -> None:
    with pytest.raises(DataError, match=r"no verifier judged it|could not judge"):
        refuse_unsound([Fixed("weak", "answer", "broken")], TASK, [problem()])
