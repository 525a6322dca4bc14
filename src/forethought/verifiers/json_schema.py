"""Does the answer, read as JSON, satisfy the task's output schema?"""

from __future__ import annotations

import json
from typing import Any

from forethought.core.records import Attempt, Judges, Problem, Task, Verdict
from forethought.errors import VerifierError
from forethought.verifiers.process import killable

MAX_CHARS = 200_000


class JsonSchemaVerifier:
    """Judges form, not truth: pair it with a verifier that knows what is right.

    The check runs in a process that can be killed, because a schema's patterns may take for ever on some texts;
    ``timeout_s`` bounds it in seconds. References to other documents are not followed.
    """

    name = "json-schema"
    judges: Judges = "answer"

    def __init__(self, timeout_s: float = 5.0) -> None:
        self.timeout_s = timeout_s

    def verify(self, task: Task, problem: Problem, attempt: Attempt) -> Verdict:
        if task.output_schema is None:
            return Verdict(reason="the task has no output schema")
        if len(attempt.answer) > MAX_CHARS:
            return _wrong(f"the answer is over {MAX_CHARS} characters")
        try:
            answer = json.loads(attempt.answer, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
        except (ValueError, RecursionError) as error:
            return _wrong(f"not JSON: {str(error)[:200]}")
        check = killable(f"{__name__}:first_fault", self.timeout_s, '{"schema": {}, "answer": 1}')
        fault = check(schema=task.output_schema, answer=answer)
        return _wrong(fault) if fault else Verdict(value=1.0, passed=True, reason="satisfies the schema")


def first_fault(schema: dict[str, Any], answer: Any) -> str:
    """What is wrong first, with its path; empty when nothing is. Runs in its own process."""
    from jsonschema.exceptions import SchemaError, best_match
    from jsonschema.validators import validator_for
    from referencing import Registry

    kind = validator_for(schema)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise VerifierError(f"The output schema is no JSON Schema: {error.message[:200]}") from error
    fault = best_match(kind(schema, registry=Registry()).iter_errors(answer))
    return f"{fault.json_path}: {fault.message[:200]}" if fault else ""


def _wrong(reason: str) -> Verdict:
    return Verdict(value=0.0, passed=False, reason=reason)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
    return found
