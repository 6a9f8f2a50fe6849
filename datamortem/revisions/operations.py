"""Operations of the documented chain: they complete what is partly there and never skip blindly.

An installation of the old system has some of these tables and columns already, made by its own
means and not always whole. Each operation looks at the live table and adds what is missing: the
column, or the unique constraint, index or foreign key that belongs to it. The state is never
conditional, so autodetection and historical models work as with the stock operations.
Later migrations use the stock operations, where something unexpected is an error.
"""

from __future__ import annotations

from typing import Any

from django.db import migrations
from django.db.migrations.state import ProjectState
from django.db.models import Model

# Completing a column takes private methods of the editor, which the type stubs leave out.
Editor = Any
AnyField = Any


def _tables(editor: Editor) -> set[str]:
    with editor.connection.cursor() as cursor:
        return set(editor.connection.introspection.table_names(cursor))


def _columns(editor: Editor, table: str) -> set[str]:
    with editor.connection.cursor() as cursor:
        return {c.name for c in editor.connection.introspection.get_table_description(cursor, table)}


def missing_parts(editor: Editor, model: type[Model], field: AnyField) -> set[str]:
    """Return which of "unique", "index" and "foreign key" the live column lacks."""
    with editor.connection.cursor() as cursor:
        live = editor.connection.introspection.get_constraints(cursor, model._meta.db_table).values()
    here = [found for found in live if found["columns"] == [field.column]]
    missing = set()
    if field.unique and not field.primary_key and not any(c["unique"] for c in here):
        missing.add("unique")
    if field.db_index and not field.unique and not any(c["index"] or c["unique"] for c in here):
        missing.add("index")
    if field.remote_field and field.db_constraint and not any(c["foreign_key"] for c in here):
        missing.add("foreign key")
    return missing


def complete_column(editor: Editor, model: type[Model], field: AnyField) -> None:
    """Add to a column that is there what belongs to it and is not. Rows are never changed."""
    missing = missing_parts(editor, model, field)
    if not missing:
        return
    if editor.connection.vendor == "sqlite":
        editor._remake_table(model)  # constraints come only with a rebuild
        return
    if "unique" in missing:
        editor.execute(editor._create_unique_sql(model, [field]))
    if "index" in missing:
        for statement in editor._field_indexes_sql(model, field):
            editor.execute(statement)
    if "foreign key" in missing:
        editor.deferred_sql.append(editor._create_fk_sql(model, field, "_fk_%(to_table)s_%(to_column)s"))


class CreateModelIfMissing(migrations.CreateModel):
    """Create a table, or complete the one that is there."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: Editor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Create the table, or the columns and many-to-many tables it lacks."""
        model = to_state.apps.get_model(app_label, self.name)
        tables = set() if schema_editor.collect_sql else _tables(schema_editor)
        if model._meta.db_table not in tables:
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        present = _columns(schema_editor, model._meta.db_table)
        for field in model._meta.local_concrete_fields:
            if field.column not in present:
                schema_editor.add_field(model, field)
            else:
                complete_column(schema_editor, model, field)
        for relation in model._meta.local_many_to_many:
            through = relation.remote_field.through
            if through._meta.auto_created and through._meta.db_table not in tables:
                schema_editor.create_model(through)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: Editor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Drop the table if it is there."""
        model = from_state.apps.get_model(app_label, self.name)
        if schema_editor.collect_sql or model._meta.db_table in _tables(schema_editor):
            super().database_backwards(app_label, schema_editor, from_state, to_state)


class AddFieldIfMissing(migrations.AddField):
    """Add a column, or complete the one that is there."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: Editor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Add the column, or the constraints it lacks."""
        model = to_state.apps.get_model(app_label, self.model_name)
        field = model._meta.get_field(self.name)
        if schema_editor.collect_sql or field.column not in _columns(schema_editor, model._meta.db_table):
            super().database_forwards(app_label, schema_editor, from_state, to_state)
        elif self.allow_migrate_model(schema_editor.connection.alias, model):
            complete_column(schema_editor, model, field)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: Editor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Drop the column if it is there."""
        model = from_state.apps.get_model(app_label, self.model_name)
        field = model._meta.get_field(self.name)
        if schema_editor.collect_sql or field.column in _columns(schema_editor, model._meta.db_table):
            super().database_backwards(app_label, schema_editor, from_state, to_state)
