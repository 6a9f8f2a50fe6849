"""Operations for large tables: readers and writers go on while they work.

PostgreSQL builds an index CONCURRENTLY without stopping writers, but not inside a transaction, so
a migration with these has `atomic = False`, does nothing else, and may be run again whenever it
was killed: an index that the server is still building for a process that died is waited for, a
valid one is kept, an invalid one is dropped and built anew. Elsewhere they are ordinary.

    class Migration(migrations.Migration):
        atomic = False
        operations = [AddIndexOnline("event", models.Index(fields=["host"], name="events_by_host"))]
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.db import DatabaseError, NotSupportedError, migrations
from django.db.migrations.state import ProjectState
from django.db.models import UniqueConstraint

from datamortem.revisions import live
from datamortem.revisions.completing import Editor
from datamortem.revisions.errors import Unfit
from datamortem.revisions.live.sql import listed, quoted

_LOOKS_EVERY: Final = 0.2  # seconds
_INDEX: Final = """
    SELECT x.indisvalid, t.relname::text,
           ARRAY(SELECT a.attname::text FROM generate_series(0, x.indnkeyatts - 1) n
                 JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[n] ORDER BY n),
           EXISTS (SELECT 1 FROM pg_stat_progress_create_index p WHERE p.index_relid = x.indexrelid)
    FROM pg_index x JOIN pg_class t ON t.oid = x.indrelid
    WHERE x.indexrelid = to_regclass(quote_ident(current_schema()) || '.' || quote_ident(%s))
"""


class AddIndexOnline(migrations.AddIndex):
    """Add an index without stopping writers."""

    atomic = False

    def database_forwards(
        self, app_label: str, schema_editor: Editor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Build the index, or keep the valid one that an earlier attempt built."""
        model: Any = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        if schema_editor.connection.vendor != "postgresql":
            if schema_editor.collect_sql or not _is_index(
                schema_editor, model._meta.db_table, self.index.name
            ):
                super().database_forwards(app_label, schema_editor, from_state, to_state)
        else:
            columns = [model._meta.get_field(field).column for field, _ in self.index.fields_orders]
            statement = self.index.create_sql(model, schema_editor, concurrently=True)
            _build(schema_editor, model._meta.db_table, self.index.name, columns, statement)

    def database_backwards(
        self, app_label: str, schema_editor: Editor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Drop the index, if it is there, without stopping writers."""
        model = from_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        if schema_editor.connection.vendor == "postgresql":
            _drop(schema_editor, self.index.name)
        elif schema_editor.collect_sql or _is_index(schema_editor, model._meta.db_table, self.index.name):
            super().database_backwards(app_label, schema_editor, from_state, to_state)


class AddUniqueOnline(migrations.AddConstraint):
    """Add a unique constraint on fields without stopping writers.

    Rows that share a value make it fail, name the first of them, and leave nothing behind.
    """

    atomic = False

    def database_forwards(
        self, app_label: str, schema_editor: Editor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Build a unique index, then make it the constraint, which takes a moment."""
        model: Any = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        if schema_editor.connection.vendor != "postgresql":
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        constraint = self.constraint
        if not isinstance(constraint, UniqueConstraint) or constraint.condition or constraint.expressions:
            raise NotSupportedError("AddUniqueOnline takes a UniqueConstraint on fields, without condition.")
        table, name = model._meta.db_table, quoted(constraint.name)
        columns = [model._meta.get_field(field).column for field in constraint.fields]
        if not schema_editor.collect_sql and _is_constraint(schema_editor, table, constraint.name):
            return
        statement = f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {quoted(table)} ({listed(columns)})"
        _build(schema_editor, table, constraint.name, columns, statement)
        schema_editor.execute(f"ALTER TABLE {quoted(table)} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}")

    def database_backwards(
        self, app_label: str, schema_editor: Editor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Drop the constraint or the unfinished index, if there is one."""
        model = from_state.apps.get_model(app_label, self.model_name)
        editor = schema_editor
        inspects = editor.connection.vendor == "postgresql" and not editor.collect_sql
        if inspects and not _is_constraint(editor, model._meta.db_table, self.constraint.name):
            _drop(editor, self.constraint.name)
        else:
            super().database_backwards(app_label, editor, from_state, to_state)


def _build(editor: Editor, table: str, name: str, columns: list[str], statement: Any) -> None:
    if editor.collect_sql:
        editor.execute(statement, params=None)
        return
    if editor.connection.in_atomic_block:
        raise NotSupportedError(
            f"The index {name} is built outside of transactions: set atomic = False in its migration."
        )
    while (found := _index(editor, name)) and found[3]:
        time.sleep(_LOOKS_EVERY)  # somebody's server process, whose client may be dead, builds it
    if found and (found[1], found[2]) != (table, columns or found[2]):
        raise Unfit(
            f"An index {name} is there, but on {found[1]} ({', '.join(found[2])}), expected on {table}"
            f" ({', '.join(columns)}); rename it, then run this again. Nothing was changed."
        )
    if found and found[0]:
        return
    if found:
        _drop(editor, name)
    try:
        with _patience(editor):
            editor.execute(statement, params=None)
    except DatabaseError:
        if (found := _index(editor, name)) and not found[0]:
            _drop(editor, name)  # nothing half-built stays behind a refusal such as "not unique"
        raise


def _drop(editor: Editor, name: str) -> None:
    with _patience(editor):
        concurrently = "" if editor.connection.in_atomic_block else "CONCURRENTLY "
        editor.execute(f"DROP INDEX {concurrently}IF EXISTS {quoted(name)}")


def _index(editor: Editor, name: str) -> tuple[bool, str, list[str], bool] | None:
    """Return whether the index is valid, its table and columns, and whether it is being built."""
    with editor.connection.cursor() as cursor:
        cursor.execute(_INDEX, [name])
        found: tuple[bool, str, list[str], bool] | None = cursor.fetchone()
        return found


def _is_index(editor: Editor, table: str, name: str) -> bool:
    found = live.read(editor.connection, [table]).get(table)
    return found is not None and any(index.name == name for index in found.indexes)


def _is_constraint(editor: Editor, table: str, name: str) -> bool:
    found = live.read(editor.connection, [table]).get(table)
    return found is not None and any(u.is_constraint and u.name == name for u in found.uniques)


@contextmanager
def _patience(editor: Editor) -> Iterator[None]:
    """Wait for running transactions, which these statements outlast, however short lock waits are else."""
    if editor.collect_sql:
        yield
        return
    with editor.connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('lock_timeout'), current_setting('statement_timeout')")
        usual = cursor.fetchone()
        cursor.execute(
            "SELECT set_config('lock_timeout', '0', false), set_config('statement_timeout', '0', false)"
        )
    try:
        yield
    finally:
        with editor.connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('lock_timeout', %s, false), set_config('statement_timeout', %s, false)",
                usual,
            )
