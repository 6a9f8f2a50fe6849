"""A digest of every value of a table that does not depend on the order of its rows.

Taken before and after a conversion, it shows that no value changed. What the conversion is meant
to change reads alike on both sides: naive and aware times are the same instant in UTC, SQLite's
times lose ".000000", and password hashes lose the "bcrypt$" that Django wants before them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions.live import Table

#: Column with the hashes that adoption prefixes.
HASHES: Final = ("users", "hashed_password")
#: Rows that SQLite gives at once.
_ROWS: Final = 1000
#: Rows of one step of a long reading.
_STEP: Final = 500_000
_WHOLE_NUMBERS: Final = frozenset({"smallint", "integer", "int", "bigint"})
_AWARE: Final = re.compile(r"timestamp(\(\d\))? with time zone")

Say = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Number of rows, and the sum of a 128-bit digest of each (as two 64-bit lanes on PostgreSQL)."""

    table: str
    columns: tuple[str, ...]
    rows: int
    digest: str
    #: The highest id, where the table is numbered.
    last_id: int | None = None

    def __add__(self, other: Fingerprint) -> Fingerprint:
        """Return the fingerprint of the rows of both."""
        lanes = zip(self.digest.split("/"), other.digest.split("/"), strict=True)  # they may be negative
        digest = "/".join(str(int(a) + int(b)) for a, b in lanes)
        last = max((n for n in (self.last_id, other.last_id) if n is not None), default=None)
        return Fingerprint(self.table, self.columns, self.rows + other.rows, digest, last)


def take(
    connection: BaseDatabaseWrapper, table: Table, columns: Sequence[str] = (), where: str = ""
) -> Fingerprint:
    """Return the fingerprint of a table: of all columns, or of those it had before.

    One scan. `where` is SQL of our own (PostgreSQL). Session settings that decide how values are
    printed are fixed by `exact_text`, inside which this must be called.
    """
    names = tuple(columns) or tuple(table.columns)
    if connection.vendor == "sqlite":
        return of_sqlite(connection.connection, table, names, where)
    values = ", ".join(_postgresql_value(table, name) for name in names)
    with connection.cursor() as cursor:
        # The text of a row tells NULL from an empty text, and quotes what separates.
        cursor.execute(
            f"SELECT count(*), coalesce(sum(('x' || substr(h, 1, 16))::bit(64)::bigint), 0),"  # noqa: S608
            f" coalesce(sum(('x' || substr(h, 17))::bit(64)::bigint), 0), max(id)"
            f" FROM (SELECT md5(row({values})::text) AS h, {_number(table)} AS id"
            f" FROM {_quoted(table.name)} {where}) AS rows"
        )
        rows, first, second, last = cursor.fetchone()
    return Fingerprint(table.name, names, rows, f"{int(first)}/{int(second)}", last)


def in_steps(
    connection: BaseDatabaseWrapper, table: Table, say: Say, columns: Sequence[str] = (), where: str = "true"
) -> Fingerprint:
    """Return the fingerprint of a table by ranges of its id, telling how far it is."""
    if not _is_numbered(table):
        return take(connection, table, columns, where=f"WHERE {where}")
    done = take(connection, table, columns, where="WHERE false")
    for first, last, share in _ranges(connection, table.name):
        done += take(connection, table, columns, where=f"WHERE id BETWEEN {first} AND {last} AND {where}")
        say(f"  {table.name}: {done.rows:,} rows read ({share} %)")
    return done


def _ranges(connection: BaseDatabaseWrapper, name: str) -> Iterator[tuple[int, int, int]]:
    """Yield ranges of ids with as many rows each, and how many of a hundred of all ids they reach."""
    table = _quoted(name)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT min(id), max(id) FROM {table}")  # noqa: S608
        first, end = cursor.fetchone()
        start = first
        while start is not None:
            cursor.execute(
                f"SELECT id FROM {table} WHERE id >= %s ORDER BY id LIMIT 2 OFFSET {_STEP - 1}",  # noqa: S608
                [start],
            )
            found = [number for (number,) in cursor.fetchall()]
            last, following = found if len(found) == 2 else (end, None)
            yield start, last, (last - first + 1) * 100 // (end - first + 1)
            start = following


def _is_numbered(table: Table) -> bool:
    return table.primary_key == ("id",) and table.columns["id"].type in _WHOLE_NUMBERS


def _number(table: Table) -> str:
    return "id" if _is_numbered(table) else "NULL::bigint"


@contextmanager
def exact_text(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Print values in one way, whatever server, database or session say. For use in a transaction."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SET LOCAL timezone TO 'UTC'; SET LOCAL datestyle TO 'ISO, YMD';"
                " SET LOCAL intervalstyle TO 'iso_8601'; SET LOCAL extra_float_digits TO 1;"
                " SET LOCAL bytea_output TO 'hex'; SET LOCAL xmlbinary TO 'base64';"
                " SET LOCAL row_security TO off"  # which fails where rows would be hidden
            )
    yield


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _postgresql_value(table: Table, name: str) -> str:
    column = _quoted(name)
    if _AWARE.fullmatch(table.columns[name].type):
        return f"timezone('UTC', {column})"
    if (table.name, name) == HASHES:
        return f"CASE WHEN starts_with({column}, 'bcrypt$$2') THEN substr({column}, 8) ELSE {column} END"
    return column


def _sqlite_value(table: Table, name: str) -> str:
    column = _quoted(name)  # "+" keeps the value and takes away the type that would convert it
    if table.columns[name].type.startswith(("datetime", "timestamp")):
        cut = f"substr({column}, 1, length({column}) - 7)"
        return f"CASE WHEN substr({column}, -7) = '.000000' THEN {cut} ELSE +{column} END"
    if (table.name, name) == HASHES:
        return f"CASE WHEN substr({column}, 1, 9) = 'bcrypt$$2' THEN substr({column}, 8) ELSE +{column} END"
    return f"+{column}"


def of_sqlite(raw: Any, table: Table, names: tuple[str, ...], where: str = "") -> Fingerprint:
    """Return the fingerprint of a table as `take` does, by a connection of the sqlite3 module."""
    number = names.index("id") if _is_numbered(table) and "id" in names else None
    last: int | None = None
    usual, raw.text_factory = raw.text_factory, bytearray  # so text and blobs differ, and need no decoding
    try:
        values = ", ".join(_sqlite_value(table, name) for name in names)
        order = "ORDER BY id" if number is not None else ""
        cursor = raw.execute(f"SELECT {values} FROM {_quoted(table.name)} {where} {order}")  # noqa: S608
        total = rows = 0
        while batch := cursor.fetchmany(_ROWS):
            rows += len(batch)
            # In order of their number rows are digested together, which is faster than one by one.
            for part in [batch] if number is not None else batch:
                total += int.from_bytes(blake2b(repr(part).encode(), digest_size=16).digest())
            if number is not None:
                last = batch[-1][number]
    finally:
        raw.text_factory = usual
    return Fingerprint(table.name, names, rows, str(total), last)
