"""Chat completions through the official client."""

import json
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from fixtures.shelf import Shelf

ASK = [{"role": "user", "content": "red ball"}]


def ask(rig, model="thinker", messages=ASK, **options):
    return rig.client.chat.completions.create(model=model, messages=messages, **options)


def told(rig, model="thinker", request=-1):
    return [(message.role, message.content) for message in rig.loaded[model].requests[request].messages]


def test_thinking_is_apart_from_the_answer(rig) -> None:
    reply = ask(rig)
    message = reply.choices[0].message
    assert message.content == "I saw red ball"
    assert message.reasoning_content == "thinking of red ball"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.model == "thinker"
    assert reply.usage.prompt_tokens == 2
    assert reply.usage.completion_tokens == 10
    assert reply.usage.total_tokens == 12


@pytest.mark.parametrize("model", ["thinker", "plainer", "twice"])
def test_a_stream_joins_to_the_whole_reply(rig, model) -> None:
    whole = ask(rig, model)
    chunks = list(ask(rig, model, stream=True, stream_options={"include_usage": True}))
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    message = whole.choices[0].message
    assert "".join(delta.content or "" for delta in deltas) == message.content
    thinking = "".join((delta.model_extra or {}).get("reasoning_content") or "" for delta in deltas)
    assert thinking == (message.reasoning_content or "")
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert deltas[0].role == "assistant"
    assert chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1


def test_usage_is_streamed_only_when_asked_for(rig) -> None:
    assert all(chunk.usage is None for chunk in ask(rig, stream=True))


def test_the_trained_prompt_is_always_used(rig) -> None:
    reply = ask(rig)
    assert told(rig) == [("system", "Look closely.\n\nSlowly."), ("user", "red ball")]
    assert "warnings" not in reply.model_extra


def test_two_turn_models_run_both_turns(rig) -> None:
    reply = ask(rig, "twice")
    requests = rig.loaded["twice"].requests
    assert len(requests) == 2
    assert "<user_input>\nred ball\n</user_input>\n\nSlowly." in told(rig, "twice", 0)[-1][1]
    assert [role for role, _ in told(rig, "twice", 1)] == ["system", "user", "assistant", "user"]
    assert reply.choices[0].message.reasoning_content.startswith("I saw The input is:")
    assert reply.choices[0].message.content.startswith("I saw Considering")


def test_a_system_message_overrides_the_prompt_with_a_warning(rig) -> None:
    messages = [{"role": "system", "content": "Be brief."}, *ASK]
    raw = rig.client.chat.completions.with_raw_response.create(model="thinker", messages=messages)
    assert "prompt this model was trained with" in raw.headers["x-forethought-warning"]
    assert raw.parse().model_extra["warnings"] == [raw.headers["x-forethought-warning"]]
    assert told(rig) == [("system", "Be brief."), ("user", "red ball")]
    first = next(iter(ask(rig, messages=messages, stream=True)))
    assert first.model_extra["warnings"] == [raw.headers["x-forethought-warning"]]


def test_a_base_model_has_no_trained_prompt_to_warn_about(start) -> None:
    shelf = Shelf()
    shelf.add("base", "answer")
    with start(shelf=shelf) as rig:
        reply = ask(rig, "base", [{"role": "system", "content": "Be brief."}, *ASK, *ASK])
        assert told(rig, "base")[0] == ("system", "Be brief.")
    assert "warnings" not in reply.model_extra


@pytest.mark.parametrize("own", ["Look closely.", "Look closely.\n\nSlowly."])
def test_repeating_the_trained_prompt_is_no_override(rig, own) -> None:
    reply = ask(rig, messages=[{"role": "developer", "content": own}, *ASK])
    assert "warnings" not in reply.model_extra
    assert told(rig)[0] == ("system", "Look closely.\n\nSlowly.")


def test_earlier_turns_come_before_the_question(rig) -> None:
    earlier = ask(rig).choices[0].message
    again = [{"role": "user", "content": "and blue?"}]
    reply = ask(rig, messages=[*ASK, earlier.model_dump(), *again])
    assert told(rig) == [
        ("system", "Look closely.\n\nSlowly."),
        ("user", "red ball"),
        ("assistant", "I saw red ball"),
        ("user", "and blue?"),
    ]
    assert "earlier turns" in reply.model_extra["warnings"][0]


def test_text_parts_are_one_text(rig) -> None:
    parts = [{"type": "text", "text": "red "}, {"type": "text", "text": "ball"}]
    ask(rig, messages=[{"role": "user", "content": parts}])
    assert told(rig)[-1] == ("user", "red ball")


def test_sampling_reaches_the_model_and_is_greedy_by_default(rig) -> None:
    ask(rig)
    sampling = rig.loaded["thinker"].requests[-1].sampling
    assert (sampling.temperature, sampling.max_tokens) == (0.0, 512)
    ask(rig, temperature=0.7, top_p=0.9, seed=7, max_completion_tokens=99, stop=["END"], extra_body={"top_k": 5})
    sampling = rig.loaded["thinker"].requests[-1].sampling
    assert (sampling.temperature, sampling.top_p, sampling.seed, sampling.max_tokens) == (0.7, 0.9, 7, 99)
    assert (sampling.stop, sampling.top_k) == (("END",), 5)


