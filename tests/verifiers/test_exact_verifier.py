from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.core.records import Attempt, Problem, Task
from forethought.errors import UsageError, VerifierError
from forethought.verifiers.exact import ExactVerifier

TASK = Task(name="labels", instructions="Label it.")


def passed(match: str, answer: str, reference: str | None, labels: Sequence[str] = ()) -> bool | None:
    verifier = ExactVerifier(match=match, labels=labels)  # type: ignore[arg-type]  # options come from a file as text
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


CLEAR_YES = [
    "The answer to your question is yes.",
    "The correct answer is yes.",
    "The right answer to this is: **Yes**",
    "I think the answer is yes.",
    "I would say yes",
    "Based on the facts, yes.",
    "According to the facts above, the answer is yes.",
    "So, yes.",
    "Definitely yes!",
    "Yes, all bloops are definitely lazzies.",
    "Yes. All bloops are razzies, and all razzies are lazzies.",
    "Yes - that follows",
    "Yes because all bloops are razzies.",
    "Yes, yes.",
]
UNCLEAR = [
    "",
    "yes and no",
    "yes or no",
    "yes, no",
    "Yes. No.",
    "Yes, but not always.",
    "Yes, if it rains.",
    "Yes, unless it rains",
    "Given that it rains, yes.",
    "Yes, they are not.",
    "Yes, it doesn't.",
    "Is it yes?",
    "yes man",
    "yesterday",
    "yes-ish",
    "not yes",
    "The answer is not yes.",
    "I don't think the answer is yes.",
    "It is not clear whether the answer is yes.",
    "Based on the facts, it is not clear whether yes.",
    "The answer to no question is yes.",
    "Based on the facts no, yes.",
    "The answer is no, I think the answer is yes.",
    "The answer is yes. The answer is no.",
    "The answer is correct.",
]


@pytest.mark.parametrize("answer", CLEAR_YES)
def test_a_clear_answer_is_read(answer: str) -> None:
    assert passed("label", answer, "yes") is True
    assert passed("label", answer, "no") is False
    named = answer.replace("yes", "refer").replace("Yes", "Refer")
    labels = ["approve", "refer", "decline"]
    assert passed("label", named, "refer", labels) is True
    assert passed("label", named, "decline", labels) is False


@pytest.mark.parametrize("answer", UNCLEAR)
def test_an_unclear_answer_is_refused(answer: str) -> None:
    assert passed("label", answer, "yes") is False
    assert passed("label", answer, "no") is False


def test_no_may_be_explained_with_a_not() -> None:
    for answer in ("No, not all bloops are lazzies.", "No, that doesn't follow.", "The answer is no: nothing says so."):
        assert passed("label", answer, "no") is True
        assert passed("label", answer, "yes") is False
    assert passed("label", "No, yes.", "no") is False


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Refer, because the debt is not below the limit.", True),
        ("not eligible", False),
        ("Refer or decline", False),
        ("Refer, or decline.", False),
        ("Refer; decline", False),
        ("Refer, then manual review.", False),
        ("Decline, refer", False),
        ("Given the refer rule, decline", False),
    ],
)
def test_labels_of_any_set(answer: str, expected: bool) -> None:
    labels = ["refer", "decline", "manual review"]
    assert passed("label", answer, "refer", labels) is expected


def test_the_longest_label_is_the_one_said() -> None:
    labels = ["eligible", "not eligible"]
    assert passed("label", "The answer is not eligible, sadly.", "not eligible", labels) is True
    assert passed("label", "Not eligible.", "eligible", labels) is False
    assert passed("label", "Eligible.", "eligible", labels) is True


@pytest.mark.parametrize("label", ["so", "clearly", "definitely true", "given up, sadly", "c++", "n/a"])
def test_a_label_may_look_like_a_lead(label: str) -> None:
    for labels in ([], [label, "other"]):
        assert passed("label", label, label, labels) is True
        assert passed("label", f"I think the answer is {label}.", label, labels) is True
        assert passed("label", "other", label, labels) is False


def test_without_known_labels_nothing_may_follow() -> None:
    assert passed("label", "The answer to this is refer.", "refer") is True
    assert passed("label", "Refer, decline.", "refer") is False
    assert passed("label", "Refer, because the debt is high.", "refer") is False


def test_a_reference_outside_the_labels_is_named() -> None:
    with pytest.raises(VerifierError, match="none of the labels"):
        passed("label", "yes", "maybe", ["yes", "no"])


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
