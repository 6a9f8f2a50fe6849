"""What is done when a database is taken over: large tables get what they lack, and are read once more.

Without locks, and as often as needed: what is left is read from the database.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from functools import partial

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.timezone import now

from datamortem.revisions import live
from datamortem.revisions.adoption import afterwards, declaring
from datamortem.revisions.adoption.fingerprint import Fingerprint, Say, exact_text, in_steps
from datamortem.revisions.adoption.records import documented_nodes, expected_of, within
from datamortem.revisions.errors import RevisionError
from datamortem.revisions.graph import RevisionGraph
from datamortem.revisions.guard import FENCE, KEPT_VERSIONS, old_versions, recorded_here, table_names
from datamortem.revisions.live import Difference


class ValuesChanged(RevisionError):
    """A fingerprint after the conversion is not the one before."""


def is_unfinished(connection: BaseDatabaseWrapper) -> bool:
    """Whether a database was taken over, and what is done afterwards was not."""
    if old_versions(connection) != [FENCE] or KEPT_VERSIONS not in table_names(connection):
        return False
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {KEPT_VERSIONS} WHERE finished_at_utc IS NULL")  # noqa: S608
        return bool(cursor.fetchone()[0])


def finish(connection: BaseDatabaseWrapper, say: Say = lambda text: None) -> None:
    """Build what large tables lack, read their values once more, and note that this is done.

    Without locks, and as often as needed: what is left is derived from the database. Raises
    ValuesChanged.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT to_confirm FROM {KEPT_VERSIONS} LIMIT 1")  # noqa: S608
        (kept,) = cursor.fetchone()
    large = [Fingerprint(**{**each, "columns": tuple(each["columns"])}) for each in json.loads(kept)]
    if connection.vendor == "postgresql":
        tables = [before.table for before in large]
        afterwards.complete(connection, tables, partial(_to_come, connection), say)
    else:
        graph = RevisionGraph(connection)
        declaring.finish(connection, expected_of(connection, graph, documented_nodes(graph)), say)
    for before in large:
        _confirm(connection, before, say)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {KEPT_VERSIONS} SET finished_at_utc = %s", [now()])  # noqa: S608


def _to_come(connection: BaseDatabaseWrapper) -> list[Difference]:
    """Return how what is there differs from what the recorded migrations or the documented head make."""
    graph, actual = RevisionGraph(connection), live.read(connection)
    nodes = recorded_here(connection) | documented_nodes(graph)
    return live.compare(connection.vendor, within(expected_of(connection, graph, nodes), actual), actual)


def _confirm(connection: BaseDatabaseWrapper, before: Fingerprint, say: Say) -> None:
    """Read a large table once more; rows that came since have higher ids."""
    say(f"Confirming the values of {before.table}; nobody waits for it.")
    table = live.read(connection, [before.table])[before.table]
    where = f"id <= {before.last_id}" if before.last_id is not None else "true"
    # On SQLite a transaction of Django's keeps writers out, and every step is exact without one.
    whole = transaction.atomic(using=connection.alias) if connection.vendor == "postgresql" else nullcontext()
    with whole, exact_text(connection):
        after = in_steps(connection, table, say, before.columns, where)
    if (after.rows, after.digest) != (before.rows, before.digest):
        told = f"UPDATE {KEPT_VERSIONS} SET finished_at_utc = now()"  # noqa: S608
        raise ValuesChanged(
            f"Values of {before.table} are not what they were before adoption ({before.rows:,} rows then, "
            f"{after.rows:,} now). If nobody changed them since, restore the backup: "
            f"python manage.py db restore FILE. If the new system did, and that is known, note it: {told}"
        )
