"""Continuous batching: sequences join as soon as there is room and leave as soon as they are done."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch

from forethought.core.records import FinishReason, Sampling
from forethought.engine.decoder import Decoder
from forethought.engine.sampling import Draw, draw_tokens
from forethought.engine.slots import Prefix, Span
from forethought.errors import EngineError

PREFILL_TOKENS = 2048
"""Tokens of one prefill pass, padding included: bounds how long running sequences wait."""
PADDING = 1.25
"""A prefill group's padded size may exceed its tokens by so much."""
SHARED_TOKENS = 32
"""A shared beginning is computed once when it is at least so long."""


class Guide(Protocol):
    """Watches and steers one sequence while it is written."""

    def forced(self) -> int | None:
        """The token that must come next, whatever the model says."""
        ...

    def restrict(self, logits_V: torch.Tensor) -> None:
        """Sets what may not come next to minus infinity, in place."""
        ...

    def accept(self, token: int, stops: bool) -> bool:
        """Takes note of a token (``stops``: it ends the turn); True when the text is complete with it."""
        ...


@dataclass(eq=False)
class Generation:
    """One completion being written."""

    prompt: tuple[int, ...]
    sampling: Sampling
    random: random.Random
    guide: Guide | None = None
    wants_logprobs: bool = False
    tokens: list[int] = field(default_factory=list)
    """New tokens, the one that ended the turn included."""
    logprobs: list[float] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    error: str | None = None


