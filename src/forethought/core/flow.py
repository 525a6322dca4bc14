"""The call flow: runs a style over any chat model, all problems at once, turn by turn.

The same function makes training data, evaluates, shows samples during training and answers served requests, so what
a model is asked never depends on who asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from forethought.core.records import FinishReason, Json, Message, Prompt, Sampling, Usage
from forethought.core.seams import ChatModel, ChatRequest, Completion, Parsed, Style


@dataclass(frozen=True)
class Rollout:
    """One attempt as it was made: the exact conversation and what the style read out of it."""

    messages: tuple[Message, ...]
    """The conversation, the model's turns included."""
    said: tuple[str, ...]
    parsed: Parsed
    finish_reason: FinishReason
    usage: Usage
    completions: tuple[Completion, ...]

    @property
    def truncated(self) -> bool:
        """The model ran out of tokens before it was done."""
        return self.finish_reason == "length"


def roll_out(
    chat: ChatModel,
    style: Style,
    prompt: Prompt,
    inputs: Sequence[Json],
    *,
    sampling: Sampling = Sampling(),
    json_schema: dict[str, Any] | None = None,
    on_done: Callable[[int, Rollout], None] | None = None,
) -> list[Rollout]:
    """One rollout for each input, in order. ``on_done(index, rollout)`` is called as each one is complete.

    Several samples of one problem are the same input several times; engines share the common prefill. A turn that
    ends in an error or out of tokens ends its rollout: the next turn would build on something unfinished.
    """
    finished: dict[int, Rollout] = {}
    completions: dict[int, list[Completion]] = {index: [] for index in range(len(inputs))}

    def finish(index: int) -> None:
        rollout = _assemble(style, prompt, inputs[index], completions[index])
        finished[index] = rollout
        if on_done is not None:
            on_done(index, rollout)

    open_indices = list(range(len(inputs)))
    for turn in range(style.turns):
        is_last = turn == style.turns - 1
        requests = [
            turn_request(style, prompt, inputs[index], said_so_far(completions[index]), sampling, json_schema)
            for index in open_indices
        ]

        def turn_done(
            position: int, completion: Completion, indices: Sequence[int] = open_indices, last: bool = is_last
        ) -> None:
            index = indices[position]
            completions[index].append(completion)
            if last or completion.finish_reason != "stop":
                finish(index)

        chat.complete(requests, turn_done)
        open_indices = [index for index in open_indices if index not in finished]
    return [finished[index] for index in range(len(inputs))]


def turn_request(
    style: Style,
    prompt: Prompt,
    problem_input: Json,
    said: Sequence[str],
    sampling: Sampling,
    json_schema: dict[str, Any] | None = None,
) -> ChatRequest:
    """The request for the next turn. Only the turn that carries the answer is bound by the schema."""
    answers_now = len(said) == style.turns - 1
    return ChatRequest(
        messages=style.messages(prompt, problem_input, said),
        sampling=sampling,
        json_schema=json_schema if answers_now else None,
        think_tags=style.think_tags,
    )


def said_so_far(completions: Sequence[Completion]) -> list[str]:
    """The model's turns as text, provider-native reasoning written back between think tags."""
    return [
        completion.text
        if completion.reasoning is None
        else f"<think>\n{completion.reasoning}\n</think>\n\n{completion.text}"
        for completion in completions
    ]


def _assemble(style: Style, prompt: Prompt, problem_input: Json, completions: Sequence[Completion]) -> Rollout:
    said = said_so_far(completions)
    last = completions[-1]
    asked = style.messages(prompt, problem_input, said[:-1])
    parsed = style.parse(said, last.finish_reason)
    if last.error is not None:
        parsed = Parsed(parsed.attempt, parsed.raw, failure=last.error)
    return Rollout(
        messages=(*asked, Message(role="assistant", content=said[-1])),
        said=tuple(said),
        parsed=parsed,
        finish_reason=last.finish_reason,
        usage=_total([completion.usage for completion in completions]),
        completions=tuple(completions),
    )


def _total(usages: Sequence[Usage]) -> Usage:
    costs = [usage.cost_usd for usage in usages]
    return Usage(
        prompt_tokens=sum(usage.prompt_tokens for usage in usages),
        completion_tokens=sum(usage.completion_tokens for usage in usages),
        reasoning_tokens=sum(usage.reasoning_tokens for usage in usages),
        cost_usd=None if any(cost is None for cost in costs) else sum(cost for cost in costs if cost is not None),
    )
