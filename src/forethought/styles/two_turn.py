"""The ``two-turn`` style: a turn that thinks, then a turn that is asked for the final answer.

The user turn of the input has the wording Kiln projects use, so their data and ours are told alike.
"""

from __future__ import annotations

from collections.abc import Sequence

from forethought.core.facts import input_text
from forethought.core.records import Attempt, FinishReason, Json, Message, Prompt
from forethought.core.seams import Parsed
from forethought.styles.parsing import RolloutReader, TurnSpec, parse_turns, visible_text
from forethought.styles.writing import opening, refuse_too_many, writable

THINKING_CUE = "Think step by step. Do not give the final answer yet."
"""Asks for the thinking turn where the prompt has no thinking instructions: without it nothing would."""
ANSWER_CUE = "Considering the above, give only the final answer."

_TURNS = (TurnSpec("reasoning"), TurnSpec("answer"))


class TwoTurnStyle:
    """Two turns: the reasoning, then the answer.

    Thinking that a model adds on its own in a think block counts as reasoning too, in the order it came, and is not
    shown to the model again.
    """

    name = "two-turn"
    turns = 2
    think_tags: tuple[str, str] | None = None
    writes_reasoning = True

    def messages(self, prompt: Prompt, problem_input: Json, said: Sequence[str] = ()) -> list[Message]:
        refuse_too_many(self, said)
        cue = prompt.thinking_instructions or THINKING_CUE
        wrapped = f"The input is:\n<user_input>\n{input_text(problem_input)}\n</user_input>\n\n{cue}"
        messages = [*opening(self, prompt), Message(role="user", content=wrapped)]
        for turn in said:
            messages.append(Message(role="assistant", content=visible_text(turn)))
            messages.append(Message(role="user", content=prompt.answer_cue or ANSWER_CUE))
        return messages

    def render(self, attempt: Attempt) -> tuple[str, ...]:
        return (writable("reasoning", attempt.reasoning), writable("answer", attempt.answer))

    def parse(self, said: Sequence[str], finish_reason: FinishReason = "stop") -> Parsed:
        return parse_turns(_TURNS, said, finish_reason)

    def stream(self) -> RolloutReader:
        return RolloutReader(_TURNS)
