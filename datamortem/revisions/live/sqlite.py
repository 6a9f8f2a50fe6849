"""Read tables of SQLite: pragmas for all tables at once, and the statements for what those omit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions.live.tables import Check, Column, ForeignKey, Index, Table, Unique
from datamortem.sqlite3.statement import (
    TableStatement,
    checks,
    index_statement,
    normal,
    table_statement,
    tokens,
)

_MASTER: Final = "SELECT type, name, sql FROM sqlite_master WHERE substr(name, 1, 7) <> 'sqlite_'"
_OF_TABLES: Final = "FROM sqlite_master m JOIN pragma_{}(m.name) p WHERE m.type IN ('table', 'view')"
_COLUMNS: Final = (
    'SELECT m.name, p.name, p.type, p."notnull", p.dflt_value, p.pk, p.hidden '
    + _OF_TABLES.format("table_xinfo")
    + " AND p.hidden <> 1 ORDER BY m.name, p.cid"
)
_KEYS: Final = (
    'SELECT m.name, p.id, p."table", p."from", p."to", p.on_update, p.on_delete '
    + _OF_TABLES.format("foreign_key_list")
    + " ORDER BY m.name, p.id, p.seq"
)
_INDEXES: Final = """
    SELECT m.name, l.name, l."unique", l.origin, p.name, p."desc", p.coll
    FROM sqlite_master m JOIN pragma_index_list(m.name) l JOIN pragma_index_xinfo(l.name) p
    WHERE m.type = 'table' AND p."key" = 1 AND l.origin <> 'pk' ORDER BY m.name, l.name, p.seqno
"""

_Rows = dict[str, list[tuple[Any, ...]]]


def read(connection: BaseDatabaseWrapper, names: Collection[str] | None) -> dict[str, Table]:
    """Return the tables and views, without SQLite's own."""
    with connection.cursor() as cursor:
        cursor.execute(_MASTER)
        master = cursor.fetchall()

        def by_table(query: str) -> _Rows:
            cursor.execute(query)
            rows: _Rows = defaultdict(list)
            for table, *row in cursor.fetchall():
                rows[table].append(tuple(row))
            return rows

        columns, keys, indexes = by_table(_COLUMNS), by_table(_KEYS), by_table(_INDEXES)
    statements = {name: sql or "" for kind, name, sql in master if kind == "index"}
    primary = {table.lower(): _primary_key(rows) for table, rows in columns.items()}
    return {
        name: _table(kind, name, sql, columns[name], keys[name], indexes[name], primary, statements)
        for kind, name, sql in sorted(master, key=lambda row: str(row[1]))
        if kind in ("table", "view") and (names is None or name in names)
    }


def _table(
    kind: str,
    name: str,
    sql: str,
    columns: list[tuple[Any, ...]],
    keys: list[tuple[Any, ...]],
    indexes: list[tuple[Any, ...]],
    primary: dict[str, tuple[str, ...]],
    statements: dict[str, str],
) -> Table:
    statement = table_statement(sql) if kind == "table" else TableStatement({}, [], "")
    uniques, plain = _indexes(name, indexes, statements)
    return Table(
        name=name,
        kind=kind,
        columns={row[0]: _column(row, statement) for row in columns},
        primary_key=primary.get(name.lower(), ()),
        uniques=tuple(uniques),
        indexes=tuple(plain),
        foreign_keys=tuple(_foreign_keys(keys, statement, primary)),
        checks=tuple(
            Check(label, normal(expression))
            for part in (*statement.columns.values(), *statement.constraints)
            for label, expression in checks(part)
        ),
        sql=sql,
    )


def _primary_key(rows: list[tuple[Any, ...]]) -> tuple[str, ...]:
    return tuple(row[0] for row in sorted(rows, key=lambda row: int(row[4])) if row[4])


def _column(row: tuple[Any, ...], statement: TableStatement) -> Column:
    name, kind, not_null, default, primary, hidden = row
    definition = next((p for n, p in statement.columns.items() if n.lower() == name.lower()), ())
    return Column(
        name=name,
        type=kind.lower(),
        # The row number itself is never NULL, whatever its declaration says.
        nullable=not not_null and not (primary and kind.lower() == "integer"),
        default=None if default is None else normal(tokens(default)),
        identity=any(token.word == "AUTOINCREMENT" for token in definition),
        generated=hidden in (2, 3),
    )


def _indexes(
    table: str, rows: list[tuple[Any, ...]], statements: dict[str, str]
) -> tuple[list[Unique], list[Index]]:
    uniques: list[Unique] = []
    plain: list[Index] = []
    for name in dict.fromkeys(row[0] for row in rows):
        mine = [row for row in rows if row[0] == name]
        parts, condition = index_statement(statements[name]) if statements.get(name) else ([], ())
        where = normal(condition) or None
        columns: list[str] = []
        details: list[str] = []
        for place, (_, _, _, column, descending, collation) in enumerate(mine):
            columns.append(column if column is not None else _expression(parts[place]))
            other = f"COLLATE {collation}" if collation.upper() != "BINARY" else ""
            details.append(" ".join(filter(None, (other, "DESC" if descending else ""))))
        if mine[0][1]:
            # NOCASE and its kin make other rows equal, so they belong to what is unique.
            told = (
                f"{column} COLLATE {row[5]}" if row[5].upper() != "BINARY" else column
                for column, row in zip(columns, mine, strict=True)
            )
            by_constraint = mine[0][2] == "u"
            named = f"{table}_{'_'.join(columns)}_uniq" if by_constraint else name
            uniques.append(Unique(tuple(told), named, by_constraint, where))
        else:
            plain.append(Index(tuple(columns), name, tuple(details), where))
    return uniques, plain


def _expression(part: Any) -> str:
    while part and part[-1].word in ("ASC", "DESC"):
        part = part[:-1]
    return normal(part)


def _foreign_keys(
    rows: list[tuple[Any, ...]], statement: TableStatement, primary: dict[str, tuple[str, ...]]
) -> list[ForeignKey]:
    deferred = _deferred(statement)
    found = []
    for number in dict.fromkeys(row[0] for row in rows):
        mine = [row for row in rows if row[0] == number]
        _, table, _, _, on_update, on_delete = mine[0]
        columns = tuple(row[2] for row in mine)
        named = tuple(row[3] for row in mine if row[3] is not None)
        found.append(
            ForeignKey(
                columns,
                table,
                named or primary.get(table.lower(), ()),
                deferred=tuple(c.lower() for c in columns) in deferred,
                on_delete=on_delete,
                on_update=on_update,
            )
        )
    return found


def _deferred(statement: TableStatement) -> set[tuple[str, ...]]:
    """Return the columns, in lower case, of the foreign keys that are checked at commit."""
    found: set[tuple[str, ...]] = set()
    for name, part in statement.columns.items():
        if _is_deferred(part):
            found.add((name.lower(),))
    for part in statement.constraints:
        words = [token.word for token in part]
        if "FOREIGN" in words and _is_deferred(part):
            opening = words.index("FOREIGN") + 3  # FOREIGN KEY (
            names = part[opening : next(n for n in range(opening, len(part)) if part[n].text == ")")]
            found.add(tuple(token.name.lower() for token in names if token.text != ","))
    return found


def _is_deferred(part: Any) -> bool:
    words = [token.word for token in part]
    where = next((n for n, word in enumerate(words) if word == "DEFERRABLE"), 0)
    return (
        where > 0 and words[where - 1] != "NOT" and words[where + 1 : where + 3] == ["INITIALLY", "DEFERRED"]
    )
