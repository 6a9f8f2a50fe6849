"""What of a table of SQLite is unknown to Django, and has to survive when the table is made anew.

The stock editor makes a new table of what the migration state knows, copies those columns, and
drops the old one; unknown columns, constraints, indexes, triggers and views go with it. Here they
are found before, written into the new table's definition or made again after, and compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from datamortem.revisions.errors import WouldLose
from datamortem.sqlite3.statement import TableStatement, Tokens, checks, normal, table_statement, text, tokens

# Models, fields and cursors of Django, whose private parts the type stubs leave out.
AnyModel = Any
AnyField = Any
Cursor = Any

_CONSTRAINT_WORDS: Final = frozenset(
    {"CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN", "KEY", "REFERENCES"}
)


@dataclass(slots=True)
class Known:
    """What Django knows of a table, before and after the change: names of columns in lower case."""

    columns: set[str] = field(default_factory=set)
    #: Changed, renamed or dropped, so that what belongs to them is Django's business.
    touched: set[str] = field(default_factory=set)
    #: Renamed or dropped.
    gone: set[str] = field(default_factory=set)
    uniques: set[frozenset[str]] = field(default_factory=set)
    indexes: set[tuple[str, ...]] = field(default_factory=set)
    references: set[str] = field(default_factory=set)
    checks: set[str] = field(default_factory=set)
    #: Names of constraints and indexes, and of one that is to be removed.
    names: set[str] = field(default_factory=set)
    #: Columns of a unique constraint that is to be removed; empty set: of a check.
    removed: set[str] | None = None


@dataclass(slots=True)
class Keeping:
    """What has to survive."""

    table: str
    #: Name and definition; values are copied unless they are computed.
    columns: dict[str, str] = field(default_factory=dict)
    copied: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    indexes: list[str] = field(default_factory=list)
    #: Kind, name and statement of views and triggers that cannot be there meanwhile.
    aside: list[tuple[str, str, str]] = field(default_factory=list)
    rows: int = 0
    #: The highest number ever given by AUTOINCREMENT.
    last_number: int = 0
    #: What it promises -> the columns concerned.
    promises: dict[tuple[Any, ...], set[str]] = field(default_factory=dict)


def known(
    model: AnyModel, create: AnyField, delete: AnyField, altered: list[Any], removed: Any, connection: Any
) -> Known:
    """Return what Django knows, from the arguments of its rebuild."""
    found = Known()
    fields = [*model._meta.local_concrete_fields, *(f for pair in altered for f in pair), create, delete]
    for each in filter(None, fields):
        column = each.column.lower()
        found.columns.add(column)
        if each.unique or each.primary_key:
            found.uniques.add(frozenset({column}))
        if each.unique or each.primary_key or each.db_index:
            found.indexes.add((column,))
        if each.remote_field and each.db_constraint:
            found.references.add(column)
        parameters = each.db_parameters(connection=connection)
        if parameters["check"]:
            found.checks.add(normal(tokens(parameters["check"])))
    found.touched = {f.column.lower() for pair in altered for f in pair}
    found.gone = {old.column.lower() for old, new in altered if old.column != new.column}
    if delete is not None:
        found.touched.add(delete.column.lower())
        found.gone.add(delete.column.lower())
    for names in (*model._meta.unique_together, *(c.fields for c in _with_fields(model, removed))):
        columns = tuple(model._meta.get_field(name).column.lower() for name in names)
        found.indexes.add(columns)
        found.uniques.add(frozenset(columns))
    if removed is not None:
        named = getattr(removed, "fields", ())
        found.removed = {model._meta.get_field(name).column.lower() for name in named}
    for each in (*model._meta.indexes, *model._meta.constraints, removed):
        found.names.add(getattr(each, "name", ""))
    return found


def _with_fields(model: AnyModel, removed: Any) -> list[Any]:
    constraints = [*model._meta.constraints, *filter(None, [removed])]
    return [constraint for constraint in constraints if getattr(constraint, "fields", ())]


def examine(cursor: Cursor, table: str, known: Known) -> Keeping:
    """Return what has to survive. Raises WouldLose for what cannot."""
    cursor.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND lower(name) = lower(%s)", [table])
    (sql,) = cursor.fetchone()
    statement = table_statement(sql)
    if statement.options:
        raise WouldLose(f"{table} is declared {statement.options}, which it would not be when made anew.")
    keeping = Keeping(table, promises=promises(cursor, table, statement), rows=count(cursor, table))
    keeping.last_number = last_number(cursor, table)
    for name, part in statement.columns.items():
        if name.lower() not in known.columns:
            keeping.columns[name] = _definition(table, sql, part)
    cursor.execute(f"PRAGMA table_xinfo({_quoted(table)})")
    computed = {row[1] for row in cursor.fetchall() if row[6] in (2, 3)}
    keeping.copied = [name for name in keeping.columns if name not in computed]
    keeping.constraints = [
        *_unknown_constraints(sql, statement, known),
        *_unknown_checks(sql, statement, known),
    ]
    keeping.indexes = list(_unknown_indexes(cursor, table, known))
    keeping.aside = _views_and_triggers(cursor, table)
    _refuse_gone(keeping, known)
    return keeping


def last_number(cursor: Cursor, table: str) -> int:
    """Return the highest number that AUTOINCREMENT has given in this table, 0 for none."""
    cursor.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'")
    if cursor.fetchone() is None:
        return 0
    cursor.execute("SELECT seq FROM sqlite_sequence WHERE lower(name) = lower(%s)", [table])
    row = cursor.fetchone()
    return int(row[0] or 0) if row else 0


def count(cursor: Cursor, table: str) -> int:
    """Return how many rows a table has."""
    cursor.execute(f"SELECT count(*) FROM {_quoted(table)}")  # noqa: S608
    return int(cursor.fetchone()[0])


def promises(cursor: Cursor, table: str, statement: TableStatement) -> dict[tuple[Any, ...], set[str]]:
    """Return the unique constraints, foreign keys and checks of a table, with their columns."""
    found: dict[tuple[Any, ...], set[str]] = {}
    cursor.execute(f"PRAGMA foreign_key_list({_quoted(table)})")
    keys: dict[int, tuple[str, list[str]]] = {}
    for number, _, to_table, column, *_ in cursor.fetchall():
        keys.setdefault(number, (to_table.lower(), []))[1].append(column.lower())
    for to_table, columns in keys.values():
        found["foreign key", *columns, to_table] = set(columns)
    cursor.execute(
        "SELECT l.name, lower(i.name) FROM pragma_index_list(%s) l JOIN pragma_index_info(l.name) i"
        " WHERE l.\"unique\" AND NOT l.partial AND l.origin <> 'pk'",
        [table],
    )
    uniques: dict[str, set[str]] = {}
    for index, column in cursor.fetchall():
        uniques.setdefault(index, set()).add(column or "an expression")
    for columns_of_index in uniques.values():
        found["unique", *sorted(columns_of_index)] = columns_of_index
    names = {name.lower() for name in statement.columns}
    for part in (*statement.columns.values(), *statement.constraints):
        for _, expression in checks(part):
            found["check", normal(expression)] = {token.name.lower() for token in expression} & names
    return found


def verify(cursor: Cursor, keeping: Keeping, known: Known) -> None:
    """Compare the new table with the old one. Raises WouldLose."""
    table = keeping.table
    cursor.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND lower(name) = lower(%s)", [table])
    statement = table_statement(cursor.fetchone()[0])
    if missing := set(keeping.columns) - set(statement.columns):
        raise WouldLose(f"{table} would lose the columns {', '.join(sorted(missing))}; it stays as it was.")
    rows = count(cursor, table)
    if rows != keeping.rows:
        raise WouldLose(f"{table} has {keeping.rows} rows and would have {rows}; it stays as it was.")
    now = promises(cursor, table, statement)
    for promise, columns in keeping.promises.items():
        removed = columns == known.removed or (known.removed == set() and promise[0] == "check")
        if promise not in now and not removed and not columns & known.touched:
            told = f"the {promise[0]} on {', '.join(map(str, promise[1:]))}"
            raise WouldLose(
                f"{table} would lose {told}, which no migration mentions; it stays as it was."
                " Remove it by hand first if nobody needs it."
            )


def _definition(table: str, sql: str, part: Tokens) -> str:
    if any(token.word == "PRIMARY" for token in part):
        raise WouldLose(
            f"The primary key of {table} is {part[0].name}, which no migration mentions; it stays as it was."
        )
    return text(sql, part)


def _unknown_constraints(sql: str, statement: TableStatement, known: Known) -> Iterator[str]:
    """Unique constraints and foreign keys of the table that the new one would not have anyway."""
    for part in statement.constraints:
        named = part[0].word == "CONSTRAINT"
        kind = part[2 if named else 0].word
        if kind not in ("UNIQUE", "FOREIGN") or (named and part[1].name in known.names):
            continue
        opening = next(n for n, token in enumerate(part) if token.text == "(")
        closing = next(n for n, token in enumerate(part) if token.text == ")")
        columns = {token.name.lower() for token in part[opening:closing] if token.name}
        provided = known.references if kind == "FOREIGN" else set()
        if columns <= known.touched or columns <= provided:
            continue
        if kind == "UNIQUE" and frozenset(columns) in known.uniques:
            continue
        yield text(sql, part)


def _unknown_checks(sql: str, statement: TableStatement, known: Known) -> Iterator[str]:
    parts = [part for name, part in statement.columns.items() if name.lower() in known.columns]
    for part in (*parts, *statement.constraints):
        for name, expression in checks(part):
            if normal(expression) not in known.checks and name not in known.names - {""}:
                label = f"CONSTRAINT {_quoted(name)} " if name else ""
                yield f"{label}CHECK {text(sql, expression)}"


def _unknown_indexes(cursor: Cursor, table: str, known: Known) -> Iterator[str]:
    cursor.execute(
        "SELECT m.name, m.sql, lower(i.name) FROM sqlite_master m JOIN pragma_index_info(m.name) i"
        " WHERE m.type = 'index' AND lower(m.tbl_name) = lower(%s) AND m.sql IS NOT NULL"
        " ORDER BY m.rowid, i.seqno",
        [table],
    )
    columns: dict[tuple[str, str], list[str]] = {}
    for name, sql, column in cursor.fetchall():
        columns.setdefault((name, sql), []).append(column)
    for (name, sql), names in columns.items():
        words = tokens(sql)
        special = {"WHERE", "DESC", "COLLATE"} & {token.word for token in words}
        whole = not special and None not in names
        django = name in known.names or (whole and tuple(names) in known.indexes)
        dropped = {token.name.lower() for token in words} & known.gone
        if not django and not dropped:
            yield sql


def _views_and_triggers(cursor: Cursor, table: str) -> list[tuple[str, str, str]]:
    """Return those that mention the table, directly or through another view, in order of their making."""
    cursor.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE type IN ('view', 'trigger') ORDER BY rowid"
    )
    left = cursor.fetchall()
    mentioned = {table.lower()}
    found: set[tuple[str, str]] = set()
    while True:
        more = {
            (kind, name)
            for kind, name, of, sql in left
            if (kind, name) not in found
            and mentioned & {of.lower() if kind == "trigger" else "", *(t.name.lower() for t in tokens(sql))}
        }
        if not more:
            return [(kind, name, sql) for kind, name, _, sql in left if (kind, name) in found]
        found |= more
        mentioned |= {name.lower() for kind, name in more if kind == "view"}


def _refuse_gone(keeping: Keeping, known: Known) -> None:
    """Refuse what would be made again and mention a column that is renamed or dropped."""
    if not known.gone:
        return
    again = [
        *((f"the {kind} {name}", sql) for kind, name, sql in keeping.aside),
        *((f"the constraint {sql}", sql) for sql in keeping.constraints),
        *((f"the column {name}", sql) for name, sql in keeping.columns.items()),
    ]
    for what, sql in again:
        words = {token.name.lower() for token in tokens(sql) if token.kind != "string"}
        if names := words & known.gone:
            raise WouldLose(
                f"{', '.join(sorted(names))} of {keeping.table} is to go, but {what} uses it;"
                " drop that by hand first if nobody needs it. Nothing was changed."
            )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
