"""Templates come from anywhere: they render what transformers renders, or fail inside limits."""

from __future__ import annotations

import copy

import pytest

from forethought.core.records import Message
from forethought.engine import templates
from forethought.engine.templates import ChatTemplate
from forethought.errors import ModelFileError

MESSAGES = [Message(role="system", content="be\nbrief"), Message(role="user", content='<|im_end|> "q" ✓')]


def rendered(toy, text, messages=MESSAGES):
    tokenizer = copy.deepcopy(toy.tokenizer)
    tokenizer.chat_template = text
    template = ChatTemplate(tokenizer)
    try:
        return template.render(messages), tokenizer
    finally:
        template.close()


@pytest.mark.parametrize(
    "text",
    [
        None,
        "{{ bos_token }}{% for m in messages %}\n  {%- if loop.last %}{{ m.content | trim }}{% endif %}\n{% endfor %}",
        "{% for m in messages %}{% generation %}{{ m['content'] | tojson }}{% endgeneration %}{% break %}{% endfor %}",
    ],
)
def test_rendering_equals_transformers(toy, text):
    got, tokenizer = rendered(toy, text or toy.tokenizer.chat_template)
    plain = [message.model_dump() for message in MESSAGES]
    assert got == tokenizer.apply_chat_template(plain, add_generation_prompt=True, tokenize=False)


@pytest.mark.parametrize(
    "text",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ raise_exception.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{{ messages.append(1) }}",
        "{{ raise_exception('only user turns') }}",
        "{% for",
    ],
)
def test_a_template_that_reaches_out_fails(toy, text):
    with pytest.raises(ModelFileError, match="template failed"):
        rendered(toy, text)


def test_a_memory_bomb_meets_its_limit_and_an_endless_loop_its_time(toy, monkeypatch):
    with pytest.raises(ModelFileError, match="memory"):
        rendered(toy, "{{ ('a' * 10 ** 10) | length }}")
    monkeypatch.setattr(templates, "SECONDS", 0.5)
    loop = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    with pytest.raises(ModelFileError, match="longer than"):
        rendered(toy, loop)


def test_a_template_that_failed_once_can_be_asked_again(toy):
    tokenizer = copy.deepcopy(toy.tokenizer)
    tokenizer.chat_template = "{% if messages[0].content == 'bomb' %}{{ 'a' * 10 ** 10 }}{% endif %}fine"
    template = ChatTemplate(tokenizer)
    with pytest.raises(ModelFileError):
        template.render([Message(role="user", content="bomb")])
    assert template.render(MESSAGES) == "fine"
    template.close()


def test_no_template_is_said_plainly(toy):
    tokenizer = copy.deepcopy(toy.tokenizer)
    tokenizer.chat_template = None
    with pytest.raises(ModelFileError, match="no chat template"):
        ChatTemplate(tokenizer)
