"""The batch writes what transformers writes, whoever shares it."""

from __future__ import annotations

import random

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from forethought.core.records import Sampling
from forethought.engine.batch import Batch
from forethought.engine.decoder import make_decoder
from forethought.engine.generate import generate_ids, make_generations
from forethought.engine.lean import LeanDecoder
from forethought.engine.native import NativeDecoder
from forethought.errors import EngineError

SMALL = {
    "vocab_size": 300,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,
    "max_position_embeddings": 256,
    "eos_token_id": 7,
    "pad_token_id": 0,
}


def reference(model, prompt, max_tokens, stop_ids=None):
    """Greedy tokens from transformers, one prompt at a time: no padding, no batch."""
    out = model.generate(
        input_ids=torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        max_new_tokens=max_tokens,
        do_sample=False,
        eos_token_id=stop_ids or model.generation_config.eos_token_id,
    )
    return tuple(out[0, len(prompt) :].tolist())


def ragged_prompts(count, vocabulary=300, seed=0, longest=60):
    rng = random.Random(seed)
    return [[rng.randrange(8, vocabulary) for _ in range(rng.randint(1, longest))] for _ in range(count)]


def test_greedy_equals_transformers_on_ragged_prompts_and_lengths(toy):
    prompts = ragged_prompts(13, vocabulary=350)
    prompts += [prompts[3], prompts[3], [9] * 40 + [10, 11], [9] * 40 + [12]]
    samplings = [Sampling(max_tokens=5 + 3 * (index % 7)) for index in range(len(prompts))]
    stop_ids = [2, *range(30, 60)]
    written = generate_ids(toy.model, prompts, samplings, max_rows=5, stop_ids=stop_ids)
    assert isinstance(make_decoder(toy.model), LeanDecoder)
    for prompt, sampling, got in zip(prompts, samplings, written, strict=True):
        assert got.ids == reference(toy.model, prompt, sampling.max_tokens, stop_ids)
        assert got.finish_reason == ("stop" if got.ids[-1] in stop_ids else "length")
    assert {got.finish_reason for got in written} == {"stop", "length"}


@pytest.mark.parametrize(
    ("config", "kind", "decoder"),
    [
        (LlamaConfig(**SMALL, attention_bias=True, tie_word_embeddings=False), LlamaForCausalLM, LeanDecoder),
        (Qwen2Config(**SMALL), Qwen2ForCausalLM, LeanDecoder),
        (Qwen3Config(**SMALL, head_dim=16), Qwen3ForCausalLM, LeanDecoder),
        (
            LlamaConfig(
                **SMALL,
                rope_parameters={
                    "rope_type": "llama3",
                    "rope_theta": 10000.0,
                    "factor": 8.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 64,
                },
            ),
            LlamaForCausalLM,
            LeanDecoder,
        ),
        (MistralConfig(**SMALL, sliding_window=16), MistralForCausalLM, NativeDecoder),
        (
            GPT2Config(vocab_size=300, n_embd=48, n_layer=2, n_head=4, n_positions=256, initializer_range=0.2,
                       eos_token_id=7, bos_token_id=1, pad_token_id=0),
            GPT2LMHeadModel,
            NativeDecoder,
        ),
    ],
    ids=["llama-bias-untied", "qwen2", "qwen3", "llama3-rope", "mistral-sliding", "gpt2"],
)  # fmt: skip
def test_other_architectures_also_equal_transformers(config, kind, decoder):
    torch.manual_seed(1)
    model = kind(config).eval()
    assert isinstance(make_decoder(model), decoder)
    prompts = ragged_prompts(7, seed=2)
    written = generate_ids(model, prompts, Sampling(max_tokens=24), max_rows=3, stop_ids=[7])
    assert [got.ids for got in written] == [reference(model, prompt, 24) for prompt in prompts]


def test_the_native_path_equals_the_lean_one(toy):
    prompts = ragged_prompts(9, vocabulary=350, seed=3)
    asked = [Sampling(max_tokens=20, temperature=1.0, seed=index) for index in range(9)]
    lean = run(make_decoder(toy.model), prompts, asked)
    native = run(NativeDecoder(toy.model), prompts, asked)
    assert [g.tokens for g in lean] == [g.tokens for g in native]
    for one, other in zip(lean, native, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)


def run(decoder, prompts, samplings, max_rows=4):
    batch = Batch(decoder, [2], max_rows=max_rows)
    generations = make_generations(prompts, samplings, wants_logprobs=True)
    batch.add(generations)
    while not batch.is_idle:
        batch.step()
    return generations


