from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.core.records import Attempt, Problem, Task
from forethought.errors import UsageError, VerifierError
from forethought.verifiers.exact import ExactVerifier

TASK = Task(name="labels", instructions="Label it.")


def passed(match: str, answer: str, reference: str | None) -> bool | None:
    verifier = ExactVerifier(match=match)  # type: ignore[arg-type]  # options come from a file as plain text
    problem = Problem(task_id=TASK.id, input="?", reference=reference)
    return verifier.verify(TASK, problem, Attempt(answer=answer)).passed


@pytest.mark.parametrize(
    ("match", "answer", "reference", "expected"),
    [
        ("text", "  Paris. ", "paris", True),
        ("text", "“Paris”", "Paris", True),
        ("text", "New   York\n", "new york", True),
        ("text", "ﬁne", "fine", True),
        ("text", "Paris, France", "Paris", False),
        ("text", "", "Paris", False),
        ("text", "", "...", False),
        ("text", "Paris", None, None),
        ("label", "The answer is: Refer", "refer", True),
        ("label", "Answer: **refer**.", "refer", True),
        ("label", "refer or decline", "refer", False),
        ("label", "the answer is correct", "refer", False),
        ("label", "the answer is", "refer", False),
        ("number", "1,234", "1234", True),
        ("number", "1234.50 euros", "1234.5", True),
        ("number", "0.1", "1/10", True),
        ("number", "12 or 13", "12", False),
        ("number", "twelve", "12", False),
        ("number", "", "12", False),
    ],
)
def test_matches(match: str, answer: str, reference: str | None, expected: bool | None) -> None:
    assert passed(match, answer, reference) is expected


@given(st.text())
def test_an_empty_answer_never_matches(reference: str) -> None:
    assert passed("text", "", reference) is False
    assert passed("label", "", reference) is False


@given(st.integers(-(10**12), 10**12))
def test_every_integer_equals_itself_and_not_its_neighbour(number: int) -> None:
    assert passed("number", f"{number:,}", str(number)) is True
    assert passed("number", str(number + 1), str(number)) is False


def test_wrong_options_and_references_are_named() -> None:
    with pytest.raises(UsageError, match="cannot match 'fuzzy'"):
        ExactVerifier(match="fuzzy")  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(VerifierError, match="no plain number"):
        passed("number", "12", "a dozen")
