"""Loan applications, decided by a policy file that the solver and the verifiers both read."""

from __future__ import annotations

from pathlib import Path

from forethought.core.records import Json, PartSpec, Task
from forethought.verifiers.policy import load_policy, policy_task

POLICY_FILE = Path(__file__).with_name("policy.toml")


def task() -> Task:
    """The task, complete: the policy travels in its parts' options."""
    policy = load_policy(POLICY_FILE)
    return policy_task(
        "loan",
        policy,
        opening=(
            "Decide on a firm's loan application by these rules. Money is in ten thousands: income is a year's, own is "
            "the owners' capital. Term and age of the firm are in years; missed counts its missed payments."
        ),
        input_schema=_input_schema(),
        generator=PartSpec(name="loan", options={"policy": policy}),
        licence="Apache-2.0",
    )


def _input_schema() -> dict[str, Json]:
    numbers = ["income", "own", "debt", "amount", "term", "age", "missed"]
    fields: dict[str, Json] = {name: {"type": "integer", "minimum": 0, "maximum": 999} for name in numbers}
    fields["purpose"] = {"type": "string", "maxLength": 40}
    return {"type": "object", "properties": fields, "required": [*numbers], "additionalProperties": False}
