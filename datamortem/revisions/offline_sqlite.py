"""Statements for SQLite, written down while they are executed on an empty database in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.state import ProjectState
from django.db.models import Model

from datamortem.sqlite3.base import DatabaseSchemaEditor

_REBUILT: Final = 'CREATE TABLE "new__'
#: SQLite raises errors of our own only through a constraint; its name is what the operator reads.
_GUARD: Final = """\
CREATE TEMPORARY TABLE "_guard" (
  "stands" integer NOT NULL DEFAULT 1 CONSTRAINT "{stands}" CHECK ("stands"),
  "known" integer NOT NULL DEFAULT 1 CONSTRAINT "{known}" CHECK ("known"),
  "refers" integer NOT NULL DEFAULT 1 CONSTRAINT "{refers}" CHECK ("refers")
);
"""


class _Editor(DatabaseSchemaEditor):
    """Executes and writes down."""

    def execute(self, sql: Any, params: Sequence[Any] | None = ()) -> None:
        """Write the statement down, then execute it."""
        super().execute(sql, params)
        with self.connection.cursor() as cursor:
            cursor.execute(str(sql), params)

    def _remake_table(self, model: type[Model], *args: Any, **kwargs: Any) -> None:
        self.collected_sql.append(self._nothing_else_on(model._meta.db_table))
        super()._remake_table(model, *args, **kwargs)

    def _nothing_else_on(self, table: str) -> str:
        """Return the guard of a rebuild, which makes anew what the migrations know and nothing else."""
        name = self.quote_value(table)
        columns = self._unknown(f"pragma_table_info({name}) WHERE true")
        others = self._unknown(
            f"sqlite_master WHERE tbl_name = {name} AND type IN ('index', 'trigger') AND sql IS NOT NULL"
        )
        return f'INSERT INTO temp."_guard" ("known") SELECT NOT EXISTS ({columns}) AND NOT EXISTS ({others});'

    def _unknown(self, source: str) -> str:
        """Return a query for what is in a source there and not here, by name."""
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT name FROM {source}")  # noqa: S608
            names = ", ".join(sorted(self.quote_value(name) for (name,) in cursor.fetchall()))
        return f"SELECT 1 FROM {source} AND name NOT IN ({names})"  # noqa: S608


class SQLiteWriter:
    """Writes down what is executed on the database in memory."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    @classmethod
    @contextmanager
    def in_memory(cls, like: BaseDatabaseWrapper) -> Iterator[SQLiteWriter]:
        """Make an empty database with the settings of another, and end it afterwards."""
        place = like.copy(alias=like.alias)
        place.settings_dict["NAME"] = ":memory:"
        place.connect()
        place.disable_constraint_checking()
        try:
            yield cls(place)
        finally:
            if place.connection is not None:
                place.connection.close()  # Django's own close() leaves databases in memory open

    def opening(self) -> list[str]:
        """Return what rebuilding tables needs, and the table of the guards."""
        guard = _GUARD.format(
            stands="the database is not where this begins; nothing of the migration was done",
            known="the table has a column, index or trigger that no migration knows and a rebuild would lose",
            refers="a row refers to one that is not there",
        )
        return [f"PRAGMA foreign_keys = OFF;\n{guard}\n"]

    def guard(self, condition: str, refusal: str) -> str:
        """Return a statement that fails unless the condition holds."""
        return f'-- unless this holds, {refusal}\nINSERT INTO temp."_guard" ("stands") SELECT {condition};'

    def before_commit(self, statements: list[str]) -> list[str]:
        """Return a check of the foreign keys if a table was rebuilt."""
        if not any(statement.startswith(_REBUILT) for statement in statements):
            return []
        return [
            'INSERT INTO temp."_guard" ("refers") SELECT NOT EXISTS (SELECT 1 FROM pragma_foreign_key_check);'
        ]

    def closing(self) -> list[str]:
        """Return what takes the guards away."""
        return ['DROP TABLE temp."_guard";\nPRAGMA foreign_keys = ON;\n']

    def editor(self) -> Any:
        """Return an editor that executes too."""
        editor: Any = _Editor(self.connection, collect_sql=True, atomic=False)
        editor.atomic_migration, editor.deferred_sql = True, []  # in memory nothing needs a transaction
        return editor

    def begin_at(self, state: ProjectState) -> None:
        """Make the tables that are there when the walk begins."""
        with self.connection.schema_editor(atomic=False) as editor:
            for model in state.apps.get_models():
                if model._meta.managed and not model._meta.proxy:
                    editor.create_model(model)
        self.connection.disable_constraint_checking()
