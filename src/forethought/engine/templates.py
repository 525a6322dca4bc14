"""Chat messages to the text a model reads, through the model's own chat template, inside limits.

What a message says is content and never structure: text that the tokenizer would read as a control token (the end of
a turn, the start of another role) is refused here, for generation and training alike.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from forethought.core.records import Message
from forethought.core.tags import THINK_TAGS
from forethought.errors import EngineError, ModelFileError

SECONDS = 10.0
"""How long one rendering may take."""
_WORKER = Path(__file__).with_name("template_worker.py")


class ChatTemplate:
    """Renders with one tokenizer's template in a process with limited memory and time. Thread-safe."""

    def __init__(self, tokenizer: Any) -> None:
        self._template = _template_of(tokenizer)
        self._tokenizer = tokenizer
        self._control = _control_tokens(tokenizer)
        special = {name: str(value) for name, value in tokenizer.special_tokens_map.items() if isinstance(value, str)}
        # What transformers always defines; a template may ask "is not none" of them.
        self._variables: dict[str, Any] = {"tools": None, "documents": None, **special}
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._lock = threading.Lock()

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
        """The conversation's text; by default it ends where the assistant's turn begins.

        Raises EngineError when a message holds a control token, ModelFileError when the template fails or misbehaves.
        """
        for message in messages:
            allowed = THINK_TAGS if message.role == "assistant" else ()
            self._refuse_control(f"{message.role} message", message.content, allowed)
        asked = {
            "template": self._template,
            "messages": [message.model_dump() for message in messages],
            "variables": {**self._variables, "add_generation_prompt": add_generation_prompt},
        }
        with self._lock:
            answer = self._ask(json.dumps(asked))
        if "text" not in answer:
            raise ModelFileError(f"The model's chat template failed: {answer['error']}.")
        return str(answer["text"])

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """What the model reads up to where the assistant's turn begins. Raises as ``render`` does."""
        return self._ids(self.render(messages))

    def turn_ids(self, text: str) -> list[int]:
        """What the assistant writes when it writes this text, its end of turn apart. EngineError as in ``render``."""
        return self._refuse_control("turn", text, THINK_TAGS)

    def close(self) -> None:
        """Ends the process."""
        with self._lock:
            self._stop()

    def _refuse_control(self, where: str, text: str, allowed: Collection[str]) -> list[int]:
        """The ids of a text without control tokens. Think tags may be such tokens: styles write them, and only they."""
        ids = self._ids(text)
        for index in ids:
            token = self._control.get(index)
            if token is None or token in allowed:
                continue
            if index == self._tokenizer.unk_token_id and token not in text:
                continue  # text the tokenizer has no token for
            raise EngineError(
                f"The {where} contains '{token}', which this model reads as a control token, not as text.",
                hint="Remove it or write it differently.",
            )
        return ids

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _ask(self, line: str) -> dict[str, Any]:
        process = self._process if self._process is not None and self._process.poll() is None else self._start()
        assert process.stdin is not None
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            answered = self._lines.get(timeout=SECONDS)
        except queue.Empty:
            self._stop()
            return {"error": f"it took longer than {SECONDS:.0f} seconds"}
        except OSError:
            answered = ""
        if not answered:
            self._stop()
            return {"error": "it was killed at its memory limit"}
        return dict(json.loads(answered))

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-I", str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        self._process, self._lines = process, queue.SimpleQueue()
        threading.Thread(target=_forward, args=(process, self._lines), daemon=True).start()
        return process

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            self._process = None


def _forward(process: subprocess.Popen[str], lines: queue.SimpleQueue[str]) -> None:
    """Hands on what the process says; an empty line says that it ended."""
    assert process.stdout is not None
    with contextlib.suppress(ValueError, OSError):  # closed under us
        for line in process.stdout:
            lines.put(line)
    lines.put("")


def _control_tokens(tokenizer: Any) -> dict[int, str]:
    """Tokens that structure a conversation, by id: those the tokenizer marks as special or gives a role."""
    marked = {index: str(token) for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    return marked | dict(zip(tokenizer.all_special_ids, map(str, tokenizer.all_special_tokens), strict=True))


def _template_of(tokenizer: Any) -> str:
    try:
        return str(tokenizer.get_chat_template())
    except ValueError as error:
        raise ModelFileError(
            "The model's tokenizer has no chat template.", hint="Use an instruction-tuned model."
        ) from error
