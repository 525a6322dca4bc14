"""Evaluating arms: fair, resumable, and honest about what could not be judged."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from forethought.core.records import Attempt, Outcome, Usage, Verdict
from forethought.core.registry import build
from forethought.core.seams import Completion, SilentReporter
from forethought.errors import EngineError, JobCancelled, UsageError, VerifierError
from forethought.evals import runner
from forethought.evals.metrics import METRICS, measure, right_by_level
from forethought.evals.runner import Arm, evaluate


def outcome(problem_id="p", correct=True, steps_valid=True, **more) -> Outcome:
    return Outcome(
        problem_id=problem_id, attempt=Attempt(answer="yes"), correct=correct, steps_valid=steps_valid, **more
    )


class Saying:
    """A chat model that writes the same completions again and again."""

    name = "saying"

    def __init__(self, *completions: Completion):
        self.completions = completions

    def complete(self, requests, on_done=None):
        said = [self.completions[index % len(self.completions)] for index in range(len(requests))]
        for index, completion in enumerate(said):
            if on_done is not None:
                on_done(index, completion)
        return said

    def stream(self, request):
        raise NotImplementedError


def test_all_arms_meet_the_same_problems_and_a_perfect_one_is_perfect(task, problems, verifiers, arms):
    perfect = Arm("perfect", type(arms[0].chat)("perfect", arms[0].style), arms[0].style, arms[0].prompt)
    reporter = SilentReporter()
    evaluations = evaluate(task, problems, [*arms, perfect], verifiers, reporter, split="test")
    assert [e.arm for e in evaluations] == ["base", "answer", "reasoning", "perfect"]
    for evaluation in evaluations:
        assert [o.problem_id for o in evaluation.outcomes] == [p.id for p in problems]
        assert set(METRICS) | {"seconds", "timed", "seconds_per_problem"} == set(evaluation.metrics)
        assert evaluation.metrics["ci_low"] <= evaluation.metrics["accuracy"] <= evaluation.metrics["ci_high"]
    by_name = {e.arm: e.metrics for e in evaluations}
    assert by_name["perfect"]["accuracy"] == by_name["perfect"]["verified_accuracy"] == 1.0
    assert by_name["perfect"]["steps_valid"] == by_name["perfect"]["format_valid"] == 1.0
    assert by_name["answer"]["verified_accuracy"] == 0.0
    assert by_name["answer"]["steps_valid"] is None
    assert by_name["base"]["truncated"] == 1 - by_name["base"]["format_valid"] > 0
    assert len(reporter.lines) == 4


def test_finished_outcomes_are_not_asked_again(task, problems, verifiers, arms):
    arm = arms[2]
    stored: list[Outcome] = []
    (whole,) = evaluate(task, problems, [arm], verifiers, SilentReporter(), lambda _, found, __: stored.append(found))
    assert stored == list(whole.outcomes)
    arm.chat.asked.clear()
    (resumed,) = evaluate(task, problems, [arm], verifiers, SilentReporter(), finished={"reasoning": stored[:10]})
    assert resumed.outcomes == whole.outcomes
    assert len(arm.chat.asked) == len(problems) - 10 == resumed.metrics["timed"]
    (nothing_left,) = evaluate(
        task, problems, [arm], verifiers, SilentReporter(), finished={"reasoning": whole.outcomes}
    )
    assert nothing_left.outcomes == whole.outcomes
    assert nothing_left.metrics["seconds_per_problem"] is None


def test_a_model_that_writes_while_others_are_judged_takes_the_time_it_writes(task, problems, arms, monkeypatch):
    now = 0.0

    class Busy(Saying):
        def complete(self, requests, on_done=None):
            nonlocal now
            for index in range(len(requests)):
                now = max(now, 2.0 * (index + 1))
                on_done(index, self.completions[0])
            return [self.completions[0] for _ in requests]

    class Thorough:
        name, judges = "thorough", "answer"

        def verify(self, task, problem, attempt) -> Verdict:
            nonlocal now
            now += 1.5
            return Verdict(passed=True)

    monkeypatch.setattr(runner, "time", SimpleNamespace(perf_counter=lambda: now))
    arm = Arm("busy", Busy(Completion("yes", "stop", Usage())), build("style", "answer"), arms[0].prompt)
    told: list[float] = []
    (evaluation,) = evaluate(
        task, problems[:4], [arm], [Thorough()], SilentReporter(), lambda _, __, seconds: told.append(seconds)
    )
    assert told == [2.0, 2.0, 2.0, 2.0]
    assert [evaluation.metrics[name] for name in ("seconds", "timed", "seconds_per_problem")] == [8.0, 4, 2.0]


def test_cancelling_keeps_what_was_judged(task, problems, verifiers, arms):
    class Impatient(SilentReporter):
        def check(self):
            if len(stored) >= 5:
                raise JobCancelled("enough")

    stored: list[Outcome] = []
    with pytest.raises(JobCancelled):
        evaluate(task, problems, arms, verifiers, Impatient(), lambda _, found, __: stored.append(found))
    assert len(stored) == 5


def test_progress_ends_at_all_problems_of_all_arms(task, problems, verifiers, arms):
    class Counting(SilentReporter):
        def progress(self, done, total, *, unit="steps", message=""):
            seen.append((done, total))

    seen: list[tuple[float, float]] = []
    evaluate(task, problems, arms, verifiers, Counting())
    assert seen[-1] == (72, 72)
    assert seen == sorted(seen)


def test_unreadable_is_wrong_but_unheard_is_not_judged(task, problems, verifiers, arms):
    style, prompt = build("style", "reasoning"), arms[0].prompt
    unclosed = Completion("<think>All", "length", Usage(completion_tokens=3))
    lost = Completion("", "error", Usage(), error="connection reset")
    (cut,) = evaluate(task, problems[:2], [Arm("a", Saying(unclosed), style, prompt)], verifiers, SilentReporter())
    assert [o.correct for o in cut.outcomes] == [False, False]
    assert cut.outcomes[0].raw == "<think>All"
    assert cut.metrics["truncated"] == 1.0
    arm = Arm("a", Saying(unclosed, lost), style, prompt)
    (half,) = evaluate(task, problems[:2], [arm], verifiers, SilentReporter())
    assert [o.correct for o in half.outcomes] == [False, None]
    assert half.outcomes[1].failure == "connection reset"
    assert (half.metrics["n"], half.metrics["judged"]) == (2, 1)


def test_an_arm_whose_every_call_failed_says_why_and_is_no_result(task, problems, verifiers, arms):
    lost = Completion("", "error", Usage(), error="connection reset")
    arm = Arm("a", Saying(lost), build("style", "reasoning"), arms[0].prompt)
    with pytest.raises(EngineError, match=r"'a' failed.*connection reset"):
        evaluate(task, problems[:2], [arm], verifiers, SilentReporter())


def test_a_verifier_that_breaks_leaves_the_outcome_unjudged(task, problems, arms):
    class Broken:
        name, judges = "broken", "answer"

        def verify(self, task, problem, attempt) -> Verdict:
            raise VerifierError("out of memory")

    (evaluation,) = evaluate(task, problems[:3], [arms[1]], [Broken()], SilentReporter())
    assert evaluation.metrics["judged"] == 0
    assert "out of memory" in evaluation.outcomes[0].verdicts["broken"].reason


def test_unjudged_outcomes_are_in_no_denominator():
    measured = measure([outcome("1"), outcome("2", correct=False), outcome("3", correct=None, steps_valid=None)])
    assert (measured["n"], measured["judged"], measured["accuracy"]) == (3, 2, 0.5)
    assert measured["verified_accuracy"] == 0.5
    assert measure([])["mean_tokens"] is None


def test_a_right_answer_by_wrong_steps_is_not_verified():
    measured = measure([outcome("1", steps_valid=False), outcome("2", steps_valid=None), outcome("3")])
    assert measured["accuracy"] == 1.0
    assert measured["verified_accuracy"] == pytest.approx(1 / 3)
    assert measured["steps_valid"] == 0.5


def test_accuracy_by_level_adds_up(task, problems, verifiers, arms):
    (evaluation,) = evaluate(task, problems, [arms[0]], verifiers, SilentReporter())
    levels = right_by_level(evaluation.outcomes, problems)
    assert list(levels) == sorted({p.level for p in problems})
    assert sum(share.successes for share in levels.values()) == sum(bool(o.correct) for o in evaluation.outcomes)
    assert sum(share.n for share in levels.values()) == len(problems)


def test_ambiguous_requests_are_refused(task, problems, verifiers, arms):
    with pytest.raises(UsageError, match="'base' twice"):
        evaluate(task, problems, [arms[0], arms[0]], verifiers, SilentReporter())
    with pytest.raises(UsageError, match="at least one problem"):
        evaluate(task, [], arms, verifiers, SilentReporter())
