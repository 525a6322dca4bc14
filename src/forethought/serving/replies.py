"""Writes answers as OpenAI's API does, thinking apart from the answer in ``reasoning_content``."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from typing import Any

from forethought.core.flow import Rollout
from forethought.core.records import Model, Usage
from forethought.core.seams import Delta
from forethought.serving.failures import ApiError, bad_request


class Reply:
    """The envelope all parts of one reply share."""

    def __init__(self, model: Model) -> None:
        self._common = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model.name,
            "system_fingerprint": model.id,
        }

    def whole(self, rollouts: Sequence[Rollout], warnings: Sequence[str]) -> dict[str, Any]:
        """The reply that is not streamed."""
        choices = [_choice(index, rollout) for index, rollout in enumerate(rollouts)]
        faults = [fault for rollout in rollouts if (fault := format_fault(rollout))]
        body = {**self._common, "object": "chat.completion", "choices": choices, "usage": usage(rollouts)}
        return with_warnings(body, [*warnings, *dict.fromkeys(faults)])

    def opening(self, choice: int, warnings: Sequence[str]) -> dict[str, Any]:
        """The first chunk of a choice."""
        return with_warnings(self._chunk(choice, {"role": "assistant", "content": ""}), warnings)

    def delta(self, choice: int, delta: Delta) -> dict[str, Any]:
        """A chunk with a piece of thinking or answer."""
        return self._chunk(choice, {"reasoning_content" if delta.kind == "reasoning" else "content": delta.text})

    def closing(self, choice: int, rollout: Rollout) -> dict[str, Any]:
        """The last chunk of a choice."""
        fault = format_fault(rollout)
        return with_warnings(self._chunk(choice, {}, rollout.finish_reason), [fault] if fault else [])

    def usage_chunk(self, rollouts: Sequence[Rollout]) -> dict[str, Any]:
        """The chunk after all choices, for callers that asked for it."""
        return {**self._common, "object": "chat.completion.chunk", "choices": [], "usage": usage(rollouts)}

    def _chunk(self, choice: int, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        choices = [{"index": choice, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]
        return {**self._common, "object": "chat.completion.chunk", "choices": choices}


def raise_if_broken(rollout: Rollout) -> None:
    """A generation that failed is an error: the caller's if the model refused the request, else the server's. One cut
    short or malformed is still an answer."""
    if any(completion.refused for completion in rollout.completions):
        raise bad_request(rollout.parsed.failure or "The model refuses the request.", param="messages")
    if rollout.finish_reason in ("error", "cancelled"):
        raise ApiError(500, rollout.parsed.failure or "The generation failed.", code="generation_failed")


def format_fault(rollout: Rollout) -> str | None:
    """A warning about an answer that is complete but not in the model's format."""
    if rollout.finish_reason == "stop" and rollout.parsed.failure is not None:
        return f"The answer is malformed: {rollout.parsed.failure}"
    return None


def with_warnings(body: dict[str, Any], warnings: Sequence[str]) -> dict[str, Any]:
    """The body with a ``warnings`` field if there are any."""
    return {**body, "warnings": list(warnings)} if warnings else body


def usage(rollouts: Sequence[Rollout]) -> dict[str, Any]:
    """Token counts: the prompt once, what was written summed over the choices."""
    counts: list[Usage] = [rollout.usage for rollout in rollouts]
    prompt = counts[0].prompt_tokens
    completion = sum(count.completion_tokens for count in counts)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "completion_tokens_details": {"reasoning_tokens": sum(count.reasoning_tokens for count in counts)},
    }


def event(body: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(body, ensure_ascii=False, allow_nan=False).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def _choice(index: int, rollout: Rollout) -> dict[str, Any]:
    attempt = rollout.parsed.attempt
    message = {
        "role": "assistant",
        "content": attempt.answer,
        "reasoning_content": attempt.reasoning,
        "refusal": None,
    }
    return {"index": index, "message": message, "logprobs": None, "finish_reason": rollout.finish_reason}
