"""Ways to make a Prompt from a task: ``(task, style, shots)``. The style, not the builder, turns it into messages."""

from __future__ import annotations

from collections.abc import Sequence

from forethought.core.records import Prompt, Shot, Task
from forethought.core.seams import Style
from forethought.errors import UsageError


def plain(task: Task, style: Style, _shots: Sequence[Shot] = ()) -> Prompt:
    """The task in its own words, for a model that has not been trained on it.

    Where thinking shares a turn with the answer, the model is told how to write it: it cannot know otherwise.
    """
    thinking = [task.thinking_instructions]
    if style.think_tags is not None:
        start, end = style.think_tags
        thinking.append(f"Write your thinking between {start} and {end}, then write only the final answer.")
    return Prompt(
        instructions=task.instructions,
        thinking_instructions="\n\n".join(text for text in thinking if text),
    )


def few_shot(task: Task, _style: Style, shots: Sequence[Shot] = ()) -> Prompt:
    """The task in its own words and worked examples, shown as earlier turns.

    The style writes each example as it would write a training target: with its chain of thought where the style has
    one. The format needs no explaining, the examples show it.
    """
    if not shots:
        raise UsageError(
            "A few-shot prompt needs at least one example.", hint="Name the dataset they come from: --shots-from."
        )
    return Prompt(
        instructions=task.instructions,
        thinking_instructions=task.thinking_instructions,
        examples=tuple(shots),
    )


def short(task: Task, _style: Style, _shots: Sequence[Shot] = ()) -> Prompt:
    """The least that says which task it is: for training, where the weights learn the instructions.

    Not empty, because several chat templates put a longer system message of their own where there is none.
    """
    return Prompt(instructions=task.name)
