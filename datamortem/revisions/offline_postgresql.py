"""Statements for PostgreSQL without a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql import base, operations, schema
from django.db.backends.postgresql.psycopg_any import get_adapters_template
from django.db.migrations.state import ProjectState
from django.db.models import Field, Model
from psycopg.sql import quote

from datamortem.revisions.executor import LOCK_TIMEOUT
from datamortem.revisions.lock import ADVISORY_KEY

#: The version whose statements are written; later ones take them too.
VERSION: Final = 150000


_StockEditor: Any = schema.DatabaseSchemaEditor  # its reading of names is private, and not in the type stubs


class AsksTheServer(Exception):
    """A statement can only be written after looking at the database."""


class OfflineOperations(operations.DatabaseOperations):
    """Django's, which render parameters on the client, without the connection they use for it."""

    def compose_sql(self, sql: str, params: Sequence[Any]) -> str:
        """Return the statement with its parameters as literals."""
        adapters = get_adapters_template(True, self.connection.timezone)
        return sql % tuple(quote(value, adapters) for value in params)


class OfflineWrapper(base.DatabaseWrapper):
    """The database as far as it can be known from the settings. It never connects."""

    ops_class = OfflineOperations
    pg_version = VERSION

    def connect(self) -> None:
        """Refuse. Raises AsksTheServer."""
        raise AsksTheServer


class _Editor(_StockEditor):  # type: ignore[misc]
    """Collects statements; knows of one place where the names of constraints need not be read."""

    _dropping = False

    def remove_field(self, model: type[Model], field: Field[Any, Any]) -> None:
        """Drop the column. The server drops its foreign keys with it, whatever their names."""
        self._dropping = True
        try:
            super().remove_field(model, field)
        finally:
            self._dropping = False

    def _constraint_names(self, *args: Any, **kwargs: Any) -> list[str]:
        if not self._dropping:
            raise AsksTheServer
        return []


class PostgreSQLWriter:
    """Collects what would be executed."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = OfflineWrapper(connection.settings_dict, alias=connection.alias)

    def opening(self) -> list[str]:
        """Return the encoding, how long to wait for a table, and the lock of `migrate` and `db`."""
        return [
            "SET client_encoding = 'UTF8';\n"
            f"SET lock_timeout = '{LOCK_TIMEOUT}ms';\n"
            f"SELECT pg_advisory_lock({ADVISORY_KEY});  -- one migrator per database\n\n"
        ]

    def guard(self, condition: str, refusal: str) -> str:
        """Return a block that raises unless the condition holds."""
        text = refusal.replace("'", "''").replace("%", "%%")
        return (
            f"DO $guard$ BEGIN IF NOT ({condition}) THEN\n"
            f"  RAISE EXCEPTION '{text}; nothing of it was done';\nEND IF; END $guard$;"
        )

    def before_commit(self, statements: list[str]) -> list[str]:
        """Return nothing: the server checks."""
        return []

    def closing(self) -> list[str]:
        """Return what gives the lock back."""
        return [f"SELECT pg_advisory_unlock({ADVISORY_KEY});\nRESET lock_timeout;\n"]

    def editor(self) -> Any:
        """Return an editor that believes it is in a transaction: the statements will be."""
        editor: Any = _Editor(self.connection, collect_sql=True, atomic=False)
        editor.atomic_migration, editor.deferred_sql = True, []
        return editor

    def begin_at(self, state: ProjectState) -> None:
        """Nothing to do: the statements do not depend on it."""
