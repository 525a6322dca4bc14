"""Reads what a model wrote, as it arrives. ``Style.parse`` feeds the whole text to the same reader, so they agree.

One turn is ``[think block] text``. Outer whitespace of the block and of the text is layout, not content, and is
dropped. The reading never guesses: whatever is malformed still comes out in the deltas and in the attempt, and
``Parsed.failure`` says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from forethought.core.records import Attempt, FinishReason
from forethought.core.seams import Delta, Parsed
from forethought.core.tags import THINK_CLOSE, THINK_OPEN

Kind = Literal["reasoning", "answer"]
PART_GAP = "\n\n"
"""Between thinking written in several places, and between the turns in ``Parsed.raw``."""

_UNFINISHED: dict[FinishReason, str] = {
    "length": "The model ran out of tokens",
    "cancelled": "The generation was cancelled",
    "error": "The generation failed",
}


@dataclass(frozen=True)
class TurnSpec:
    """What one assistant turn of a style holds."""

    text: Kind
    """What the text outside the think block is."""
    needs_block: bool = False
    """False: a block may come first (models that think on their own write one), but need not."""


def parse_turns(specs: Sequence[TurnSpec], said: Sequence[str], finish_reason: FinishReason) -> Parsed:
    """Reads whole turns; ``finish_reason`` is the last one's."""
    reader = RolloutReader(specs)
    for position, text in enumerate(said):
        reader.feed(text)
        reader.end_turn(finish_reason if position == len(said) - 1 else "stop")
    return reader.result()


def visible_text(turn: str) -> str:
    """A finished turn without its think block, as it is shown to the model again in the next turn."""
    reader = _TurnReader(TurnSpec("answer"))
    reader.feed(turn)
    reader.close()
    return reader.text.value


class RolloutReader:
    """The StreamParser of every style. The deltas of a kind, joined, are that part of the attempt."""

    def __init__(self, specs: Sequence[TurnSpec]) -> None:
        self._specs = specs
        self._turns: list[_TurnReader] = []
        self._turn_is_open = False
        self._finish_reason: FinishReason = "stop"
        self._joined: dict[Kind, list[str]] = {"reasoning": [], "answer": []}

    def feed(self, chunk: str) -> list[Delta]:
        """The next piece of the turn. Only what could still become a tag or trailing whitespace is held back."""
        if not self._turn_is_open:
            spec = self._specs[min(len(self._turns), len(self._specs) - 1)]
            self._turns.append(_TurnReader(spec))
            self._turn_is_open = True
        return self._deltas(self._turns[-1].feed(chunk))

    def end_turn(self, finish_reason: FinishReason) -> list[Delta]:
        """The turn is over. The finish reason of the last turn is the rollout's."""
        self.feed("")
        self._turn_is_open = False
        self._finish_reason = finish_reason
        return self._deltas(self._turns[-1].close())

    def result(self) -> Parsed:
        """What was read. A turn that was never ended is a stream that broke off."""
        reasoning = "".join(self._joined["reasoning"])
        return Parsed(
            attempt=Attempt(reasoning=reasoning or None, answer="".join(self._joined["answer"])),
            raw=PART_GAP.join(turn.raw for turn in self._turns),
            failure=self._failure(),
        )

    def _deltas(self, pieces: list[tuple[_Section, str]]) -> list[Delta]:
        deltas = []
        for section, text in pieces:
            parts = self._joined[section.kind]
            opens_another_part = bool(parts) and not section.announced
            section.announced = True
            delta = Delta(section.kind, PART_GAP + text if opens_another_part else text)
            parts.append(delta.text)
            deltas.append(delta)
        return deltas

    def _failure(self) -> str | None:
        if self._turn_is_open:
            return "The stream broke off without a finish reason."
        if self._finish_reason in _UNFINISHED:
            where = " inside the think block" if self._turns and self._turns[-1].is_thinking else ""
            return f"{_UNFINISHED[self._finish_reason]}{where} before the answer was complete."
        if len(self._turns) != len(self._specs):
            return f"Found {len(self._turns)} turns where {len(self._specs)} are needed."
        return next((fault for turn in self._turns if (fault := turn.fault())), None)


