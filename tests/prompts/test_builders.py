"""Prompt builders: what each tells the model."""

import pytest

from forethought.core import registry
from forethought.core.records import Attempt, Prompt, Shot, Task
from forethought.errors import UsageError

TASK = Task(name="colours", instructions="Name the colour.", thinking_instructions="Look twice.")
STYLE = registry.build("style", "reasoning")
SHOT = Shot(input="grass", attempt=Attempt(reasoning="Grass is a plant.", answer="green"))


def test_plain_tells_the_task_in_its_own_words() -> None:
    plain = registry.lookup("prompt", "plain")
    for name in ("answer", "two-turn"):
        assert plain(TASK, registry.build("style", name)) == Prompt(
            instructions="Name the colour.", thinking_instructions="Look twice."
        )


def test_plain_explains_tags_where_thinking_shares_the_turn() -> None:
    prompt = registry.lookup("prompt", "plain")(TASK, registry.build("style", "reasoning"))
    assert prompt.thinking_instructions.startswith("Look twice.\n\n")
    assert "<think> and </think>" in prompt.thinking_instructions


def test_few_shot_shows_the_chain_of_thought_as_the_style_writes_it() -> None:
    prompt = registry.lookup("prompt", "few-shot")(TASK, STYLE, [SHOT])
    style = registry.build("style", "reasoning")
    messages = style.messages(prompt, "sky")
    assert [message.role for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[2].content == style.render(SHOT.attempt)[0]


def test_few_shot_without_examples_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one example"):
        registry.lookup("prompt", "few-shot")(TASK, STYLE, [])


def test_short_is_one_line_and_a_saved_prompt_survives_storage() -> None:
    prompt = registry.lookup("prompt", "short")(TASK, STYLE)
    assert prompt == Prompt(instructions="colours")
    few = registry.lookup("prompt", "few-shot")(TASK, STYLE, [SHOT])
    assert Prompt.model_validate_json(few.model_dump_json()) == few
