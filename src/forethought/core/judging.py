"""Judging attempts: one function behind data filters, rewards, evaluations and the guard in front of datasets."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from forethought.core.records import Attempt, Judges, Problem, Task, Verdict
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

    @property
    def verified(self) -> bool:
        """Right answer and every step checks."""
        return bool(self.correct and self.steps_valid)


def judge(verifiers: Sequence[Verifier], task: Task, problem: Problem, attempt: Attempt) -> Judgement:
    """Asks every verifier. One that breaks has not judged; the attempt is not wrong because of it."""
    verdicts = {verifier.name: _ask(verifier, task, problem, attempt) for verifier in verifiers}
    return Judgement(
        verdicts=verdicts,
        correct=_all_passed(verifiers, verdicts, "answer"),
        steps_valid=_all_passed(verifiers, verdicts, "steps") if attempt.reasoning else None,
    )


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


def _all_passed(verifiers: Sequence[Verifier], verdicts: Mapping[str, Verdict], judges: Judges) -> bool | None:
    judged = [verdicts[v.name].passed for v in verifiers if v.judges == judges]
    if False in judged:
        return False
    return True if judged and None not in judged else None
