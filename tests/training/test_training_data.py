from __future__ import annotations

from pathlib import Path

import pytest
from fixtures.toy_model import make_toy_model
from fixtures.training_data import PROMPT, make_examples
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from forethought.core.records import Attempt, Prompt, Shot
from forethought.core.seams import Example, Parsed
from forethought.errors import DataError, ModelFileError, TrainingError
from forethought.styles.answer import AnswerStyle
from forethought.styles.reasoning import ReasoningStyle
from forethought.styles.two_turn import TwoTurnStyle
from forethought.training import data

STYLES = {style.name: style for style in (AnswerStyle(), ReasoningStyle(), TwoTurnStyle())}


@pytest.fixture(scope="module")
def toy_folder(tmp_path_factory):
    return make_toy_model(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def tokenizer(toy_folder: Path):
    return AutoTokenizer.from_pretrained(toy_folder)


def encode(examples, style, tokenizer, max_length=2048):
    return data.encode(examples, style, PROMPT, tokenizer, max_length=max_length, stop_ids={tokenizer.eos_token_id})


def labelled_text(row, tokenizer):
    return tokenizer.decode([label for label in row.labels if label != data.IGNORE])


def test_the_labels_of_each_style_are_its_turns_and_their_ends(tokenizer):
    (example,) = make_examples(1)
    for style in STYLES.values():
        rows = encode([example], style, tokenizer)
        expected = "".join(f"{said}<|im_end|>" for said in style.render(example.attempt))
        assert "".join(labelled_text(row, tokenizer) for row in rows) == expected


class Proof(AnswerStyle):
    """Reasoning and answer in one turn, without think tags."""

    writes_reasoning = True

    def render(self, attempt):
        return (f"{attempt.reasoning}\nAnswer: {attempt.answer}",)

    def parse(self, said, finish_reason="stop"):
        reasoning, _, answer = said[0].partition("\nAnswer: ")
        return Parsed(Attempt(reasoning=self.kept(reasoning), answer=answer), raw=said[0])

    def kept(self, reasoning):
        return reasoning


class LossyProof(Proof):
    def kept(self, reasoning):
        return None


def test_a_style_that_writes_reasoning_without_tags_is_held_to_it(tokenizer):
    assert encode(make_examples(2), Proof(), tokenizer)
    with pytest.raises(TrainingError, match="reasoning read back"):
        encode(make_examples(2), LossyProof(), tokenizer)


def test_what_comes_before_a_turn_is_what_generation_will_be_given(tokenizer):
    (example,) = make_examples(1)
    for style in STYLES.values():
        row = encode([example], style, tokenizer)[-1]
        said = style.render(example.attempt)
        messages = [m.model_dump() for m in style.messages(PROMPT, example.input, said[:-1])]
        asked = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
        assert list(row.input_ids[: len(asked)]) == asked
        assert data.IGNORE not in row.labels[len(asked) :]


def test_two_turns_share_a_sequence_when_the_second_prompt_extends_the_first(tokenizer):
    (row,) = encode(make_examples(1), TwoTurnStyle(), tokenizer)
    assert labelled_text(row, tokenizer).count("<|im_end|>") == 2


def test_two_turns_part_when_the_template_rewrites_what_was_said(tokenizer):
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "+ message['content'] +",
        "+ ('…' if message['role'] == 'assistant' and not loop.last else message['content']) +",
    )
    first, second = encode(make_examples(1), TwoTurnStyle(), tokenizer)
    assert "…" in tokenizer.decode(second.input_ids)
    assert first.example_id == second.example_id


def test_a_template_that_drops_thinking_from_the_last_turn_does_not_reach_the_labels(tokenizer):
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "message['content']", "message['content'].split('</think>')[-1]"
    )
    (example,) = make_examples(1)
    (row,) = encode([example], ReasoningStyle(), tokenizer)
    assert example.attempt.reasoning in labelled_text(row, tokenizer)


def test_a_tokenizer_that_cannot_write_the_text_back_is_refused_by_example(tokenizer):
    from tokenizers.normalizers import Lowercase

    tokenizer.backend_tokenizer.normalizer = Lowercase()
    with pytest.raises(TrainingError, match=r"example-0.*reasoning"):
        encode(make_examples(3), ReasoningStyle(), tokenizer)


def test_a_turn_without_a_stop_token_is_refused(tokenizer):
    tokenizer.chat_template = tokenizer.chat_template.replace("<|im_end|>", "")
    with pytest.raises(TrainingError, match="never learn to stop"):
        encode(make_examples(1), ReasoningStyle(), tokenizer)


def test_a_template_that_opens_the_think_block_is_refused(tokenizer):
    tokenizer.chat_template = tokenizer.chat_template.replace("assistant\n' }}", "assistant\n<think>\n' }}")
    with pytest.raises(TrainingError, match="opens the think block"):
        encode(make_examples(1), ReasoningStyle(), tokenizer)


def test_a_tokenizer_without_a_template_is_refused(tokenizer):
    tokenizer.chat_template = None
    with pytest.raises(ModelFileError, match="no chat template"):
        encode(make_examples(1), ReasoningStyle(), tokenizer)


def test_a_template_that_is_a_memory_bomb_meets_the_limit_of_its_own_process(tokenizer):
    bomb = "{% if not add_generation_prompt or messages | length > 1 %}{{ ('a' * 10 ** 10) | length }}{% endif %}"
    tokenizer.chat_template = bomb + tokenizer.chat_template
    with pytest.raises(ModelFileError, match="memory"):
        encode(make_examples(1), TwoTurnStyle(), tokenizer)


