from __future__ import annotations

import os
from pathlib import Path

import pytest
from fixtures.toy_model import make_toy_model

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory) -> Path:
    return make_toy_model(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture(scope="session")
def toy(toy_folder):
    from forethought.engine.loading import load

    return load(str(toy_folder), dtype="float32", device="cpu")


@pytest.fixture
def chat(toy):
    from forethought.engine.local import LocalModel

    model = LocalModel(toy, max_rows=4)
    yield model
    model.close()
