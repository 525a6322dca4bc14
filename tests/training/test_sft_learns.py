"""One real training run: the embedded model learns to think in a few dozen steps."""

from __future__ import annotations

import random
import warnings

import pytest

from forethought.core.flow import roll_out
from forethought.core.records import Attempt, Prompt, Sampling
from forethought.core.seams import Example, SilentReporter
from forethought.engine.loading import load
from forethought.engine.local import LocalModel
from forethought.styles.reasoning import ReasoningStyle
from forethought.training.sft import SFT, SFTConfig

NAMES = ("Ana", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ivo", "Jana")
PLACES = ("garden", "kitchen", "office", "garage", "attic", "cellar")


def journeys(count: int, seed: int) -> list[Example]:
    """Someone follows someone who is somewhere: two steps of reasoning to the place."""
    rng = random.Random(seed)
    examples = []
    for number in range(count):
        (a, b, c), places = rng.sample(NAMES, 3), rng.sample(PLACES, 2)
        facts = [f"{a} is with {b}.", f"{b} is in the {places[0]}.", f"{c} is in the {places[1]}."]
        rng.shuffle(facts)
        thinking = f"{a} is with {b}.\n{b} is in the {places[0]}.\nSo {a} is in the {places[0]}."
        question = f"{' '.join(facts)} Where is {a}?"
        examples.append(Example(f"{seed}-{number}", question, Attempt(reasoning=thinking, answer=places[0])))
    return examples


@pytest.mark.slow
def test_the_embedded_model_learns_to_think_and_answer(tmp_path):
    style, prompt = ReasoningStyle(), Prompt(instructions="Think step by step, then name the place.")
    train, held_out = journeys(192, seed=1), journeys(24, seed=2)
    reporter = SilentReporter()
    config = SFTConfig(epochs=1, batch_size=8, eval_every=6, samples=2, sample_tokens=64)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*remote file.*")  # nothing here is a hub's business
        result = SFT(config).train(load("embedded"), train, held_out, style, prompt, tmp_path, reporter)

    curve = [values["val_loss"] for _, values in reporter.points if "val_loss" in values]
    assert result.steps == 24
    assert curve[-1] < 0.25 * curve[0]
    assert {sample["failure"] for step, sample in reporter.samples if step == result.steps} == {None}

    trained = LocalModel(load("embedded", adapter=result.path))
    inputs = [example.input for example in held_out]
    rollouts = roll_out(trained, style, prompt, inputs, sampling=Sampling(max_tokens=64))
    trained.close()
    parsed = [rollout.parsed for rollout in rollouts]
    assert [reply.failure for reply in parsed] == [None] * len(held_out)
    right = sum(reply.attempt == example.attempt for reply, example in zip(parsed, held_out, strict=True))
    assert right >= 0.8 * len(held_out)