def test_several_choices_are_drawn_from_seeds_of_their_own(rig) -> None:
    reply = ask(rig, n=3, temperature=1.0, seed=7)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert len({request.sampling.seed for request in rig.loaded["thinker"].requests}) == 3
    assert reply.usage.prompt_tokens == 2
    assert reply.usage.completion_tokens == 30


def test_several_choices_stream_interleaved(rig) -> None:
    contents = {0: "", 1: ""}
    for chunk in ask(rig, n=2, stream=True):
        choice = chunk.choices[0]
        contents[choice.index] += choice.delta.content or ""
    assert contents == {0: "I saw red ball", 1: "I saw red ball"}


def test_running_out_of_tokens_is_a_finish_reason(rig) -> None:
    reply = ask(rig, max_tokens=8)
    assert reply.choices[0].finish_reason == "length"
    assert reply.choices[0].message.content == "I saw"


def test_a_malformed_answer_is_given_with_a_warning(rig) -> None:
    messages = [{"role": "user", "content": "malformed"}]
    reply = ask(rig, messages=messages)
    assert reply.choices[0].message.content == "I saw malformed"
    assert reply.model_extra["warnings"] == ["The answer is malformed: There is no think block."]
    last = list(ask(rig, messages=messages, stream=True))[-1]
    assert last.model_extra["warnings"] == reply.model_extra["warnings"]


def test_json_schema_binds_the_answer(rig) -> None:
    schema = {"type": "object", "properties": {"seen": {"type": "boolean"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "look", "schema": schema, "strict": True}}
    reply = ask(rig, response_format=wanted)
    assert json.loads(reply.choices[0].message.content) == {"seen": True}
    assert rig.loaded["thinker"].requests[-1].json_schema == schema
    assert rig.loaded["thinker"].requests[-1].think_tags == ("<think>", "</think>")


def test_a_schema_that_cannot_be_enforced_in_full_is_taken_when_not_strict(rig) -> None:
    schema = {"type": "array", "uniqueItems": True}
    ask(rig, response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": False}})
    assert rig.loaded["thinker"].requests[-1].json_schema == schema


def test_json_object_binds_the_answer_to_an_object(rig) -> None:
    ask(rig, response_format={"type": "json_object"})
    assert rig.loaded["thinker"].requests[-1].json_schema == {"type": "object"}


def test_a_tasks_own_schema_holds_unless_the_caller_wants_text(rig) -> None:
    ask(rig, "loaner")
    assert rig.loaded["loaner"].requests[-1].json_schema == {"type": "object", "required": ["decision"]}
    ask(rig, "loaner", response_format={"type": "text"})
    assert rig.loaded["loaner"].requests[-1].json_schema is None


def test_json_inputs_are_written_as_in_training_whatever_the_callers_spacing(rig) -> None:
    ask(rig, "loaner", [{"role": "user", "content": '{"income":3,\n "debts":[]}'}])
    assert told(rig, "loaner")[-1] == ("user", '{"income": 3, "debts": []}')
    ask(rig, "thinker", [{"role": "user", "content": '{"income":3}'}])
    assert told(rig, "thinker")[-1] == ("user", '{"income":3}')


def test_concurrent_requests_run_together(rig) -> None:
    ask(rig)
    model = rig.loaded["thinker"]
    with ThreadPoolExecutor(12) as pool:
        replies = [pool.submit(ask, rig, messages=[{"role": "user", "content": f"wait {n}"}]) for n in range(12)]
        for _ in range(13):
            assert model.started.acquire(timeout=10)
        model.gate.set()
        answers = [reply.result().choices[0].message.content for reply in replies]
    assert answers == [f"I saw wait {n}" for n in range(12)]
    assert model.most_running == 12


def test_the_engines_failure_is_an_error_not_an_answer(rig) -> None:
    messages = [{"role": "user", "content": "fail"}]
    with pytest.raises(openai.InternalServerError, match=r"The engine stopped\."):
        ask(rig, messages=messages)
    with pytest.raises(openai.APIError, match=r"The engine stopped\."):
        list(ask(rig, messages=messages, stream=True))


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_engine_refuses_at_once_is_the_callers_error(rig, stream) -> None:
    with pytest.raises(openai.BadRequestError, match="9999 tokens"):
        ask(rig, messages=[{"role": "user", "content": "refuse"}], stream=stream)


def test_models_lists_names_and_aliases(rig) -> None:
    cards = {card.id: card.model_extra for card in rig.client.models.list()}
    assert sorted(cards) == ["best", "loaner", "plainer", "thinker", "twice"]
    assert cards["best"]["root"] == "thinker"
    assert rig.client.models.retrieve("best").model_extra["style"] == "reasoning"
    with pytest.raises(openai.NotFoundError, match="Did you mean 'best'"):
        rig.client.models.retrieve("bst")


def test_an_alias_answers_with_its_model(rig) -> None:
    assert ask(rig, "best").model == "thinker"
