"""Complete what is there of a table, or refuse it: rows are never changed to make a schema fit.

A table of the old system may lack columns, constraints and indexes; those are added. What is
something else than expected (a view, another type, another primary key, a foreign key that leads
elsewhere), or has rows that break what is to be added, is refused with the reason. Differences
that Django works with, such as times without a zone, are left alone: adoption bridges them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from django.db.models import Model

from datamortem.revisions import live
from datamortem.revisions.errors import RowsInTheWay, Unfit
from datamortem.revisions.live import Difference, Level, Part, Table

# The schema editor's private methods and a field's attributes, which the type stubs leave out.
Editor = Any
AnyField = Any

_NAMED_ROWS = 5


class Presence(NamedTuple):
    """The parts of an operation: "table users", "column users.email", "unique users.email" …"""

    found: set[str]
    wanted: set[str]


def presence(editor: Editor, model: type[Model], column: str | None = None) -> Presence:
    """Return which parts of a table, or of one column, are there and right. Changes nothing."""
    connection = editor.connection
    expected = _expected(editor, model)
    here = live.read(connection, [expected.name]).get(expected.name)
    wanted = {
        label
        for label, columns in _labels(expected).items()
        if column is None or columns == (_same(editor, column),)
    }
    if here is None or here.kind != "table":
        return Presence(set(), wanted)
    differences = live.compare(connection.vendor, {expected.name: expected}, {expected.name: here})
    lacking = {
        _label(d.part, expected.name, d.columns) for d in differences if d.absent or d.level is Level.ERROR
    }
    found = {label for label in wanted if label not in lacking and label.split(" : ")[0] not in lacking}
    return Presence(found, wanted)


def complete(editor: Editor, model: type[Model], column: str | None = None) -> None:
    """Add to a table that is there, or to one column of it, what it lacks. Raises Unfit, RowsInTheWay."""
    expected = _expected(editor, model)
    _refuse_unfit(_differences(editor, expected, column))
    put_off: set[tuple[Part, tuple[str, ...]]] = set()
    if column is None:
        put_off = _add_missing_columns(editor, model, expected)
    mends = [
        difference
        for difference in _differences(editor, expected, column)
        if _is_mendable(difference) and (difference.part, difference.columns) not in put_off
    ]
    for difference in mends:
        _refuse_rows(editor, expected, difference)
    if not all(difference.statements for difference in mends):
        editor._remake_table(model)  # on SQLite most things come only with a rebuild
        return
    for difference in mends:
        for statement in difference.statements:
            if difference.part is Part.FOREIGN_KEY:
                editor.deferred_sql.append(statement)
            else:
                editor.execute(statement, params=None)


def refuse_unfillable(editor: Editor, model: type[Model], field: AnyField) -> None:
    """Refuse a new column that must not be NULL, when rows are there and nothing says what they get."""
    if field.null or field.generated or field.has_db_default():
        return
    if editor.effective_default(field) is not None:
        return
    table = model._meta.db_table
    with editor.connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {editor.quote_name(table)}")  # noqa: S608
        (rows,) = cursor.fetchone()
    if rows:
        raise RowsInTheWay(
            f"{table} has {rows} rows but no column {field.column}, which must not be NULL and has no"
            " default: add it by hand with the values these rows are to have, then run this again."
            " Nothing was changed."
        )


def live_columns(editor: Editor, table: str) -> set[str]:
    """Return the names of a table's columns, none if there is no such table; SQLite: in lower case."""
    found = live.read(editor.connection, [table]).get(table)
    return {_same(editor, name) for name in found.columns} if found else set()


def has_column(editor: Editor, table: str, column: str) -> bool:
    """Return whether the table is there and has that column."""
    return _same(editor, column) in live_columns(editor, table)


def has_table(editor: Editor, table: str) -> bool:
    """Return whether there is a table, or view, of that name."""
    return table in live.read(editor.connection, [table])


def _same(editor: Editor, name: str) -> str:
    return name.lower() if editor.connection.vendor == "sqlite" else name


def _expected(editor: Editor, model: type[Model]) -> Table:
    """Without the indexes for LIKE, which the old system never had; on large tables they take long."""
    table = live.expected_table(editor.connection, model)
    return replace(table, indexes=tuple(index for index in table.indexes if not index.pattern))


def _differences(editor: Editor, expected: Table, column: str | None) -> list[Difference]:
    here = live.read(editor.connection, [expected.name])
    found = live.compare(editor.connection.vendor, {expected.name: expected}, here)
    if column is None:
        return found
    return [d for d in found if d.columns == (_same(editor, column),) or d.part is Part.TABLE]


def _is_mendable(difference: Difference) -> bool:
    """Whether adding it changes no row."""
    if difference.part in (Part.UNIQUE, Part.FOREIGN_KEY, Part.CHECK, Part.INDEX):
        invalid = any(statement.startswith("REINDEX ") for statement in difference.statements)
        return difference.absent or (difference.level is Level.ERROR and invalid)
    if difference.level is not Level.ERROR:
        return False
    if difference.part in (Part.TYPE, Part.NUMBERING):
        return bool(difference.statements)  # a longer varchar, an identity
    return difference.part in (Part.NULL, Part.DEFAULT)


def _refuse_unfit(differences: Sequence[Difference]) -> None:
    unfit = [
        d for d in differences if d.level is Level.ERROR and d.part is not Part.COLUMN and not _is_mendable(d)
    ]
    if unfit:
        told = "; ".join(f"{d.table}: {d.what} (to mend it: {d.remedy})" for d in unfit)
        raise Unfit(f"What is there is something else than the migrations expect, and stays: {told}")


