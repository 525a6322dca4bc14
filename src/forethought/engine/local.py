"""A local model that chats. Any number of threads ask; one batch serves them all."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from forethought.core.records import Usage
from forethought.core.seams import ChatRequest, Chunk, Completion
from forethought.engine.batch import Batch, Generation
from forethought.engine.decoder import make_decoder
from forethought.engine.generate import make_generations
from forethought.engine.guides import TurnGuide, Vocabulary, check_request
from forethought.engine.loading import LoadedModel
from forethought.engine.templates import ChatTemplate
from forethought.errors import EngineError, ModelFileError

_Events = queue.SimpleQueue["tuple[int, str, Completion | None]"]


@dataclass(eq=False)
class _Turn:
    """One request on its way through the batch."""

    index: int
    generation: Generation
    guide: TurnGuide
    events: _Events
    streams: bool
    shown: int = 0
    """Characters already sent."""


@dataclass
class _Inbox:
    """What threads leave for the one that owns the batch."""

    new: list[_Turn] = field(default_factory=list)
    cancelled: list[_Turn] = field(default_factory=list)


class LocalModel:
    """A ChatModel over a loaded model. Thread-safe.

    Batches continuously: a thread of its own runs while there is work, new requests join and finished ones leave at
    any token. With a seed, a request's text does not depend on what else is in the batch, up to floating-point
    rounding; the n-th identical request in one ``complete`` is the n-th sample of its seed.
    """

    def __init__(self, loaded: LoadedModel, *, name: str | None = None, max_rows: int | None = None) -> None:
        """``max_rows`` bounds the batch (None: 64 on a CPU, 256 on a GPU). Weights are copied as they are now."""
        self.name = name or loaded.name
        self._decoder = make_decoder(loaded.model, loaded.dtype)
        self._batch = Batch(self._decoder, loaded.stop_ids, max_rows=max_rows)
        self._vocabulary = Vocabulary(loaded.tokenizer, self._decoder.vocab_size, loaded.stop_ids)
        self._template = ChatTemplate(loaded.tokenizer)
        self._lock = threading.Lock()
        self._inbox = _Inbox()
        self._thread: threading.Thread | None = None
        self._closed = False

    def complete(
        self,
        requests: Sequence[ChatRequest],
        on_done: Callable[[int, Completion], None] | None = None,
    ) -> list[Completion]:
        """All turns, in the order asked. ``on_done`` is called in the caller's thread as each one finishes.

        A request that cannot be met (a prompt beyond the context, a message with control tokens, a schema that cannot
        be enforced) is a completion with ``error`` set and ``refused``; one on which the chat template breaks has
        ``error`` set alone. The others are unaffected.
        """
        events: _Events = queue.SimpleQueue()
        turns, completions = self._prepare(requests, events, streams=False)
        for index in sorted(completions):
            if on_done is not None:
                on_done(index, completions[index])
        self._submit(turns)
        try:
            while len(completions) < len(requests):
                index, _, completion = events.get()
                if completion is not None:
                    completions[index] = completion
                    if on_done is not None:
                        on_done(index, completion)
        finally:
            self._cancel([turn for turn in turns if turn.index not in completions])
        return [completions[index] for index in range(len(requests))]

    def stream(self, request: ChatRequest) -> Iterator[Chunk]:
        """One turn, token by token. Closing the iterator cancels the turn."""
        events: _Events = queue.SimpleQueue()
        turns, refused = self._prepare([request], events, streams=True)
        if refused:
            yield Chunk("", refused[0])
            return
        self._submit(turns)
        completion: Completion | None = None
        try:
            while completion is None:
                _, text, completion = events.get()
                if text or completion is not None:
                    yield Chunk(text, completion)
        finally:
            if completion is None:
                self._cancel(turns)

    def prompt_ids(self, request: ChatRequest) -> list[int]:
        """The tokens the model reads for a request, up to where its own turn begins."""
        return self._template.prompt_ids(request.messages)

    def close(self) -> None:
        """Cancels what is running and ends the template process. Later requests are refused."""
        with self._lock:
            self._closed = True
            thread = self._thread
        if thread is not None:
            thread.join()
        self._template.close()

    # --- the callers' side --------------------------------------------------------------------------------------------

    def _prepare(
        self, requests: Sequence[ChatRequest], events: _Events, *, streams: bool
    ) -> tuple[list[_Turn], dict[int, Completion]]:
        """Turns for the requests that can be met, error completions for the others."""
        prompts, guides, refused = [], {}, {}
        for index, request in enumerate(requests):
            prompt: list[int] = []
            try:
                check_request(request)
                prompt = self.prompt_ids(request)
                if len(prompt) >= self._decoder.context:
                    raise EngineError(
                        f"The prompt has {len(prompt)} tokens; {self.name} reads {self._decoder.context - 1} at most."
                    )
                guides[index] = TurnGuide(self._vocabulary, request)
            except (EngineError, ModelFileError) as error:
                refused[index] = _failed(len(prompt), str(error), refused=isinstance(error, EngineError))
            prompts.append(prompt)
        generations = make_generations(prompts, [request.sampling for request in requests])
        turns = []
        for index, guide in guides.items():
            generations[index].guide = guide
            generations[index].wants_logprobs = requests[index].logprobs
            turns.append(_Turn(index, generations[index], guide, events, streams))
        return turns, refused

    def _submit(self, turns: list[_Turn]) -> None:
        with self._lock:
            if self._closed:
                raise EngineError(f"The model {self.name} was closed.")
            self._inbox.new.extend(turns)
            if self._thread is None and turns:
                self._thread = threading.Thread(target=self._run, name=f"generate-{self.name}", daemon=True)
                self._thread.start()

    def _cancel(self, turns: list[_Turn]) -> None:
        with self._lock:
            self._inbox.cancelled.extend(turns)

    # --- the batch's side ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Owns the batch until there is nothing left to do."""
        turns: dict[int, _Turn] = {}
        while self._receive(turns):
            try:
                stepped = self._batch.step()
            except Exception as error:  # whatever breaks a pass breaks every turn in it, and no later one
                self._fail(turns, f"Generation failed: {type(error).__name__}: {error}")
                continue
            for generation in stepped:
                self._report(turns, generation)

    def _receive(self, turns: dict[int, _Turn]) -> bool:
        """Takes in new and cancelled turns. False when idle: the thread ends, the next request starts another."""
        with self._lock:
            inbox, self._inbox = self._inbox, _Inbox()
            cancelled = inbox.cancelled if not self._closed else [*inbox.new, *turns.values()]
            turns.update({id(turn.generation): turn for turn in inbox.new})
            self._batch.add([turn.generation for turn in inbox.new])
            for turn in cancelled:
                if turns.pop(id(turn.generation), None) is not None:
                    self._batch.cancel(turn.generation)
                    turn.events.put((turn.index, "", _completion(turn)))
            if self._batch.is_idle:
                self._thread = None
                return False
        return True

    def _report(self, turns: dict[int, _Turn], generation: Generation) -> None:
        turn = turns[id(generation)]
        if generation.finish_reason is not None:
            del turns[id(generation)]
            completion = _completion(turn)
            turn.events.put((turn.index, completion.text[turn.shown :], completion))
        elif turn.streams:
            safe = turn.guide.safe_length()
            if safe > turn.shown:
                turn.events.put((turn.index, turn.guide.text[turn.shown : safe], None))
                turn.shown = safe

    def _fail(self, turns: dict[int, _Turn], error: str) -> None:
        for turn in turns.values():
            self._batch.cancel(turn.generation)
            turn.events.put((turn.index, "", _failed(len(turn.generation.prompt), error)))
        turns.clear()


def _completion(turn: _Turn) -> Completion:
    generation = turn.generation
    finish_reason = generation.finish_reason or "cancelled"
    return Completion(
        text=turn.guide.final_text(generation.tokens, stopped=finish_reason == "stop"),
        finish_reason=finish_reason,
        usage=Usage(
            prompt_tokens=len(generation.prompt),
            completion_tokens=len(generation.tokens),
            reasoning_tokens=turn.guide.reasoning_tokens,
        ),
        token_ids=tuple(generation.tokens),
        logprobs=tuple(generation.logprobs),
        error=generation.error,
    )


def _failed(prompt_tokens: int, error: str, *, refused: bool = False) -> Completion:
    usage = Usage(prompt_tokens=prompt_tokens)
    return Completion(text="", finish_reason="error", usage=usage, error=error, refused=refused)
