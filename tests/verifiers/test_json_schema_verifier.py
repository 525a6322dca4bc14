from __future__ import annotations

from typing import Any

import pytest

from forethought.core.records import Attempt, Problem, Task, Verdict
from forethought.errors import VerifierError
from forethought.verifiers.json_schema import JsonSchemaVerifier

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "decision": {"enum": ["approve", "decline"]},
        "reasons": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["decision"],
    "additionalProperties": False,
}


def verdict(
    answer: str, schema: dict[str, Any] | None = SCHEMA, timeout_s: float = 5.0, reference: str | None = "{}"
) -> Verdict:
    task = Task(name="decide", instructions="Decide.", output_schema=schema)
    problem = Problem(task_id=task.id, input="?", reference=reference)
    return JsonSchemaVerifier(timeout_s).verify(task, problem, Attempt(answer=answer))


def test_an_answer_that_satisfies_the_schema_passes() -> None:
    assert verdict('{"decision": "approve", "reasons": ["income"]}').passed is True


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "not JSON"),
        ("approve", "not JSON"),
        ('{"decision": "approve"', "not JSON"),
        ('{"decision": NaN}', "NaN"),
        ('{"decision": "approve", "decision": "decline"}', "twice"),
        ('{"decision": "perhaps"}', "$.decision"),
        ('{"reasons": []}', "decision"),
        ('{"decision": "approve", "extra": 1}', "extra"),
        ('```json\n{"decision": "approve"}\n```', "not JSON"),
        ("[" * 100_000, "not JSON"),
        (" " * 300_000, "over 200000 characters"),
    ],
)
def test_what_is_wrong_is_said(answer: str, reason: str) -> None:
    found = verdict(answer)
    assert found.passed is False
    assert reason in found.reason


def test_without_a_schema_nothing_is_judged() -> None:
    assert verdict("{}", schema=None).passed is None


SLOW = {"type": "string", "pattern": "^(a+)+$"}
SLOW_ANSWER = '"' + "a" * 40 + '!"'


@pytest.mark.parametrize("reference", ['"aaa"', "no JSON", None])
def test_an_answer_whose_check_takes_for_ever_does_not_escape_judgement(reference: str | None) -> None:
    found = verdict(SLOW_ANSWER, SLOW, timeout_s=1, reference=reference)
    assert found.passed is False
    assert "longer than 1 seconds" in found.reason
    assert verdict('"aaa"', SLOW, timeout_s=1, reference=reference).passed is True


def test_an_answer_nested_too_deeply_to_be_checked_does_not_escape_judgement() -> None:
    schema = {"type": "array", "items": {"$ref": "#"}}
    assert verdict("[" * 400 + "]" * 400, schema, reference="[[]]").passed is False


def test_a_reference_whose_check_takes_for_ever_is_no_fault_of_the_answer() -> None:
    with pytest.raises(VerifierError, match="longer than 1 seconds"):
        verdict(SLOW_ANSWER, SLOW, timeout_s=1, reference=SLOW_ANSWER)


def test_a_broken_schema_and_one_that_points_elsewhere_are_not_judged() -> None:
    with pytest.raises(VerifierError, match="no JSON Schema"):
        verdict("1", {"type": "nonsense"})
    with pytest.raises(VerifierError, match="Unresolvable"):
        verdict("1", {"$ref": "http://127.0.0.1:9/schema.json"})
    with pytest.raises(VerifierError, match="RecursionError"):
        verdict("1", {"$ref": "#"})
