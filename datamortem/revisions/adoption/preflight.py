"""Rows that stand in the way of adoption, and rows to know about. Read before any lock is taken.

A row is never changed or dropped to make the schema fit: what cannot be kept as it is stops the
adoption, by name, with what to do about it. Times inside a change of clocks need nothing: the old
system wrote UTC.

What is read: for each unique constraint and foreign key that the database does not guarantee, one
query over its columns (their index, where there is one); on SQLite every table once besides; on
PostgreSQL the times of every table once. Nothing is locked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions.adoption import sqlite_values
from datamortem.revisions.adoption.findings import LABELS, SHOWN, Finding, blocking, quoted, value_text
from datamortem.revisions.adoption.hashes import PREFIX, is_bcrypt
from datamortem.revisions.adoption.records import within
from datamortem.revisions.live import ForeignKey, Table

__all__ = ["Finding", "blocking", "examine", "orphans"]

Tables = Mapping[str, Table]
Query = Callable[[str], list[tuple[Any, ...]]]

_ROLES: Final = ("superadmin", "admin", "analyst", "viewer")
#: What else follows from giving up a value.
_CONSEQUENCES: Final = {
    "email_verification_token": "its owner asks for a new e-mail then",
    "hedgedoc_slug": "its notes stay in HedgeDoc, without a link from the case",
    "owner_id": "the case has no owner then",
    "module_id": "the run does not say its module then",
    "script_id": "the run does not say its script then",
}


@dataclass(frozen=True, slots=True)
class _Check:
    """Rows of a table for which a condition holds."""

    table: str
    columns: tuple[str, ...]
    condition: str
    what: str
    remedy: str
    blocking: bool = True
    #: A query that says faster whether there are any.
    probe: str = ""


def examine(connection: BaseDatabaseWrapper, wanted: Tables, actual: Tables) -> list[Finding]:
    """Return the findings, blocking ones first.

    `wanted` is what the documented head would have, of what is there (`records.within`).
    """
    checks = [
        *_duplicates(wanted, actual),
        *_orphans(connection.vendor, wanted, actual),
        *_empty(wanted, actual),
        *(_times(wanted, actual) if connection.vendor == "postgresql" else ()),
        *_users(connection.vendor, actual),
    ]
    with _querying(connection) as query:
        found = [finding for check in checks if (finding := _found(query, check, actual))]
    if connection.vendor == "sqlite":
        found += sqlite_values.examine(connection, wanted, actual)
    found += _dependants(wanted, actual)
    return sorted(found, key=lambda finding: not finding.blocking)


def orphans(
    connection: BaseDatabaseWrapper, wanted: Tables, actual: Tables, of: Collection[str]
) -> list[Finding]:
    """Return rows of some tables that name a row which is not there, by keys that nobody guarantees."""
    with _querying(connection) as query:
        checks = _orphans(connection.vendor, within(wanted, actual), actual)
        return [found for check in checks if check.table in of and (found := _found(query, check, actual))]


@contextmanager
def _querying(connection: BaseDatabaseWrapper) -> Iterator[Query]:
    """Give a function that answers queries, also where text is not UTF-8."""
    with connection.cursor() as cursor:
        raw: Any = connection.connection
        sqlite = connection.vendor == "sqlite"
        if sqlite:
            usual, raw.text_factory = raw.text_factory, lambda data: data.decode("utf-8", "backslashreplace")

        def ask(sql: str) -> list[tuple[Any, ...]]:
            cursor.execute(sql)
            return list(cursor.fetchall())

        try:
            yield ask
        finally:
            if sqlite:
                raw.text_factory = usual


def _found(query: Query, check: _Check, actual: Tables) -> Finding | None:
    if check.probe and not query(check.probe)[0][0]:
        return None
    ((count,),) = query(f"SELECT count(*) FROM {quoted(check.table)} WHERE {check.condition}")  # noqa: S608
    if not count:
        return None
    rows = _named(query, actual[check.table], check)
    return Finding(check.table, check.columns, check.what, count, rows, check.remedy, check.blocking)


def _named(query: Query, table: Table, check: _Check) -> tuple[str, ...]:
    keys = [name for name in table.primary_key or ("id",) if name in table.columns] or list(table.columns)[:1]
    others = [LABELS.get(table.name, ""), *(check.columns if check.blocking else ())]
    shown = list(dict.fromkeys([*keys, *(name for name in others if name in table.columns)]))
    order = ", ".join(map(quoted, keys))
    # "||" takes away the declared type, for which Django has converters that refuse odd values.
    names = ", ".join(f"CASE WHEN {quoted(n)} IS NOT NULL THEN {quoted(n)} || '' END" for n in shown)
    if all(kind not in table.columns[n].type for n in shown for kind in ("bytea", "json")):
        sql = f"SELECT {names} FROM {quoted(table.name)} WHERE {check.condition}"  # noqa: S608
        found = query(f"{sql} ORDER BY {order} LIMIT {SHOWN}")
    return tuple(", ".join(f"{n} {_bare(v)}" for n, v in zip(shown, row, strict=True)) for row in found)


def _bare(value: Any) -> str:
    """Return numbers without quotes."""
    return str(value) if value is None or str(value).isdecimal() else value_text(value)


def _update(table: str, column: str, value: str = "…") -> str:
    """Return the statement that mends a row, for the operator to complete."""
    return f"UPDATE {table} SET {column} = {value} WHERE id = …"  # noqa: S608


def _duplicates(wanted: Tables, actual: Tables) -> Iterator[_Check]:
    for name, table in wanted.items():
        here = actual[name]
        kept = {frozenset(u.columns) for u in here.uniques if not u.condition and u.valid}
        kept.add(frozenset(here.primary_key))
        keys = [unique.columns for unique in table.uniques if not unique.condition]
        for columns in [*keys, *([table.primary_key] if table.primary_key else [])]:
            if frozenset(columns) in kept:
                continue
            listed = ", ".join(map(quoted, columns))
            given = " AND ".join(f"{quoted(column)} IS NOT NULL" for column in columns)
            yield _Check(
                name,
                columns,
                f"({listed}) IN (SELECT {listed} FROM {quoted(name)} WHERE {given}"  # noqa: S608
                f" GROUP BY {listed} HAVING count(*) > 1)",
                f"{', '.join(columns)} is the same as in another row, and must be unique",
                f"Decide which row keeps it and give the others {_another(table, columns[0])}: "
                + _update(name, columns[0]),
            )


def _another(table: Table, column: str) -> str:
    consequence = _CONSEQUENCES.get(column)
    said = f" ({consequence})" if consequence else ""
    return f"NULL or another value{said}" if table.columns[column].nullable else "another value"


def _orphans(vendor: str, wanted: Tables, actual: Tables) -> Iterator[_Check]:
    for name, here in actual.items():
        documented = wanted[name].foreign_keys if name in wanted else ()
        # SQLite enforces nothing unless told to, and the old system never told it.
        sure = {_link(key) for key in here.foreign_keys if key.validated and vendor != "sqlite"}
        keys = {_link(key): key for key in (*here.foreign_keys, *documented)}
        for link, key in keys.items():
            if link not in sure and all(column in here.columns for column in key.columns):
                yield _orphans_of(here, key, actual)


def _link(key: ForeignKey) -> tuple[Any, ...]:
    return tuple(c.lower() for c in key.columns), key.table.lower()


def _orphans_of(here: Table, key: ForeignKey, actual: Tables) -> _Check:
    name, column = quoted(here.name), key.columns[0]
    given = " AND ".join(f"{name}.{quoted(own)} IS NOT NULL" for own in key.columns)
    condition, probe = given, ""
    parent = next((table for table in actual if table.lower() == key.table.lower()), None)
    if parent is not None:
        theirs = zip(key.columns, key.ref_columns or actual[parent].primary_key, strict=True)
        same = " AND ".join(f"other.{quoted(their)} = {name}.{quoted(own)}" for own, their in theirs)
        condition = f"{given} AND NOT EXISTS (SELECT 1 FROM {quoted(parent)} AS other WHERE {same})"  # noqa: S608
        columns = ", ".join(map(quoted, key.columns))
        distinct = f"(SELECT DISTINCT {columns} FROM {name}) AS {name}"  # noqa: S608
        probe = f"SELECT EXISTS (SELECT 1 FROM {distinct} WHERE {condition})"  # noqa: S608
    mending = f"Bring back the row of {key.table} that is meant, or decide on another: "
    if here.columns[column].nullable:
        consequence = _CONSEQUENCES.get(column, "it names none then")
        mending += f"{_update(here.name, column, 'NULL')} ({consequence})"
    else:
        mending += _update(here.name, column)
    what = f"{', '.join(key.columns)} names a row of {key.table} that is not there"
    return _Check(here.name, key.columns, condition, what, mending, probe=probe)


def _empty(wanted: Tables, actual: Tables) -> Iterator[_Check]:
    for name, table in wanted.items():
        for column in table.columns.values():
            if not column.nullable and actual[name].columns[column.name].nullable:
                yield _Check(
                    name,
                    (column.name,),
                    f"{quoted(column.name)} IS NULL",
                    f"{column.name} is NULL, and must have a value",
                    f"Give it one: {_update(name, column.name)}",
                )


def _times(wanted: Tables, actual: Tables) -> Iterator[_Check]:
    """Times that PostgreSQL holds and Python does not."""
    for name, table in wanted.items():
        for column in table.columns.values():
            if not actual[name].columns[column.name].type.startswith("timestamp"):
                continue
            c = quoted(column.name)
            yield _Check(
                name,
                (column.name,),
                f"NOT ({c} >= '0001-01-01' AND {c} < '10000-01-01')",
                f"{column.name} is a time outside of the years 1 to 9999, which could not be read",
                f"Decide what it stands for: {_update(name, column.name)}",
            )


def _users(vendor: str, actual: Tables) -> Iterator[_Check]:
    """Accounts that are kept and not quite in order."""
    columns = actual["users"].columns if "users" in actual else {}
    if "hashed_password" in columns:
        yield _Check(
            "users",
            ("hashed_password",),
            f"NOT {is_bcrypt(vendor)} AND hashed_password NOT LIKE '{PREFIX}$2%'",
            "the password hash is not one of bcrypt's",
            "It is kept. They cannot sign in until they get a new password: "
            "python manage.py changepassword USERNAME",
            blocking=False,
        )
    if "role" in columns:
        known = ", ".join(f"'{role}'" for role in _ROLES)
        yield _Check(
            "users",
            ("role",),
            f"role NOT IN ({known})",
            "the role is none of this system's",
            f"It is kept, and counts as an analyst's. Known: {', '.join(_ROLES)}",
            blocking=False,
        )
    if "email" in columns:
        yield _Check(
            "users",
            ("email",),
            "email = ''",
            "the e-mail address is empty",
            "It is kept. No message reaches them",
            blocking=False,
        )


def _dependants(wanted: Tables, actual: Tables) -> Iterator[Finding]:
    """Unknown tables whose rows act when a row of ours is deleted."""
    for name, table in actual.items():
        for key in table.foreign_keys if name not in wanted else ():
            if key.table not in wanted:
                continue
            acts = {
                "CASCADE": f"its rows vanish with the row of {key.table} they name",
                "SET NULL": f"it forgets rows of {key.table} that are deleted",
            }
            what = acts.get(key.on_delete, f"rows of {key.table} that it names cannot be deleted")
            yield Finding(
                name,
                key.columns,
                f"table of a later version; by {', '.join(key.columns)} {what}",
                0,
                (),
                "It is kept, with that rule",
                blocking=False,
            )
