"""What the migrations say the tables should be, found out by making them."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.state import ProjectState

from datamortem.revisions.live.reading import read
from datamortem.revisions.live.tables import Table


class _Undo(Exception):
    """Leaves the transaction of the throw-away schema."""


def expected(connection: BaseDatabaseWrapper, state: ProjectState, apps: Collection[str]) -> dict[str, Table]:
    """Return the tables of `apps` (labels) as the migrations of this state would make them.

    Works inside a transaction too. Takes no lock on a table that is there, and leaves nothing.
    """
    models = [m for m in state.apps.get_models() if m._meta.managed and not m._meta.proxy]
    names = {
        table
        for model in models
        if model._meta.app_label in apps
        for table in (model._meta.db_table, *_many_to_many(model))
    }
    if connection.vendor == "sqlite":
        with _in_memory(connection) as place:
            return _build(place, models, names)
    built: dict[str, Table] = {}
    try:
        with transaction.atomic(using=connection.alias):
            _enter_new_schema(connection)
            built = _build(connection, models, names)
            raise _Undo
    except _Undo:
        return built


def _many_to_many(model: Any) -> list[str]:
    throughs = [field.remote_field.through for field in model._meta.local_many_to_many]
    return [through._meta.db_table for through in throughs if through._meta.auto_created]


def _build(connection: BaseDatabaseWrapper, models: list[Any], names: set[str]) -> dict[str, Table]:
    with connection.schema_editor(atomic=connection.vendor != "sqlite") as editor:
        for model in models:
            editor.create_model(model)
    return read(connection, names)


@contextmanager
def _in_memory(connection: BaseDatabaseWrapper) -> Iterator[BaseDatabaseWrapper]:
    place = connection.copy(alias="expected")
    place.settings_dict["NAME"] = ":memory:"
    place.connect()
    try:
        yield place
    finally:
        place.connection.close()  # Django's own close() leaves databases in memory open


def _enter_new_schema(connection: BaseDatabaseWrapper) -> None:
    name = connection.ops.quote_name(f"expected_{secrets.token_hex(8)}")
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {name}")
        cursor.execute(f"SET LOCAL search_path TO {name}")
