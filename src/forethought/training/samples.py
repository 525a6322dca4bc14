"""What the model writes for a few held-out inputs while it is being trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from forethought.core.flow import roll_out
from forethought.core.records import Json, Prompt, Sampling, Usage
from forethought.core.seams import ChatRequest, Chunk, Completion, Example, Style
from forethought.training.data import stop_token_ids

if TYPE_CHECKING:
    from forethought.engine.loading import LoadedModel
    from forethought.training.trainer import Sampler


def greedy_sampler(
    loaded: LoadedModel, examples: Sequence[Example], style: Style, prompt: Prompt, max_tokens: int
) -> Sampler:
    """Answers the examples' inputs greedily, through the same call flow as everybody else."""
    stops = stop_token_ids(loaded.model, loaded.tokenizer)

    def sample(model: Any, tokenizer: Any) -> list[dict[str, Json]]:
        chat = LiveChat(model, tokenizer, stops)
        inputs = [example.input for example in examples]
        rollouts = roll_out(chat, style, prompt, inputs, sampling=Sampling(max_tokens=max_tokens))
        return [
            {
                "example_id": example.id,
                "input": example.input,
                "said": list(rollout.said),
                "answer": rollout.parsed.attempt.answer,
                "reasoning": rollout.parsed.attempt.reasoning,
                "failure": rollout.parsed.failure,
                "expected": example.attempt.answer,
            }
            for example, rollout in zip(examples, rollouts, strict=True)
        ]

    return sample


class LiveChat:
    """Greedy turns of a model whose weights change between calls, so nothing about it is cached."""

    name = "live"

    def __init__(self, model: Any, tokenizer: Any, stop_ids: frozenset[int]) -> None:
        self._model, self._tokenizer, self._stop_ids = model, tokenizer, stop_ids

    def complete(
        self, requests: Sequence[ChatRequest], on_done: Callable[[int, Completion], None] | None = None
    ) -> list[Completion]:
        """One batch, padded on the left."""
        prompts = [self._prompt_ids(request) for request in requests]
        width = max(len(ids) for ids in prompts)
        pad = self._tokenizer.pad_token_id if self._tokenizer.pad_token_id is not None else min(self._stop_ids)
        device = next(self._model.parameters()).device
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in prompts], device=device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts], device=device)
        written = self._model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=max(request.sampling.max_tokens for request in requests),
            do_sample=False,
            eos_token_id=sorted(self._stop_ids),
            pad_token_id=pad,
        )[:, width:]
        completions = [
            self._completion(row, len(prompt)) for row, prompt in zip(written.tolist(), prompts, strict=True)
        ]
        for index, completion in enumerate(completions):
            if on_done is not None:
                on_done(index, completion)
        return completions

    def stream(self, request: ChatRequest) -> Iterator[Chunk]:
        """The whole turn as one chunk."""
        completion = self.complete([request])[0]
        yield Chunk(completion.text, completion)

    def _prompt_ids(self, request: ChatRequest) -> list[int]:
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _completion(self, row: list[int], prompt_tokens: int) -> Completion:
        stop = next((position for position, token in enumerate(row) if token in self._stop_ids), None)
        said = row if stop is None else row[:stop]
        return Completion(
            text=self._tokenizer.decode(said, skip_special_tokens=False, clean_up_tokenization_spaces=False),
            finish_reason="length" if stop is None else "stop",
            usage=Usage(prompt_tokens=prompt_tokens, completion_tokens=len(said) + (stop is not None)),
        )
