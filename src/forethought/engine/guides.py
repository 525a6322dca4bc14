"""Steers one assistant turn: thinking limits, an answer bound to a schema, stop strings, text as it grows."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
from tokenizers.decoders import DecodeStream

from forethought.core.records import Sampling
from forethought.core.seams import ChatRequest
from forethought.engine.schema import SchemaGrammars, SchemaMatcher
from forethought.errors import EngineError


class Vocabulary:
    """The texts of a tokenizer's tokens, and what the guides of all requests share. Thread-safe."""

    def __init__(self, tokenizer: Any, vocab_size: int, stop_ids: frozenset[int]) -> None:
        if not hasattr(tokenizer, "backend_tokenizer"):
            raise EngineError("The model's tokenizer is not one of the tokenizers library (tokenizer.json).")
        self.tokenizer = tokenizer
        self.stop_ids = stop_ids
        self.grammars = SchemaGrammars(tokenizer, vocab_size, stop_ids)
        self._vocab_size = vocab_size
        self._texts: list[str] | None = None
        self._openers: dict[tuple[str, str], torch.Tensor] = {}
        self._lock = threading.Lock()

    def decode(self, ids: Sequence[int], *, keep_special: bool) -> str:
        """Plain text; special tokens are left out unless a tag is one of them."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=not keep_special))

    def is_special(self, text: str) -> bool:
        """Is this tag a special token, which decoding would drop?"""
        return text in self.tokenizer.all_special_tokens

    def openers_of(self, tag: str, tail: str) -> torch.Tensor:
        """Ids of the tokens that, written after ``tail``, begin (two characters at least) or contain the tag."""
        with self._lock:
            if (tag, tail) not in self._openers:
                if self._texts is None:
                    size = min(self._vocab_size, len(self.tokenizer))
                    self._texts = self.tokenizer.batch_decode([[index] for index in range(size)])
                ids = [index for index, text in enumerate(self._texts) if _opens(tag, tail + text)]
                self._openers[tag, tail] = torch.tensor(ids, dtype=torch.long)
            return self._openers[tag, tail]


class TurnGuide:
    """A Guide for one ChatRequest. ``text`` is what has been written so far, stop string and after cut off."""

    def __init__(self, vocabulary: Vocabulary, request: ChatRequest) -> None:
        self._vocabulary = vocabulary
        self._sampling: Sampling = request.sampling
        self._open, self._close = request.think_tags or ("", "")
        self._keep_special = any(vocabulary.is_special(tag) for tag in request.think_tags or ())
        self._schema = request.json_schema
        self._matcher: SchemaMatcher | None = None
        self._stream = DecodeStream(skip_special_tokens=not self._keep_special)
        self._forced: deque[int] = deque()
        self._ends_early = False
        self._longest_tag = max(map(len, (self._close, *self._sampling.stop)))
        self._searched_from = 0
        self.text = ""
        self._thinking_tokens = 0
        self.is_thinking = bool(self._close)
        if self._schema is not None:
            vocabulary.grammars.compile(self._schema, after_thinking=self.is_thinking)

    def forced(self) -> int | None:
        return self._forced.popleft() if self._forced else None

    def restrict(self, logits_V: torch.Tensor) -> None:
        if self._matcher is None and self._schema is not None and not self.is_thinking:
            self._matcher = self._vocabulary.grammars.start(self._schema, after_thinking=False)
        if self._matcher is not None:
            self._matcher.restrict(logits_V)
        elif self.is_thinking and self._thinking_tokens < self._sampling.min_thinking_tokens:
            banned = self._vocabulary.openers_of(self._close, _unfinished(self.text, self._close))
            logits_V[banned.to(logits_V.device)] = -torch.inf
            logits_V[list(self._vocabulary.stop_ids)] = -torch.inf
        elif self.is_thinking and self._schema is not None:
            # An answer is owed: the turn cannot end before it.
            logits_V[list(self._vocabulary.stop_ids)] = -torch.inf

    def accept(self, token: int, stops: bool) -> bool:
        """Notes a token. The text is complete at a stop token, a stop string or the end of the schema's value."""
        if stops:
            return True
        if self._matcher is not None:
            self._matcher.accept(token)
        self._write(token)
        if self.is_thinking:
            self._think()
        return self._hits_stop_string() or (self._matcher is not None and self._matcher.is_complete)

    def final_text(self, ids: Sequence[int], *, stopped: bool) -> str:
        """The whole text of a finished turn, incomplete characters at the end included."""
        if self._ends_early:
            return self.text
        kept = ids[:-1] if stopped and ids and ids[-1] in self._vocabulary.stop_ids else ids
        text = self._vocabulary.decode(kept, keep_special=self._keep_special)
        return text if text.startswith(self.text) else self.text

    @property
    def reasoning_tokens(self) -> int:
        """Tokens up to the closing tag, tags included; 0 for a text that never thought."""
        unclosed = self.is_thinking and not self.text.lstrip().startswith(self._open)
        return 0 if unclosed else self._thinking_tokens

    def safe_length(self) -> int:
        """How much of ``text`` can be shown now: a beginning of a stop string is held back."""
        held = max((len(_unfinished(self.text, stop)) for stop in self._sampling.stop), default=0)
        return len(self.text) - held

    def _write(self, token: int) -> None:
        piece = self._stream.step(self._vocabulary.tokenizer.backend_tokenizer, token)
        self._searched_from = max(0, len(self.text) - self._longest_tag)
        self.text += piece or ""

    def _think(self) -> None:
        self._thinking_tokens += 1
        at = self.text.find(self._close, self._searched_from)
        if at >= 0:
            self.is_thinking = False
            self._forced.clear()
            if self._schema is not None:
                rest = self.text[at + len(self._close) :].lstrip()
                self._matcher = self._vocabulary.grammars.start(self._schema, after_thinking=True)
                for token in self._vocabulary.tokenizer.encode(rest, add_special_tokens=False):
                    self._matcher.accept(token)
            return
        limit = self._sampling.max_thinking_tokens
        if limit is not None and self._thinking_tokens >= limit and not self._forced:
            tag = self._close if self.text.endswith("\n") else f"\n{self._close}"
            self._forced.extend(self._vocabulary.tokenizer.encode(tag, add_special_tokens=False))

    def _hits_stop_string(self) -> bool:
        found = [self.text.find(stop, self._searched_from) for stop in self._sampling.stop if stop]
        found = [at for at in found if at >= 0]
        if not found:
            return False
        self.text = self.text[: min(found)]
        self._ends_early = True
        return True


def check_request(request: ChatRequest) -> None:
    """Refuses combinations that cannot be met. EngineError says which."""
    limits = request.sampling
    if limits.max_thinking_tokens is not None and limits.min_thinking_tokens > limits.max_thinking_tokens:
        raise EngineError(
            f"At least {limits.min_thinking_tokens} thinking tokens are asked for, "
            f"but at most {limits.max_thinking_tokens}.",
            hint="Raise max_thinking_tokens.",
        )


def _unfinished(text: str, tag: str) -> str:
    """The longest end of the text that is a proper beginning of the tag."""
    for length in range(min(len(tag) - 1, len(text)), 0, -1):
        if text.endswith(tag[:length]):
            return tag[:length]
    return ""


def _opens(tag: str, text: str) -> bool:
    return tag in text or len(_unfinished(text, tag)) >= min(2, len(tag))
