"""Splits: drawn by seed, whole groups at a time, each stratum spread evenly.

Groups are put in one line: stratum by stratum, within a stratum the large ones first, equals in an order drawn by the
seed. Then they are dealt out along the line, each to the arm that is furthest behind its share so far. With ``k`` arms
and groups of at most ``m`` items no arm is ever more than ``(k - 1) m`` items off its share, in any stretch of the
line that starts at its beginning.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from forethought.core.records import SplitSpec
from forethought.errors import DataError


@dataclass(frozen=True)
class SplitItem:
    """One thing to be dealt out. An empty ``group`` is a group of its own."""

    id: str
    group: str = ""
    stratum: str = ""


@dataclass(frozen=True)
class _Group:
    key: str
    stratum: str
    ids: tuple[str, ...]


def split(items: Sequence[SplitItem], spec: SplitSpec) -> dict[str, list[str]]:
    """Arm -> ids, sorted. The same items in any order and the same spec give the same split.

    DataError when an id comes twice or an arm stays empty.
    """
    groups = _groups(items)
    arms: dict[str, list[str]] = {arm: [] for arm in spec.shares}
    dealt = 0
    for group in sorted(groups, key=lambda group: (group.stratum, -len(group.ids), _draw(spec.seed, group.key))):
        dealt += len(group.ids)
        behind = {arm: share * dealt - len(arms[arm]) for arm, share in spec.shares.items()}
        arms[max(arms, key=lambda arm: (round(behind[arm], 9), spec.shares[arm], arm))] += group.ids
    _refuse_empty(arms, groups, items)
    return {arm: sorted(ids) for arm, ids in arms.items()}


def _groups(items: Sequence[SplitItem]) -> list[_Group]:
    members: dict[str, list[SplitItem]] = defaultdict(list)
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise DataError(f"The item {item.id} comes twice in what is to be split.")
        seen.add(item.id)
        members[f"group {item.group}" if item.group else f"item {item.id}"].append(item)
    return [
        _Group(key, _commonest(item.stratum for item in own), tuple(item.id for item in own))
        for key, own in members.items()
    ]


def _commonest(strata: Iterable[str]) -> str:
    """The stratum of most of a group's items; of equals the first by name."""
    counts = Counter(strata)
    return min(counts, key=lambda stratum: (-counts[stratum], stratum))


def _draw(seed: int, key: str) -> bytes:
    """A group's place among its equals: it depends on the seed and the group alone."""
    return hashlib.sha256(f"{seed} {key}".encode("utf-8", "surrogatepass")).digest()


def _refuse_empty(arms: dict[str, list[str]], groups: Sequence[_Group], items: Sequence[SplitItem]) -> None:
    empty = [arm for arm, ids in arms.items() if not ids]
    if empty:
        raise DataError(
            f"The split leaves '{empty[0]}' empty: {len(items)} items in {len(groups)} groups, "
            f"and groups are never parted.",
            hint="Add problems of other groups, or give that split a larger share.",
        )
