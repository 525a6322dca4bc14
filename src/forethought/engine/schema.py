"""Answers bound to a JSON Schema: llguidance says which tokens may come next.

A few keywords, ``uniqueItems`` among them, cannot be held to token by token. They are left out here and for the checks
afterwards; ``unenforced`` names them.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from typing import Any

import numpy as np
import torch

from forethought.engine.optional import require
from forethought.errors import EngineError

_AFTER_THINKING = "start: /[ \\n]{0,2}/ answer\nanswer: %json "
_ALONE = "start: answer\nanswer: %json "
_KEPT = 64
"""Compiled schemas remembered."""
_OPTIONS = {"whitespace_flexible": True, "whitespace_pattern": "[ \\n]{0,4}", "lenient": True}
"""White space is bounded: a small model left free writes blank lines for ever."""


def unenforced(schema: dict[str, Any]) -> list[str]:
    """What of the schema an answer cannot be bound to while it is written, in the words of llguidance; often nothing.

    EngineError for a schema that cannot be used at all.
    """
    is_error, messages = require("llguidance").LLMatcher.validate_grammar_with_warnings(_grammar(_ALONE, schema))
    if is_error:
        raise _cannot_be_enforced(messages[0])
    return list(messages)


class SchemaGrammars:
    """Compiles schemas for one tokenizer, each once. Thread-safe.

    The tokenizer is indexed on first use (about a second).
    """

    def __init__(self, tokenizer: Any, vocab_size: int, stop_ids: frozenset[int]) -> None:
        self._tokenizer, self._vocab_size, self._stop_ids = tokenizer, vocab_size, stop_ids
        self._indexed: Any = None
        self._compiled: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()

    def start(self, schema: dict[str, Any], *, after_thinking: bool) -> SchemaMatcher:
        """A matcher at the beginning of an answer. EngineError for a schema that cannot be enforced."""
        return SchemaMatcher(self.compile(schema, after_thinking=after_thinking).deep_copy())

    def compile(self, schema: dict[str, Any], *, after_thinking: bool) -> Any:
        """The matcher that others are copied from. EngineError for a schema that cannot be enforced."""
        grammar = _grammar(_AFTER_THINKING if after_thinking else _ALONE, schema)
        with self._lock:
            if grammar not in self._compiled:
                self._compiled[grammar] = self._new_matcher(grammar)
                if len(self._compiled) > _KEPT:
                    self._compiled.popitem(last=False)
            return self._compiled[grammar]

    def _new_matcher(self, grammar: str) -> Any:
        if self._indexed is None:
            self._indexed = require("llguidance.hf").from_tokenizer(
                self._tokenizer, n_vocab=self._vocab_size, eos_token=sorted(self._stop_ids) or None
            )
        matcher = require("llguidance").LLMatcher(self._indexed, grammar)
        if matcher.is_error():
            raise _cannot_be_enforced(matcher.get_error())
        return matcher


class SchemaMatcher:
    """The state of one answer."""

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher

    @property
    def is_complete(self) -> bool:
        """Nothing more can be written."""
        return bool(self._matcher.is_stopped())

    def restrict(self, logits_V: torch.Tensor) -> None:
        """Bans what the schema does not allow next, in place."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        allowed = np.unpackbits(bits, bitorder="little")[: logits_V.shape[0]].astype(bool)
        banned = torch.from_numpy(~allowed)
        logits_V[: banned.shape[0]].masked_fill_(banned.to(logits_V.device), -torch.inf)

    def accept(self, token: int) -> None:
        """Takes the token that was written. EngineError if it breaks the schema."""
        if not self._matcher.consume_token(token):
            raise EngineError(f"The answer left its schema: {self._matcher.get_error()}.")


def _grammar(frame: str, schema: dict[str, Any]) -> str:
    return frame + json.dumps({**schema, "x-guidance": _OPTIONS})


def _cannot_be_enforced(reason: str) -> EngineError:
    return EngineError(
        f"The JSON Schema cannot be enforced: {reason.splitlines()[0][:200]}.",
        hint="Simplify the schema of the answer.",
    )
