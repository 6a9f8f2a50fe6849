"""What adoption changes on SQLite: tables get the declarations Django would have given them, in place.

What differs is text alone: names of types with the same affinity, DEFERRABLE, AUTOINCREMENT,
references and NOT NULL that hold already. SQLite keeps that text in `sqlite_schema` and describes
how to change it where the stored content stays the same (https://sqlite.org/lang_altertable.html,
section 7). So no row is copied, whatever the size of the table. What needs structure has been done
before, by the operations of the migrations, or is an index. What Django does not know keeps its
definition, and so does every DEFAULT: rows older than their column take their value from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.db import OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions import live
from datamortem.revisions.adoption.findings import quoted
from datamortem.revisions.adoption.fingerprint import Say
from datamortem.revisions.adoption.records import LATER_DEFAULTS, within
from datamortem.revisions.adoption.sqlite import resting_triggers
from datamortem.revisions.errors import RowsInTheWay, Unfit
from datamortem.revisions.live import Column, Difference, Level, Table
from datamortem.revisions.live.types import affinity
from datamortem.sqlite3.statement import TableStatement, Tokens, checks, closing, table_statement, text

#: Words of a definition that decide what is stored or how it is found.
_STORED: Final = frozenset({"COLLATE", "GENERATED", "AS"})
#: Rows of one step of a long conversion.
_STEP: Final = 20_000

Done = tuple[Difference, tuple[str, ...]]


def bridge(connection: BaseDatabaseWrapper, wanted: Mapping[str, Table], large: set[str]) -> Iterator[Done]:
    """Give the tables Django's declarations; yield what was done. Inside the caller's transaction.

    The times and the indexes of large tables are left for `finish`. Raises RowsInTheWay and Unfit.
    """
    actual = live.read(connection)
    expected = within(wanted, actual)
    with connection.cursor() as cursor:
        for name in sorted(expected.keys() - large):
            yield from _plain_times(cursor, expected[name])
        yield from _declare_all(cursor, expected, actual)
        for difference in live.compare("sqlite", expected, live.read(connection)):
            if difference.table in large and difference.level is not Level.ERROR:
                continue
            for statement in difference.statements:  # indexes
                cursor.execute(statement)
            if difference.statements:
                yield difference, difference.statements


def finish(connection: BaseDatabaseWrapper, wanted: Mapping[str, Table], say: Say) -> None:
    """Do what `bridge` left, in steps of which each takes little. Outside of a transaction."""
    actual = live.read(connection)
    expected = within(wanted, actual)
    with connection.cursor() as cursor:
        for difference in live.compare("sqlite", expected, actual):
            for statement in difference.statements:
                say(f"  {difference.table}: {difference.what}")
                cursor.execute(statement)
    for name, table in expected.items():
        condition = _odd_seconds(table)
        if not condition or table.primary_key != ("id",):
            continue
        rows = f"SELECT id FROM {quoted(name)} WHERE id > %s AND ({condition}) ORDER BY id LIMIT {_STEP}"  # noqa: S608
        piece = f"SELECT max(id), count(*) FROM ({rows})"  # noqa: S608
        after, done = -(2**63), 0
        with connection.cursor() as cursor:
            while True:
                cursor.execute(piece, [after])  # reading keeps nobody waiting
                last, count = cursor.fetchone()
                if not count:
                    break
                update = f"{_update_of_times(table)} AND id > %s AND id <= %s"
                with transaction.atomic(using=connection.alias), resting_triggers(connection):
                    cursor.execute(update, [after, last])
                after, done = last, done + count
                say(f"  {name}: {done:,} rows with whole seconds written as Django writes them")


# Times ----------------------------------------------------------------------------------------


def _plain_times(cursor: Any, table: Table) -> Iterator[Done]:
    """Write whole seconds as Django does, without ".000000", so that looking for one finds it."""
    if not _odd_seconds(table):
        return
    statement = _update_of_times(table)
    cursor.execute(statement)
    if cursor.rowcount > 0:
        what = f"whole seconds written as Django writes them, in {cursor.rowcount:,} rows"
        yield Difference(Level.BRIDGE, table.name, what, ""), (statement,)


def _times(table: Table) -> list[str]:
    return [quoted(c.name) for c in table.columns.values() if c.type.startswith(("datetime", "timestamp"))]


def _is_odd(column: str) -> str:
    return f"(typeof({column}) = 'text' AND {column} GLOB '????-??-?? ??:??:??.000000')"


def _odd_seconds(table: Table) -> str:
    return " OR ".join(map(_is_odd, _times(table)))


def _update_of_times(table: Table) -> str:
    new = (f"{c} = CASE WHEN {_is_odd(c)} THEN substr({c}, 1, 19) ELSE {c} END" for c in _times(table))
    return f"UPDATE {quoted(table.name)} SET {', '.join(new)} WHERE ({_odd_seconds(table)})"  # noqa: S608


# Declarations ---------------------------------------------------------------------------------


def _declare_all(cursor: Any, expected: Mapping[str, Table], actual: Mapping[str, Table]) -> Iterator[Done]:
    declared = {name: declaration(actual[name], expected[name]) for name in sorted(expected)}
    changed = {name: sql for name, sql in declared.items() if sql != actual[name].sql}
    for name in changed:
        _refuse_empty(cursor, expected[name], actual[name])
    _declare(cursor, changed)
    for name, sql in changed.items():
        _number_above(cursor, actual[name], expected[name])
        yield Difference(Level.BRIDGE, name, "declared as Django declares it; no row was touched", ""), (sql,)


def declaration(actual: Table, wanted: Table) -> str:
    """Return the CREATE TABLE of a table, with the wanted definitions where only words differ."""
    here, there = table_statement(actual.sql), table_statement(wanted.sql)
    if here.options:  # STRICT or WITHOUT ROWID, where types mean something else
        return actual.sql
    known = {name.lower(): name for name in there.columns}
    columns, adopted = [], set()
    for name, part in here.columns.items():
        match = wanted.columns.get(known.get(name.lower(), ""))
        if match and _same_content(actual, name, part, match):
            adopted.add(name.lower())
            columns.append(_merged(actual.sql, part, wanted, there, match))
        else:
            columns.append(_with_default(actual, name, text(actual.sql, part)))
    kept = [text(actual.sql, part) for part in here.constraints if not _stands_in_column(part, adopted)]
    sql = f"CREATE TABLE {quoted(actual.name)} ({', '.join([*columns, *kept])})"
    return actual.sql if _plain(sql) == _plain(actual.sql) else sql


def _plain(sql: str) -> str:
    return " ".join(sql.split())


def _same_content(actual: Table, name: str, part: Tokens, wanted: Column) -> bool:
    """Whether the column may take the wanted definition without a byte of its rows meaning another thing."""
    had = actual.columns.get(name)
    if had is None or _STORED & {token.word for token in part}:
        return False
    if wanted.identity:  # an alias of the row's number here as there
        return actual.primary_key == (name,) and had.type == "integer"
    return affinity(had.type) == affinity(wanted.type) and name not in actual.primary_key


def _merged(sql: str, part: Tokens, wanted: Table, there: TableStatement, column: Column) -> str:
    """Return the wanted definition with what the old one has besides: DEFAULT, UNIQUE and CHECK."""
    new = list(there.columns[column.name])
    refers = next((n for n, token in enumerate(new) if token.word == "REFERENCES"), len(new))
    if not any(key.columns == (column.name,) for key in wanted.foreign_keys):
        new = new[:refers]  # what it refers to is not there yet
    old = list(part)
    words = [
        *(wanted.sql[t.start : t.end] for t in _without(_without(new, "DEFAULT"), "UNIQUE")),
        *([text(sql, default)] if (default := _clause(old, "DEFAULT")) else []),
        *(["UNIQUE"] if any(token.word == "UNIQUE" for token in old) else []),
        *(f"CHECK {text(sql, expression)}" for _, expression in checks(old)),
    ]
    return " ".join(words)


def _clause(part: Tokens, word: str) -> Tokens:
    """Return DEFAULT and its value, or a word that stands alone."""
    start = next((n for n, token in enumerate(part) if token.word == word), None)
    if start is None:
        return []
    end = start + 1
    if word == "DEFAULT":
        end += part[end].text in "+-"
        end = (closing(part, end) if part[end].text == "(" else end) + 1
    return part[start:end]


def _without(part: Tokens, word: str) -> Tokens:
    gone = _clause(part, word)
    return [token for token in part if token not in gone]


def _with_default(table: Table, name: str, definition: str) -> str:
    """Return the definition of an unknown column; the old system's own default lets Django add rows."""
    default, column = LATER_DEFAULTS.get((table.name, name)), table.columns[name]
    # Only where NULL is forbidden: no row can lack the value then, and take the default for it.
    missing = default and column.default is None and not column.nullable
    return f"{definition} DEFAULT {default}" if missing else definition


