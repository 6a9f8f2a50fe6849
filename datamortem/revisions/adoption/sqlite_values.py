"""Values in a SQLite table that Django could not read, or would read as something else.

SQLite stores anything in any column. Every known table is read once, in pieces of its primary key:
SQLite says whether anything in a piece looks unusual, and only the rows of such a piece are looked
at one by one, with Django's own reader of times.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.dateparse import parse_datetime

from datamortem.revisions.adoption.findings import LABELS, SHOWN, Finding, quoted, value_text
from datamortem.revisions.live import Table

#: Rows of a piece; their texts together stay far below the longest text SQLite makes.
_PIECE: Final = 1000

Raw = Any  # a sqlite3.Connection of Django's

_REMEDIES: Final = {
    "time": "Write the time it was, in UTC: UPDATE {table} SET {column} = '2025-01-31 12:00:00' WHERE id = …",
    "bool": "Decide which it is: UPDATE {table} SET {column} = 0 (no) or 1 (yes) WHERE id = …",
    "number": "Decide on a whole number: UPDATE {table} SET {column} = … WHERE id = …",
    "text": "Decide what it says and write that: UPDATE {table} SET {column} = … WHERE id = … "
    "(hex({column}) shows its bytes)",
    "nul": "It is kept. PostgreSQL could not hold it, should the database move there",
}
_SAYS: Final = {
    "time": "{column} is no time that can be read",
    "bool": "{column} is neither 0 nor 1",
    "number": "{column} is no whole number",
    "text": "{column} is no text in UTF-8",
    "nul": "{column} holds a NUL character",
}


@dataclass
class _Tally:
    """How many rows have one thing, and the first of them."""

    count: int = 0
    rows: list[str] = field(default_factory=list)


def examine(
    connection: BaseDatabaseWrapper, wanted: Mapping[str, Table], actual: Mapping[str, Table]
) -> Iterator[Finding]:
    """Yield what is found in the known columns of the known tables."""
    connection.ensure_connection()
    for name, table in wanted.items():
        kinds = {column.name: kind for column in table.columns.values() if (kind := _kind(column.type))}
        tallies: dict[tuple[str, str], _Tally] = {}
        for first, last in _unusual_pieces(connection.connection, actual[name], kinds):
            _look_at(connection.connection, actual[name], kinds, (first, last), tallies)
        for (column, fault), tally in sorted(tallies.items()):
            what = _SAYS[fault].format(column=column)
            remedy = _REMEDIES[fault].format(table=name, column=column)
            yield Finding(
                name, (column,), what, tally.count, tuple(tally.rows), remedy, blocking=fault != "nul"
            )


def _kind(declared: str) -> str:
    for words, kind in (
        (("datetime", "timestamp"), "time"),
        (("bool",), "bool"),
        (("int", "bigint", "smallint"), "number"),
        (("varchar", "text", "char"), "text"),
    ):
        if declared.startswith(words):
            return kind
    return ""


def _unusual_pieces(raw: Raw, table: Table, kinds: Mapping[str, str]) -> Iterator[tuple[Any, Any]]:
    """Yield the first and last number of rows among which something wants a closer look."""
    key, name = _key(table), quoted(table.name)
    texts = " || ".join(f"coalesce({quoted(c)}, '')" for c, kind in kinds.items() if kind == "text") or "''"
    odd = " OR ".join(_odd(quoted(column), kind) for column, kind in kinds.items()) or "0"
    end = f"SELECT max(n) FROM (SELECT {key} AS n FROM {name} WHERE {key} > ? ORDER BY {key} LIMIT ?)"  # noqa: S608
    # A character of one byte between values keeps what is broken in one of them broken.
    query = (
        f"SELECT max({odd}), CAST(group_concat({texts}, char(10)) AS BLOB)"  # noqa: S608
        f" FROM {name} WHERE {key} > ? AND {key} <= ?"
    )
    size, after = _PIECE, _before_all(raw, table, key)
    while True:
        (last,) = raw.execute(end, (after, size)).fetchone()
        if last is None:
            return
        try:
            unusual, together = raw.execute(query, (after, last)).fetchone()
        except sqlite3.DataError:  # too big for one text
            if size == 1:
                raise
            size //= 2
            continue
        if unusual or b"\0" in together or not _is_text(together):
            yield after + 1, last
        after = last


def _before_all(raw: Raw, table: Table, key: str) -> int:
    (first,) = raw.execute(f"SELECT min({key}) FROM {quoted(table.name)}").fetchone()  # noqa: S608
    return (first or 0) - 1


def _key(table: Table) -> str:
    """Return what numbers the rows: in a table of the old system its `id`."""
    return "id" if table.primary_key == ("id",) and table.columns["id"].type == "integer" else "rowid"


def _odd(column: str, kind: str) -> str:
    """Return a condition that is true for every value that might be at fault, and for few others."""
    if kind == "text":
        return f"typeof({column}) NOT IN ('text', 'null')"
    if kind == "bool":
        return f"({column} IS NOT NULL AND (typeof({column}) <> 'integer' OR {column} NOT IN (0, 1)))"
    if kind == "number":
        return f"typeof({column}) NOT IN ('integer', 'null')"
    seconds = f"substr({column}, 1, 19)"
    return (
        f"({column} IS NOT NULL AND (typeof({column}) <> 'text' OR {column} < '0001'"
        f" OR strftime('%Y-%m-%d %H:%M:%S', {seconds}, '+0 days') IS NOT {seconds}"
        f" OR (length({column}) > 19 AND substr({column}, 20) NOT GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]')))"
    )


def _look_at(
    raw: Raw,
    table: Table,
    kinds: Mapping[str, str],
    piece: tuple[Any, Any],
    tallies: dict[tuple[str, str], _Tally],
) -> None:
    """Count what is at fault in the rows of a piece."""
    key, label = _key(table), LABELS.get(table.name, "")
    label = label if label in table.columns else key
    values = ", ".join(f"typeof({quoted(c)}), CAST({quoted(c)} AS BLOB)" for c in kinds)
    rows = raw.execute(
        f"SELECT {key}, CAST({quoted(label)} AS BLOB), {values} FROM {quoted(table.name)}"  # noqa: S608
        f" WHERE {key} BETWEEN ? AND ? ORDER BY {key}",
        piece,
    )
    for number, known_as, *pairs in rows:
        for (column, kind), storage, data in zip(kinds.items(), pairs[::2], pairs[1::2], strict=True):
            fault = _fault(kind, storage, data)
            if not fault:
                continue
            tally = tallies.setdefault((column, fault), _Tally())
            tally.count += 1
            if len(tally.rows) < SHOWN:
                called = f", {label} {value_text(_told(known_as))}" if label != key else ""
                tally.rows.append(f"id {number}{called}: {value_text(_told(data))}")


def _fault(kind: str, storage: str, data: bytes) -> str:
    if storage == "null":
        return ""
    if kind == "text":
        if storage == "text" and b"\0" in data and _is_text(data):
            return "nul"
        return "" if storage == "text" and _is_text(data) else "text"
    if kind == "bool":
        return "" if storage == "integer" and data in (b"0", b"1") else "bool"
    if kind == "number":
        return "" if storage == "integer" else "number"
    return "" if _is_time(data) else "time"


def _is_time(data: bytes) -> bool:
    """Whether Django reads it as a time; it reads the bytes of whatever is stored."""
    try:
        return parse_datetime(data.decode()) is not None
    except ValueError:
        return False


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _told(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "backslashreplace")
