"""Chat messages to the text a model reads, through the model's own chat template, inside limits."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forethought.core.records import Message
from forethought.errors import ModelFileError

SECONDS = 10.0
"""How long one rendering may take."""
_WORKER = Path(__file__).with_name("template_worker.py")


class ChatTemplate:
    """Renders with one tokenizer's template in a process with limited memory and time. Thread-safe."""

    def __init__(self, tokenizer: Any) -> None:
        self._template = _template_of(tokenizer)
        self._variables = {
            name: str(value) for name, value in tokenizer.special_tokens_map.items() if isinstance(value, str)
        }
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._lock = threading.Lock()

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt text, ready for the assistant's turn. ModelFileError when the template fails or misbehaves."""
        asked = {
            "template": self._template,
            "messages": [message.model_dump() for message in messages],
            "variables": {**self._variables, "add_generation_prompt": True},
        }
        with self._lock:
            answer = self._ask(json.dumps(asked))
        if "text" not in answer:
            raise ModelFileError(f"The model's chat template failed: {answer['error']}.")
        return str(answer["text"])

    def close(self) -> None:
        """Ends the process."""
        with self._lock:
            self._stop()

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


def _template_of(tokenizer: Any) -> str:
    try:
        return str(tokenizer.get_chat_template())
    except ValueError as error:
        raise ModelFileError(
            "The model's tokenizer has no chat template.", hint="Use an instruction-tuned model."
        ) from error
