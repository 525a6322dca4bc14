"""Datasets: frozen snapshots and the items in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, Insert, insert, select, union

from forethought.core.records import Dataset
from forethought.errors import ConflictError, DataError, NotFoundError, UsageError, did_you_mean
from forethought.store.database import Database
from forethought.store.keys import check_id, is_id
from forethought.store.lookup import encode, find, lock_membership, refuse_missing
from forethought.store.tables import dataset_items, datasets, problems, tasks, trace_splits, traces

Item = str | tuple[str, str]
"""A trace's id (``sft``), a problem's (``problems``), or those of a chosen and a rejected trace (``pairs``)."""


class Datasets(Database):
    """A dataset is found by its name, its id or the start of its id."""

    def add_dataset(self, dataset: Dataset, items: Mapping[str, Sequence[Item]]) -> Dataset:
        """Freezes a dataset with its items by split, in order; returns it with its counts filled in.

        ConflictError when the name is taken, NotFoundError for an item that is not stored.
        """
        frozen = dataset.model_copy(update={"counts": {split: len(ids) for split, ids in items.items()}})
        rows = [
            {"dataset_id": check_id(frozen.id, "dataset"), "split": _split_name(split), "position": position}
            | _item_row(frozen, item)
            for split, ids in items.items()
            for position, item in enumerate(ids)
        ]
        with self.write() as connection:
            lock_membership(connection)
            refuse_missing(connection, tasks, [frozen.task_id], "task")
            if connection.execute(select(datasets.c.id).where(datasets.c.name == frozen.name)).first():
                raise ConflictError(
                    f"There is a dataset called '{frozen.name}' already.", hint="Datasets never change: name it anew."
                )
            _refuse_missing_items(connection, frozen, rows)
            connection.execute(
                insert(datasets).values(
                    id=frozen.id,
                    name=frozen.name,
                    task_id=frozen.task_id,
                    created_at=frozen.created_at,
                    record=encode(frozen),
                )
            )
            if rows:
                connection.execute(insert(dataset_items), rows)
                connection.execute(_memberships(frozen.id))
        return frozen

    def dataset(self, name_or_id: str) -> Dataset:
        """One dataset's label."""
        with self.read() as connection:
            return Dataset.model_validate_json(find(connection, datasets, name_or_id, "dataset", named=True).record)

    def datasets(self, task_id: str | None = None) -> list[Dataset]:
        """All datasets, or one task's, newest first."""
        query = select(datasets.c.record).order_by(datasets.c.created_at.desc(), datasets.c.id.desc())
        if task_id is not None:
            query = query.where(datasets.c.task_id == task_id)
        with self.read() as connection:
            return [Dataset.model_validate_json(record) for record in connection.execute(query).scalars()]

    def dataset_items(self, name_or_id: str, split: str) -> list[str]:
        """The ids in one split, in their frozen order."""
        return [item for item, _ in self._items(name_or_id, split)]

    def dataset_pairs(self, name_or_id: str, split: str) -> list[tuple[str, str]]:
        """The (chosen, rejected) ids in one split of a dataset of pairs, in their frozen order."""
        pairs = self._items(name_or_id, split)
        if any(rejected is None for _, rejected in pairs):
            raise UsageError(f"Dataset '{name_or_id}' does not hold pairs.")
        return [(chosen, rejected or "") for chosen, rejected in pairs]

    def _items(self, name_or_id: str, split: str) -> list[tuple[str, str | None]]:
        with self.read() as connection:
            row = find(connection, datasets, name_or_id, "dataset", named=True)
            counts = Dataset.model_validate_json(row.record).counts
            if split not in counts:
                raise NotFoundError(f"Dataset '{row.name}' has no split '{split}'.", hint=did_you_mean(split, counts))
            query = select(dataset_items.c.item_id, dataset_items.c.other_id).where(
                dataset_items.c.dataset_id == row.id, dataset_items.c.split == split
            )
            return [
                (item.item_id, item.other_id) for item in connection.execute(query.order_by(dataset_items.c.position))
            ]


def _split_name(split: str) -> str:
    if not is_id(split) or split != split.lower():
        raise DataError(f"{split[:80]!r} is not a name for a split.", hint="Use small letters, such as 'train'.")
    return split


def _item_row(dataset: Dataset, item: Item) -> dict[str, str | None]:
    if isinstance(item, tuple) != (dataset.kind == "pairs"):
        raise DataError(f"A dataset of {dataset.kind} cannot hold the item {item!r}.")
    chosen, rejected = item if isinstance(item, tuple) else (item, None)
    return {"item_id": chosen, "other_id": rejected}


def _memberships(dataset_id: str) -> Insert:
    """Each trace that is an item, one of a pair, or an attempt at a problem that is one, with its split."""
    items = dataset_items.c
    links = (traces.c.id == items.item_id, traces.c.id == items.other_id, traces.c.problem_id == items.item_id)
    held = (
        select(items.dataset_id, items.split, traces.c.seq).join(traces, link).where(items.dataset_id == dataset_id)
        for link in links
    )
    return insert(trace_splits).from_select(list(trace_splits.c.keys()), union(*held))


def _refuse_missing_items(connection: Connection, dataset: Dataset, rows: Sequence[Mapping[str, object]]) -> None:
    ids = [str(row[column]) for row in rows for column in ("item_id", "other_id") if row[column] is not None]
    if dataset.kind == "problems":
        refuse_missing(connection, problems, ids, "problem")
    else:
        refuse_missing(connection, traces, ids, "trace")
