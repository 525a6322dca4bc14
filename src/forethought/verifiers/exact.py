"""Does the answer say the same as the reference, once both are written the same way?"""

from __future__ import annotations

from typing import Literal

from forethought.core.records import Attempt, Judges, Problem, Task, Verdict
from forethought.errors import UsageError, VerifierError
from forethought.verifiers.extract import as_number, final_value, label_of, plain

Match = Literal["text", "label", "number"]


class ExactVerifier:
    """``match`` says what is compared.

    - ``text``: the whole text, without regard to case, spacing, Unicode form and enclosing punctuation;
    - ``label``: as text, and "The answer is X" also says X;
    - ``number``: plainly written numbers by their exact value.
    """

    name = "exact"
    judges: Judges = "answer"

    def __init__(self, match: Match = "text") -> None:
        if match not in ("text", "label", "number"):
            raise UsageError(f"'exact' cannot match '{match}'.", hint="Known: text, label, number.")
        self.match = match

    def verify(self, task: Task, problem: Problem, attempt: Attempt) -> Verdict:
        if problem.reference is None:
            return Verdict(reason="the problem has no reference answer")
        if self.match == "number":
            return _numbers(attempt.answer, problem.reference)
        said = label_of(attempt.answer) if self.match == "label" else plain(attempt.answer)
        wanted = plain(problem.reference)
        same = said == wanted and bool(said)
        return Verdict(value=float(same), passed=same, reason="same" if same else "not the same as the reference")


def _numbers(answer: str, reference: str) -> Verdict:
    wanted = as_number(final_value(reference).value or "")
    if wanted is None:
        raise VerifierError(f"The reference {reference[:80]!r} is no plain number.")
    stated = final_value(answer)
    said = as_number(stated.value) if stated.value is not None else None
    reason = stated.reason or ("same" if said == wanted else "not the same as the reference")
    return Verdict(value=float(said == wanted), passed=said == wanted, reason=reason)
