"""Compare tables as they are with tables as they should be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from datamortem.revisions.live.columns import column_differences
from datamortem.revisions.live.keys import Keys
from datamortem.revisions.live.sql import REMAKE
from datamortem.revisions.live.tables import Difference, Level, Table


def compare(vendor: str, expected: Mapping[str, Table], actual: Mapping[str, Table]) -> list[Difference]:
    """Return the differences of the tables in `expected`, by table.

    The order of columns is no difference, nor are the names of indexes and constraints. Statements
    of one difference belong into one transaction.
    """
    if vendor == "sqlite":
        expected, actual = _in_lower_case(expected), _in_lower_case(actual)
    taken = {
        key.name
        for table in actual.values()
        for keys in (table.uniques, table.indexes, table.foreign_keys, table.checks)
        for key in keys
    }
    taken |= {name for table in actual.values() for name in (table.name, table.primary_key_name)}
    return [
        difference
        for name in sorted(expected)
        for difference in _table(vendor, expected[name], actual.get(name), taken)
    ]


def _table(vendor: str, wanted: Table, found: Table | None, taken: set[str]) -> Iterator[Difference]:
    if found is None:
        yield Difference(
            Level.ERROR,
            wanted.name,
            "the table is missing",
            "restore a backup; if it never was there, take its migration off the record with"
            " python manage.py db stamp, then python manage.py db upgrade",
        )
    elif found.kind != "table":
        what = f"is a {found.kind}, expected a table"
        yield Difference(Level.ERROR, wanted.name, what, f"rename the {found.kind}; {REMAKE}")
    else:
        yield from column_differences(vendor, wanted, found)
        yield from Keys(vendor, wanted, found, taken).differences()


def _in_lower_case(tables: Mapping[str, Table]) -> dict[str, Table]:
    """Return tables with the names of SQLite, to which case means nothing, made equal."""

    def lower(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name.lower() for name in names)

    return {
        name.lower(): replace(
            table,
            name=name.lower(),
            columns={n.lower(): replace(c, name=n.lower()) for n, c in table.columns.items()},
            primary_key=lower(table.primary_key),
            uniques=tuple(replace(unique, columns=lower(unique.columns)) for unique in table.uniques),
            indexes=tuple(replace(index, columns=lower(index.columns)) for index in table.indexes),
            foreign_keys=tuple(
                replace(
                    key,
                    columns=lower(key.columns),
                    table=key.table.lower(),
                    ref_columns=lower(key.ref_columns),
                )
                for key in table.foreign_keys
            ),
        )
        for name, table in tables.items()
    }
