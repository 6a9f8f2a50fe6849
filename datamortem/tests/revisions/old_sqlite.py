"""What tests of adoption need on SQLite: odd databases of the old system, read without our own code."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from io import StringIO
from pathlib import Path
from typing import Any, Final

from django.core.management import call_command

from datamortem.tests.revisions import legacy
from datamortem.tests.revisions.scratch import Scratch

#: table -> column -> value of each row by row number: type of storage and bytes.
Values = dict[str, dict[str, dict[int, tuple[str, bytes]]]]

OLD_TABLES: Final = frozenset(
    ["users", "cases", "evidence", "analysis_modules", "task_run", "events", "custom_scripts", "user_scripts"]
)


def path_of(scratch: Scratch) -> Path:
    """Return the file."""
    return Path(scratch.connection.settings_dict["NAME"])


@contextmanager
def opened(scratch: Scratch) -> Iterator[sqlite3.Connection]:
    """Open the file as another program would."""
    scratch.connection.close()
    with closing(sqlite3.connect(path_of(scratch), isolation_level=None)) as file:
        yield file


def load(
    scratch: Scratch, sample: str, statements: Iterable[str] = (), claims: Iterable[str] | None = None
) -> None:
    """Fill the database with a sample, change it, and let it claim these revisions."""
    legacy.load(scratch, postgresql="", sqlite=sample)
    with opened(scratch) as file:
        for statement in statements:
            file.execute(statement)
        if claims is not None:
            file.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL)")
            file.execute("DELETE FROM alembic_version")
            file.executemany("INSERT INTO alembic_version VALUES (?)", [(claim,) for claim in claims])


def redeclare(table: str, old: str, new: str) -> list[str]:
    """Return statements that change the text of a CREATE TABLE, as it was made in another installation."""
    quoted = [text.replace("'", "''") for text in (old, new)]
    return [
        "PRAGMA writable_schema = ON",
        f"UPDATE sqlite_master SET sql = replace(sql, '{quoted[0]}', '{quoted[1]}') WHERE name = '{table}'",
        "PRAGMA writable_schema = RESET",
        "VACUUM",  # which makes every connection read it anew
    ]


def dump(scratch: Scratch) -> list[str]:
    """Return schema and rows as `.dump` of SQLite's shell does."""
    with opened(scratch) as file:
        return list(file.iterdump())


def values(scratch: Scratch) -> Values:
    """Return every value of every table, as SQLite stores it."""
    found: Values = {}
    with opened(scratch) as file:
        tables = file.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        for (table,) in tables:
            columns = [row[1] for row in file.execute(f'PRAGMA table_info("{table}")')]
            found[table] = {
                column: {
                    number: (kind, data)
                    for number, kind, data in file.execute(
                        f'SELECT rowid, typeof("{column}"), CAST("{column}" AS BLOB) FROM "{table}"'
                    )
                }
                for column in columns
            }
    return found


def changed(before: Values, after: Values) -> list[str]:
    """Return what is not what it was, but for what adoption is meant to change."""
    return [
        f"{table}.{column}, row {number}: {value} -> {after.get(table, {}).get(column, {}).get(number)}"
        for table, columns in before.items()
        if not table.startswith("alembic_version")
        for column, rows in columns.items()
        for number, value in rows.items()
        if after.get(table, {}).get(column, {}).get(number) != _meant(table, column, value)
    ] + [
        f"{table}: {len(after[table]['id'])} rows"
        for table in before
        if "id" in before[table] and len(after[table]["id"]) != len(before[table]["id"])
    ]


def _meant(table: str, column: str, value: tuple[str, bytes]) -> tuple[str, bytes]:
    kind, data = value
    if (table, column) == ("users", "hashed_password") and data.startswith(b"$2"):
        return kind, b"bcrypt$" + data
    if table in OLD_TABLES and data is not None and data.endswith(b":00.000000"):
        return kind, data[:-7]
    if table in OLD_TABLES and data is not None and len(data) == 26 and data.endswith(b".000000"):
        return kind, data[:-7]
    return value


def adopt(scratch: Scratch, *options: str) -> str:
    """Run the command on the database, in this process, and return what it says."""
    out = StringIO()
    arguments = ["--backup-dir", str(scratch.home / "backups"), "--database", scratch.alias]
    call_command("adopt", *options, *arguments, stdout=out, stderr=out)
    return out.getvalue()


def migrate(scratch: Scratch, *arguments: str) -> None:
    """Run `migrate` on the database, in this process."""
    call_command("migrate", *arguments, database=scratch.alias, verbosity=0)


def rows(scratch: Scratch, query: str) -> list[tuple[Any, ...]]:
    """Return what another program gets for a query."""
    with opened(scratch) as file:
        return file.execute(query).fetchall()
