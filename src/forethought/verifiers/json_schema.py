"""Does the answer, read as JSON, satisfy the task's output schema?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from forethought.core import strict_json
from forethought.core.records import Attempt, Json, Judges, Problem, Task, Verdict
from forethought.errors import VerifierError
from forethought.verifiers.process import killable

if TYPE_CHECKING:
    from referencing import Resource
    from referencing._core import Resolver

MAX_CHARS = 200_000


class JsonSchemaVerifier:
    """Judges form, not truth: pair it with a verifier that knows what is right.

    The check runs in a process that can be killed, because a schema's patterns may take for ever on some texts;
    ``timeout_s`` bounds it in seconds. An answer that cannot be checked in that time is wrong: a model must not be able
    to leave a problem uncounted. Only what fails on the reference too (on ``null`` where there is none) is not judged.
    References to other documents are not followed.
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
            answer = strict_json.loads(attempt.answer)
        except ValueError as error:
            return _wrong(f"not JSON: {str(error)[:200]}")
        try:
            fault = fault_of(task.output_schema, [answer], self.timeout_s)
        except VerifierError as error:
            fault_of(task.output_schema, [_reference(problem)], self.timeout_s)  # raises: not the answer's fault
            return _wrong(error.message)
        return _wrong(fault) if fault else Verdict(value=1.0, passed=True, reason="satisfies the schema")


def fault_of(schema: dict[str, Json], values: Sequence[Json], timeout_s: float) -> str:
    """What is wrong with the first value that breaks the schema, with its path; empty when none does.

    VerifierError when the schema is none or points elsewhere, or the check takes over ``timeout_s`` seconds.
    """
    check = killable(f"{__name__}:first_fault", timeout_s, '{"schema": {}, "values": [1]}')
    return str(check(schema=schema, values=list(values)))


def first_fault(schema: dict[str, Any], values: list[Any]) -> str:
    """The work of ``fault_of``, in its own process."""
    from jsonschema.exceptions import SchemaError, best_match
    from jsonschema.validators import validator_for
    from referencing import Registry

    kind = validator_for(schema)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise VerifierError(f"The output schema is no JSON Schema: {error.message[:200]}") from error
    validator = kind(schema, registry=Registry())
    faults = (best_match(validator.iter_errors(value)) for value in values)
    fault = next((fault for fault in faults if fault), None)
    return f"{fault.json_path}: {fault.message[:200]}" if fault else ""


def fault_of_schema(schema: dict[str, Json]) -> str:
    """Why a schema cannot be used: it is none, or refers to what is not in it. Empty when it can. Asks nobody."""
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012, specification_with

    kind = validator_for(schema)
    specification = specification_with(str(schema.get("$schema", "")), default=DRAFT202012)
    try:
        kind.check_schema(schema)
        root = specification.create_resource(schema)
        return _dangling(root, Registry().resolver_with_root(root))
    except SchemaError as error:
        return f"it is not a JSON Schema: {error.message[:200]}"
    except RecursionError:
        return "it is nested too deeply"


def _dangling(resource: Resource[Any], resolver: Resolver[Any]) -> str:
    from referencing.exceptions import Unresolvable

    for keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
        reference = resource.contents.get(keyword) if isinstance(resource.contents, dict) else None
        if not isinstance(reference, str):
            continue
        try:
            resolver.lookup(reference)
        except Unresolvable:
            return f"it refers to '{reference[:120]}', which is not in it"
    inner = (_dangling(part, resolver.in_subresource(part)) for part in resource.subresources())
    return next((fault for fault in inner if fault), "")


def _reference(problem: Problem) -> Json:
    try:
        return strict_json.loads(problem.reference or "null")
    except ValueError:
        return None


def _wrong(reason: str) -> Verdict:
    return Verdict(value=0.0, passed=False, reason=reason)
