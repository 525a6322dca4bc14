"""The call flow over a small deterministic model that answers from a script of rules."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from forethought.core import registry
from forethought.core.flow import Rollout, roll_out, sample_sampling, stream_out
from forethought.core.records import Attempt, FinishReason, Json, Message, Prompt, Sampling, Usage
from forethought.core.seams import ChatRequest, Chunk, Completion, Delta

Rule = Callable[[ChatRequest], Completion]


class RuleModel:
    """Writes each turn by a rule and remembers what it was asked. ``complete`` reports in reverse order."""

    def __init__(self, rule: Rule, *, reports: bool = True, ends_streams: bool = True) -> None:
        self.name = "rule"
        self.rule = rule
        self.reports = reports
        self.ends_streams = ends_streams
        self.batches: list[list[ChatRequest]] = []
        self.closed_streams = 0

    def complete(
        self, requests: Sequence[ChatRequest], on_done: Callable[[int, Completion], None] | None = None
    ) -> list[Completion]:
        self.batches.append(list(requests))
        completions = [self.rule(request) for request in requests]
        for index in reversed(range(len(completions))):
            if on_done is not None and self.reports:
                on_done(index, completions[index])
        return completions

    def stream(self, request: ChatRequest) -> Iterator[Chunk]:
        self.batches.append([request])
        completion = self.rule(request)
        try:
            for letter in completion.text:
                yield Chunk(letter)
            if self.ends_streams:
                yield Chunk("", completion)
        finally:
            self.closed_streams += 1


def wrote(text: str, finish: FinishReason = "stop", cost: float | None = None) -> Completion:
    return Completion(text, finish, Usage(prompt_tokens=3, completion_tokens=len(text), cost_usd=cost))


def echo(request: ChatRequest) -> Completion:
    """Thinks about the input, then answers with it; in the style the conversation asks for."""
    asked = request.messages[-1].content
    if request.think_tags:
        return wrote(f"<think>\nseen {asked}\n</think>\n\n{asked}")
    return wrote("thoughts" if "<user_input>" in asked else "answer")


def run(model: RuleModel, style_name: str, inputs: Sequence[Json], **options: Any) -> list[Rollout]:
    return roll_out(model, registry.build("style", style_name), Prompt(instructions="Do."), inputs, **options)


def test_rollouts_come_in_the_order_of_their_inputs_whatever_finishes_first() -> None:
    order: list[int] = []
    model = RuleModel(echo)
    rollouts = run(model, "reasoning", ["a", "b", "c"], on_done=lambda index, _: order.append(index))
    assert [rollout.parsed.attempt for rollout in rollouts] == [
        Attempt(reasoning=f"seen {letter}", answer=letter) for letter in "abc"
    ]
    assert order == [2, 1, 0]
    assert len(model.batches) == 1


def test_two_turns_are_asked_in_two_batches_and_the_whole_conversation_is_kept() -> None:
    model = RuleModel(echo)
    (rollout,) = run(model, "two-turn", ["x"])
    assert rollout.parsed.attempt == Attempt(reasoning="thoughts", answer="answer")
    assert [message.role for message in rollout.messages] == ["system", "user", "assistant", "user", "assistant"]
    assert [*model.batches[1][0].messages, Message(role="assistant", content="answer")] == list(rollout.messages)
    assert rollout.usage == Usage(prompt_tokens=6, completion_tokens=len("thoughtsanswer"))


def test_only_the_answering_turn_is_bound_by_the_schema() -> None:
    model = RuleModel(echo)
    run(model, "two-turn", ["x"], json_schema={"type": "object"})
    assert [batch[0].json_schema for batch in model.batches] == [None, {"type": "object"}]


@pytest.mark.parametrize("finish", ["length", "error", "cancelled"])
def test_an_unfinished_first_turn_ends_its_rollout_and_no_empty_batch_is_asked(finish: FinishReason) -> None:
    model = RuleModel(lambda request: wrote("thou", finish))
    (rollout,) = run(model, "two-turn", ["x"])
    assert rollout.parsed.failure
    assert rollout.finish_reason == finish
    assert rollout.truncated == (finish == "length")
    assert len(model.batches) == 1


def test_one_unfinished_rollout_leaves_the_others_alone() -> None:
    def rule(request: ChatRequest) -> Completion:
        return wrote("thou", "length") if "b" in request.messages[1].content.split("\n")[2] else echo(request)

    rollouts = run(RuleModel(rule), "two-turn", ["a", "b", "c"])
    assert [rollout.parsed.failure is None for rollout in rollouts] == [True, False, True]


def test_a_model_that_reports_nothing_on_the_way_still_gives_every_rollout_once() -> None:
    done: list[int] = []
    rollouts = run(RuleModel(echo, reports=False), "reasoning", ["a", "b"], on_done=lambda index, _: done.append(index))
    assert [rollout.parsed.attempt.answer for rollout in rollouts] == ["a", "b"]
    assert done == [0, 1]


def test_no_inputs_ask_nothing() -> None:
    model = RuleModel(echo)
    assert run(model, "reasoning", []) == []
    assert model.batches == []


def test_the_models_own_error_is_the_failure() -> None:
    model = RuleModel(lambda request: Completion("", "error", Usage(), error="The key is refused."))
    assert run(model, "answer", ["x"])[0].parsed.failure == "The key is refused."


def test_provider_native_reasoning_becomes_the_attempts() -> None:
    model = RuleModel(lambda request: Completion("yes", "stop", Usage(), reasoning="a is b"))
    for style_name in ("answer", "reasoning"):
        rollout = run(model, style_name, ["x"])[0]
        assert rollout.parsed.failure is None
        assert rollout.parsed.attempt == Attempt(reasoning="a is b", answer="yes")


def test_empty_native_reasoning_is_no_reasoning() -> None:
    model = RuleModel(lambda request: Completion("yes", "stop", Usage(), reasoning=""))
    assert run(model, "answer", ["x"])[0].parsed.attempt == Attempt(answer="yes")


def test_unknown_cost_of_one_turn_makes_the_whole_cost_unknown() -> None:
    costs = iter([0.5, None, 0.5, 0.25])
    model = RuleModel(lambda request: wrote("text", cost=next(costs)))
    assert run(model, "two-turn", ["x"])[0].usage.cost_usd is None
    assert run(model, "two-turn", ["x"])[0].usage.cost_usd == 0.75


def test_equal_inputs_of_a_seeded_batch_draw_from_seeds_of_their_own() -> None:
    model = RuleModel(echo)
    for seed in (0, 1, 2):
        run(model, "reasoning", ["x"] * 16, sampling=Sampling(temperature=1.0, seed=seed))
    seeds = [request.sampling.seed for batch in model.batches for request in batch]
    assert len(set(seeds)) == 48
    assert sample_sampling(Sampling(seed=7), 0).seed == 7
    assert sample_sampling(Sampling(), 5).seed is None


def test_a_thinking_turn_has_its_own_limit_and_reaching_it_asks_for_the_answer() -> None:
    def rule(request: ChatRequest) -> Completion:
        return wrote("a is", "length") if "<user_input>" in request.messages[-1].content else wrote("yes")

    model = RuleModel(rule)
    (rollout,) = run(model, "two-turn", ["x"], sampling=Sampling(max_tokens=50, max_thinking_tokens=10))
    assert [batch[0].sampling.max_tokens for batch in model.batches] == [10, 50]
    assert rollout.parsed.failure is None
    assert rollout.parsed.attempt == Attempt(reasoning="a is", answer="yes")


def test_stop_texts_wait_for_the_answering_turn() -> None:
    model = RuleModel(echo)
    run(model, "two-turn", ["x"], sampling=Sampling(stop=("\n",)))
    assert [batch[0].sampling.stop for batch in model.batches] == [(), ("\n",)]


def test_on_done_is_called_one_at_a_time_from_many_threads() -> None:
    class Threaded(RuleModel):
        def complete(
            self, requests: Sequence[ChatRequest], on_done: Callable[[int, Completion], None] | None = None
        ) -> list[Completion]:
            completions = [self.rule(request) for request in requests]
            assert on_done is not None
            threads = [threading.Thread(target=on_done, args=pair) for pair in enumerate(completions)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return completions

    inside: list[int] = []
    overlaps: list[int] = []

    def on_done(index: int, rollout: Rollout) -> None:
        inside.append(index)
        time.sleep(0.001)
        overlaps.append(len(inside))
        inside.remove(index)

    run(Threaded(echo), "reasoning", [str(number) for number in range(32)], on_done=on_done)
    assert overlaps == [1] * 32


@pytest.mark.parametrize("style_name", ["answer", "reasoning", "two-turn"])
def test_a_streamed_rollout_is_the_rollout(style_name: str) -> None:
    style = registry.build("style", style_name)
    prompt = Prompt(instructions="Do.")
    *deltas, streamed = stream_out(RuleModel(echo), style, prompt, "x", json_schema={"type": "string"})
    (rolled,) = roll_out(RuleModel(echo), style, prompt, ["x"], json_schema={"type": "string"})
    assert streamed == rolled
    pieces = [delta for delta in deltas if isinstance(delta, Delta)]
    assert len(pieces) == len(deltas)
    for kind, text in (("reasoning", rolled.parsed.attempt.reasoning or ""), ("answer", rolled.parsed.attempt.answer)):
        assert "".join(delta.text for delta in pieces if delta.kind == kind) == text


def test_closing_a_streamed_rollout_closes_the_models_stream() -> None:
    model = RuleModel(echo)
    rollout = stream_out(model, registry.build("style", "reasoning"), Prompt(), "x")
    next(rollout)
    assert model.closed_streams == 0
    rollout.close()
    assert model.closed_streams == 1


def test_a_stream_without_a_finish_reason_is_a_failed_rollout() -> None:
    *_, rollout = stream_out(RuleModel(echo, ends_streams=False), registry.build("style", "answer"), Prompt(), "x")
    assert isinstance(rollout, Rollout)
    assert rollout.finish_reason == "error"
    assert "without a finish reason" in (rollout.parsed.failure or "")
    assert rollout.parsed.raw == "answer"


def test_history_stands_between_the_examples_and_the_input_in_every_turn() -> None:
    history = [Message(role="user", content="earlier"), Message(role="assistant", content="reply")]
    model = RuleModel(echo)
    *_, rollout = stream_out(
        model, registry.build("style", "two-turn"), Prompt(instructions="Do."), "x", history=history
    )
    for batch in model.batches:
        assert [message.content for message in batch[0].messages[:3]] == ["Do.", "earlier", "reply"]
    assert isinstance(rollout, Rollout)
    assert [message.role for message in rollout.messages] == [
        "system", "user", "assistant", "user", "assistant", "user", "assistant",
    ]  # fmt: skip
