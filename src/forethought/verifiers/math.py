"""Is the answer mathematically equal to the reference? Decided by math-verify, in a process that can be killed."""

from __future__ import annotations

import re
from typing import Any

from forethought.core.records import Attempt, Judges, Problem, Task, Verdict
from forethought.errors import VerifierError
from forethought.verifiers.extract import final_value
from forethought.verifiers.process import killable


class MathVerifier:
    """``72``, ``$72$``, ``#### 72``, ``\\boxed{72}`` and "The answer is 72" all state 72.

    ``timeout_s`` bounds one comparison in seconds; one that overruns or crashes is not judged. An answer that states
    no value, or more than one, is wrong.
    """

    name = "math"
    judges: Judges = "answer"

    def __init__(self, timeout_s: float = 10.0) -> None:
        self.timeout_s = timeout_s

    def verify(self, task: Task, problem: Problem, attempt: Attempt) -> Verdict:  # noqa: ARG002 - the contract
        if problem.reference is None:
            return Verdict(reason="the problem has no reference answer")
        stated = final_value(attempt.answer)
        if stated.value is None:
            return Verdict(value=0.0, passed=False, reason=stated.reason)
        gold = final_value(problem.reference).value or problem.reference
        compare = killable(f"{__name__}:equal", self.timeout_s, '{"reference": "1/2", "stated": "0.5"}')
        same = compare(reference=gold, stated=stated.value)
        if same is None:
            raise VerifierError(f"The reference {problem.reference[:80]!r} is no mathematical expression.")
        reason = "equal" if same else f"'{stated.value[:80]}' is not equal to the reference"
        return Verdict(value=float(same), passed=same, reason=reason)


def equal(reference: str, stated: str) -> bool | None:
    """Whether math-verify takes the two for equal; None when it cannot read the reference. Runs in its own process."""
    import logging

    from math_verify import verify

    logging.disable(logging.WARNING)  # it warns at every call that its own time-out is off; ours is the process
    gold = _read(reference)
    if not gold:
        return None
    parts = stated.split("=")
    if len(parts) > 1 and re.fullmatch(r"\s*[A-Za-z]\s*", parts[0]):
        parts = parts[1:]  # "x = 72" states 72
    return all(verify(gold, _read(part), timeout_seconds=None) for part in parts)


def _read(expression: str) -> list[Any]:
    from math_verify import parse

    found: list[Any] = parse(f"${expression}$", parsing_timeout=None)
    return found
