"""The sampler against the definition of what it draws from."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.generation.logits_process import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from forethought.core.records import Sampling
from forethought.engine.sampling import Draw, draw_tokens

VOCABULARY = 400


def definition(logits, sampling):
    """The distribution transformers samples from."""
    warpers = LogitsProcessorList([TemperatureLogitsWarper(sampling.temperature)])
    if sampling.top_k:
        warpers.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        warpers.append(TopPLogitsWarper(sampling.top_p))
    return warpers(None, logits[None].clone())[0].softmax(-1)


@given(
    seed=st.integers(0, 10_000),
    scale=st.sampled_from([0.1, 1.0, 5.0]),
    temperature=st.sampled_from([0.3, 1.0, 2.0]),
    top_k=st.sampled_from([0, 1, 7, 100, 5000]),
    top_p=st.sampled_from([1.0, 0.95, 0.5, 0.01]),
    uniform=st.floats(0, 1, exclude_max=True),
)
def test_a_draw_has_the_probability_transformers_gives_it(seed, scale, temperature, top_k, top_p, uniform):
    logits = torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(seed)) * scale
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    other = Draw(Sampling(temperature=1.0, top_p=0.999), 0.5, False)
    (token, _), (logprob, _) = draw_tokens(torch.stack([logits, logits]), [Draw(sampling, uniform, True), other])
    assert math.exp(logprob) == pytest.approx(float(definition(logits, sampling)[token]), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("options", [{}, {"top_k": 5}, {"top_p": 0.8}, {"top_p": 0.9, "top_k": 300}])
def test_draws_follow_the_distribution(options):
    logits = torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(0)) * 2
    sampling = Sampling(temperature=0.8, **options)
    expected = definition(logits, sampling)
    draws = [Draw(sampling, (index + 0.5) / 4000, False) for index in range(4000)]
    tokens, _ = draw_tokens(logits.expand(4000, -1), draws)
    share = torch.bincount(torch.tensor(tokens), minlength=VOCABULARY) / 4000
    assert float((share - expected).abs().max()) < 1e-3
    assert not share[expected == 0].any()


def test_a_banned_token_is_never_drawn_even_at_the_edges():
    logits = torch.zeros(3, VOCABULARY)
    logits[:, [0, VOCABULARY - 1]] = -torch.inf
    for uniform in (0.0, 1 - 2**-53):
        draws = [Draw(Sampling(temperature=t, top_p=p), uniform, True) for t, p in ((1.0, 1.0), (1.0, 0.9), (0.0, 1.0))]
        tokens, logprobs = draw_tokens(logits, draws)
        assert not {0, VOCABULARY - 1} & set(tokens)
        assert all(math.isfinite(logprob) for logprob in logprobs)
