"""Rows that stand in the way of adoption, and rows to know about. Read before any lock is taken.

A row is never changed or dropped to make the schema fit: what cannot be kept as it is stops the
adoption, by name, with what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.dateparse import parse_datetime

from datamortem.revisions.adoption import sqlite
from datamortem.revisions.live import Table

_SHOWN: Final = 10
#: What people know a row by.
_LABELS: Final = {"users": "email", "cases": "case_id", "evidence": "evidence_uid", "custom_scripts": "name"}
_ROLES: Final = ("superadmin", "admin", "analyst", "viewer")

Query = Callable[[str], list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Finding:
    """Rows with one thing about them; `blocking` if they cannot be kept as they are."""

    table: str
    what: str
    count: int
    #: The first ten: primary key and a name.
    rows: tuple[str, ...]
    remedy: str
    blocking: bool = True

    def __str__(self) -> str:
        shown = "; ".join(self.rows)
        more = f" and {self.count - len(self.rows):,} more" if self.count > len(self.rows) else ""
        return f"{self.table}: {self.count:,} rows: {self.what} ({shown}{more}). {self.remedy}"


@dataclass(frozen=True, slots=True)
class _Check:
    table: str
    condition: str
    what: str
    remedy: str
    blocking: bool = True


def examine(
    connection: BaseDatabaseWrapper, wanted: Mapping[str, Table], actual: Mapping[str, Table]
) -> list[Finding]:
    """Return the findings, blocking ones first. Scans tables; `events` once for each of its columns at most."""
    checks = [
        *_duplicates(wanted, actual),
        *_orphans(connection.vendor, wanted, actual),
        *_empty(wanted, actual),
        *(_odd_on_sqlite(wanted, actual) if connection.vendor == "sqlite" else _odd_times(wanted, actual)),
        *_notable(connection.vendor, actual),
    ]
    with _querying(connection) as query:
        found = [finding for check in checks if (finding := _found(query, check, actual))]
        if connection.vendor == "sqlite":
            found += _unreadable_times(query, wanted, actual)
            found += _not_unicode(connection, actual)
    return sorted(found, key=lambda finding: not finding.blocking)


@contextmanager
def _querying(connection: BaseDatabaseWrapper) -> Iterator[Query]:
    if connection.vendor != "sqlite":
        with connection.cursor() as cursor:

            def ask(sql: str) -> list[tuple[Any, ...]]:
                cursor.execute(sql)
                return list(cursor.fetchall())

            yield ask
        return
    with closing(sqlite.reader(connection)) as raw:
        raw.text_factory = lambda data: data.decode("utf-8", "backslashreplace")
        yield lambda sql: raw.execute(sql).fetchall()


def _found(query: Query, check: _Check, actual: Mapping[str, Table]) -> Finding | None:
    ((count,),) = query(f"SELECT count(*) FROM {_q(check.table)} WHERE {check.condition}")  # noqa: S608
    if not count:
        return None
    rows = _named(query, actual[check.table], check.condition)
    return Finding(check.table, check.what, count, rows, check.remedy, check.blocking)


def _named(query: Query, table: Table, condition: str) -> tuple[str, ...]:
    keys = [name for name in table.primary_key if name in table.columns] or list(table.columns)[:1]
    label = _LABELS.get(table.name)
    shown = [*keys, *([label] if label in table.columns and label not in keys else [])]
    order = ", ".join(map(_q, keys))
    names = ", ".join(map(_q, shown))
    found = query(
        f"SELECT {names} FROM {_q(table.name)} WHERE {condition} ORDER BY {order} LIMIT {_SHOWN}"  # noqa: S608
    )
    return tuple(", ".join(f"{n} {v!r}" for n, v in zip(shown, row, strict=True)) for row in found)


def _q(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _duplicates(wanted: Mapping[str, Table], actual: Mapping[str, Table]) -> Iterator[_Check]:
    for name, table in wanted.items():
        kept = {frozenset(unique.columns) for unique in actual[name].uniques if not unique.condition}
        for unique in table.uniques:
            if unique.condition or frozenset(unique.columns) in kept | {frozenset(actual[name].primary_key)}:
                continue
            columns = ", ".join(map(_q, unique.columns))
            given = " AND ".join(f"{_q(column)} IS NOT NULL" for column in unique.columns)
            yield _Check(
                name,
                f"({columns}) IN (SELECT {columns} FROM {_q(name)} WHERE {given}"  # noqa: S608
                f" GROUP BY {columns} HAVING count(*) > 1)",
                f"{', '.join(unique.columns)} is the same as in another row, and must be unique",
                f"Decide which row keeps it, and set it to NULL or to another value in the others: UPDATE {name} "
                f"SET {unique.columns[0]} = … WHERE id = …",
            )


def _orphans(vendor: str, wanted: Mapping[str, Table], actual: Mapping[str, Table]) -> Iterator[_Check]:
    for name, table in wanted.items():
        holding = {
            (key.columns, key.table.lower())
            for key in actual[name].foreign_keys
            if key.validated and vendor != "sqlite"
        }
        for key in table.foreign_keys:
            if (key.columns, key.table.lower()) in holding or key.table not in actual:
                continue
            pairs = zip(key.columns, key.ref_columns, strict=True)
            given = " AND ".join(f"{_q(name)}.{_q(column)} IS NOT NULL" for column in key.columns)
            same = " AND ".join(f"other.{_q(theirs)} = {_q(name)}.{_q(own)}" for own, theirs in pairs)
            yield _Check(
                name,
                f"{given} AND NOT EXISTS (SELECT 1 FROM {_q(key.table)} AS other WHERE {same})",  # noqa: S608
                f"{', '.join(key.columns)} names a row of {key.table} that is not there",
                f"Bring the row of {key.table} back, or name another: UPDATE {name} SET {key.columns[0]} = … "
                "WHERE id = …",
            )


def _empty(wanted: Mapping[str, Table], actual: Mapping[str, Table]) -> Iterator[_Check]:
    for name, table in wanted.items():
        for column in table.columns.values():
            if not column.nullable and actual[name].columns[column.name].nullable:
                yield _Check(
                    name,
                    f"{_q(column.name)} IS NULL",
                    f"{column.name} is NULL, and must have a value",
                    f"Give it one: UPDATE {name} SET {column.name} = … WHERE {column.name} IS NULL",
                )


def _odd_on_sqlite(wanted: Mapping[str, Table], actual: Mapping[str, Table]) -> Iterator[_Check]:
    for name, table in wanted.items():
        for column in table.columns.values():
            c = _q(column.name)
            if column.type == "bool":
                yield _Check(
                    name,
                    f"{c} IS NOT NULL AND (typeof({c}) <> 'integer' OR {c} NOT IN (0, 1))",
                    f"{column.name} is neither 0 nor 1",
                    f"Set it: UPDATE {name} SET {column.name} = 0 (no) or 1 (yes) WHERE id = …",
                )


def _odd_times(wanted: Mapping[str, Table], actual: Mapping[str, Table]) -> Iterator[_Check]:
    for name, table in wanted.items():
        for column in table.columns.values():
            if column.type.startswith("timestamp") and actual[name].columns[column.name].type.startswith(
                "timestamp"
            ):
                c = _q(column.name)
                yield _Check(
                    name,
                    f"NOT isfinite({c}) OR {c} < '0001-01-01' OR {c} >= '10000-01-01'",
                    f"{column.name} is a time outside of the years 1 to 9999, which could not be read",
                    f"Decide what it stands for: UPDATE {name} SET {column.name} = … WHERE id = …",
                )


def _notable(vendor: str, actual: Mapping[str, Table]) -> Iterator[_Check]:
    users = actual.get("users")
    if users and "hashed_password" in users.columns:
        yield _Check(
            "users",
            "hashed_password NOT LIKE '$2_$%' AND hashed_password NOT LIKE 'bcrypt$$2%'",
            "the password hash is none of bcrypt",
            "It is kept. They cannot sign in until they get a new password: "
            "python manage.py changepassword USERNAME",
            blocking=False,
        )
    if users and "role" in users.columns:
        roles = ", ".join(f"'{role}'" for role in _ROLES)
        yield _Check(
            "users",
            f"role NOT IN ({roles})",
            "the role is unknown here, and counts as one that may not write",
            f"It is kept. Known: {', '.join(_ROLES)}.",
            blocking=False,
        )
    if vendor == "sqlite":
        for table in actual.values():
            for column in table.columns.values():
                if column.type.startswith(("varchar", "text", "char")):
                    yield _Check(
                        table.name,
                        f"typeof({_q(column.name)}) = 'text' AND instr(CAST({_q(column.name)} AS BLOB), x'00') > 0",
                        f"{column.name} holds a NUL character",
                        "It is kept. PostgreSQL could not hold it.",
                        blocking=False,
                    )


def _unreadable_times(
    query: Query, wanted: Mapping[str, Table], actual: Mapping[str, Table]
) -> Iterator[Finding]:
    for name, table in wanted.items():
        for column in table.columns.values():
            if not column.type.startswith("datetime"):
                continue
            c = _q(column.name)
            # What SQLite writes back as it stands is a time; the rest is left to Django's own reading.
            suspicious = (
                f"{c} IS NOT NULL AND (typeof({c}) <> 'text'"
                f" OR strftime('%Y-%m-%d %H:%M:%S', substr({c}, 1, 19)) IS NOT substr({c}, 1, 19)"
                f" OR (length({c}) > 19 AND substr({c}, 20) NOT GLOB '.[0-9]*'))"
            )
            key = _q(actual[name].primary_key[0])
            bad = [
                (pk, value)
                for pk, value in query(f"SELECT {key}, {c} FROM {_q(name)} WHERE {suspicious} ORDER BY 1")  # noqa: S608
                if not _readable(value)
            ]
            if bad:
                yield Finding(
                    name,
                    f"{column.name} is no time that can be read",
                    len(bad),
                    tuple(f"id {pk}: {value!r}" for pk, value in bad[:_SHOWN]),
                    f"Write it as 2025-01-31 12:00:00 in UTC: UPDATE {name} SET {column.name} = … WHERE id = …",
                )


def _readable(value: Any) -> bool:
    try:
        return isinstance(value, str) and parse_datetime(value) is not None
    except ValueError:
        return False


def _not_unicode(connection: BaseDatabaseWrapper, actual: Mapping[str, Table]) -> Iterator[Finding]:
    with closing(sqlite.reader(connection)) as raw:
        for table in actual.values():
            raw.text_factory = bytes
            columns = ", ".join(f"+{_q(name)}" for name in table.columns)
            key = _q(table.primary_key[0]) if table.primary_key else "rowid"
            bad = []
            for pk, *values in raw.execute(f"SELECT {key}, {columns} FROM {_q(table.name)}"):  # noqa: S608
                names = [
                    n
                    for n, v in zip(table.columns, values, strict=True)
                    if isinstance(v, bytes) and _broken(v)
                ]
                bad += [(pk, name) for name in names]
            text = [(pk, name) for pk, name in bad if _is_text(raw, table.name, key, pk, name)]
            if text:
                yield Finding(
                    table.name,
                    "text that is not UTF-8, which could not be read",
                    len(text),
                    tuple(f"id {pk}: {name}" for pk, name in text[:_SHOWN]),
                    "Decide what it says, and write that.",
                )


def _broken(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return True
    return False


def _is_text(raw: Any, table: str, key: str, pk: Any, name: str) -> bool:
    found = raw.execute(f"SELECT typeof({_q(name)}) FROM {_q(table)} WHERE {key} = ?", [pk]).fetchone()  # noqa: S608
    return bool(found == (b"text",))


def blocking(findings: Iterable[Finding]) -> list[Finding]:
    """Return those that stop the adoption."""
    return [finding for finding in findings if finding.blocking]
