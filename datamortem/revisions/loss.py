"""What a plan would destroy: tables with their rows and columns with their values, counted beforehand.

The state of the models before the plan is compared with the state after it, so the same holds in
both directions. A value that equals the default of its column is not counted: going forward again
brings it back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import migrations, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.models import Count, Q
from django.db.models.expressions import Value
from django.db.models.fields import NOT_PROVIDED

from datamortem.revisions.graph import Node, Plan, Revision, RevisionGraph

AnyField = Any  # a model field; the class takes type arguments only in the type stubs
#: table -> column -> (model, field)
_Shape = dict[str, dict[str, tuple[type[models.Model], AnyField]]]


@dataclass(frozen=True, slots=True)
class Loss:
    """A table that would go, or a column; or something that cannot be counted."""

    table: str
    column: str = ""
    count: int = 0
    note: str = ""

    def __str__(self) -> str:
        if self.note:
            return f"{self.table}{'.' if self.column else ''}{self.column}: {self.note}"
        if self.column:
            return f"column {self.table}.{self.column}: {self.count:,} values"
        return f"table {self.table}: {self.count:,} rows"


def measure(connection: BaseDatabaseWrapper, plan: Plan) -> list[Loss]:
    """Return what would go, without what is empty. One query for each table that loses anything.

    What Python or SQL of a migration does cannot be counted; a step backwards that has such code,
    and a step forwards with SQL, is named.
    """
    loader = MigrationLoader(connection)
    applied = {node for node in loader.applied_migrations or {} if node in loader.graph.nodes}
    moved = {(migration.app_label, migration.name) for migration, _ in plan}
    undone = any(back for _, back in plan)
    before = _shape(loader, applied)
    after = _shape(loader, applied - moved if undone else applied | moved)
    for old, new in _renamed(plan):
        _carry(before, after, old, new)
    found = [*_lost(connection, before, after), *_uncounted(plan)]
    return [loss for loss in found if loss.count or loss.note]


def columns_of(graph: RevisionGraph, revision: Revision) -> set[tuple[str, str]]:
    """Return (table, column) of what a revision adds, but for tables that only join two others."""
    own = set(revision.nodes)
    before = {n for node in own for n in graph.migrations.forwards_plan(node)} - own
    had, has = _shape(graph.loader, before), _shape(graph.loader, before | own)
    return {
        (table, column)
        for table, columns in has.items()
        for column, (model, _) in columns.items()
        if column not in had.get(table, {}) and not model._meta.auto_created
    }


def _shape(loader: MigrationLoader, nodes: set[Node]) -> _Shape:
    shape: _Shape = {}
    if not nodes:
        return shape
    for model in loader.project_state(list(nodes)).apps.get_models(include_auto_created=True):
        if model._meta.managed and not model._meta.proxy:
            shape[model._meta.db_table] = {
                f.column: (model, f) for f in model._meta.local_concrete_fields if f.column
            }
    return shape


def _renamed(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield (old, new) names of fields and models that are renamed, in the direction of the plan."""
    for migration, back in plan:
        for operation in _flat(migration.operations):
            if isinstance(operation, migrations.RenameField | migrations.RenameModel):
                names = operation.old_name.lower(), operation.new_name.lower()
                yield names[::-1] if back else names


def _carry(before: _Shape, after: _Shape, old: str, new: str) -> None:
    """Let what is renamed count as kept."""
    for table, columns in before.items():
        for column in [c for c, (_, field) in columns.items() if field.name == old]:
            kept = [f for _, f in after.get(table, {}).values() if f.name == new]
            if kept and column not in after[table]:
                after[table][column] = columns[column]
    gone = {t: c for t, c in before.items() if t not in after and _model_name(c) == old}
    arrived = {t: c for t, c in after.items() if t not in before and _model_name(c) == new}
    if len(gone) == len(arrived) == 1:
        after[next(iter(gone))] = next(iter(gone.values()))


def _model_name(columns: dict[str, tuple[type[models.Model], AnyField]]) -> str:
    return next((model._meta.model_name or "" for model, _ in columns.values()), "")


def _lost(connection: BaseDatabaseWrapper, before: _Shape, after: _Shape) -> Iterator[Loss]:
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor))
    for table in sorted(set(before) & tables):
        columns = before[table]
        model = next(iter(columns.values()))[0]
        rows = model._base_manager.using(connection.alias)
        if table not in after:
            yield Loss(table, count=rows.count())
            continue
        with connection.cursor() as cursor:
            live = {c.name for c in connection.introspection.get_table_description(cursor, table)}
        gone = {c: f for c, (_, f) in columns.items() if c in live and c not in after[table]}
        changed = {
            column: f"{had} becomes {gets}"
            for column, (_, field) in columns.items()
            if column in live
            and column in after[table]
            and (had := _type(field, connection)) != (gets := _type(after[table][column][1], connection))
            and not _wider(had, gets)
        }
        counted = rows.aggregate(
            **{f"n{i}": _values(gone.get(c) or columns[c][1]) for i, c in enumerate([*gone, *changed])}
        )
        for number, column in enumerate([*gone, *changed]):
            count = counted[f"n{number}"]
            if column in gone:
                yield Loss(table, column, count)
            elif count:
                yield Loss(table, column, count, f"{changed[column]}; {count:,} values may lose precision")


def _values(field: AnyField) -> Count:
    """Count the values that the default of the column would not bring back."""
    wanted = Q(**{f"{field.name}__isnull": False})
    default = _constant_default(field)
    if default is not NOT_PROVIDED and default is not None:
        wanted &= ~Q(**{field.name: default})
    return Count("pk", filter=wanted)


def _constant_default(field: AnyField) -> Any:
    default: Any = getattr(field, "db_default", NOT_PROVIDED)
    if isinstance(default, Value):
        return default.value
    if default is not NOT_PROVIDED:
        return NOT_PROVIDED if hasattr(default, "resolve_expression") else default
    if field.default in (dict, list, str):
        return field.default()
    return NOT_PROVIDED if callable(field.default) else field.default


def _type(field: AnyField, connection: BaseDatabaseWrapper) -> str:
    return field.db_type(connection) or ""


def _wider(had: str, gets: str) -> bool:
    """Whether every value of one type fits into the other."""
    text = ("varchar", "character varying", "text")
    if had.startswith(text) and gets.startswith(text):
        sizes = [int(kind.partition("(")[2].rstrip(")") or 0) for kind in (had, gets)]
        return sizes[1] == 0 or 0 < sizes[0] <= sizes[1]
    whole = ["smallint", "integer", "bigint"]
    return had in whole and gets in whole and whole.index(had) <= whole.index(gets)


def _flat(operations: Sequence[Operation]) -> Iterator[Operation]:
    for operation in operations:
        if isinstance(operation, migrations.SeparateDatabaseAndState):
            yield from _flat(operation.database_operations)
        else:
            yield operation


def _uncounted(plan: Plan) -> Iterator[Loss]:
    for migration, back in plan:
        for operation in _flat(migration.operations):
            if isinstance(operation, migrations.RunSQL):
                acts = operation.reverse_sql if back else operation.sql
                harmless = acts in (None, migrations.RunSQL.noop)
            elif isinstance(operation, migrations.RunPython):
                harmless = not back or operation.reverse_code in (None, migrations.RunPython.noop)
            else:
                continue
            if not harmless:
                yield Loss(str(migration), note=f"{operation.describe()}: what it does cannot be counted")
