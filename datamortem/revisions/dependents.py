"""What PostgreSQL drops together with a table or a column because Django says CASCADE.

Views and foreign keys that no migration knows go without a word otherwise. SQLite drops nothing
with a column (`datamortem.sqlite3` refuses), and keeps a view whose table is gone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

_VIEWS: Final = """
    WITH RECURSIVE uses AS (
        SELECT r.ev_class AS view, d.refobjid AS used, d.refobjsubid AS number
        FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
        WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
          AND r.ev_class <> d.refobjid
    ), gone AS (
        SELECT u.view FROM uses u LEFT JOIN pg_attribute a ON a.attrelid = u.used AND a.attnum = u.number
        WHERE u.used = to_regclass(%(table)s) AND (%(whole)s OR a.attname = ANY (%(columns)s))
        UNION
        SELECT u.view FROM uses u JOIN gone g ON u.used = g.view
    )
    SELECT DISTINCT view::regclass::text FROM gone ORDER BY 1
"""
_KEYS: Final = """
    SELECT c.conname, c.conrelid::regclass::text
    FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
    WHERE c.contype = 'f' AND c.confrelid = to_regclass(%(table)s) AND c.conrelid <> c.confrelid
      AND NOT (t.relname = ANY (%(known)s))
    ORDER BY 2, 1
"""


def dependents(
    connection: BaseDatabaseWrapper,
    tables: Collection[str],
    columns: Mapping[str, Collection[str]],
    known: Collection[str],
) -> Iterator[tuple[str, str]]:
    """Yield (what goes with them, what it hangs on) for tables, and columns of others, that are dropped.

    Foreign keys of tables in `known` are left out: the plan says itself what becomes of them.
    """
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        for table in sorted({*tables, *columns}):
            whole = table in tables
            hooks: dict[str, Any] = {
                "table": connection.ops.quote_name(table),
                "whole": whole,
                "columns": list(columns.get(table, ())),
                "known": list(known),
            }
            cursor.execute(_VIEWS, hooks)
            yield from ((f"view {view}", table) for (view,) in cursor.fetchall())
            if whole:
                cursor.execute(_KEYS, hooks)
                yield from ((f"foreign key {key} of {of}", table) for key, of in cursor.fetchall())
