"""The call flow: runs a style over any chat model, all problems at once (``roll_out``) or one as it is written
(``stream_out``).

The same functions make training data, evaluate, show samples during training and answer served requests, so what a
model is asked never depends on who asks.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from forethought.core.records import FinishReason, Json, Message, Prompt, Sampling, Usage
from forethought.core.seams import ChatModel, ChatRequest, Completion, Delta, Parsed, Style
from forethought.core.tags import thinking_then


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


@dataclass(frozen=True)
class _Call:
    """What one rollout asks for, whichever turn it is at."""

    style: Style
    prompt: Prompt
    input: Json
    sampling: Sampling
    json_schema: dict[str, Any] | None
    history: tuple[Message, ...] = ()

    def request(self, completions: Sequence[Completion]) -> ChatRequest:
        return turn_request(
            self.style,
            self.prompt,
            self.input,
            said_so_far(completions),
            self.sampling,
            self.json_schema,
            history=self.history,
        )

    def is_over(self, completions: Sequence[Completion]) -> bool:
        """All turns are said, or the last one is something the next cannot build on."""
        if len(completions) == self.style.turns:
            return True
        reason = completions[-1].finish_reason
        thought_enough = reason == "length" and _thinking_limit_binds(self.style, len(completions) - 1, self.sampling)
        return reason != "stop" and not thought_enough


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
    """One rollout for each input, in order. ``on_done(index, rollout)`` is called once as each is complete, one call
    at a time, possibly from a thread of the model's.

    Several samples of one problem are the same input several times: engines share the prefill, and each position
    draws from a seed of its own. A turn that ends in an error or out of tokens ends its rollout: the next turn would
    build on something unfinished.
    """
    calls = [
        _Call(style, prompt, problem_input, sample_sampling(sampling, index), json_schema)
        for index, problem_input in enumerate(inputs)
    ]
    completions: list[list[Completion]] = [[] for _ in calls]
    finished: dict[int, Rollout] = {}
    lock = threading.Lock()

    def take(index: int, turn: int, completion: Completion) -> None:
        with lock:
            if len(completions[index]) > turn:
                return
            completions[index].append(completion)
            if calls[index].is_over(completions[index]):
                finished[index] = _assemble(calls[index], completions[index])
                if on_done is not None:
                    on_done(index, finished[index])

    for turn in range(style.turns):
        asked = [index for index in range(len(calls)) if index not in finished]
        if not asked:
            break

        def turn_done(
            position: int, completion: Completion, asked: Sequence[int] = tuple(asked), turn: int = turn
        ) -> None:
            take(asked[position], turn, completion)

        written = chat.complete([calls[index].request(completions[index]) for index in asked], turn_done)
        for index, completion in zip(asked, written, strict=True):
            take(index, turn, completion)
    return [finished[index] for index in range(len(calls))]


def stream_out(
    chat: ChatModel,
    style: Style,
    prompt: Prompt,
    problem_input: Json,
    *,
    sampling: Sampling = Sampling(),
    json_schema: dict[str, Any] | None = None,
    history: Sequence[Message] = (),
) -> Generator[Delta | Rollout, None, None]:
    """One rollout as it is written: the deltas in order, then the rollout itself.

    ``history`` are earlier turns of the conversation, put in front of the input. Closing the iterator closes the
    model's stream, which stops the generation. A stream without a finish reason ends as an error.
    """
    call = _Call(style, prompt, problem_input, sampling, json_schema, tuple(history))
    parser = style.stream()
    completions: list[Completion] = []
    while not completions or not call.is_over(completions):
        completion = None
        written: list[str] = []
        chunks = chat.stream(call.request(completions))
        try:
            for chunk in chunks:
                written.append(chunk.text)
                yield from parser.feed(chunk.text)
                completion = chunk.completion or completion
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
        completions.append(completion or _broken_off("".join(written)))
        yield from parser.end_turn(completions[-1].finish_reason)
    yield _assemble(call, completions)


def turn_request(
    style: Style,
    prompt: Prompt,
    problem_input: Json,
    said: Sequence[str],
    sampling: Sampling,
    json_schema: dict[str, Any] | None = None,
    *,
    history: Sequence[Message] = (),
) -> ChatRequest:
    """The request for the next turn. Only the turn that carries the answer is bound by the schema.

    Where thinking has a turn of its own, ``max_thinking_tokens`` is that turn's limit and ``stop`` waits for the
    answer; elsewhere the engine applies the limit around the closing tag.
    """
    answers_now = len(said) == style.turns - 1
    if _thinking_limit_binds(style, len(said), sampling):
        sampling = sampling.model_copy(update={"max_tokens": sampling.max_thinking_tokens})
    if not answers_now:
        sampling = sampling.model_copy(update={"stop": ()})
    return ChatRequest(
        messages=_with_history(style.messages(prompt, problem_input, said), history, len(said)),
        sampling=sampling,
        json_schema=json_schema if answers_now else None,
        think_tags=style.think_tags,
    )


def said_so_far(completions: Sequence[Completion]) -> list[str]:
    """The model's turns as text, provider-native reasoning written back between think tags."""
    return [
        thinking_then(completion.reasoning, completion.text) if completion.reasoning else completion.text
        for completion in completions
    ]


def sample_sampling(sampling: Sampling, index: int) -> Sampling:
    """The sampling of the ``index``-th rollout of a batch: unrelated seeds, so equal inputs give different samples
    and the batches of seeds 0, 1, 2 share none. Index 0 keeps the seed, so a batch of one is what was asked for."""
    if sampling.seed is None or index == 0:
        return sampling
    digest = hashlib.blake2b(f"{sampling.seed}:{index}".encode(), digest_size=4).digest()
    return sampling.model_copy(update={"seed": int.from_bytes(digest, "big") >> 1})


def _thinking_limit_binds(style: Style, turn: int, sampling: Sampling) -> bool:
    """The turn is a thinking turn of its own, and its limit is tighter than that of any turn."""
    is_thinking_turn = style.think_tags is None and turn < style.turns - 1
    limit = sampling.max_thinking_tokens
    return is_thinking_turn and limit is not None and limit < sampling.max_tokens


def _with_history(messages: Sequence[Message], history: Sequence[Message], turns_said: int) -> list[Message]:
    """Earlier conversation goes right before the input: a style ends with the input and two messages a turn said."""
    at = len(messages) - 1 - 2 * turns_said
    return [*messages[:at], *history, *messages[at:]]


def _broken_off(text: str) -> Completion:
    return Completion(text, "error", Usage(), error="The stream broke off without a finish reason.")


def _assemble(call: _Call, completions: Sequence[Completion]) -> Rollout:
    said = said_so_far(completions)
    last = completions[-1]
    parsed = call.style.parse(said, last.finish_reason)
    if last.error is not None:
        parsed = Parsed(parsed.attempt, parsed.raw, failure=last.error)
    return Rollout(
        messages=(*call.request(completions[:-1]).messages, Message(role="assistant", content=said[-1])),
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
