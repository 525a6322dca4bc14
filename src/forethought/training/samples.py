"""What the model writes for a few held-out inputs while it is being trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from forethought.core.flow import roll_out
from forethought.core.records import Json, Prompt, Sampling
from forethought.core.seams import Example, Style
from forethought.engine.local import LocalModel

if TYPE_CHECKING:
    from forethought.engine.loading import LoadedModel
    from forethought.training.trainer import Sampler


def greedy_sampler(
    loaded: LoadedModel, examples: Sequence[Example], style: Style, prompt: Prompt, max_tokens: int
) -> Sampler:
    """Answers the examples' inputs greedily, through the call flow and the engine that serve the model later."""

    def sample(model: Any, tokenizer: Any) -> list[dict[str, Json]]:
        live = dataclasses.replace(loaded, model=model, tokenizer=tokenizer)
        inputs = [example.input for example in examples]
        with closing(LocalModel(live)) as chat:
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
