"""The evaluation runner: any number of arms on the same problems, through the common call flow and verifiers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forethought.core.flow import Rollout, roll_out
from forethought.core.judging import judge
from forethought.core.records import Evaluation, Json, Outcome, Problem, Prompt, Sampling, Task
from forethought.core.seams import ChatModel, Reporter, Style, Verifier
from forethought.errors import EngineError, UsageError
from forethought.evals.metrics import measure

OnOutcome = Callable[[str, Outcome, float], None]
"""Called with the arm's name, each outcome as it is judged, and the seconds since the completion before it arrived.

What it stores can be handed back as ``finished``, and the seconds of an arm, added up, as ``spent``.
"""


@dataclass(frozen=True)
class Arm:
    """One way of answering: a model, called in a style, with a prompt."""

    name: str
    chat: ChatModel
    style: Style
    prompt: Prompt
    sampling: Sampling = Sampling()
    model: str = ""
    """Name of the model in the evaluation; empty takes ``chat.name``."""
    model_id: str | None = None
    json_schema: dict[str, Any] | None = None
    """The answer is forced into this schema while it is written; None leaves the model free."""


def evaluate(
    task: Task,
    problems: Sequence[Problem],
    arms: Sequence[Arm],
    verifiers: Sequence[Verifier],
    reporter: Reporter,
    on_outcome: OnOutcome | None = None,
    *,
    finished: Mapping[str, Sequence[Outcome]] | None = None,
    spent: Mapping[str, float] | None = None,
    dataset_id: str | None = None,
    split: str = "",
    run_id: str | None = None,
) -> list[Evaluation]:
    """One evaluation for each arm, in order, its outcomes in the order of the problems.

    ``finished`` holds outcomes of an earlier, interrupted call by arm name: those problems are not asked again.
    ``spent`` holds the seconds they took; without them an arm's times cover only the problems asked now, as its
    ``timed`` says.
    Raises UsageError on no problems, or on arms or problems that share a name; EngineError where an arm's model was
    never heard; JobCancelled through the reporter.
    """
    _must_be_distinct("problem", [problem.id for problem in problems])
    _must_be_distinct("arm", [arm.name for arm in arms])
    evaluations: list[Evaluation] = []
    for position, arm in enumerate(arms):
        reporter.check()
        outcomes, times = _run_arm(
            task,
            problems,
            arm,
            verifiers,
            _known(finished, arm.name),
            (spent or {}).get(arm.name),
            _progress(reporter, arm.name, position * len(problems), len(arms) * len(problems)),
            on_outcome,
        )
        _must_have_been_heard(arm.name, outcomes)
        evaluation = Evaluation(
            task_id=task.id,
            task_revision=task.revision,
            arm=arm.name,
            model=arm.model or arm.chat.name,
            model_id=arm.model_id,
            style=arm.style.name,
            prompt=arm.prompt,
            sampling=arm.sampling,
            dataset_id=dataset_id,
            split=split,
            run_id=run_id,
            metrics=measure(outcomes) | times,
            outcomes=tuple(outcomes),
        )
        reporter.log(_summary(evaluation))
        evaluations.append(evaluation)
    return evaluations


def outcome_of(task: Task, problem: Problem, rollout: Rollout, verifiers: Sequence[Verifier]) -> Outcome:
    """One rollout, judged.

    What the model wrote but cannot be read is wrong; where the model was never heard (an error, a cancelled call)
    nothing is known, so it is not judged.
    """
    parsed = rollout.parsed
    unheard = rollout.finish_reason in ("error", "cancelled")
    readable = parsed.failure is None and not unheard
    judgement = judge(verifiers, task, problem, parsed.attempt) if readable else None
    return Outcome(
        problem_id=problem.id,
        attempt=parsed.attempt,
        raw=parsed.raw,
        failure=parsed.failure or (f"the call ended with '{rollout.finish_reason}'" if unheard else None),
        correct=judgement.correct if judgement else (None if unheard else False),
        steps_valid=judgement.steps_valid if judgement else None,
        truncated=rollout.truncated,
        completion_tokens=rollout.usage.completion_tokens,
        prompt_tokens=rollout.usage.prompt_tokens,
        verdicts=dict(judgement.verdicts) if judgement else {},
    )


def _run_arm(
    task: Task,
    problems: Sequence[Problem],
    arm: Arm,
    verifiers: Sequence[Verifier],
    outcomes: dict[str, Outcome],
    spent: float | None,
    progress: Callable[[int], None],
    on_outcome: OnOutcome | None,
) -> tuple[list[Outcome], dict[str, Json]]:
    """The outcomes in the order of the problems, and the seconds from asking until the last completion arrived.

    Judging is no pause: a model may write on meanwhile. Only judging the last one is left out.
    """
    open_problems = [problem for problem in problems if problem.id not in outcomes]
    done = len(problems) - len(open_problems)
    progress(done)
    seconds = spent or 0.0
    last_at = time.perf_counter()

    def judged(index: int, rollout: Rollout) -> None:
        nonlocal done, seconds, last_at
        arrived_at = time.perf_counter()
        took, last_at = arrived_at - last_at, arrived_at
        seconds += took
        problem = open_problems[index]
        outcome = outcomes[problem.id] = outcome_of(task, problem, rollout, verifiers)
        if on_outcome is not None:
            on_outcome(arm.name, outcome, took)
        done += 1
        progress(done)

    if open_problems:
        roll_out(
            arm.chat,
            arm.style,
            arm.prompt,
            [problem.input for problem in open_problems],
            sampling=arm.sampling,
            json_schema=arm.json_schema,
            on_done=judged,
        )
    timed = len(open_problems) if spent is None else len(problems)
    times: dict[str, Json] = {
        "seconds": seconds,
        "timed": timed,
        "seconds_per_problem": seconds / timed if timed else None,
    }
    return [outcomes[problem.id] for problem in problems], times


def _must_have_been_heard(arm: str, outcomes: Sequence[Outcome]) -> None:
    """An arm on which every call failed is a fault to be told, not a result."""
    failures = [outcome.failure for outcome in outcomes if outcome.failure and outcome.correct is None]
    if len(failures) == len(outcomes):
        raise EngineError(f"Every one of the {len(outcomes)} calls of arm '{arm}' failed. The first: {failures[0]}")


def _known(finished: Mapping[str, Sequence[Outcome]] | None, arm: str) -> dict[str, Outcome]:
    return {outcome.problem_id: outcome for outcome in (finished or {}).get(arm, ())}


def _progress(reporter: Reporter, arm: str, before: int, total: int) -> Callable[[int], None]:
    def tell(done: int) -> None:
        reporter.progress(before + done, total, unit="problems", message=arm)
        reporter.check()

    return tell


def _summary(evaluation: Evaluation) -> str:
    measured = evaluation.metrics
    accuracy = measured["accuracy"]
    shown = "nothing could be judged" if accuracy is None else f"{accuracy:.1%} right"
    return f"{evaluation.arm}: {shown}, {measured['judged']} of {measured['n']} problems judged"


def _must_be_distinct(kind: str, names: Sequence[str]) -> None:
    if not names:
        raise UsageError(f"An evaluation needs at least one {kind}, found none.")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UsageError(f"Every {kind} of an evaluation needs a name of its own, found '{twice[0]}' twice.")
