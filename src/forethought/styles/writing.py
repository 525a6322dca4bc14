"""What all styles write alike: the system message, examples as earlier turns; and what they refuse to write.

Normalisation: outer whitespace belongs to the layout, so a style refuses to write an attempt that has any (the reader
could not give it back). ``Attempt`` texts are kept stripped; nothing else about them is changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from forethought.core.records import Message, Prompt
from forethought.core.seams import Style
from forethought.core.tags import THINK_TAGS
from forethought.errors import RecordError, UsageError


def opening(style: Style, prompt: Prompt, *guidance: str) -> list[Message]:
    """The system message, if there is anything to say, and the prompt's examples as earlier turns."""
    told = "\n\n".join(text for text in (prompt.instructions, *guidance) if text)
    messages = [Message(role="system", content=told)] if told else []
    without_examples = Prompt(thinking_instructions=prompt.thinking_instructions, answer_cue=prompt.answer_cue)
    for shot in prompt.examples:
        turns = style.render(shot.attempt)
        asked = style.messages(without_examples, shot.input, turns[:-1])
        messages += [message for message in asked if message.role != "system"]
        messages.append(Message(role="assistant", content=turns[-1]))
    return messages


def writable(part: str, text: str | None) -> str:
    """The text, if the reader would give it back unchanged; RecordError says why not."""
    if not text or not text.strip():
        raise RecordError(f"The {part} is empty.", hint="An attempt needs it to be written in this style.")
    if text != text.strip():
        raise RecordError(f"The {part} begins or ends with whitespace: {_ends(text)}.", hint="Strip it.")
    for tag in THINK_TAGS:
        if tag in text:
            raise RecordError(f"The {part} contains the tag '{tag}'.", hint="Only the style writes think tags.")
    return text


def refuse_too_many(style: Style, said: Sequence[str]) -> None:
    """UsageError when every turn has already been said: there is none left to ask for."""
    if len(said) >= style.turns:
        raise UsageError(f"The style '{style.name}' has {style.turns} assistant turns, {len(said)} are already said.")


def _ends(text: str) -> str:
    return repr(text) if len(text) <= 40 else f"{text[:15]!r} … {text[-15:]!r}"
