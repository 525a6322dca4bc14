"""A local model that chats: batches what it is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from forethought.core.records import Usage
from forethought.core.seams import ChatRequest, Chunk, Completion
from forethought.engine.loading import LoadedModel


class LocalModel:
    """A ChatModel over a loaded model."""

    def __init__(self, loaded: LoadedModel, *, name: str | None = None) -> None:
        self.name = name or loaded.name
        self._loaded = loaded

    def complete(
        self,
        requests: Sequence[ChatRequest],
        on_done: Callable[[int, Completion], None] | None = None,
    ) -> list[Completion]:
        """All turns, in the order asked."""
        completions = []
        for index, request in enumerate(requests):
            completions.append(self._one(request))
            if on_done is not None:
                on_done(index, completions[-1])
        return completions

    def stream(self, request: ChatRequest) -> Iterator[Chunk]:
        """One turn, in one piece."""
        completion = self._one(request)
        yield Chunk(completion.text, completion)

    def close(self) -> None:
        """Frees nothing yet."""

    def _one(self, request: ChatRequest) -> Completion:
        model, tokenizer = self._loaded.model, self._loaded.tokenizer
        messages = [message.model_dump() for message in request.messages]
        inputs = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"
        ).to(self._loaded.device)
        sampling = request.sampling
        drawn = {"do_sample": False} if sampling.temperature == 0 else {"do_sample": True, "top_k": sampling.top_k}
        with torch.inference_mode():
            out = model.generate(**inputs, max_new_tokens=sampling.max_tokens, **drawn)
        prompt_tokens = inputs["input_ids"].shape[1]
        ids = [int(token) for token in out[0, prompt_tokens:]]
        ended = bool(ids) and ids[-1] == tokenizer.eos_token_id
        return Completion(
            text=tokenizer.decode(ids[:-1] if ended else ids),
            finish_reason="stop" if ended else "length",
            usage=Usage(prompt_tokens=prompt_tokens, completion_tokens=len(ids)),
            token_ids=tuple(ids),
        )
