"""What the migrations say the tables should be, found out by making them."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from django.db import ProgrammingError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import strip_quotes
from django.db.migrations.state import ProjectState
from psycopg.errors import InsufficientPrivilege

from datamortem.revisions.errors import NotAllowed
from datamortem.revisions.live.reading import read
from datamortem.revisions.live.tables import ForeignKey, Table


class _Undo(Exception):
    """Leaves the transaction of the throw-away schema."""


def expected(connection: BaseDatabaseWrapper, state: ProjectState, apps: Collection[str]) -> dict[str, Table]:
    """Return the tables of `apps` (labels) as the migrations of this state would make them.

    Works inside a transaction too. Takes no lock on a table that is there, and leaves nothing.
    """
    models: list[Any] = [m for m in state.apps.get_models() if m._meta.managed and not m._meta.proxy]
    names = {
        table
        for model in models
        if model._meta.app_label in apps
        for table in (model._meta.db_table, *_many_to_many(model))
    }
    with _elsewhere(connection) as place:
        with place.schema_editor(atomic=connection.vendor != "sqlite") as editor:
            for model in models:
                editor.create_model(model)
        return read(place, names)


def expected_table(connection: BaseDatabaseWrapper, model: Any) -> Table:
    """Return the table of one model as it would be made, wherever its foreign keys lead."""
    name = model._meta.db_table
    with _elsewhere(connection) as place:
        with place.schema_editor(atomic=connection.vendor != "sqlite") as editor:
            editor.create_model(model)
            # What they refer to does not exist here.
            references = [s for s in editor.deferred_sql if _is_reference(s, editor)]
            editor.deferred_sql = [s for s in editor.deferred_sql if s not in references]
        table = read(place, [name])[name]
    if connection.vendor == "sqlite":
        return table
    return replace(
        table, foreign_keys=tuple(_foreign_key(s) for s in references if s.parts["table"].table == name)
    )


def _is_reference(statement: Any, editor: Any) -> bool:
    return bool(editor.sql_create_fk) and getattr(statement, "template", None) == editor.sql_create_fk


def _foreign_key(statement: Any) -> ForeignKey:
    parts = statement.parts
    return ForeignKey(
        tuple(parts["column"].columns),
        parts["to_table"].table,
        tuple(parts["to_column"].columns),
        strip_quotes(str(parts["name"])),
    )


def _many_to_many(model: Any) -> list[str]:
    throughs = [field.remote_field.through for field in model._meta.local_many_to_many]
    return [through._meta.db_table for through in throughs if through._meta.auto_created]


@contextmanager
def _elsewhere(connection: BaseDatabaseWrapper) -> Iterator[BaseDatabaseWrapper]:
    """Give a place to make tables in, of which nothing is left afterwards."""
    if connection.vendor == "sqlite":
        with _in_memory(connection) as place:
            yield place
        return
    try:
        with transaction.atomic(using=connection.alias):
            _enter_new_schema(connection)
            yield connection
            raise _Undo
    except _Undo:
        pass


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
        try:
            cursor.execute(f"CREATE SCHEMA {name}")
        except ProgrammingError as error:
            if not isinstance(error.__cause__, InsufficientPrivilege):
                raise
            database, user = (connection.settings_dict[key] for key in ("NAME", "USER"))
            raise NotAllowed(
                "To know what the migrations would make, they are made in a schema of their own and rolled"
                f' back, which this user may not: GRANT CREATE ON DATABASE "{database}" TO "{user}"'
            ) from error
        cursor.execute(f"SET LOCAL search_path TO {name}")