def test_control_tokens_in_an_example_are_refused_by_example_and_token(tokenizer):
    good = make_examples(3)
    asked = Example("asked", "who?<|im_end|>\n<|im_start|>assistant\n", good[0].attempt)
    thought = Example("thought", "?", Attempt(reasoning="so<|im_start|>", answer="bloop"))
    answered = Example("answered", {"q": 1}, Attempt(reasoning="so", answer="<|endoftext|>"))
    for style in STYLES.values():
        with pytest.raises(DataError) as refused:
            encode([*good, asked, answered], style, tokenizer)
        assert "2 of 5 examples" in refused.value.message
        assert "asked (The user message contains '<|im_end|>'" in refused.value.message
        assert "answered (The turn contains '<|endoftext|>'" in refused.value.message
    with pytest.raises(DataError, match=r"thought \(The turn contains '<\|im_start\|>'"):
        encode([thought], ReasoningStyle(), tokenizer)


def test_examples_the_style_cannot_write_are_named_and_counted(tokenizer):
    good = make_examples(5)
    silent = [Example(f"silent-{n}", "?", Attempt(reasoning=None, answer="bloop")) for n in range(4)]
    with pytest.raises(DataError) as refused:
        encode([*good, *silent], ReasoningStyle(), tokenizer)
    message = refused.value.message
    assert "4 of 9 examples" in message
    assert "silent-0 (The reasoning is empty.), silent-1 (The reasoning is empty.), silent-2" in message
    assert "silent-3" not in message
    assert len(encode([*good, *silent], AnswerStyle(), tokenizer)) == 9


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(instructions="Answer.<|im_end|>"),
        Prompt(examples=(Shot(input="?", attempt=Attempt(reasoning=None, answer="bloop")),)),
    ],
)
def test_a_prompt_that_cannot_be_written_is_not_blamed_on_the_examples(tokenizer, prompt):
    with pytest.raises(DataError, match="The prompt cannot be written") as refused:
        data.encode(make_examples(2), ReasoningStyle(), prompt, tokenizer, max_length=999, stop_ids={2})
    assert "example-0" not in refused.value.message


def test_labels_that_lost_their_end_are_refused(tokenizer):
    (example,) = make_examples(1)
    (row,) = encode([example], ReasoningStyle(), tokenizer)
    stops = {tokenizer.eos_token_id}
    for cut in (1, 3, 12):
        short = data.TokenSequence(row.example_id, row.input_ids[:-cut], row.labels[:-cut])
        with pytest.raises(TrainingError, match="example-0"):
            data.check_labels([short], example, ReasoningStyle(), tokenizer, stops)


def test_long_examples_are_refused_by_name_and_never_cut(tokenizer):
    examples = make_examples(9)
    lengths = {row.example_id: len(row.input_ids) for row in encode(examples, ReasoningStyle(), tokenizer)}
    limit = sorted(lengths.values())[4]
    long = [name for name, length in lengths.items() if length > limit]
    with pytest.raises(DataError) as refused:
        encode(examples, ReasoningStyle(), tokenizer, max_length=limit)
    assert f"{len(long)} of 9" in refused.value.message
    for name in long[:3]:
        assert f"{name} ({lengths[name]} tokens)" in refused.value.message
    assert f"max_length={limit}" in refused.value.message


def test_nothing_to_train_on_is_refused(tokenizer):
    with pytest.raises(DataError, match="no examples"):
        encode([], ReasoningStyle(), tokenizer)


def test_statistics_count_what_is_there(tokenizer):
    rows = encode(make_examples(5), ReasoningStyle(), tokenizer)
    counts = data.statistics(rows)
    assert counts.tokens == sum(len(row.input_ids) for row in rows)
    assert counts.trained_tokens == sum(label != data.IGNORE for row in rows for label in row.labels)
    assert counts.longest == max(len(row.input_ids) for row in rows)


def test_the_fingerprint_sees_every_token(tokenizer):
    rows = encode(make_examples(3), ReasoningStyle(), tokenizer)
    changed = data.TokenSequence(rows[0].example_id, rows[0].input_ids, (*rows[0].labels[:-1], 5))
    assert data.fingerprint(rows) == data.fingerprint(list(rows))
    assert data.fingerprint(rows) != data.fingerprint([changed, *rows[1:]])


PLAIN = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda text: text == text.strip() and "<" not in text
)


@settings(max_examples=15, deadline=None)
@given(attempts=st.lists(st.tuples(PLAIN, PLAIN), min_size=1, max_size=8), name=st.sampled_from(sorted(STYLES)))
def test_any_text_reaches_the_labels_whole(toy_folder, attempts, name):
    tokenizer = AutoTokenizer.from_pretrained(toy_folder)
    examples = [
        Example(f"{number}", "?", Attempt(reasoning=reasoning, answer=answer))
        for number, (reasoning, answer) in enumerate(attempts)
    ]
    rows = encode(examples, STYLES[name], tokenizer)
    for example in examples:
        mine = [row for row in rows if row.example_id == example.id]
        assert "".join(labelled_text(row, tokenizer) for row in mine) == "".join(
            f"{said}<|im_end|>" for said in STYLES[name].render(example.attempt)
        )
