"""Operations of the documented chain: they complete what is partly there and never skip blindly.

An installation of the old system has some of these tables and columns already, made by its own
means and not always whole. Each operation looks at the live table and adds what is missing: the
column, or the unique constraint, index, check or foreign key that belongs to it; it refuses what
is something else (`completing`). The state is never conditional, so autodetection and historical
models work as with the stock operations. Later migrations use the stock operations, where
something unexpected is an error, and those of `online` on large tables.
"""

from __future__ import annotations

from django.db import migrations
from django.db.migrations.state import ProjectState

from datamortem.revisions.completing import (
    AnyField,
    Editor,
    Presence,
    complete,
    has_column,
    has_table,
    presence,
    refuse_unfillable,
)


def _through(field: AnyField) -> AnyField:
    """Return the model of a many-to-many table that Django makes by itself, or None."""
    through = field.remote_field.through if field.many_to_many else None
    return through if through is not None and through._meta.auto_created else None


class CreateModelIfMissing(migrations.CreateModel):
    """Create a table, or complete the one that is there."""

    def database_forwards(
        self, app_label: str, schema_editor: Editor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Create the table, or the columns, constraints and many-to-many tables it lacks.

        Raises Unfit and RowsInTheWay.
        """
        model = to_state.apps.get_model(app_label, self.name)
        if schema_editor.collect_sql or not has_table(schema_editor, model._meta.db_table):
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        complete(schema_editor, model)
        for through in filter(None, map(_through, model._meta.local_many_to_many)):
            if has_table(schema_editor, through._meta.db_table):
                complete(schema_editor, through)
            else:
                schema_editor.create_model(through)

    def database_backwards(
        self, app_label: str, schema_editor: Editor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Drop the table if it is there."""
        model = from_state.apps.get_model(app_label, self.name)
        if schema_editor.collect_sql or has_table(schema_editor, model._meta.db_table):
            super().database_backwards(app_label, schema_editor, from_state, to_state)

    def present(
        self, app_label: str, editor: Editor, from_state: ProjectState, to_state: ProjectState
    ) -> Presence:
        """Return the parts that are there and right, and all parts. Changes nothing."""
        model = to_state.apps.get_model(app_label, self.name)
        found, wanted = presence(editor, model)
        for through in filter(None, map(_through, model._meta.local_many_to_many)):
            here, all_parts = presence(editor, through)
            found |= here
            wanted |= all_parts
        return Presence(found, wanted)


class AddFieldIfMissing(migrations.AddField):
    """Add a column, or complete the one that is there."""

    def database_forwards(
        self, app_label: str, schema_editor: Editor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Add the column, or the constraints it lacks. Raises Unfit and RowsInTheWay."""
        model = to_state.apps.get_model(app_label, self.model_name)
        field: AnyField = model._meta.get_field(self.name)
        if schema_editor.collect_sql or not self._is_there(schema_editor, model, field):
            if not schema_editor.collect_sql and has_table(schema_editor, model._meta.db_table):
                refuse_unfillable(schema_editor, model, field)
            super().database_forwards(app_label, schema_editor, from_state, to_state)
        elif self.allow_migrate_model(schema_editor.connection.alias, model):
            through = _through(field)
            if through is not None:
                complete(schema_editor, through)
            else:
                complete(schema_editor, model, field.column)

    def database_backwards(
        self, app_label: str, schema_editor: Editor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Drop the column if it is there."""
        model = from_state.apps.get_model(app_label, self.model_name)
        field = model._meta.get_field(self.name)
        if schema_editor.collect_sql or self._is_there(schema_editor, model, field):
            super().database_backwards(app_label, schema_editor, from_state, to_state)

    def present(
        self, app_label: str, editor: Editor, from_state: ProjectState, to_state: ProjectState
    ) -> Presence:
        """Return the parts that are there and right, and all parts. Changes nothing."""
        model = to_state.apps.get_model(app_label, self.model_name)
        field: AnyField = model._meta.get_field(self.name)
        through = _through(field)
        if through is not None:
            return presence(editor, through)
        return presence(editor, model, field.column)

    @staticmethod
    def _is_there(editor: Editor, model: AnyField, field: AnyField) -> bool:
        through = _through(field)
        if through is not None:
            return has_table(editor, through._meta.db_table)
        return has_column(editor, model._meta.db_table, field.column)
