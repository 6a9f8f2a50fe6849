"""A digest of every value of a table that does not depend on the order of its rows.

Taken before and after a conversion, it shows that no value changed. What the conversion is meant
to change reads alike on both sides: naive and aware times are the same instant in UTC, SQLite's
times lose ".000000", and password hashes lose the "bcrypt$" that Django wants before them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions.live import Table

#: Column with the hashes that adoption prefixes.
HASHES: Final = ("users", "hashed_password")
_ROWS: Final = 50_000

Say = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Number of rows, and the sum of a 128-bit digest of each (as two 64-bit lanes on PostgreSQL)."""

    table: str
    columns: tuple[str, ...]
    rows: int
    digest: str

    def __add__(self, other: Fingerprint) -> Fingerprint:
        """Return the fingerprint of the rows of both."""
        lanes = zip(self.digest.split("-"), other.digest.split("-"), strict=True)
        digest = "-".join(str(int(a) + int(b)) for a, b in lanes)
        return Fingerprint(self.table, self.columns, self.rows + other.rows, digest)


def take(
    connection: BaseDatabaseWrapper, table: Table, columns: Sequence[str] = (), where: str = ""
) -> Fingerprint:
    """Return the fingerprint of a table: of all columns, or of those it had before.

    One scan. `where` is SQL of our own (PostgreSQL). Session settings that decide how values are
    printed are fixed by `exact_text`, inside which this must be called.
    """
    names = tuple(columns) or tuple(table.columns)
    if connection.vendor == "sqlite":
        return _of_sqlite(connection.connection, table, names)
    values = ", ".join(_postgresql_value(table, name) for name in names)
    with connection.cursor() as cursor:
        # The text of a row tells NULL from an empty text, and quotes what separates.
        cursor.execute(
            f"SELECT count(*), coalesce(sum(('x' || substr(h, 1, 16))::bit(64)::bigint), 0),"  # noqa: S608
            f" coalesce(sum(('x' || substr(h, 17))::bit(64)::bigint), 0)"
            f" FROM (SELECT md5(row({values})::text) AS h FROM {_quoted(table.name)} {where}) AS rows"
        )
        rows, first, second = cursor.fetchone()
    return Fingerprint(table.name, names, rows, f"{int(first)}-{int(second)}")


@contextmanager
def exact_text(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Print values in one way, whatever server, database or session say. For use in a transaction."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SET LOCAL timezone TO 'UTC'; SET LOCAL datestyle TO 'ISO, YMD';"
                " SET LOCAL intervalstyle TO 'iso_8601'; SET LOCAL extra_float_digits TO 1;"
                " SET LOCAL bytea_output TO 'hex'"
            )
    yield


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _postgresql_value(table: Table, name: str) -> str:
    column = _quoted(name)
    if table.columns[name].type.startswith("timestamp") and "with time zone" in table.columns[name].type:
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


def _of_sqlite(raw: Any, table: Table, names: tuple[str, ...]) -> Fingerprint:
    usual, raw.text_factory = raw.text_factory, bytearray  # so text and blobs differ, and need no decoding
    try:
        values = ", ".join(_sqlite_value(table, name) for name in names)
        cursor = raw.execute(f"SELECT {values} FROM {_quoted(table.name)}")  # noqa: S608
        total = rows = 0
        while batch := cursor.fetchmany(_ROWS):
            rows += len(batch)
            for row in batch:
                total += int.from_bytes(blake2b(repr(row).encode(), digest_size=16).digest())
    finally:
        raw.text_factory = usual
    return Fingerprint(table.name, names, rows, str(total))
