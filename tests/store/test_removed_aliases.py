"""Aliases are taken out of use, and brought back; their history only grows."""

import pytest
from sqlalchemy import func, select

from forethought.core.records import Model
from forethought.errors import ConflictError, NotFoundError, UsageError
from forethought.store.store import Store
from forethought.store.tables import alias_changes


@pytest.fixture
def two(store: Store) -> Store:
    """A store with models ``a`` and ``b``, and ``live`` pointing at ``b`` after ``a``."""
    for name in ("a", "b"):
        store.add_model(Model(name=name, base="embedded"))
        store.promote("live", name)
    return store


def changes(store: Store) -> int:
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(alias_changes)).scalar_one()


def test_a_removed_alias_points_at_nothing(two: Store) -> None:
    assert two.unalias("live").name == "b"
    assert two.aliases() == {}
    assert changes(two) == 3
    with pytest.raises(NotFoundError):
        two.model("live")
    with pytest.raises(NotFoundError, match="any more"):
        two.unalias("live")
    with pytest.raises(NotFoundError):
        two.unalias("liv")
    two.remove_model("b")


def test_a_rollback_brings_an_alias_back_and_then_goes_further(two: Store) -> None:
    two.unalias("live")
    assert two.rollback("live").name == "b"
    assert two.model("live").name == "b"
    assert two.rollback("live").name == "a"
    with pytest.raises(UsageError, match="never pointed at another"):
        two.rollback("live")


@pytest.mark.parametrize(("name", "before"), [("a", "b"), ("b", "a")])
def test_an_alias_that_is_promoted_again_remembers_what_it_pointed_at(two: Store, name: str, before: str) -> None:
    two.unalias("live")
    assert two.promote("live", name).name == two.model("live").name == name
    assert two.rollback("live").name == before


def test_a_removed_alias_frees_its_name(two: Store) -> None:
    two.unalias("live")
    two.add_model(Model(name="live", base="embedded"))
    assert two.model("live").name == "live"
    with pytest.raises(ConflictError, match="is a model's name already"):
        two.rollback("live")
