"""What each style writes, and that it reads back what it wrote."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.core import registry
from forethought.core.records import Attempt, Message, Prompt, Shot
from forethought.errors import RecordError, UsageError

STYLES = ["answer", "reasoning", "two-turn"]
FULL = Prompt(instructions="Decide.", thinking_instructions="Follow the chain.", answer_cue="Answer now.")
SHOT = Shot(input="is a b?", attempt=Attempt(reasoning="a is b.", answer="yes"))


def conversation(style_name: str, prompt: Prompt, problem_input: object, said: tuple[str, ...] = ()) -> list[str]:
    messages = registry.build("style", style_name).messages(prompt, problem_input, said)
    return [f"{message.role}: {message.content}" for message in messages]


def test_answer_conversation_carries_thinking_instructions_as_guidance() -> None:
    assert conversation("answer", FULL, "is c d?") == [
        "system: Decide.\n\nFollow the chain.",
        "user: is c d?",
    ]


def test_reasoning_conversation() -> None:
    assert conversation("reasoning", FULL, "is c d?") == [
        "system: Decide.\n\nFollow the chain.",
        "user: is c d?",
    ]


def test_two_turn_conversation_asks_twice() -> None:
    first = "user: The input is:\n<user_input>\nis c d?\n</user_input>\n\nFollow the chain."
    assert conversation("two-turn", FULL, "is c d?") == ["system: Decide.", first]
    assert conversation("two-turn", FULL, "is c d?", ("c is d.",)) == [
        "system: Decide.",
        first,
        "assistant: c is d.",
        "user: Answer now.",
    ]


@pytest.mark.parametrize("style_name", STYLES)
def test_an_empty_prompt_writes_no_system_message(style_name: str) -> None:
    messages = registry.build("style", style_name).messages(Prompt(), "x")
    assert [message.role for message in messages] == ["user"]


@pytest.mark.parametrize("style_name", STYLES)
def test_thinking_instructions_reach_the_model_in_every_flow(style_name: str) -> None:
    for prompt in (FULL, FULL.model_copy(update={"instructions": ""})):
        assert "Follow the chain." in "\n".join(conversation(style_name, prompt, "x"))


@pytest.mark.parametrize("style_name", STYLES)
def test_examples_are_earlier_turns_exactly_as_they_would_be_asked_and_answered(style_name: str) -> None:
    style = registry.build("style", style_name)
    turns = style.render(SHOT.attempt)
    alone = style.messages(FULL, SHOT.input, turns[:-1])
    shown = style.messages(FULL.model_copy(update={"examples": (SHOT,)}), "is c d?")
    asked = style.messages(FULL, "is c d?")
    systems = [message for message in asked if message.role == "system"]
    assert shown == [
        *alone,
        Message(role="assistant", content=turns[-1]),
        *asked[len(systems) :],
    ]


def test_objects_are_written_as_json_the_model_can_read() -> None:
    application = {"name": "Ånna", "income": 30_500, "debts": [1.5, None]}
    (line,) = conversation("answer", Prompt(), application)
    assert line == 'user: {"name": "Ånna", "income": 30500, "debts": [1.5, null]}'


def test_an_input_json_cannot_write_is_refused() -> None:
    with pytest.raises(RecordError, match="JSON"):
        registry.build("style", "answer").messages(Prompt(), {"income": float("nan")})


@pytest.mark.parametrize("style_name", STYLES)
def test_asking_beyond_the_last_turn_is_refused(style_name: str) -> None:
    style = registry.build("style", style_name)
    with pytest.raises(UsageError, match="already said"):
        style.messages(Prompt(), "x", ["said"] * style.turns)


def test_reasoning_target() -> None:
    style = registry.build("style", "reasoning")
    assert style.render(SHOT.attempt) == ("<think>\na is b.\n</think>\n\nyes",)


def test_two_turn_target() -> None:
    assert registry.build("style", "two-turn").render(SHOT.attempt) == ("a is b.", "yes")


def test_the_answer_style_leaves_reasoning_out() -> None:
    style = registry.build("style", "answer")
    assert style.render(SHOT.attempt) == ("yes",)
    assert style.parse(["yes"]).attempt == Attempt(answer="yes")


fragments = st.lists(
    st.sampled_from(["<think>", "</think>", "<", "</thi", "think>", " ", "\n", "\t", "a", "{", "ß", "\u00a0", "<b>"])
).map("".join)
texts = st.one_of(st.text(max_size=30), fragments)
json_texts = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
).map(lambda value: json.dumps(value, ensure_ascii=False))


@given(
    style_name=st.sampled_from(STYLES),
    reasoning=st.one_of(st.none(), texts, texts.map(str.strip)),
    answer=st.one_of(texts, texts.map(str.strip), json_texts),
)
def test_what_is_rendered_is_read_back_and_the_rest_is_refused(
    style_name: str, reasoning: str | None, answer: str
) -> None:
    style = registry.build("style", style_name)
    attempt = Attempt(reasoning=reasoning, answer=answer)
    written = [answer] if style_name == "answer" else [reasoning, answer]
    sound = all(text and text == text.strip() and "<think>" not in text and "</think>" not in text for text in written)
    if not sound:
        with pytest.raises(RecordError):
            style.render(attempt)
        return
    parsed = style.parse(style.render(attempt))
    assert parsed.failure is None
    expected = Attempt(answer=answer) if style_name == "answer" else attempt
    assert parsed.attempt == expected


@pytest.mark.parametrize(
    ("reasoning", "answer", "complaint"),
    [
        (None, "yes", "reasoning is empty"),
        ("", "yes", "reasoning is empty"),
        (" \n", "yes", "reasoning is empty"),
        ("a", "", "answer is empty"),
        ("a ", "yes", "whitespace"),
        ("a", "\nyes", "whitespace"),
        ("a </think> b", "yes", "'</think>'"),
        ("a", "<think>yes", "'<think>'"),
    ],
)
@pytest.mark.parametrize("style_name", ["reasoning", "two-turn"])
def test_refusals_name_the_part_and_the_reason(
    style_name: str, reasoning: str | None, answer: str, complaint: str
) -> None:
    with pytest.raises(RecordError, match=complaint):
        registry.build("style", style_name).render(Attempt(reasoning=reasoning, answer=answer))
