"""Differences of columns: absence, type, NULL, defaults, numbering; and of the primary key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from datamortem.revisions.live.sql import REMAKE, literal, quoted, remedy
from datamortem.revisions.live.tables import Column, Difference, Level, Part, Table
from datamortem.revisions.live.types import AWARE, NAIVE, judge

_CAST: Final = re.compile(r"::[a-z][a-z ]*(\(\d+(,\d+)?\))?(\[\])?$")


def column_differences(vendor: str, wanted: Table, found: Table) -> Iterator[Difference]:
    """Yield what is different about the columns of a table."""
    yield from _primary_key(wanted, found)
    yield from _naive_times(vendor, wanted, found)
    for name, column in wanted.columns.items():
        here = found.columns.get(name)
        if here is None:
            yield _missing(wanted.name, column)
            continue
        yield from _type(vendor, wanted.name, column, here)
        yield from _nullability(vendor, wanted.name, column, here)
        if vendor == "sqlite":
            yield from _autoincrement(wanted, column, here)
        else:
            yield from _numbering(wanted.name, column, here)
        yield from _default(vendor, wanted.name, column, here)
    for name, here in found.columns.items():
        if name not in wanted.columns:
            yield _unknown(vendor, wanted.name, here)


def _primary_key(wanted: Table, found: Table) -> Iterator[Difference]:
    if wanted.primary_key != found.primary_key:
        keys = (", ".join(table.primary_key) or "none" for table in (found, wanted))
        what = "the primary key is {}, expected {}".format(*keys)
        yield Difference(
            Level.ERROR,
            wanted.name,
            what,
            "decide by hand which rows are meant, then make it the primary key",
            wanted.primary_key,
            part=Part.PRIMARY_KEY,
        )


def _missing(table: str, column: Column) -> Difference:
    default = f" DEFAULT {column.default}" if column.default is not None else ""
    required = "" if column.nullable else " NOT NULL"
    statement = (
        f"ALTER TABLE {quoted(table)} ADD COLUMN {quoted(column.name)} {column.type}{default}{required}"
    )
    possible = column.nullable or column.default is not None
    mending = remedy((statement,)) if possible else f"{statement} after deciding what its rows get"
    return Difference(
        Level.ERROR,
        table,
        f"column {column.name} is missing",
        mending,
        (column.name,),
        (statement,) if possible else (),
        part=Part.COLUMN,
        absent=True,
    )


def _naive_times(vendor: str, wanted: Table, found: Table) -> Iterator[Difference]:
    """All of a table in one statement; in a session in UTC it only changes the catalogue."""
    names = tuple(
        name
        for name, column in wanted.columns.items()
        if vendor == "postgresql"
        and column.type == AWARE
        and name in found.columns
        and found.columns[name].type == NAIVE
    )
    if names:
        parts = ", ".join(f"ALTER COLUMN {quoted(name)} TYPE {AWARE}" for name in names)
        statements = ("SET LOCAL TimeZone = 'UTC'", f"ALTER TABLE {quoted(wanted.name)} {parts}")
        what = f"times without time zone, read as UTC: {', '.join(names)}"
        yield Difference(Level.BRIDGE, wanted.name, what, remedy(statements), names, statements, Part.TYPE)


def _type(vendor: str, table: str, wanted: Column, found: Column) -> Iterator[Difference]:
    if wanted.generated != found.generated:
        says = "is computed by the database, expected stored values"
        what = says if found.generated else "holds values, expected to be computed by the database"
        yield Difference(Level.ERROR, table, f"{wanted.name} {what}", REMAKE, (wanted.name,), part=Part.TYPE)
    verdict = judge(vendor, wanted.type, found.type)
    if verdict is None or (wanted.type, found.type) == (AWARE, NAIVE):
        return
    level, safe = verdict
    what = f"{wanted.name} is {found.type or 'of no type'}, expected {wanted.type}"
    statement = f"ALTER TABLE {quoted(table)} ALTER COLUMN {quoted(wanted.name)} TYPE {wanted.type}"
    mending = REMAKE if vendor == "sqlite" else remedy((statement,))
    if vendor != "sqlite" and not safe:
        mending += ", once it is sure that every value survives it"
    yield Difference(level, table, what, mending, (wanted.name,), (statement,) if safe else (), Part.TYPE)


def _nullability(vendor: str, table: str, wanted: Column, found: Column) -> Iterator[Difference]:
    if wanted.nullable == found.nullable:
        return
    verb, what = ("DROP", "is NOT NULL, expected NULL")
    if found.nullable:
        verb, what = ("SET", "may be NULL, expected NOT NULL")
    statements = (f"ALTER TABLE {quoted(table)} ALTER COLUMN {quoted(wanted.name)} {verb} NOT NULL",)
    yield Difference(
        Level.ERROR,
        table,
        f"{wanted.name} {what}",
        REMAKE if vendor == "sqlite" else remedy(statements),
        (wanted.name,),
        () if vendor == "sqlite" else statements,
        Part.NULL,
    )


def _autoincrement(table: Table, wanted: Column, found: Column) -> Iterator[Difference]:
    if not wanted.identity or found.identity:
        return
    numbered = table.primary_key == (wanted.name,) and found.type == "integer"
    what = f"{wanted.name} is numbered without AUTOINCREMENT, so numbers of deleted rows come again"
    if not numbered:
        what = f"{wanted.name} is not numbered by the database"
    yield Difference(
        Level.BRIDGE if numbered else Level.ERROR,
        table.name,
        what,
        REMAKE,
        (wanted.name,),
        part=Part.NUMBERING,
    )


def _numbering(table: str, wanted: Column, found: Column) -> Iterator[Difference]:
    if not wanted.identity or found.identity:
        return
    here = f"numbered by the sequence {found.sequence}" if found.sequence else "not numbered by the database"
    if found.default is not None:
        here = f"given by {found.default}"
    statements = _identity(table, found)
    yield Difference(
        Level.BRIDGE if found.sequence else Level.ERROR,
        table,
        f"{wanted.name} is {here}, expected an identity",
        remedy(statements),
        (wanted.name,),
        statements,
        Part.NUMBERING,
    )


def _identity(table: str, found: Column) -> tuple[str, ...]:
    """Number from above every row and every number the sequence gave, whoever deleted their rows."""
    alter = f"ALTER TABLE {quoted(table)} ALTER COLUMN {quoted(found.name)}"
    old = found.sequence
    given = f"(SELECT last_value + is_called::int FROM {old})" if old else "1"  # noqa: S608
    number = (
        f"SELECT setval(pg_get_serial_sequence({literal(quoted(table))}, {literal(found.name)}), "  # noqa: S608
        f"greatest(coalesce(max({quoted(found.name)}), 0) + 1, {given}), false) FROM {quoted(table)}"
    )
    before = [f"ALTER SEQUENCE {old} OWNED BY NONE"] if old and found.owns_sequence else []
    after = [f"DROP SEQUENCE {old}"] if old and found.owns_sequence and not found.shares_sequence else []
    return (
        f"{alter} DROP DEFAULT",
        *before,
        *([f"{alter} SET NOT NULL"] if found.nullable else []),
        f"{alter} ADD GENERATED BY DEFAULT AS IDENTITY",
        number,
        *after,
    )


def _default(vendor: str, table: str, wanted: Column, found: Column) -> Iterator[Difference]:
    if wanted.identity or found.generated or _bare(wanted.default) == _bare(found.default):
        return
    alter = f"ALTER TABLE {quoted(table)} ALTER COLUMN {quoted(wanted.name)}"
    if wanted.default is None:
        yield Difference(
            Level.EXTRA,
            table,
            f"{wanted.name} has a default in the database ({found.default}); Django gives every value itself",
            "nothing" if vendor == "sqlite" else f"nothing, or {remedy((f'{alter} DROP DEFAULT',))}",
            (wanted.name,),
            part=Part.DEFAULT,
        )
        return
    statements = () if vendor == "sqlite" else (f"{alter} SET DEFAULT {wanted.default}",)
    yield Difference(
        Level.ERROR,
        table,
        f"{wanted.name} has {'no default' if found.default is None else 'the default ' + found.default}"
        f" in the database, expected {wanted.default}",
        remedy(statements) if statements else REMAKE,
        (wanted.name,),
        statements,
        Part.DEFAULT,
    )


def _bare(default: str | None) -> str | None:
    """Return a default without the type it is cast to, which follows the column's."""
    return default if default is None else _CAST.sub("", default)


def _unknown(vendor: str, table: str, column: Column) -> Difference:
    what = f"unknown column {column.name} {column.type}".rstrip()
    numbered = column.sequence or column.identity
    if column.nullable or column.default is not None or numbered or column.generated:
        what += "; it is kept"
        nothing = "nothing, unless nobody needs it"
        return Difference(Level.EXTRA, table, what, nothing, (column.name,), part=Part.COLUMN)
    alter = f"ALTER TABLE {quoted(table)} ALTER COLUMN {quoted(column.name)}"
    mending = REMAKE
    if vendor != "sqlite":
        mending = f"{alter} SET DEFAULT the value that new rows are to have, or {alter} DROP NOT NULL"
    what += " NOT NULL without default: every INSERT by Django fails"
    return Difference(Level.ERROR, table, what, mending, (column.name,), part=Part.COLUMN)