def _add_missing_columns(
    editor: Editor, model: type[Model], expected: Table
) -> set[tuple[Part, tuple[str, ...]]]:
    """Add them, and return the parts that the editor has put off to the end of the migration."""
    there = live_columns(editor, expected.name)
    fields: list[AnyField] = list(model._meta.local_concrete_fields)
    missing = [f for f in fields if _same(editor, f.column) not in there]
    for field in missing:
        refuse_unfillable(editor, model, field)
        if editor.connection.vendor == "sqlite":
            _add_bare_column(editor, expected.name, field)  # the rebuild that follows does the rest
        else:
            editor.add_field(model, field)
    if editor.connection.vendor == "sqlite":
        return set()
    return {
        (part, (field.column,))
        for field in missing
        for part, is_its_own in (
            (Part.UNIQUE, field.unique),
            (Part.INDEX, field.db_index),
            (Part.FOREIGN_KEY, field.remote_field),
        )
        if is_its_own
    }


def _add_bare_column(editor: Editor, table: str, field: AnyField) -> None:
    table, column = editor.quote_name(table), editor.quote_name(field.column)
    editor.execute(f"ALTER TABLE {table} ADD COLUMN {column} {field.db_type(editor.connection)}")
    value = editor.prepare_default(editor.effective_default(field))
    if field.has_db_default():
        value, parameters = editor.db_default_sql(field)
        editor.execute(f"UPDATE {table} SET {column} = {value}", parameters)  # noqa: S608
    elif value != "NULL":
        editor.execute(f"UPDATE {table} SET {column} = {value}")  # noqa: S608


# Rows -----------------------------------------------------------------------------------------------


def _refuse_rows(editor: Editor, expected: Table, difference: Difference) -> None:
    if difference.part is Part.NULL and not expected.columns[difference.columns[0]].nullable:
        column = editor.quote_name(difference.columns[0])
        _refuse(editor, expected, f"{column} IS NULL", f"have no {difference.columns[0]}, which is required")
    elif difference.part is Part.UNIQUE:
        for unique in expected.uniques:
            if unique.columns == difference.columns:
                _refuse_duplicates(editor, expected, unique)
    elif difference.part is Part.FOREIGN_KEY:
        for key in expected.foreign_keys:
            if key.columns == difference.columns and has_table(editor, key.table):
                _refuse_orphans(editor, expected, key)


def _refuse_duplicates(editor: Editor, expected: Table, unique: live.Unique) -> None:
    keys = [editor.quote_name(c) if c in expected.columns else f"({c})" for c in unique.columns]
    only = [f"({unique.condition})"] if unique.condition else []
    where = " AND ".join([*only, *(f"{key} IS NOT NULL" for key in keys)])
    columns, table = ", ".join(keys), editor.quote_name(expected.name)
    grouped = f"SELECT {columns} FROM {table} WHERE {where} GROUP BY {columns} HAVING count(*) > 1"  # noqa: S608
    told = f"share {', '.join(unique.columns)} with another, which must be unique"
    _refuse(editor, expected, f"({columns}) IN ({grouped}) AND {where}", told, order=columns)


def _refuse_orphans(editor: Editor, expected: Table, key: live.ForeignKey) -> None:
    quote = editor.quote_name
    table = quote(expected.name)
    pairs = list(zip(key.columns, key.ref_columns, strict=True))
    same = " AND ".join(f"_to.{quote(theirs)} = {table}.{quote(ours)}" for ours, theirs in pairs)
    filled = " AND ".join(f"{table}.{quote(ours)} IS NOT NULL" for ours, _ in pairs)
    gone = f"NOT EXISTS (SELECT 1 FROM {quote(key.table)} _to WHERE {same})"  # noqa: S608
    told = f"name a {', '.join(key.columns)} that is not in {key.table} ({', '.join(key.ref_columns)})"
    _refuse(editor, expected, f"{filled} AND {gone}", told)


def _refuse(editor: Editor, expected: Table, where: str, told: str, order: str = "") -> None:
    table = editor.quote_name(expected.name)
    keys = ", ".join(editor.quote_name(name) for name in expected.primary_key)
    ordered = ", ".join(filter(None, (order, keys)))
    with editor.connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table} WHERE {where}")  # noqa: S608
        (rows,) = cursor.fetchone()
        if not rows:
            return
        cursor.execute(
            f"SELECT {keys} FROM {table} WHERE {where} ORDER BY {ordered} LIMIT {_NAMED_ROWS}"  # noqa: S608
        )
        named = ", ".join("/".join(str(value) for value in row) for row in cursor.fetchall())
    more = " …" if rows > _NAMED_ROWS else ""
    raise RowsInTheWay(
        f"{rows} rows of {expected.name} {told}: {', '.join(expected.primary_key)} {named}{more}."
        " Decide what is right and change these rows, then run this again. Nothing was changed."
    )


# Parts ----------------------------------------------------------------------------------------------


def _labels(expected: Table) -> dict[str, tuple[str, ...]]:
    """Return the names of all parts of a table, with their columns."""
    found: dict[str, tuple[str, ...]] = {_label(Part.TABLE, expected.name, ()): ()}
    found |= {_label(Part.COLUMN, expected.name, (name,)): (name,) for name in expected.columns}
    for part, keys in (
        (Part.UNIQUE, expected.uniques),
        (Part.FOREIGN_KEY, expected.foreign_keys),
        (Part.INDEX, expected.indexes),
    ):
        found |= {_label(part, expected.name, key.columns): key.columns for key in keys}
    return found | {
        f"{_label(Part.CHECK, expected.name, ())} : {check.name}": () for check in expected.checks
    }


def _label(part: Part, table: str, columns: tuple[str, ...]) -> str:
    return f"{part} {table}{'.' if columns else ''}{', '.join(columns)}"
