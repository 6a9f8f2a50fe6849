"""What adoption does on PostgreSQL: locks, the fingerprints of large tables, and the bridge.

A table counts as large by its size on disk. It is fingerprinted before any lock, in a snapshot,
while the old system may still add rows; under the lock it is established that nothing but new rows
came since; and that the conversion left its rows alone is shown by its file and the server's
counts, which costs nothing. What takes long (`later`) is done afterwards, beside everybody's work.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions import live
from datamortem.revisions.adoption.findings import quoted
from datamortem.revisions.adoption.fingerprint import Fingerprint, Say, exact_text, in_steps, take
from datamortem.revisions.adoption.records import LATER_DEFAULTS, within
from datamortem.revisions.errors import RevisionError
from datamortem.revisions.live import Difference, Level, Table

#: Bytes of a table's rows from which it is large: some 200,000 events.
LARGE: Final = 64 * 1024**2
#: How long the conversion waits for one table, in milliseconds: others wait behind it meanwhile.
_LOCK_WAIT: Final = 200
#: Nothing ends what takes long, and under the locks is seen what was committed before them.
_SETTINGS: Final[Mapping[str, str]] = {
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
}
_ON_TABLE: Final = re.compile(
    r'CREATE INDEX (?:"(?:[^"]|"")+"|\w+) ON "(?P<index>(?:[^"]|"")+)"|ALTER TABLE "(?P<alter>(?:[^"]|"")+)"'
)


class RowsChanged(RevisionError):
    """Rows of a large table were changed or deleted while adoption read them."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Fingerprints of the rows of large tables that every transaction before `first` had written."""

    #: The 64-bit number of the oldest transaction that was open at that moment.
    first: int
    fingerprints: dict[str, Fingerprint]


def large_tables(connection: BaseDatabaseWrapper, names: Iterable[str]) -> set[str]:
    """Return those of the tables that are large. `users` never is: its hashes change."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
            " AND relkind = 'r' AND relname = ANY(%s) AND pg_relation_size(oid) >= %s",
            [list(names), LARGE],
        )
        return {name for (name,) in cursor.fetchall()} - {"users"}


def fingerprint_large(connection: BaseDatabaseWrapper, tables: Iterable[Table], say: Say) -> Snapshot:
    """Return fingerprints of large tables as of one moment. Nobody waits for it.

    What transactions wrote that were open or later than an open one is left to `still_that`.
    """
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        (first,) = cursor.fetchone()
        settled = f"NOT ({_written_since(connection, first)})"
        with exact_text(connection):
            return Snapshot(
                first, {table.name: in_steps(connection, table, say, where=settled) for table in tables}
            )


def _written_since(connection: BaseDatabaseWrapper, first: int) -> str:
    """Return the condition that a row was written by transaction `first` or a later one.

    Numbers and not snapshots are compared: a row carries the number of the savepoint it was written
    in, which is higher than that of its transaction, and which no snapshot names.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT age(%s::text::xid8::xid), pg_snapshot_xmax(pg_current_snapshot())::text::bigint", [first]
        )
        age, end = cursor.fetchone()
    # Candidates by age, which is cheap; then exactly: xmin has 32 bits, and all that show are before `end`.
    return f"age(xmin) <= {age} AND {end} - (({end} - xmin::text::bigint) & 4294967295) >= {first}"


def lock(connection: BaseDatabaseWrapper, names: Iterable[str]) -> None:
    """Keep everybody else out of the tables until the transaction ends.

    Gives up soon, and before a deadlock would be looked for, so that nobody else is made to.
    """
    listed = ", ".join(map(quoted, sorted(names)))
    if listed:
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout TO {_LOCK_WAIT}")
            cursor.execute(f"LOCK TABLE {listed} IN ACCESS EXCLUSIVE MODE")


def drop_broken(connection: BaseDatabaseWrapper, tables: Iterable[Table]) -> None:
    """Drop indexes that were not built to their end; they serve nobody, and are built afterwards."""
    with connection.cursor() as cursor:
        for index in (index for table in tables for index in table.indexes if not index.valid):
            cursor.execute(f"DROP INDEX {quoted(index.name)}")