def test_a_seed_fixes_the_text_whatever_shares_the_batch(toy):
    prompts = ragged_prompts(8, vocabulary=350, seed=4)
    sampling = Sampling(max_tokens=30, temperature=0.9, top_p=0.9, seed=11)
    together = generate_ids(toy.model, prompts, sampling, max_rows=8)
    alone = [generate_ids(toy.model, [prompt], sampling)[0] for prompt in prompts]
    assert [got.ids for got in together] == [got.ids for got in alone]
    other = generate_ids(toy.model, prompts, sampling.model_copy(update={"seed": 12}))
    assert [got.ids for got in together] != [got.ids for got in other]


def test_repetitions_of_a_seeded_prompt_are_different_samples(toy):
    sampling = Sampling(max_tokens=20, temperature=1.0, seed=5)
    samples = generate_ids(toy.model, [[9, 10, 11]] * 6, sampling)
    assert len({got.ids for got in samples}) == 6
    assert [got.ids for got in generate_ids(toy.model, [[9, 10, 11]] * 6, sampling)] == [got.ids for got in samples]


def test_logprobs_are_those_of_the_distribution_sampled_from(toy):
    prompt = [9, 10, 11, 12]
    for sampling in (Sampling(max_tokens=12), Sampling(max_tokens=12, temperature=0.7, seed=1)):
        (got,) = generate_ids(toy.model, [prompt], sampling)
        with torch.no_grad():
            logits = toy.model(torch.tensor([prompt + list(got.ids)])).logits[0, len(prompt) - 1 : -1]
        logprobs = (logits / (sampling.temperature or 1.0)).log_softmax(-1)
        expected = logprobs.gather(-1, torch.tensor(got.ids)[:, None])[:, 0]
        assert got.logprobs == pytest.approx(expected.tolist(), abs=1e-3)


def test_adapters_count_and_live_weights_are_read_anew(toy_folder):
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(toy_folder),
        LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"),
    )
    prompts = ragged_prompts(3, vocabulary=350, seed=6)
    assert isinstance(make_decoder(model), LeanDecoder)
    model.train()
    with_adapter = generate_ids(model, prompts, Sampling(max_tokens=16))
    assert model.training
    model.eval()
    assert [got.ids for got in with_adapter] == [reference(model, prompt, 16) for prompt in prompts]
    with model.disable_adapter():
        without = generate_ids(model, prompts, Sampling(max_tokens=16))
    assert [got.ids for got in without] != [got.ids for got in with_adapter]


def test_an_adapter_that_cannot_be_merged_stays_attached(toy_folder):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, target_modules="all-linear", use_dora=True, init_lora_weights=False)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(toy_folder), config).eval()
    assert isinstance(make_decoder(model), NativeDecoder)
    prompts = ragged_prompts(3, vocabulary=350, seed=7)
    written = generate_ids(model, prompts, Sampling(max_tokens=10))
    assert [got.ids for got in written] == [reference(model, prompt, 10) for prompt in prompts]


def test_a_cancelled_sequence_leaves_the_others_as_they_are(toy):
    prompts = ragged_prompts(4, vocabulary=350, seed=8)
    generations = make_generations(prompts, [Sampling(max_tokens=20)] * 4)
    batch = Batch(make_decoder(toy.model), [2], max_rows=4)
    batch.add(generations)
    for _ in range(4):
        batch.step()
    batch.cancel(generations[1])
    while not batch.is_idle:
        batch.step()
    assert generations[1].finish_reason == "cancelled"
    for index in (0, 2, 3):
        assert tuple(generations[index].tokens) == reference(toy.model, prompts[index], 20)


def test_the_context_is_an_end(toy_folder):
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**{**SMALL, "max_position_embeddings": 32})).eval()
    (got,) = generate_ids(model, [[9] * 25], Sampling(max_tokens=100), stop_ids=[])
    assert len(got.ids) == 7
    assert got.finish_reason == "length"
    with pytest.raises(EngineError, match="32 tokens"):
        generate_ids(model, [[9] * 32], Sampling())


def test_room_for_one_long_sequence_is_given_back(toy):
    decoder = make_decoder(toy.model)
    prompts = [[9] * 700, *ragged_prompts(6, vocabulary=350, seed=9)]
    asked = [Sampling(max_tokens=3), *[Sampling(max_tokens=40)] * 6]
    generations = run(decoder, prompts, asked, max_rows=7)
    assert decoder.cache.columns < 200
    for prompt, sampling, got in zip(prompts, asked, generations, strict=True):
        assert tuple(got.tokens) == reference(toy.model, prompt, sampling.max_tokens)