class Batch:
    """The sequences of one decoder. Not thread-safe: one thread at a time owns it."""

    def __init__(self, decoder: Decoder, stop_ids: Iterable[int], *, max_rows: int | None = None) -> None:
        self._decoder = decoder
        self._stop_ids = frozenset(stop_ids)
        self._max_rows = max_rows or (256 if decoder.device.type == "cuda" else 64)
        self._waiting: deque[Generation] = deque()
        self._active: list[Generation] = []
        self._prefix: Prefix | None = None

    @property
    def is_idle(self) -> bool:
        return not self._active and not self._waiting

    def add(self, sequences: Iterable[Generation]) -> None:
        """Queues sequences, shortest prompt first and equal prompts side by side."""
        self._waiting.extend(sorted(sequences, key=lambda sequence: (len(sequence.prompt), sequence.prompt)))

    def cancel(self, sequence: Generation) -> None:
        """Takes a sequence out, wherever it is. Its finish reason becomes ``cancelled`` unless it had one."""
        if sequence in self._waiting:
            self._waiting.remove(sequence)
        elif sequence in self._active:
            with torch.inference_mode():
                self._leave(self._active.index(sequence))
        sequence.finish_reason = sequence.finish_reason or "cancelled"

    def step(self) -> list[Generation]:
        """Admits what fits, or else writes one token in every row. Returns the sequences that got a token."""
        with torch.inference_mode():
            admitted = self._admit() if self._should_admit() else []
            if admitted:
                return admitted
            return self._decode()

    def _should_admit(self) -> bool:
        """A pass over one short prompt costs nearly as much as over many: free rows are collected first."""
        free = self._max_rows - len(self._active)
        return bool(self._waiting) and free >= min(len(self._waiting), max(1, self._max_rows // 8))

    def _decode(self) -> list[Generation]:
        active = self._active
        if not active:
            return []
        lengths = [len(sequence.prompt) + len(sequence.tokens) - 1 for sequence in active]
        self._decoder.cache.reserve(len(active), max(lengths) + 1)
        ids = torch.tensor([[sequence.tokens[-1]] for sequence in active], device=self._decoder.device)
        span = Span.decode(lengths, self._decoder.cache.columns, self._decoder.device)
        logits_NV = self._decoder.forward(ids, None, span)
        return self._take(logits_NV, list(active))

    def _admit(self) -> list[Generation]:
        """Prefills one group: each distinct prompt once, its cache row copied to the sequences that share it."""
        group = self._next_group()
        first = len(self._active)
        copies: dict[tuple[int, ...], list[Generation]] = {}
        for sequence in group:
            copies.setdefault(sequence.prompt, []).append(sequence)
        prompts = list(copies)
        self._decoder.cache.reserve(first + len(group), self._longest(prompts) + 1)
        logits_UV = self._prefill(prompts, first)
        next_row = first + len(prompts)
        for unique, prompt in enumerate(prompts):
            extra = len(copies[prompt]) - 1
            if extra:
                self._decoder.cache.copy_row(first + unique, slice(next_row, next_row + extra), len(prompt))
                next_row += extra
        ordered = [copies[prompt][0] for prompt in prompts]
        ordered += [sequence for prompt in prompts for sequence in copies[prompt][1:]]
        source = [*range(len(prompts))]
        source += [unique for unique, prompt in enumerate(prompts) for _ in copies[prompt][1:]]
        self._active.extend(ordered)
        return self._take(logits_UV[source], ordered)

    def _longest(self, prompts: Sequence[tuple[int, ...]]) -> int:
        """Columns that these prompts or any active sequence need."""
        return max([len(s.prompt) + len(s.tokens) for s in self._active] + [len(prompt) for prompt in prompts])

    def _next_group(self) -> list[Generation]:
        """The longest run of waiting sequences that fits the free rows, the token budget and the padding."""
        free = self._max_rows - len(self._active)
        group: list[Generation] = []
        distinct: dict[tuple[int, ...], None] = {}
        shared = 0
        while self._waiting and len(group) < free:
            prompt = self._waiting[0].prompt
            if prompt not in distinct:
                shared = _common(self._waiting[0].prompt, next(iter(distinct))[:shared]) if distinct else len(prompt)
                # What prefill computes of each prompt; one token at least.
                start = min(shared, len(prompt) - 1) if shared >= SHARED_TOKENS else 0
                lengths = [len(known) - start for known in (*distinct, prompt)]
                padded = max(lengths) * len(lengths)
                if group and (padded > PREFILL_TOKENS or padded > PADDING * sum(lengths)):
                    break
                distinct[prompt] = None
            group.append(self._waiting.popleft())
        return group

    def _prefill(self, prompts: Sequence[tuple[int, ...]], first: int) -> torch.Tensor:
        """Logits ``[prompts, vocabulary]`` after each prompt; their keys and values are in rows from ``first``."""
        start = self._shared_start(prompts, first)
        rows = slice(first, first + len(prompts))
        if start and self._prefix is not None:
            self._decoder.cache.write_prefix(self._prefix, rows, start)
        logits_NV = self._forward_prompts([prompt[start:] for prompt in prompts], first, start)
        if not start and len(prompts[0]) > SHARED_TOKENS:
            self._prefix = self._decoder.cache.read_prefix(first, prompts[0])
        return logits_NV

    def _shared_start(self, prompts: Sequence[tuple[int, ...]], first: int) -> int:
        """How many tokens of all prompts need not be computed: known from before, or computed once here."""
        limit = min(map(len, prompts)) - 1
        if self._prefix is not None:
            known = min(limit, *(_common(self._prefix.token_ids, prompt) for prompt in prompts))
            if known >= SHARED_TOKENS:
                return known
        shared = min(limit, *(_common(prompts[0], prompt) for prompt in prompts))
        if len(prompts) == 1 or shared < SHARED_TOKENS:
            return 0
        self._forward_prompts([prompts[0][:shared]], first, 0)
        self._prefix = self._decoder.cache.read_prefix(first, prompts[0][:shared])
        return shared

    def _forward_prompts(self, prompts: Sequence[tuple[int, ...]], first: int, start: int) -> torch.Tensor:
        width = max(map(len, prompts))
        device = self._decoder.device
        ids = torch.tensor([[*prompt, *([0] * (width - len(prompt)))] for prompt in prompts], device=device)
        last = torch.tensor([len(prompt) - 1 for prompt in prompts], device=device)
        return self._decoder.forward(ids, last, Span.prefill(first, len(prompts), width, start))

    def _take(self, logits_NV: torch.Tensor, sequences: list[Generation]) -> list[Generation]:
        """Draws a token for each sequence; those that end leave the batch."""
        for row, sequence in enumerate(sequences):
            if sequence.guide is not None:
                sequence.guide.restrict(logits_NV[row])
        draws = [
            Draw(s.sampling, s.random.random() if s.sampling.temperature else 0.0, s.wants_logprobs) for s in sequences
        ]
        tokens, logprobs = draw_tokens(logits_NV, draws)
        for row, (sequence, token, logprob) in enumerate(zip(sequences, tokens, logprobs, strict=True)):
            forced = sequence.guide.forced() if sequence.guide is not None else None
            if forced is not None:
                token = forced
                logprob = float(logits_NV[row].log_softmax(-1)[forced]) if sequence.wants_logprobs else None
            self._append(sequence, token, logprob)
        for row in reversed(range(len(self._active))):
            if self._active[row].finish_reason is not None:
                self._leave(row)
        return sequences

    def _append(self, sequence: Generation, token: int, logprob: float | None) -> None:
        sequence.tokens.append(token)
        if logprob is not None:
            sequence.logprobs.append(logprob)
        stops = token in self._stop_ids
        try:
            done = sequence.guide.accept(token, stops) if sequence.guide is not None else stops
        except EngineError as error:
            sequence.finish_reason, sequence.error = "error", str(error)
            return
        if done:
            sequence.finish_reason = "stop"
        elif len(sequence.tokens) >= sequence.sampling.max_tokens or self._is_full(sequence):
            sequence.finish_reason = "length"

    def _is_full(self, sequence: Generation) -> bool:
        return len(sequence.prompt) + len(sequence.tokens) >= self._decoder.context

    def _leave(self, row: int) -> None:
        """The last row moves into the gap."""
        last = len(self._active) - 1
        if row != last:
            moved = self._active[last]
            self._decoder.cache.copy_row(last, slice(row, row + 1), len(moved.prompt) + len(moved.tokens) - 1)
            self._active[row] = moved
        self._active.pop()


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    """Length of the common beginning."""
    for position, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return position
    return min(len(left), len(right))
