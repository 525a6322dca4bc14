"""The ``answer`` style: the final answer and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from forethought.core.facts import input_text
from forethought.core.records import Attempt, FinishReason, Json, Message, Prompt
from forethought.core.seams import Parsed
from forethought.styles.parsing import RolloutReader, TurnSpec, parse_turns
from forethought.styles.writing import opening, refuse_too_many, writable

_TURNS = (TurnSpec("answer"),)


class AnswerStyle:
    """One turn. ``render`` writes the answer and leaves reasoning out: what this style is for.

    A model that thinks on its own may put a think block first; it is read into the attempt's reasoning.
    """

    name = "answer"
    turns = 1
    think_tags: tuple[str, str] | None = None
    writes_reasoning = False

    def messages(self, prompt: Prompt, problem_input: Json, said: Sequence[str] = ()) -> list[Message]:
        refuse_too_many(self, said)
        asked = Message(role="user", content=input_text(problem_input))
        return [*opening(self, prompt, prompt.thinking_instructions), asked]

    def render(self, attempt: Attempt) -> tuple[str, ...]:
        return (writable("answer", attempt.answer),)

    def parse(self, said: Sequence[str], finish_reason: FinishReason = "stop") -> Parsed:
        return parse_turns(_TURNS, said, finish_reason)

    def stream(self) -> RolloutReader:
        return RolloutReader(_TURNS)
