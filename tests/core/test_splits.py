import random
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from forethought.core.records import SplitSpec
from forethought.core.splits import SplitItem, split
from forethought.errors import DataError

SPECS = st.builds(
    SplitSpec,
    shares=st.sampled_from(
        [{"train": 0.8, "val": 0.1, "test": 0.1}, {"a": 0.5, "b": 0.5}, {"all": 1.0}, {"x": 0.7, "y": 0.2, "z": 0.1}]
    ),
    seed=st.integers(0, 3),
)


@st.composite
def items(draw: st.DrawFn) -> list[SplitItem]:
    groups = draw(st.lists(st.tuples(st.integers(1, 6), st.sampled_from("xyz")), min_size=1, max_size=60))
    made = []
    for number, (size, stratum) in enumerate(groups):
        group = f"g{number}" if size > 1 else draw(st.sampled_from(["", f"g{number}"]))
        made += [SplitItem(f"{number}-{position}", group, stratum) for position in range(size)]
    return made


def drawn(some: list[SplitItem], spec: SplitSpec) -> dict[str, list[str]]:
    try:
        return split(some, spec)
    except DataError:
        assume(False)
        raise


@given(items(), SPECS, st.randoms(use_true_random=False))
def test_everything_is_dealt_once_whole_groups_at_a_time_in_any_order(
    some: list[SplitItem], spec: SplitSpec, shuffler: random.Random
) -> None:
    arms = drawn(some, spec)
    assert sorted(id_ for ids in arms.values() for id_ in ids) == sorted(item.id for item in some)
    arm_of = {id_: arm for arm, ids in arms.items() for id_ in ids}
    for group in {item.group for item in some} - {""}:
        assert len({arm_of[item.id] for item in some if item.group == group}) == 1
    shuffled = list(some)
    shuffler.shuffle(shuffled)
    assert split(shuffled, spec) == arms


@given(items(), SPECS)
def test_shares_and_strata_are_met_as_closely_as_groups_allow(some: list[SplitItem], spec: SplitSpec) -> None:
    arms = drawn(some, spec)
    largest = max(Counter(item.group or item.id for item in some).values())
    slack = (len(arms) - 1) * largest
    for arm, share in spec.shares.items():
        assert abs(len(arms[arm]) - share * len(some)) <= slack + 1e-6
        for stratum in {item.stratum for item in some}:
            of_stratum = {item.id for item in some if item.stratum == stratum}
            assert abs(len(of_stratum & set(arms[arm])) - share * len(of_stratum)) <= 2 * slack + 1e-6


def test_single_items_meet_their_shares_exactly() -> None:
    arms = split([SplitItem(str(number), stratum=str(number % 4)) for number in range(1000)], SplitSpec())
    assert {arm: len(ids) for arm, ids in arms.items()} == {"train": 800, "val": 100, "test": 100}
    for ids in arms.values():
        per_stratum = Counter(int(id_) % 4 for id_ in ids)
        assert max(per_stratum.values()) - min(per_stratum.values()) <= 2


def test_the_seed_decides() -> None:
    some = [SplitItem(str(number)) for number in range(100)]
    assert split(some, SplitSpec(seed=1)) != split(some, SplitSpec(seed=2))
    assert split(some, SplitSpec(seed=1)) == split(some, SplitSpec(seed=1))


def test_an_empty_arm_is_refused_with_the_number_of_groups() -> None:
    some = [SplitItem(str(number), group=str(number % 2)) for number in range(100)]
    with pytest.raises(DataError, match="100 items in 2 groups"):
        split(some, SplitSpec())
    with pytest.raises(DataError, match="0 items in 0 groups"):
        split([], SplitSpec())


def test_an_id_that_comes_twice_is_refused() -> None:
    with pytest.raises(DataError, match="twice"):
        split([SplitItem("a"), SplitItem("a")], SplitSpec())


def test_an_item_without_a_group_never_joins_the_group_named_like_it() -> None:
    some = [SplitItem("a"), SplitItem("b", group="a"), SplitItem("c", group="item a")]
    assert len({arm for arm, ids in split(some, SplitSpec(shares={"x": 0.34, "y": 0.33, "z": 0.33})).items()}) == 3
