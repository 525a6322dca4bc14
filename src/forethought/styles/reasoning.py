"""The ``reasoning`` style: a think block and the answer in one turn, the form DeepSeek-R1 made common."""

from __future__ import annotations

from collections.abc import Sequence

from forethought.core.facts import input_text
from forethought.core.records import Attempt, FinishReason, Json, Message, Prompt
from forethought.core.seams import Parsed
from forethought.core.tags import THINK_TAGS, thinking_then
from forethought.styles.parsing import RolloutReader, TurnSpec, parse_turns
from forethought.styles.writing import opening, refuse_too_many, writable

_TURNS = (TurnSpec("answer", needs_block=True),)


class ReasoningStyle:
    """One turn: ``<think>``, the reasoning, ``</think>``, the answer."""

    name = "reasoning"
    turns = 1
    think_tags: tuple[str, str] | None = THINK_TAGS
    writes_reasoning = True

    def messages(self, prompt: Prompt, problem_input: Json, said: Sequence[str] = ()) -> list[Message]:
        refuse_too_many(self, said)
        asked = Message(role="user", content=input_text(problem_input))
        return [*opening(self, prompt, prompt.thinking_instructions), asked]

    def render(self, attempt: Attempt) -> tuple[str, ...]:
        return (thinking_then(writable("reasoning", attempt.reasoning), writable("answer", attempt.answer)),)

    def parse(self, said: Sequence[str], finish_reason: FinishReason = "stop") -> Parsed:
        return parse_turns(_TURNS, said, finish_reason)

    def stream(self) -> RolloutReader:
        return RolloutReader(_TURNS)