def _stands_in_column(part: Tokens, adopted: set[str]) -> bool:
    """Whether a constraint of the table is said in the definition of its only column now."""
    words = [token.word for token in part]
    if "PRIMARY" not in words and "FOREIGN" not in words:
        return False
    opening = next(n for n, token in enumerate(part) if token.text == "(")
    names = [token.name.lower() for token in part[opening + 1 : closing(part, opening)] if token.name]
    return len(names) == 1 and names[0] in adopted


def _refuse_empty(cursor: Any, wanted: Table, actual: Table) -> None:
    """Refuse NOT NULL where a row has nothing; the rows were named before, if they were there then."""
    for column in wanted.columns.values():
        if not column.nullable and actual.columns[column.name].nullable:
            name, table = quoted(column.name), quoted(wanted.name)
            cursor.execute(f"SELECT EXISTS (SELECT 1 FROM {table} WHERE {name} IS NULL)")  # noqa: S608
            if cursor.fetchone()[0]:
                raise RowsInTheWay(
                    f"{wanted.name}.{column.name} is NULL in some rows, and must have a value. Nothing was "
                    "changed. See them with: python manage.py adopt --plan"
                )


def _declare(cursor: Any, declarations: Mapping[str, str]) -> None:
    if not declarations:
        return
    cursor.execute("PRAGMA schema_version")
    (version,) = cursor.fetchone()
    update = "UPDATE sqlite_master SET sql = %s WHERE type = 'table' AND name = %s"
    cursor.execute("PRAGMA writable_schema = ON")
    try:
        cursor.executemany(update, [(sql, name) for name, sql in declarations.items()])
    except OperationalError as error:
        raise Unfit(
            f"This SQLite does not let declarations of tables be changed ({error}). Nothing was changed. "
            "Use a Python whose SQLite is not in defensive mode, such as Debian's or python.org's."
        ) from error
    finally:
        cursor.execute(f"PRAGMA schema_version = {version + 1}")  # other connections read it anew
        cursor.execute("PRAGMA writable_schema = RESET")  # and so does this one


def _number_above(cursor: Any, table: Table, wanted: Table) -> None:
    """Let new rows be numbered above all that are there, and above all that were counted already."""
    keys = [name for name in table.primary_key if wanted.columns[name].identity]
    for key in keys:
        cursor.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = %s", [table.name])
        (counted,) = cursor.fetchone()
        cursor.execute("DELETE FROM sqlite_sequence WHERE name = %s", [table.name])
        cursor.execute(
            f"INSERT INTO sqlite_sequence (name, seq) SELECT %s, max(%s, coalesce(max({quoted(key)}), 0))"  # noqa: S608
            f" FROM {quoted(table.name)}",
            [table.name, counted or 0],
        )
