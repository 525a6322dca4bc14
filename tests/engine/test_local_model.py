from __future__ import annotations

from forethought.core.records import Message, Sampling
from forethought.core.seams import ChatRequest
from forethought.engine.loading import load
from forethought.engine.local import LocalModel

from fixtures.toy_model import make_toy_model


def test_a_toy_model_completes(tmp_path):
    model = LocalModel(load(str(make_toy_model(tmp_path / "toy")), dtype="float32", device="cpu"))
    request = ChatRequest([Message(role="user", content="hello")], Sampling(max_tokens=5))
    first, second = model.complete([request, request])
    assert first.text == second.text
    assert first.usage.completion_tokens == 5
