"""Django's SQLite backend, whose table rebuild keeps what Django does not know.

SQLite cannot alter most things in place: the stock editor makes a new table from the migration
state and copies the columns the state knows. Columns, constraints, indexes, triggers and views
made by the old system, or by hand, would vanish; here they come along, values and all. A rebuild
that would lose something is refused and leaves the table as it was.
"""

from __future__ import annotations

from typing import Any

from django.db import OperationalError, transaction
from django.db.backends.sqlite3 import base, schema

from datamortem.sqlite3.keeping import AnyField, AnyModel, Keeping, examine, known, last_number, verify
from datamortem.sqlite3.statement import closing, table_statement, tokens

_StockEditor: Any = schema.DatabaseSchemaEditor  # its rebuild is private, and not in the type stubs


class DatabaseSchemaEditor(_StockEditor):  # type: ignore[misc]
    """Rebuilds tables without losing what the state does not know."""

    _keeping: Keeping | None = None
    _removed: Any = None

    def _remake_table(
        self,
        model: AnyModel,
        create_field: AnyField = None,
        delete_field: AnyField = None,
        alter_fields: list[tuple[AnyField, AnyField]] | None = None,
    ) -> None:
        change = (model, create_field, delete_field, alter_fields)
        if self.collect_sql or (delete_field is not None and delete_field.many_to_many):
            super()._remake_table(*change)
            return
        table = model._meta.db_table
        ours = known(model, create_field, delete_field, alter_fields or [], self._removed, self.connection)
        with transaction.atomic(using=self.connection.alias), self.connection.cursor() as cursor:
            keeping = examine(cursor, table, ours)
            if create_field is not None:
                self._refuse_duplicate(cursor, table, create_field.column)
            for kind, name, _ in reversed(keeping.aside):
                self.execute(f"DROP {kind} {self.quote_name(name)}")
            self._keeping = keeping
            try:
                super()._remake_table(*change)
            finally:
                self._keeping = None
            for sql in (*keeping.indexes, *(sql for _, _, sql in keeping.aside)):
                self.execute(sql, params=None)
            self._go_on_counting(cursor, keeping)
            verify(cursor, keeping, ours)

    def remove_constraint(self, model: AnyModel, constraint: Any) -> None:
        """Remove a constraint; everything else of the table stays."""
        self._removed = constraint
        try:
            super().remove_constraint(model, constraint)
        finally:
            self._removed = None

    def table_sql(self, model: AnyModel) -> tuple[str, list[Any]]:
        """Return CREATE TABLE, for a rebuild with the columns and constraints that are kept."""
        sql, params = super().table_sql(model)
        keeping = self._keeping
        if keeping is None or model._meta.db_table != self._new_name(keeping):
            return sql, params
        columns = "".join(f", {definition}" for definition in keeping.columns.values())
        constraints = "".join(f", {constraint}" for constraint in keeping.constraints)
        if params:  # the percent signs of the others are placeholders
            columns, constraints = columns.replace("%", "%%"), constraints.replace("%", "%%")
        words = tokens(sql)
        opening = next(n for n, token in enumerate(words) if token.text == "(")
        end = words[closing(words, opening)].start
        middle = list(table_statement(sql).columns.values())[-1][-1].end
        return f"{sql[:middle]}{columns}{sql[middle:end]}{constraints}{sql[end:]}", params

    def execute(self, sql: Any, params: Any = ()) -> None:
        """Execute a statement; the one that fills a new table with the columns that are kept."""
        keeping = self._keeping
        if keeping is not None and keeping.copied:
            start = f"INSERT INTO {self.quote_name(self._new_name(keeping))} ("
            if str(sql).startswith(start):
                names = "".join(f"{self.quote_name(name)}, " for name in keeping.copied)
                sql = str(sql).replace(start, start + names, 1).replace(") SELECT ", f") SELECT {names}", 1)
                params = None if params == () else params
        super().execute(sql, params)

    @staticmethod
    def _new_name(keeping: Keeping) -> str:
        return f"new__{keeping.table}"

    def _refuse_duplicate(self, cursor: Any, table: str, column: str) -> None:
        """The stock editor would overwrite the values of a column that is there already."""
        cursor.execute("SELECT 1 FROM pragma_table_info(%s) WHERE lower(name) = lower(%s)", [table, column])
        if cursor.fetchone():
            raise OperationalError(f"duplicate column name: {table} has a column {column} already")

    def _go_on_counting(self, cursor: Any, keeping: Keeping) -> None:
        """Let AUTOINCREMENT not give numbers again whose rows were deleted."""
        if last_number(cursor, keeping.table) >= keeping.last_number:
            return
        table = keeping.table
        cursor.execute("UPDATE sqlite_sequence SET seq = %s WHERE name = %s", [keeping.last_number, table])
        if not cursor.rowcount:
            cursor.execute(
                "INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [table, keeping.last_number]
            )


class DatabaseWrapper(base.DatabaseWrapper):
    """SQLite with the editor above."""

    SchemaEditorClass = DatabaseSchemaEditor
