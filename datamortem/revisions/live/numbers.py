"""Whether the next number of a table is free. Rows that came with their ids, as by psql, do not count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions.live.sql import literal, quoted, remedy
from datamortem.revisions.live.tables import Difference, Level, Part, Table


def taken_numbers(connection: BaseDatabaseWrapper, actual: Mapping[str, Table]) -> Iterator[Difference]:
    """Yield the tables of PostgreSQL whose next INSERT would take the id of a row that is there.

    SQLite goes on from the highest row by itself.
    """
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        for table in actual.values():
            for column in table.columns.values():
                if table.kind != "table" or not (column.identity or column.sequence):
                    continue
                # In this order: who inserts meanwhile has taken his number before his row is seen.
                cursor.execute(f"SELECT max({quoted(column.name)}) FROM {quoted(table.name)}")  # noqa: S608
                (highest,) = cursor.fetchone()
                if highest is None:
                    continue
                sequence = column.sequence
                if sequence is None:
                    name = quoted(table.name)
                    cursor.execute("SELECT pg_get_serial_sequence(%s, %s)", [name, column.name])
                    (sequence,) = cursor.fetchone()
                cursor.execute(f"SELECT last_value + is_called::int FROM {sequence}")  # noqa: S608
                (following,) = cursor.fetchone()
                if following <= highest:
                    yield _behind(table.name, column.name, str(sequence), following, highest)


def _behind(table: str, column: str, sequence: str, following: int, highest: int) -> Difference:
    statement = f"SELECT setval({literal(sequence)}, (SELECT max({quoted(column)}) FROM {quoted(table)}))"  # noqa: S608
    return Difference(
        Level.ERROR,
        table,
        f"the next {column} would be {following}, but rows go up to {highest}: INSERTs fail",
        remedy((statement,)),
        (column,),
        (statement,),
        Part.NUMBERING,
    )
