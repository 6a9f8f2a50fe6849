"""What adoption does on SQLite: tables get the declarations Django would have given them, in place.

What differs is text alone: names of types with the same affinity, DEFERRABLE, AUTOINCREMENT, NOT
NULL that holds already. SQLite keeps that text in `sqlite_schema` and describes how to change it
where the stored content stays the same (lang_altertable, section 7). So no row is copied, whatever
the size of the table. What needs structure has been done before, by the operations of the
migrations. Columns that Django does not know keep their definition.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions import live
from datamortem.revisions.adoption.records import LATER_DEFAULTS, within
from datamortem.revisions.live import Difference, Level, Table
from datamortem.revisions.live.types import affinity
from datamortem.sqlite3.statement import TableStatement, Tokens, table_statement, text

#: Rows from which a table's fingerprint is not repeated under the lock.
LARGE: Final = 200_000
#: Parts of a column's definition that decide what is stored or how it is found.
_STORED: Final = frozenset({"COLLATE", "GENERATED", "AS"})


def reader(connection: BaseDatabaseWrapper) -> sqlite3.Connection:
    """Open the database for reading, beside the connection that will change it."""
    path = Path(connection.settings_dict["NAME"]).resolve()
    return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=30, isolation_level=None)


def data_version(raw: sqlite3.Connection) -> int:
    """Return a number that changes when another connection has committed something."""
    with closing(raw.execute("PRAGMA data_version")) as cursor:
        return int(cursor.fetchone()[0])


def bridge(
    connection: BaseDatabaseWrapper, wanted: Mapping[str, Table]
) -> Iterator[tuple[Difference, tuple[str, ...]]]:
    """Give the tables Django's declarations; yield what was done. Inside the caller's transaction."""
    actual = live.read(connection)
    expected = within(wanted, actual)
    with connection.cursor() as cursor:
        for name in sorted(expected):
            yield from _plain_times(cursor, actual[name])
            yield from _drop_redundant(cursor, actual[name])
        declared = {n: declaration(actual[n], expected[n]) for n in sorted(expected)}
        _declare(cursor, {n: sql for n, sql in declared.items() if sql != actual[n].sql})
        for name, sql in declared.items():
            if sql != actual[name].sql:
                _number_above(cursor, actual[name])
                what = "declared as Django declares it; no row was touched"
                yield Difference(Level.BRIDGE, name, what, ""), (sql,)


def _plain_times(cursor: Any, table: Table) -> Iterator[tuple[Difference, tuple[str, ...]]]:
    """Write whole seconds as Django does, without ".000000", so that looking for one finds it."""
    for column in table.columns.values():
        if column.type.startswith(("datetime", "timestamp")):
            quoted = f'"{column.name}"'
            statement = (
                f'UPDATE "{table.name}" SET {quoted} = substr({quoted}, 1, length({quoted}) - 7)'  # noqa: S608
                f" WHERE typeof({quoted}) = 'text' AND substr({quoted}, -7) = '.000000'"
            )
            cursor.execute(statement)
            if cursor.rowcount > 0:
                what = f"{column.name}: {cursor.rowcount:,} whole seconds written as Django writes them"
                yield Difference(Level.BRIDGE, table.name, what, ""), (statement,)


def _drop_redundant(cursor: Any, table: Table) -> Iterator[tuple[Difference, tuple[str, ...]]]:
    for index in table.indexes:
        if index.columns == table.primary_key and not index.condition:
            statement = f'DROP INDEX "{index.name}"'
            cursor.execute(statement)
            yield Difference(Level.BRIDGE, table.name, f"redundant index {index.name}", ""), (statement,)


def declaration(actual: Table, wanted: Table) -> str:
    """Return the CREATE TABLE of a table, with the wanted definitions where only words differ."""
    here, there = table_statement(actual.sql), table_statement(wanted.sql)
    known = {name.lower(): (name, part) for name, part in there.columns.items()}
    columns = []
    adopted: set[str] = set()
    for name, part in here.columns.items():
        match = known.get(name.lower())
        if match and _same_content(actual, name, part, wanted, match[0]):
            adopted.add(name.lower())
            columns.append(_definition(wanted.sql, match[1], keep_unique=_says(part, "UNIQUE")))
        else:
            columns.append(_with_default(actual, name, text(actual.sql, part)))
    kept = [text(actual.sql, part) for part in here.constraints if not _replaced(part, adopted)]
    return f'CREATE TABLE "{actual.name}" ({", ".join([*columns, *kept])}){_options(here)}'


def _options(statement: TableStatement) -> str:
    return f" {statement.options}" if statement.options else ""


def _same_content(actual: Table, name: str, part: Tokens, wanted: Table, wanted_name: str) -> bool:
    had, gets = actual.columns.get(name), wanted.columns.get(wanted_name)
    if had is None or gets is None or _STORED & {token.word for token in part}:
        return False
    if actual.primary_key == (name,) and had.type != "integer":
        return False  # no alias of the row id, so not the same on disk
    return affinity(had.type) == affinity(gets.type)


def _says(part: Tokens, word: str) -> bool:
    return any(token.word == word for token in part)


def _definition(sql: str, part: Tokens, *, keep_unique: bool) -> str:
    """Return a definition without UNIQUE: an index says so here, and UNIQUE would want another."""
    if keep_unique:
        return text(sql, part)
    return " ".join(sql[token.start : token.end] for token in part if token.word != "UNIQUE")


def _with_default(table: Table, name: str, definition: str) -> str:
    """Return the definition of an unknown column; the old system's own default lets Django add rows."""
    default = LATER_DEFAULTS.get((table.name, name))
    return (
        f"{definition} DEFAULT {default}" if default and table.columns[name].default is None else definition
    )


def _replaced(part: Tokens, adopted: set[str]) -> bool:
    """Whether a constraint of the table stands in the definitions of columns now."""
    opening = next(n for n, token in enumerate(part) if token.text == "(")
    closing_ = next(n for n, token in enumerate(part) if n > opening and token.text == ")")
    columns = [token.name.lower() for token in part[opening + 1 : closing_] if token.name]
    one = len(columns) == 1 and columns[0] in adopted
    return one and (_says(part[:opening], "PRIMARY") or _says(part[:opening], "FOREIGN"))


def _declare(cursor: Any, declarations: Mapping[str, str]) -> None:
    if not declarations:
        return
    cursor.execute("PRAGMA schema_version")
    (version,) = cursor.fetchone()
    cursor.execute("PRAGMA writable_schema = ON")
    for name, sql in declarations.items():
        cursor.execute("UPDATE sqlite_master SET sql = %s WHERE type = 'table' AND name = %s", [sql, name])
    cursor.execute(f"PRAGMA schema_version = {version + 1}")  # other connections read it anew
    cursor.execute("PRAGMA writable_schema = RESET")  # and so does this one


def _number_above(cursor: Any, table: Table) -> None:
    """Let new rows be numbered above all that are there."""
    (key,) = table.primary_key
    cursor.execute("DELETE FROM sqlite_sequence WHERE name = %s", [table.name])
    cursor.execute(
        f'INSERT INTO sqlite_sequence (name, seq) SELECT %s, coalesce(max("{key}"), 0) FROM "{table.name}"',  # noqa: S608
        [table.name],
    )
