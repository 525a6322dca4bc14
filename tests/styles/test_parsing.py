"""Reading rollouts: malformed ones are failures with their text kept, and chunking never matters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.core import registry
from forethought.core.records import Attempt, FinishReason, Prompt
from forethought.core.seams import Delta, Parsed

STYLES = ["answer", "reasoning", "two-turn"]


def parse(style_name: str, *said: str, finish: FinishReason = "stop") -> Parsed:
    parsed: Parsed = registry.build("style", style_name).parse(said, finish)
    return parsed


def stream(style_name: str, turns: list[list[str]], finish: FinishReason = "stop") -> tuple[list[Delta], Parsed]:
    reader = registry.build("style", style_name).stream()
    deltas: list[Delta] = []
    for position, chunks in enumerate(turns):
        for chunk in chunks:
            deltas += reader.feed(chunk)
        deltas += reader.end_turn(finish if position == len(turns) - 1 else "stop")
    return deltas, reader.result()


def joined(deltas: list[Delta], kind: str) -> str:
    return "".join(delta.text for delta in deltas if delta.kind == kind)


MALFORMED = [
    ("reasoning", "yes", "no think block"),
    ("reasoning", "", "no think block"),
    ("reasoning", "<think>a is b, so", "never closed"),
    ("reasoning", "<think>\na</think", "never closed"),
    ("reasoning", "<think></think>yes", "think block is empty"),
    ("reasoning", "<think> \n\n</think>\n\nyes", "think block is empty"),
    ("reasoning", "<think>a</think> \n", "answer is empty"),
    ("reasoning", "<think>a</think><think>b</think>yes", "more than one think block"),
    ("reasoning", "<think>a</think>yes<think>", "more than one think block"),
    ("reasoning", "<think>a<think>b</think>c</think>yes", "opened inside"),
    ("reasoning", "<think>a</think>yes</think>", "closed twice"),
    ("reasoning", "Sure! <think>a</think>yes", "before the think block"),
    ("reasoning", "a</think>yes", "never opened"),
    ("answer", "", "answer is empty"),
    ("answer", " \n", "answer is empty"),
    ("answer", "yes</think>", "never opened"),
    ("answer", "yes <think>a</think>", "before the think block"),
    ("answer", "<think>a", "never closed"),
    ("answer", "<think></think>yes", "think block is empty"),
]


@pytest.mark.parametrize(("style_name", "said", "reason"), MALFORMED)
def test_malformed_turns_fail_with_a_reason_and_their_text(style_name: str, said: str, reason: str) -> None:
    parsed = parse(style_name, said)
    assert parsed.failure is not None
    assert reason in parsed.failure
    assert parsed.raw == said


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ((), "0 turns where 2"),
        (("a",), "1 turns where 2"),
        (("a", "yes", "more"), "3 turns where 2"),
        ((" ", "yes"), "thinking turn is empty"),
        (("a", ""), "answer is empty"),
        (("a</think>", "yes"), "thinking turn closes"),
        (("a", "yes<think>"), "before the think block"),
        (("<think>a", "yes"), "never closed"),
    ],
)
def test_malformed_two_turn_rollouts_fail(said: tuple[str, ...], reason: str) -> None:
    parsed = parse("two-turn", *said)
    assert parsed.failure is not None
    assert reason in parsed.failure
    assert parsed.raw == "\n\n".join(said)


@pytest.mark.parametrize("style_name", STYLES)
@pytest.mark.parametrize(("finish", "reason"), [("length", "tokens"), ("cancelled", "cancelled"), ("error", "failed")])
def test_an_unfinished_rollout_fails_however_well_it_reads(style_name: str, finish: FinishReason, reason: str) -> None:
    style = registry.build("style", style_name)
    parsed = style.parse(style.render(Attempt(reasoning="a", answer="yes")), finish)
    assert parsed.failure is not None
    assert reason in parsed.failure
    assert parsed.attempt.answer == "yes"


def test_running_out_while_thinking_says_where() -> None:
    assert "inside the think block" in (parse("reasoning", "<think>a is", finish="length").failure or "")


def test_layout_whitespace_is_dropped_and_inner_whitespace_kept() -> None:
    parsed = parse("reasoning", "\n <think>a\n\n  b \n</think>yes,\n sir\n")
    assert parsed == Parsed(
        Attempt(reasoning="a\n\n  b", answer="yes,\n sir"), "\n <think>a\n\n  b \n</think>yes,\n sir\n"
    )


def test_other_tags_and_half_tags_are_text() -> None:
    assert parse("reasoning", "<think>a < b </thin k></think><b>1 < 2</b>").attempt == Attempt(
        reasoning="a < b </thin k>", answer="<b>1 < 2</b>"
    )


def test_a_model_that_thinks_on_its_own_is_read_in_the_answer_style() -> None:
    parsed = parse("answer", "<think>\na is b\n</think>\n\nyes")
    assert parsed.failure is None
    assert parsed.attempt == Attempt(reasoning="a is b", answer="yes")


def test_all_thinking_of_a_two_turn_rollout_is_reasoning_in_order() -> None:
    said = ("<think>\nhm\n</think>\n\na is b", "<think>sure</think>yes")
    parsed = parse("two-turn", *said)
    assert parsed.failure is None
    assert parsed.attempt == Attempt(reasoning="hm\n\na is b\n\nsure", answer="yes")


def test_own_thinking_is_not_shown_to_the_model_again() -> None:
    messages = registry.build("style", "two-turn").messages(Prompt(), "x", ["<think>hm</think>\n\na is b\n"])
    assert messages[-2].content == "a is b"


def test_a_stream_that_is_never_ended_is_a_failure() -> None:
    reader = registry.build("style", "answer").stream()
    reader.feed("yes")
    assert "without a finish reason" in (reader.result().failure or "")


def test_deltas_come_as_early_as_they_are_safe() -> None:
    reader = registry.build("style", "reasoning").stream()
    fed = ["<thi", "nk>", "\na is b ", "< c", "</", "b>", " so</thi", "nk>\n", "\ny", "es </think"]
    assert [reader.feed(chunk) for chunk in fed] == [
        [],
        [],
        [Delta("reasoning", "a is b")],
        [Delta("reasoning", " < c")],
        [],
        [Delta("reasoning", "</b>")],
        [Delta("reasoning", " so")],
        [],
        [Delta("answer", "y")],
        [Delta("answer", "es </think")],
    ]
    assert reader.end_turn("stop") == []


pieces = st.sampled_from(["<think>", "</think>", "<thi", "nk>", "<", "</", ">", " ", "\n", "a", "b c", "\u2003", ""])
turn_texts = st.one_of(
    st.lists(pieces, max_size=12).map("".join),
    st.builds(lambda r, a: f"<think>\n{r}\n</think>\n\n{a}", st.text(max_size=8), st.text(max_size=8)),
    st.text(max_size=12),
)


@given(
    style_name=st.sampled_from(STYLES),
    said=st.lists(turn_texts, max_size=3),
    finish=st.sampled_from(["stop", "stop", "length", "cancelled", "error"]),
    data=st.data(),
)
def test_any_chunking_gives_the_same_deltas_and_the_same_reading(
    style_name: str, said: list[str], finish: FinishReason, data: st.DataObject
) -> None:
    turns = []
    for text in said:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
        turns.append([text[i:j] for i, j in zip([0, *cuts], [*cuts, len(text)], strict=True)])
    whole = parse(style_name, *said, finish=finish)
    deltas, parsed = stream(style_name, turns, finish)
    assert parsed == whole
    assert joined(deltas, "reasoning") == (whole.attempt.reasoning or "")
    assert joined(deltas, "answer") == whole.attempt.answer
    by_character, letters = stream(style_name, [list(text) for text in said], finish)
    assert letters == whole
    for kind in ("reasoning", "answer"):
        assert joined(by_character, kind) == joined(deltas, kind)


@given(said=turn_texts)
def test_a_success_has_reasoning_and_an_answer_without_tags(said: str) -> None:
    parsed = parse("reasoning", said)
    if parsed.failure is None:
        assert parsed.attempt.reasoning
        assert parsed.attempt.answer
        assert said.count("<think>") == said.count("</think>") == 1
