"""Does the answer say the same as the reference, once both are written the same way?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from forethought.core.records import Attempt, Judges, Problem, Task, Verdict
from forethought.errors import UsageError, VerifierError
from forethought.verifiers.extract import as_number, final_value, known_opposites, plain, stated_label, without_lead

Match = Literal["text", "label", "number"]


class ExactVerifier:
    """``match`` says what is compared.

    - ``text``: the whole text, without regard to case, spacing, Unicode form and enclosing punctuation;
    - ``label``: as text, and "The answer is X" also says X;
    - ``number``: plainly written numbers by their exact value.

    ``labels`` are all labels there are (yes and no, true and false are known). Then an explanation may follow the label
    ("X, because ..."), unless it names another one. Without them nothing may follow: it could be another label.
    """

    name = "exact"
    judges: Judges = "answer"

    def __init__(self, match: Match = "text", labels: Sequence[str] = ()) -> None:
        if match not in ("text", "label", "number"):
            raise UsageError(f"'exact' cannot match '{match}'.", hint="Known: text, label, number.")
        if labels and match != "label":
            raise UsageError(f"'exact' takes labels only to match a label, not '{match}'.")
        self.match = match
        self.labels = tuple(labels)

    def verify(self, task: Task, problem: Problem, attempt: Attempt) -> Verdict:
        if problem.reference is None:
            return Verdict(reason="the problem has no reference answer")
        if self.match == "number":
            return _numbers(attempt.answer, problem.reference)
        said = plain(attempt.answer) if self.match == "text" else self._label(attempt.answer, problem.reference)
        same = said == plain(problem.reference) and bool(said)
        return Verdict(value=float(same), passed=same, reason="same" if same else "not the same as the reference")

    def _label(self, answer: str, reference: str) -> str:
        labels = self.labels or known_opposites(reference)
        if plain(reference) not in map(plain, labels):
            raise VerifierError(f"The reference {reference[:80]!r} is none of the labels {', '.join(labels)}.")
        if len(labels) == 1:
            return without_lead(answer, labels)
        return plain(stated_label(answer, labels) or "")


def _numbers(answer: str, reference: str) -> Verdict:
    wanted = as_number(final_value(reference).value or "")
    if wanted is None:
        raise VerifierError(f"The reference {reference[:80]!r} is no plain number.")
    stated = final_value(answer)
    said = as_number(stated.value) if stated.value is not None else None
    reason = stated.reason or ("same" if said == wanted else "not the same as the reference")
    return Verdict(value=float(said == wanted), passed=said == wanted, reason=reason)