class _Section:
    """A stretch of text without its outer whitespace, whitespace inside kept."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.announced = False
        self._parts: list[str] = []
        self._held_whitespace = ""

    @property
    def value(self) -> str:
        return "".join(self._parts)

    def add(self, text: str) -> list[tuple[_Section, str]]:
        text = self._held_whitespace + text if self._parts else text.lstrip()
        body = text.rstrip()
        self._held_whitespace = text[len(body) :]
        if not body:
            return []
        self._parts.append(body)
        return [(self, body)]


class _TurnReader:
    """One turn: an optional think block at its very start, then text."""

    def __init__(self, spec: TurnSpec) -> None:
        self.spec = spec
        self.thinking: _Section | None = None
        self.text = _Section(spec.text)
        self._place: Literal["start", "block", "text"] = "start"
        self._held = ""
        self._raw: list[str] = []

    @property
    def raw(self) -> str:
        return "".join(self._raw)

    @property
    def is_thinking(self) -> bool:
        return self._place == "block"

    def feed(self, chunk: str) -> list[tuple[_Section, str]]:
        self._raw.append(chunk)
        self._held += chunk
        pieces: list[tuple[_Section, str]] = []
        if self._place == "start":
            self._leave_start()
        if self._place == "block":
            pieces += self._read_block()
        if self._place == "text":
            pieces += self.text.add(self._take())
        return pieces

    def close(self) -> list[tuple[_Section, str]]:
        """Nothing more comes: what was held back was no tag."""
        section = self.thinking if self._place == "block" and self.thinking else self.text
        return section.add(self._take())

    def fault(self) -> str | None:
        """What is wrong with the turn as it was written, None when nothing is."""
        part = "answer" if self.spec.text == "answer" else "thinking turn"
        text = self.text.value
        if self.thinking is None:
            problem = self._fault_without_block(part, text)
        elif self.is_thinking:
            problem = "The think block is never closed."
        elif not self.thinking.value:
            problem = "The think block is empty."
        elif THINK_OPEN in self.thinking.value:
            problem = "A think block is opened inside the think block."
        elif THINK_OPEN in text:
            problem = "There is more than one think block."
        elif THINK_CLOSE in text:
            problem = "The think block is closed twice."
        else:
            problem = None
        return problem or (None if text else f"The {part} is empty.")

    def _fault_without_block(self, part: str, text: str) -> str | None:
        if THINK_OPEN in text:
            return "There is text before the think block."
        if THINK_CLOSE in text:
            return f"The {part} closes a think block that was never opened."
        return "There is no think block." if self.spec.needs_block else None

    def _leave_start(self) -> None:
        self._held = self._held.lstrip()
        if self._held.startswith(THINK_OPEN):
            self._held = self._held[len(THINK_OPEN) :]
            self.thinking = _Section("reasoning")
            self._place = "block"
        elif not THINK_OPEN.startswith(self._held):
            self._place = "text"

    def _read_block(self) -> list[tuple[_Section, str]]:
        assert self.thinking is not None
        inside, tag, after = self._held.partition(THINK_CLOSE)
        if tag:
            self._held = after
            self._place = "text"
            return self.thinking.add(inside)
        kept = _possible_tag_length(self._held)
        safe, self._held = self._held[: len(self._held) - kept], self._held[len(self._held) - kept :]
        return self.thinking.add(safe)

    def _take(self) -> str:
        text, self._held = self._held, ""
        return text


def _possible_tag_length(text: str) -> int:
    """Length of the longest end of ``text`` that begins the closing tag."""
    longest = min(len(text), len(THINK_CLOSE) - 1)
    return next((length for length in range(longest, 0, -1) if THINK_CLOSE.startswith(text[-length:])), 0)
