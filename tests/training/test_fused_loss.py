"""The fast paths against the plain model: same loss, same gradients, in fp32."""

from __future__ import annotations

import pytest
import torch
from fixtures.toy_model import make_toy_model
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from forethought.training import fused
from forethought.training.data import IGNORE
from forethought.training.fused import FusedLora, common_prefix
from forethought.training.loss import completion_loss, labelled_positions

TOLERANCE = 1e-5


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def toy_folder(tmp_path_factory):
    return make_toy_model(tmp_path_factory.mktemp("toy"))


def lora(folder, **options):
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | options
    model = get_peft_model(base, LoraConfig(**settings))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def make_batch(rows=5, length=40, shared=0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 300, (rows, length), generator=generator)
    ids[:, :shared] = ids[0, :shared]
    labels = torch.full_like(ids, IGNORE)
    for row in range(rows):
        start = max(shared, length // 2) + row % 3
        labels[row, start : length - row] = ids[row, start : length - row]
    return ids, labels, (labels[:, 1:] != IGNORE).sum()


def gradients(model):
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def relative_error(found, expected):
    assert found.keys() == expected.keys()
    return max(float((found[name] - expected[name]).norm() / expected[name].norm()) for name in expected)


@pytest.mark.parametrize(
    ("rows", "length", "shared"), [(5, 40, 0), (5, 40, 17), (5, 40, 2), (1, 30, 0), (3, 24, 11), (2, 600, 100)]
)
def test_fused_lora_has_the_loss_and_gradients_of_the_plain_model(toy_folder, rows, length, shared):
    model = lora(toy_folder)
    ids, labels, count = make_batch(rows, length, shared)
    plain = model(input_ids=ids, labels=labels).loss
    plain.backward()
    expected = gradients(model)
    fast = FusedLora(model, torch.float32)
    with fast.step():
        loss = fast.loss(ids, labels, count)
    loss.backward()
    assert loss.item() == pytest.approx(plain.item(), rel=TOLERANCE)
    assert relative_error(gradients(model), expected) < TOLERANCE


def test_the_longest_test_recomputes_probabilities_and_shares_a_prefix():
    ids, labels, _ = make_batch(2, 600, 100)
    assert ids.shape[1] > fused.KEEP_PROBABILITIES
    assert common_prefix(ids, labels) == 100


def test_fused_lora_follows_the_optimizer(toy_folder):
    model = lora(toy_folder)
    fast = FusedLora(model, torch.float32)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for seed in range(3):
        ids, labels, count = make_batch(shared=10, seed=seed)
        with fast.step():
            loss = fast.loss(ids, labels, count)
        assert loss.item() == pytest.approx(model(input_ids=ids, labels=labels).loss.item(), rel=TOLERANCE)
        loss.backward()
        optimizer.step()
        model.zero_grad()


def test_some_layers_without_lora_are_fused_too(toy_folder):
    model = lora(toy_folder, target_modules=["q_proj", "v_proj", "down_proj"])
    ids, labels, count = make_batch(shared=10)
    model(input_ids=ids, labels=labels).loss.backward()
    expected = gradients(model)
    assert FusedLora.fits(model)
    fast = FusedLora(model, torch.float32)
    with fast.step():
        fast.loss(ids, labels, count).backward()
    assert relative_error(gradients(model), expected) < TOLERANCE


@pytest.mark.parametrize("options", [{"lora_dropout": 0.1}, {"use_dora": True}, {"lora_bias": True}])
def test_what_is_not_computed_here_is_not_claimed(toy_folder, options):
    assert FusedLora.fits(lora(toy_folder))
    assert not FusedLora.fits(lora(toy_folder, **options))


def test_the_shared_prefix_ends_before_anything_is_predicted():
    ids = torch.arange(30).repeat(4, 1)
    labels = torch.full_like(ids, IGNORE)
    labels[2, 20:] = ids[2, 20:]
    assert common_prefix(ids, labels) == 19


@pytest.mark.parametrize("scored", [1, 300])
def test_the_label_only_head_equals_cross_entropy(scored):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(scored, 16, generator=generator, requires_grad=True)
    head = torch.randn(50, 16, generator=generator, requires_grad=True)
    labels = torch.randint(0, 50, (scored,), generator=generator)
    torch.nn.functional.cross_entropy(hidden @ head.T, labels).backward()
    expected = {"hidden": hidden.grad, "head": head.grad}
    hidden.grad = head.grad = None
    completion_loss(hidden, head, labels, scored).backward()
    assert relative_error({"hidden": hidden.grad, "head": head.grad}, expected) < TOLERANCE


def test_positions_are_those_that_predict_a_label():
    labels = torch.tensor([[IGNORE, 5, 6], [IGNORE, IGNORE, 7]])
    positions, targets = labelled_positions(labels)
    assert positions.tolist() == [0, 1, 4]
    assert targets.tolist() == [5, 6, 7]