def still_that(connection: BaseDatabaseWrapper, table: Table, snapshot: Snapshot) -> Fingerprint:
    """Return the fingerprint of a locked large table, reading only rows written since the snapshot.

    Raises RowsChanged if any row of the snapshot is gone or another by now.
    """
    before = snapshot.fingerprints[table.name]
    new = _written_since(connection, snapshot.first)
    added = take(connection, table, before.columns, where=f"WHERE {new}")
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {quoted(table.name)}")  # noqa: S608
        (rows,) = cursor.fetchone()
    if rows != before.rows + added.rows:
        raise RowsChanged(
            f"Rows of {table.name} were changed or deleted while they were read. Nothing was changed by "
            "adoption. Stop the old system, then try again."
        )
    return before + added


def file_of(connection: BaseDatabaseWrapper, name: str) -> tuple[int, int]:
    """Return the number of the file that holds a table's rows, and how many this transaction touched."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_relation_filenode(c.oid), coalesce(n_tup_ins + n_tup_upd + n_tup_del, 0)"
            " FROM pg_class c LEFT JOIN pg_stat_xact_user_tables s ON s.relid = c.oid"
            " WHERE c.relname = %s AND c.relnamespace = current_schema()::regnamespace",
            [name],
        )
        number, touched = cursor.fetchone()
    return number, touched


def later(statement: str, large: Collection[str]) -> tuple[str, str]:
    """Return what of a statement is executed now, and what when nobody waits any more.

    On a large table indexes are built later, and old rows are held against foreign keys later.
    """
    found = _ON_TABLE.match(statement)
    if found is None or (found["index"] or found["alter"]).replace('""', '"') not in large:
        return statement, ""
    if " FOREIGN KEY " in statement and "ADD CONSTRAINT" in statement:
        return f"{statement} NOT VALID", ""  # its validation is a difference then, and done later
    if found["index"] or "VALIDATE CONSTRAINT" in statement:
        return "", statement
    return statement, ""


def bridge(
    connection: BaseDatabaseWrapper, wanted: Mapping[str, Table], large: Collection[str]
) -> Iterator[tuple[Difference, tuple[str, ...]]]:
    """Turn what the old system built into what Django would have built; yield what was done."""
    actual = live.read(connection)
    with connection.cursor() as cursor:
        for (table, column), default in LATER_DEFAULTS.items():
            found = actual.get(table, Table(table)).columns.get(column)
            if found and found.default is None:
                statement = f"ALTER TABLE {quoted(table)} ALTER COLUMN {quoted(column)} SET DEFAULT {default}"
                cursor.execute(statement)
                what = f"{column} belongs to a later version and gets its default {default}"
                yield Difference(Level.BRIDGE, table, what, ""), (statement,)
        for difference in live.compare("postgresql", within(wanted, actual), actual):
            statements = tuple(filter(None, (later(s, large)[0] for s in difference.statements)))
            for statement in statements:
                cursor.execute(statement)
            if statements:
                yield difference, statements


@contextmanager
def resting_triggers(connection: BaseDatabaseWrapper, table: str) -> Iterator[None]:
    """Let no trigger of the old system's operators take part in what is done to a locked table."""
    alter = f"ALTER TABLE {quoted(table)}"
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgname::text, tgenabled::text FROM pg_trigger WHERE tgrelid = to_regclass(%s)"
            " AND NOT tgisinternal AND tgenabled IN ('O', 'A')",
            [quoted(table)],
        )
        triggers = cursor.fetchall()
        for name, _ in triggers:
            cursor.execute(f"{alter} DISABLE TRIGGER {quoted(name)}")
        yield  # whatever is raised rolls this back
        for name, always in triggers:
            cursor.execute(f"{alter} ENABLE {'ALWAYS ' if always == 'A' else ''}TRIGGER {quoted(name)}")


@contextmanager
def own_settings(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Let no setting of the server, database or role get in the way of adoption (PostgreSQL)."""
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(f'current_setting({name!r})' for name in _SETTINGS)}")
        usual = dict(zip(_SETTINGS, cursor.fetchone(), strict=True))
        _set(cursor, _SETTINGS)
    try:
        yield
    finally:
        if connection.connection is not None and connection.is_usable():
            with connection.cursor() as cursor:
                _set(cursor, usual)


def _set(cursor: Any, settings: Mapping[str, str]) -> None:
    for name, value in settings.items():
        cursor.execute("SELECT set_config(%s, %s, false)", [name, value])


def sessions(connection: BaseDatabaseWrapper) -> list[str]:
    """Return who else is connected to the database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(nullif(application_name, ''), 'a session'), usename,"
            " coalesce(host(client_addr), 'local'), pid FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend' AND application_name NOT LIKE 'datamortem adopt%'"
            " ORDER BY pid"
        )
        return [f"{name} of {user} from {host}, process {pid}" for name, user, host, pid in cursor.fetchall()]
