"""Read tables from the catalogue of either database."""

from __future__ import annotations

from collections.abc import Collection

from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions.live import postgresql, sqlite
from datamortem.revisions.live.tables import Table


def read(connection: BaseDatabaseWrapper, names: Collection[str] | None = None) -> dict[str, Table]:
    """Return the tables and views of the current schema by name, or those of `names` that are there."""
    reader = sqlite.read if connection.vendor == "sqlite" else postgresql.read
    return reader(connection, names)
