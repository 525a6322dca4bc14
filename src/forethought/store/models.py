"""Models and the aliases that point at them."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from forethought.core.ids import utc_now
from forethought.core.records import SLUG, Model, Slug
from forethought.errors import ConflictError, NotFoundError, UsageError, did_you_mean
from forethought.store.database import Database
from forethought.store.keys import check_id
from forethought.store.lookup import encode, find
from forethought.store.tables import alias_changes, models


class Models(Database):
    """A model is found by its name, an alias, its id or the start of its id."""

    def add_model(self, model: Model) -> Model:
        """Registers a model. ConflictError when its name is a model's or an alias already."""
        check_id(model.id, "model")
        with self.write() as connection:
            kept = models.c.removed_at.is_(None)
            if connection.execute(select(models.c.id).where(models.c.name == model.name, kept)).first():
                raise ConflictError(f"There is a model called '{model.name}' already.", hint="Choose another name.")
            if model.name in _aliases(connection):
                raise ConflictError(f"'{model.name}' is an alias already.", hint="Choose another name.")
            connection.execute(
                insert(models).values(
                    id=model.id,
                    name=model.name,
                    task_id=model.task_id,
                    created_at=model.created_at,
                    record=encode(model),
                )
            )
        return model

    def model(self, name: str) -> Model:
        """One model by name, alias, id or the start of its id."""
        with self.read() as connection:
            return Model.model_validate_json(_model(connection, name).record)

    def models(self, task_id: str | None = None) -> list[Model]:
        """All models, or one task's, newest first; removed ones are left out."""
        query = select(models.c.record).where(models.c.removed_at.is_(None))
        if task_id is not None:
            query = query.where(models.c.task_id == task_id)
        with self.read() as connection:
            records = connection.execute(query.order_by(models.c.created_at.desc(), models.c.id.desc())).scalars()
            return [Model.model_validate_json(record) for record in records]

    def remove_model(self, name: str) -> Model:
        """Takes a model out of use and frees its name; its record stays. ConflictError while an alias points at it."""
        with self.write() as connection:
            row = _model(connection, name)
            _refuse_pointed_at(connection, row)
            connection.execute(update(models).where(models.c.id == row.id).values(removed_at=utc_now()))
        return Model.model_validate_json(row.record)

    def must_be_without_alias(self, name: str) -> None:
        """ConflictError while an alias points at the model: ``remove_model`` would refuse it."""
        with self.read() as connection:
            _refuse_pointed_at(connection, _model(connection, name))

    def aliases(self) -> dict[str, str]:
        """Alias -> id of the model it points at, by name."""
        with self.read() as connection:
            return _aliases(connection)

    def promote(self, alias: Slug, model: str) -> Model:
        """Lets an alias point at a model, and remembers what it pointed at. Returns the model."""
        if not re.fullmatch(SLUG, alias):
            raise UsageError(
                f"{alias[:80]!r} is not a name.",
                hint="Use up to 64 small letters, digits, dots, dashes and underscores.",
            )
        with self.write() as connection:
            row = _model(connection, model)
            _refuse_models_name(connection, alias)
            head = _head(connection, alias)
            last = _change(connection, head.previous_seq) if head and head.removes else head
            if last is None:
                _append(connection, alias, row.id, None)
            elif last.model_id != row.id:
                _append(connection, alias, row.id, last.seq)
            elif last is not head:
                _append(connection, alias, row.id, last.previous_seq)
        return Model.model_validate_json(row.record)

    def unalias(self, alias: str) -> Model:
        """Takes an alias out of use; ``rollback`` or ``promote`` bring it back. Returns the model it pointed at."""
        with self.write() as connection:
            head = _known_head(connection, alias)
            if head.removes:
                raise NotFoundError(
                    f"There is no alias {alias[:80]!r} any more.", hint=did_you_mean(alias, _aliases(connection))
                )
            _append(connection, alias, head.model_id, head.seq, removes=True)
            row = connection.execute(select(models).where(models.c.id == head.model_id)).one()
        return Model.model_validate_json(row.record)

    def rollback(self, alias: str) -> Model:
        """Lets an alias point at the model it pointed at before; again goes back further. Returns the model."""
        with self.write() as connection:
            head = _known_head(connection, alias)
            _refuse_models_name(connection, alias)
            if head.previous_seq is None:
                raise UsageError(f"The alias '{alias}' never pointed at another model.")
            before = _change(connection, head.previous_seq)
            kept = models.c.removed_at.is_(None)
            row = connection.execute(select(models).where(models.c.id == before.model_id, kept)).first()
            if row is None:
                raise NotFoundError(f"The model that '{alias}' pointed at before is removed.", hint="Promote another.")
            _append(connection, alias, before.model_id, before.previous_seq)
        return Model.model_validate_json(row.record)


def _model(connection: Connection, name: str) -> Row[tuple[str, ...]]:
    head = _head(connection, name) if "\0" not in name else None
    given = head.model_id if head is not None and not head.removes else name
    try:
        return find(connection, models, given, "model", models.c.removed_at.is_(None), named=True)
    except NotFoundError as error:
        known = [
            *_aliases(connection),
            *connection.execute(select(models.c.name).where(models.c.removed_at.is_(None))).scalars(),
        ]
        raise NotFoundError(error.message, hint=did_you_mean(name, known)) from None


def _aliases(connection: Connection) -> dict[str, str]:
    newest = select(func.max(alias_changes.c.seq)).group_by(alias_changes.c.name)
    query = select(alias_changes).where(alias_changes.c.seq.in_(newest), ~alias_changes.c.removes)
    query = query.order_by(alias_changes.c.name)
    return {row.name: row.model_id for row in connection.execute(query)}


def _head(connection: Connection, alias: str) -> Row[Any] | None:
    query = select(alias_changes).where(alias_changes.c.name == alias)
    return connection.execute(query.order_by(alias_changes.c.seq.desc()).limit(1)).first()


def _known_head(connection: Connection, alias: str) -> Row[Any]:
    head = _head(connection, alias) if "\0" not in alias else None
    if head is None:
        raise NotFoundError(f"There is no alias {alias[:80]!r}.", hint=did_you_mean(alias, _aliases(connection)))
    return head


def _change(connection: Connection, seq: int) -> Row[Any]:
    return connection.execute(select(alias_changes).where(alias_changes.c.seq == seq)).one()


def _refuse_pointed_at(connection: Connection, model: Row[Any]) -> None:
    pointing = sorted(alias for alias, id_ in _aliases(connection).items() if id_ == model.id)
    if pointing:
        raise ConflictError(
            f"The alias '{pointing[0]}' points at model '{model.name}'.",
            hint=f"Promote another model to it, or remove it with 'forethought models unalias {pointing[0]}'.",
        )


def _refuse_models_name(connection: Connection, alias: str) -> None:
    named = select(models.c.id).where(models.c.name == alias, models.c.removed_at.is_(None))
    if connection.execute(named).first():
        raise ConflictError(f"'{alias}' is a model's name already.", hint="Choose another alias.")


def _append(
    connection: Connection, alias: str, model_id: str, previous_seq: int | None, *, removes: bool = False
) -> None:
    connection.execute(
        insert(alias_changes).values(
            name=alias, model_id=model_id, previous_seq=previous_seq, created_at=utc_now(), removes=removes
        )
    )
