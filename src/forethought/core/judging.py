"""Judging attempts: one function behind data filters, rewards, evaluations and the guard in front of datasets."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from forethought.core.records import Attempt, Judges, Outcome, Problem, Subject, Task, Verdict
from forethought.core.seams import Verifier
from forethought.errors import DataError, VerifierError


@dataclass(frozen=True)
class Judgement:
    """What all verifiers of a task say of one attempt together."""

    verdicts: Mapping[str, Verdict]
    correct: bool | None
    """Every answer verifier passed it; False when one did not. None when one could not judge and none refused it: that
    the form is right says nothing of the truth."""
    steps_valid: bool | None
    """The same of every step verifier; None without reasoning."""
    verified: bool | None
    """What ``verified`` says of the verdicts."""


def judge(verifiers: Sequence[Verifier], task: Task, problem: Problem, attempt: Attempt) -> Judgement:
    """Asks every verifier. One that breaks has not judged; the attempt is not wrong because of it."""
    verdicts = [_ask(verifier, task, problem, attempt) for verifier in verifiers]
    said = [(verifier.judges, verdict.passed) for verifier, verdict in zip(verifiers, verdicts, strict=True)]
    reasoned = has_reasoning(attempt.reasoning)
    return Judgement(
        verdicts={verifier.name: verdict for verifier, verdict in zip(verifiers, verdicts, strict=True)},
        correct=_all_passed(said, "answer"),
        steps_valid=_all_passed(said, "steps") if reasoned else None,
        verified=verified(said, reasoned=reasoned),
    )


def verified(said: Iterable[tuple[Subject, bool | None]], *, reasoned: bool) -> bool | None:
    """What (subject, passed) of every verifier come to together. The one meaning of *verified*, wherever it is asked.

    False where any verifier refused. True where every answer verifier passed, one at least, and, of an attempt with
    reasoning, every step verifier passed too. None otherwise: a verifier that could not judge leaves it open.
    """
    known = list(said)
    if any(passed is False for _, passed in known):
        return False
    answers = [passed for subject, passed in known if subject == "answer"]
    steps = [passed for subject, passed in known if subject == "steps"]
    is_open = not answers or None in answers or (reasoned and None in steps)
    return None if is_open else True


def proven(outcome: Outcome) -> bool | None:
    """Whether an answer is right by steps that were checked: ``verified``, and by more than a lucky guess.

    An answer without reasoning proves nothing; reasoning that no verifier judged leaves it open.
    """
    reasoned = has_reasoning(outcome.attempt.reasoning)
    judged = verified([("answer", outcome.correct), ("steps", outcome.steps_valid)], reasoned=reasoned)
    return False if judged and outcome.steps_valid is None else judged


def has_reasoning(reasoning: str | None) -> bool:
    """Whether there is any reasoning but blanks."""
    return bool(reasoning and reasoning.strip())


def refuse_unsound(verifiers: Sequence[Verifier], task: Task, problems: Iterable[Problem]) -> None:
    """The gate before a dataset: every reference must pass its verifiers and an empty answer must not.

    DataError names the first three problems that fail and how many there are.
    """
    answer_verifiers = [verifier for verifier in verifiers if verifier.judges == "answer"]
    faults: list[str] = []
    for problem in problems:
        if problem.reference is None:
            continue
        fault = _fault(answer_verifiers, task, problem)
        if fault:
            faults.append(f"problem {problem.id}: {fault}")
    if faults:
        shown = "; ".join(faults[:3])
        raise DataError(
            f"The verifiers of task '{task.name}' refuse {len(faults)} of its own references: {shown}.",
            hint="Mend the verifier or the references before data is made from them.",
        )


def _fault(verifiers: Sequence[Verifier], task: Task, problem: Problem) -> str:
    reference = judge(verifiers, task, problem, Attempt(answer=problem.reference or ""))
    if reference.correct is not True:
        reasons = "; ".join(v.reason for v in reference.verdicts.values() if v.passed is not True and v.reason)
        return f"the reference {problem.reference!r} is not accepted ({reasons or 'no verifier judged it'})"
    if judge(verifiers, task, problem, Attempt(answer="")).correct is True:
        return "an empty answer is accepted"
    return ""


def _ask(verifier: Verifier, task: Task, problem: Problem, attempt: Attempt) -> Verdict:
    try:
        return verifier.verify(task, problem, attempt)
    except VerifierError as error:
        return Verdict(reason=f"could not judge: {error}")
    except Exception as error:  # a plug-in's own fault must not end the work of hours, nor count against the attempt
        logging.getLogger(__name__).warning("verifier '%s' broke", verifier.name, exc_info=True)
        return Verdict(reason=f"could not judge: {type(error).__name__}: {error}")


def _all_passed(said: Iterable[tuple[Judges, bool | None]], judges: Judges) -> bool | None:
    judged = [passed for subject, passed in said if subject == judges]
    if False in judged:
        return False
    return True if judged and None not in judged else None
