"""Token ids in, token ids out, over a live model object: rollouts and samples while a model is being trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from forethought.core.records import FinishReason, Sampling
from forethought.engine.batch import Batch, Generation
from forethought.engine.decoder import make_decoder
from forethought.engine.loading import stop_ids_of
from forethought.engine.sampling import request_random
from forethought.errors import EngineError


@dataclass(frozen=True)
class Generated:
    """One completion in token ids."""

    ids: tuple[int, ...]
    """New tokens; the stop token that ended it is the last one."""
    logprobs: tuple[float, ...]
    """Natural log-probability of each token under the distribution sampled from (greedy: the plain softmax)."""
    finish_reason: FinishReason


def generate_ids(
    model: Any,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling | Sequence[Sampling],
    *,
    stop_ids: Iterable[int] | None = None,
    dtype: torch.dtype | None = None,
    max_rows: int | None = None,
    logprobs: bool = True,
    on_done: Callable[[int, Generated], None] | None = None,
) -> list[Generated]:
    """Completions of all prompts, in order.

    ``model`` is a transformers causal LM, bare or with a PEFT adapter; its weights are read as they are now and never
    changed. ``dtype`` is the format to compute in (None: the model's own; only Llama-shaped models can differ from
    it). Equal prompts are prefilled once; the n-th repetition of a prompt and seed is the n-th sample of that seed.
    ``stop_ids`` default to the model's generation config. Thinking limits and stop strings need text: see LocalModel.
    """
    samplings = [sampling] * len(prompts) if isinstance(sampling, Sampling) else list(sampling)
    decoder = make_decoder(model, dtype)
    generations = make_generations(prompts, samplings, wants_logprobs=logprobs)
    for generation in generations:
        if not 0 < len(generation.prompt) < decoder.context:
            raise EngineError(
                f"A prompt has {len(generation.prompt)} tokens; the model takes 1 to {decoder.context - 1}.",
                hint="Shorten the prompt.",
            )
    batch = Batch(decoder, stop_ids_of(model) if stop_ids is None else stop_ids, max_rows=max_rows)
    batch.add(generations)
    index_of = {id(generation): index for index, generation in enumerate(generations)}
    done: dict[int, Generated] = {}
    while not batch.is_idle:
        for generation in batch.step():
            if generation.finish_reason is not None:
                index = index_of[id(generation)]
                done[index] = Generated(tuple(generation.tokens), tuple(generation.logprobs), generation.finish_reason)
                if on_done is not None:
                    on_done(index, done[index])
    return [done[index] for index in range(len(prompts))]


def make_generations(
    prompts: Sequence[Sequence[int]], samplings: Sequence[Sampling], *, wants_logprobs: bool = False
) -> list[Generation]:
    """One generation a prompt, each with its own randomness."""
    seen: Counter[tuple[tuple[int, ...], int | None]] = Counter()
    generations = []
    for prompt, sampling in zip(prompts, samplings, strict=True):
        key = (tuple(prompt), sampling.seed)
        generator = request_random(sampling.seed, seen[key])
        seen[key] += 1
        generations.append(Generation(key[0], sampling, generator, wants_logprobs=wants_logprobs))
    return generations
