from __future__ import annotations

import random

import torch
from hypothesis import given
from hypothesis import strategies as st

from forethought.training.batches import Collator, LengthGroupedSampler, split_by_tokens
from forethought.training.data import IGNORE

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=120)


@given(lengths=LENGTHS, batch_size=st.integers(1, 20), seed=st.integers(0, 5), epoch=st.integers(0, 3))
def test_every_row_comes_once_in_an_order_that_seed_and_epoch_fix(lengths, batch_size, seed, epoch):
    def order():
        sampler = LengthGroupedSampler(lengths, batch_size, seed)
        sampler.epoch = epoch
        return list(sampler)

    assert sorted(order()) == list(range(len(lengths)))
    assert order() == order()


@given(lengths=LENGTHS, batch_size=st.integers(1, 20), seed=st.integers(0, 5))
def test_the_longest_row_comes_in_the_first_batch(lengths, batch_size, seed):
    order = list(LengthGroupedSampler(lengths, batch_size, seed))
    assert max(lengths[row] for row in order[:batch_size]) == max(lengths)


class Counted(list):
    """A list that counts how often it is read."""

    reads = 0

    def __getitem__(self, index):
        self.reads += 1
        return super().__getitem__(index)


def test_the_work_of_ordering_grows_with_the_rows_not_with_their_square():
    def reads(rows):
        lengths = Counted(1 + row * 7919 % 300 for row in range(rows))
        assert len(list(LengthGroupedSampler(lengths, 2, 0))) == rows
        return lengths.reads

    assert reads(4_000) < 8 * reads(1_000)


def test_epochs_differ():
    sampler = LengthGroupedSampler(list(range(100)), 8, 0)
    first = list(sampler)
    sampler.epoch = 1
    assert list(sampler) != first


def test_sorting_leaves_less_padding_than_shuffling():
    rng = random.Random(0)
    lengths = [rng.randint(50, 250) for _ in range(512)]

    def padded_share(order):
        batches = [[lengths[row] for row in order[start : start + 16]] for start in range(0, 512, 16)]
        return 1 - sum(lengths) / sum(16 * max(batch) for batch in batches)

    assert padded_share(list(LengthGroupedSampler(lengths, 16, 0))) < 0.1 < padded_share(rng.sample(range(512), 512))


@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=9), max_tokens=st.integers(1, 60))
def test_a_split_batch_has_the_same_rows_and_fits(lengths, max_tokens):
    rows = [{"input_ids": list(range(1, n + 1)), "labels": [IGNORE] * (n - 1) + [n]} for n in lengths]
    parts = split_by_tokens(Collator(pad_id=0)(rows), max_tokens)
    for part in parts:
        assert part["input_ids"].numel() <= max_tokens or len(part["input_ids"]) == 1
    seen = [ids[ids > 0].tolist() for part in parts for ids in part["input_ids"]]
    assert seen == [row["input_ids"] for row in rows]
    assert sum(int((part["labels"] != IGNORE).sum()) for part in parts) == len(rows)


def test_padding_is_on_the_right_and_carries_no_label():
    batch = Collator(pad_id=7)([{"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}, {"input_ids": [4], "labels": [4]}])
    assert torch.equal(batch["input_ids"], torch.tensor([[1, 2, 3], [4, 7, 7]]))
    assert torch.equal(batch["labels"], torch.tensor([[-100, 2, 3], [4, -100, -100]]))
    assert torch.equal(batch["attention_mask"], torch.tensor([[1, 1, 1], [1, 0, 0]]))
