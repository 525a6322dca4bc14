from __future__ import annotations

from dataclasses import dataclass

import pytest

from forethought.core.facts import facts_of
from forethought.core.judging import judge, proven, refuse_unsound
from forethought.core.records import Attempt, Judges, Outcome, Problem, Score, Task, Trace, Verdict
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


VERIFIED = [
    # verdicts on the answer, on the steps; whether an attempt with reasoning is verified, and one without
    ([True], [True], True, True),
    ([True, True], [], True, True),
    ([True, None], [True], None, None),
    ([], [True], None, None),
    ([None], [True], None, None),
    ([True], [None], None, True),
    ([True], [True, None], None, True),
    ([True], [False], False, False),
    ([None], [False], False, False),
    ([False], [True], False, False),
    ([True, False], [], False, False),
    ([], [], None, None),
]


@pytest.mark.parametrize(("answers", "steps", "reasoned", "unreasoned"), VERIFIED)
def test_verified_means_the_same_wherever_it_is_asked(
    answers: list[bool | None], steps: list[bool | None], reasoned: bool | None, unreasoned: bool | None
) -> None:
    verifiers = [Fixed(f"a{index}", "answer", passed) for index, passed in enumerate(answers)]
    verifiers += [Fixed(f"s{index}", "steps", passed) for index, passed in enumerate(steps)]
    for reasoning, expected in (("because", reasoned), (None, unreasoned), (" \n", unreasoned)):
        attempt = Attempt(reasoning=reasoning, answer="yes")
        judgement = judge(verifiers, TASK, problem(), attempt)
        assert judgement.verified is expected
        asked = problem()
        trace = Trace(task_id=TASK.id, problem_id=asked.id, reasoning=reasoning, answer="yes", origin="model")
        scores = [
            Score(trace_id=trace.id, verifier=one.name, judges=one.judges, verdict=judgement.verdicts[one.name])
            for one in verifiers
        ]
        assert facts_of(trace, asked, scores=scores).verified is expected
        outcome = Outcome(
            problem_id=asked.id, attempt=attempt, correct=judgement.correct, steps_valid=judgement.steps_valid
        )
        if reasoning == "because":
            assert proven(outcome) is (expected if steps or not expected else None)
        else:
            assert not proven(outcome)


def test_of_two_verifiers_of_one_name_a_refusal_is_not_lost() -> None:
    refusing, passing = Fixed("exact", "answer", False), Fixed("exact", "answer", True)
    for verifiers in ([refusing, passing], [passing, refusing]):
        judgement = judge(verifiers, TASK, problem(), THOUGHT)
        assert judgement.correct is False
        assert judgement.verified is False


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
