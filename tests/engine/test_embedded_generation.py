"""The embedded model itself."""

from __future__ import annotations

import pytest
import torch

from forethought.core.records import Message, Sampling
from forethought.core.seams import ChatRequest
from forethought.engine.loading import load
from forethought.engine.local import LocalModel


@pytest.mark.slow
def test_greedy_text_of_the_embedded_model_equals_transformers_in_float32():
    loaded = load("embedded", dtype="float32", device="cpu")
    chat = LocalModel(loaded, max_rows=3)
    questions = ["What is the capital of France?", "Count to five.", "All cats are animals. " * 9 + "Is a cat one?"]
    questions.append(questions[0])
    requests = [ChatRequest([Message(role="user", content=text)], Sampling(max_tokens=24)) for text in questions]
    done = chat.complete(requests)
    chat.close()
    for request, completion in zip(requests[:3], done, strict=False):
        prompt = chat.prompt_ids(request)
        with torch.inference_mode():
            out = loaded.model.generate(
                input_ids=torch.tensor([prompt]),
                attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                max_new_tokens=24,
                do_sample=False,
            )
        assert completion.token_ids == tuple(out[0, len(prompt) :].tolist())
    assert "Paris" in done[0].text
    assert done[3] == done[0]
