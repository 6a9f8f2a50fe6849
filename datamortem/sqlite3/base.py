"""Django's SQLite backend, whose table rebuild keeps columns that Django does not know.

SQLite cannot alter most things in place: the stock editor makes a new table from the migration
state and copies the columns the state knows. Columns made by the old system, or by a later
version of this one, would vanish with their values; here they are carried over.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db.backends.sqlite3 import base, schema
from django.db.models import Field, Model

_StockEditor: Any = schema.DatabaseSchemaEditor  # its rebuild is private, and not in the type stubs


class _Column(NamedTuple):
    """A row of PRAGMA table_info, and of foreign_key_list where it has one."""

    name: str
    type: str
    not_null: bool
    default: str | None
    references: str


class DatabaseSchemaEditor(_StockEditor):  # type: ignore[misc]
    """Rebuilds tables without losing what the state does not know."""

    def _remake_table(
        self,
        model: type[Model],
        create_field: Field[Any, Any] | None = None,
        delete_field: Field[Any, Any] | None = None,
        alter_fields: list[tuple[Field[Any, Any], Field[Any, Any]]] | None = None,
    ) -> None:
        known = {field.column for field in model._meta.local_concrete_fields}
        known |= {field.column for pair in alter_fields or [] for field in pair}
        known |= {field.column for field in (create_field, delete_field) if field is not None}
        kept = self._columns_unknown_to(model._meta.db_table, known)
        if not kept:
            super()._remake_table(model, create_field, delete_field, alter_fields)
            return
        indexes = self._indexes_on(model._meta.db_table, {column.name for column in kept})
        self._set_aside(model, kept)
        super()._remake_table(model, create_field, delete_field, alter_fields)
        self._bring_back(model, kept)
        for statement in indexes:
            self.execute(statement)

    def _columns_unknown_to(self, table: str, known: set[str | None]) -> list[_Column]:
        quote = self.quote_name
        with self.connection.cursor() as cursor:
            cursor.execute(f"PRAGMA foreign_key_list({quote(table)})")
            references = {
                row[3]: f" REFERENCES {quote(row[2])} ({quote(row[4])}) ON DELETE {row[6]}"
                for row in cursor.fetchall()
            }
            cursor.execute(f"PRAGMA table_info({quote(table)})")
            return [
                _Column(name, kind, bool(not_null), default, references.get(name, ""))
                for _, name, kind, not_null, default, _ in cursor.fetchall()
                if name not in known
            ]

    def _indexes_on(self, table: str, columns: set[str]) -> list[str]:
        """Return the statements of the indexes that a rebuild would lose with these columns."""
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = %s"
                " AND sql IS NOT NULL",
                [table],
            )
            found = cursor.fetchall()
            lost = []
            for name, statement in found:
                cursor.execute(f"PRAGMA index_info({self.quote_name(name)})")
                if columns & {row[2] for row in cursor.fetchall()}:
                    lost.append(statement)
        return lost

    def _set_aside(self, model: type[Model], columns: list[_Column]) -> None:
        quote = self.quote_name
        names = ", ".join(quote(column.name) for column in columns)
        pk = quote(model._meta.pk.column)
        table = quote(model._meta.db_table)
        self.execute(f"CREATE TEMPORARY TABLE _kept AS SELECT {pk} AS _pk, {names} FROM {table}")  # noqa: S608
        self.execute("CREATE UNIQUE INDEX temp._kept_pk ON _kept (_pk)")

    def _bring_back(self, model: type[Model], columns: list[_Column]) -> None:
        quote = self.quote_name
        table = quote(model._meta.db_table)
        pk = quote(model._meta.pk.column)
        for column in columns:
            # SQLite adds a NOT NULL column only with a default, and a referring one only without.
            required = " NOT NULL" if column.not_null and column.default is not None else ""
            default = f" DEFAULT {column.default}" if column.default is not None else ""
            refers = "" if default else column.references
            definition = f"{quote(column.name)} {column.type}{required}{default}{refers}"
            self.execute(f"ALTER TABLE {table} ADD COLUMN {definition}")
        values = ", ".join(
            f"{quote(c.name)} = (SELECT {quote(c.name)} FROM _kept WHERE _pk = {table}.{pk})"  # noqa: S608
            for c in columns
        )
        self.execute(f"UPDATE {table} SET {values}")  # noqa: S608
        self.execute("DROP TABLE _kept")


class DatabaseWrapper(base.DatabaseWrapper):
    """SQLite with the editor above."""

    SchemaEditorClass = DatabaseSchemaEditor
