"""What is left to do on PostgreSQL when the conversion of large tables is committed.

Indexes are built and foreign keys validated while everybody works on. Nothing is remembered: what
is left is read from the database, so this may die at any moment and be begun again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions.adoption.findings import quoted
from datamortem.revisions.adoption.fingerprint import Say
from datamortem.revisions.adoption.postgresql import later
from datamortem.revisions.live import Difference

_LOOKS_EVERY: Final = 0.5  # seconds
_BUILDING: Final = """
    SELECT count(*) FROM pg_stat_progress_create_index p JOIN pg_class t ON t.oid = p.relid
    WHERE p.datname = current_database() AND t.relnamespace = current_schema()::regnamespace
      AND t.relname = ANY(%s)
"""
_BROKEN: Final = """
    SELECT i.relname::text FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
    JOIN pg_class t ON t.oid = x.indrelid
    WHERE NOT (x.indisvalid AND x.indisready AND x.indislive) AND t.relname = ANY(%s)
      AND t.relnamespace = current_schema()::regnamespace AND i.relkind = 'i'
    ORDER BY 1
"""


def complete(
    connection: BaseDatabaseWrapper,
    tables: Collection[str],
    differences: Callable[[], Iterable[Difference]],
    say: Say,
) -> None:
    """Build what these tables lack and validate what was not. Outside of a transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('lock_timeout')")
        (usual,) = cursor.fetchone()
        cursor.execute("SET lock_timeout TO 0")  # it waits for old transactions, and keeps nobody waiting
        try:
            _let_builds_end(cursor, tables, say)
            _drop_broken(cursor, tables, say)
            for difference in differences():
                for statement in filter(None, (later(s, tables)[1] for s in difference.statements)):
                    say(f"  {difference.table}: {difference.what}; mending it while everybody works on …")
                    cursor.execute(statement.replace("CREATE INDEX ", "CREATE INDEX CONCURRENTLY ", 1))
        finally:
            if connection.connection is not None and connection.is_usable():
                cursor.execute("SELECT set_config('lock_timeout', %s, false)", [usual])


def _let_builds_end(cursor: Any, tables: Collection[str], say: Say) -> None:
    """Wait while the server builds an index on, for an adoption that died or for somebody else."""
    told = False
    while True:
        cursor.execute(_BUILDING, [list(tables)])
        if not cursor.fetchone()[0]:
            return
        if not told:
            say("  The server is building an index that was begun before: waiting for its end.")
            told = True
        time.sleep(_LOOKS_EVERY)


def _drop_broken(cursor: Any, tables: Collection[str], say: Say) -> None:
    """Drop indexes whose build did not end well: they serve nobody, and cost with every new row."""
    cursor.execute(_BROKEN, [list(tables)])
    for (name,) in cursor.fetchall():
        say(f"  dropping {name}, which was not built to its end")
        cursor.execute(f"DROP INDEX CONCURRENTLY {quoted(name)}")
