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


def verdict(answer: str, schema: dict[str, Any] | None = SCHEMA, timeout_s: float = 5.0) -> Verdict:
    task = Task(name="decide", instructions="Decide.", output_schema=schema)
    problem = Problem(task_id=task.id, input="?", reference="{}")
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


def test_a_catastrophic_pattern_times_out_and_is_not_judged() -> None:
    schema = {"type": "string", "pattern": "^(a+)+$"}
    with pytest.raises(VerifierError, match="longer than 1 seconds"):
        verdict('"' + "a" * 40 + '!"', schema, timeout_s=1)
    assert verdict('"aaa"', schema, timeout_s=1).passed is True


def test_a_broken_schema_and_one_that_points_elsewhere_are_not_judged() -> None:
    with pytest.raises(VerifierError, match="no JSON Schema"):
        verdict("1", {"type": "nonsense"})
    with pytest.raises(VerifierError, match="Unresolvable"):
        verdict("1", {"$ref": "http://127.0.0.1:9/schema.json"})
    with pytest.raises(VerifierError, match="RecursionError"):
        verdict("1", {"$ref": "#"})
