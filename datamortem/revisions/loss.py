"""What a plan would destroy: tables with their rows and columns with their values, counted beforehand.

A value that going the other way brings back, because it equals the default of its column, is not
counted. What Python or SQL of a migration does cannot be counted: it is named where it may delete.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from django.apps import apps as installed
from django.contrib.contenttypes.management import RenameContentType
from django.db import migrations
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.models import IndexOperation, ModelOptionOperation
from django.db.models.expressions import Value
from django.db.models.fields import NOT_PROVIDED

from datamortem.revisions.dependents import dependents
from datamortem.revisions.graph import Plan, Revision, RevisionGraph
from datamortem.revisions.tracing import (
    AnyField,
    Step,
    Traced,
    bound,
    has_table,
    model_of,
    steps,
    table_of,
    through_table,
    through_tables,
)

#: SQL of a migration that may take something away.
_TAKES: Final = re.compile(r"\b(DELETE|DROP|TRUNCATE|UPDATE|REPLACE|MERGE)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Loss:
    """A table or a column that would go, or change; or something that cannot be counted."""

    table: str
    column: str = ""
    count: int = 0
    #: What would become of the values, if they are not simply gone.
    note: str = ""

    def __str__(self) -> str:
        """Say it in one line, with the number of rows or values."""
        what = f"column {self.table}.{self.column}" if self.column else f"table {self.table}"
        if self.note and not self.count:
            return f"{self.table}: {self.note}"
        unit = ("value" if self.column else "row") + ("" if self.count == 1 else "s")
        return f"{what}: {self.count:,} {unit}{self.note and f', {self.note}'}"


def measure(connection: BaseDatabaseWrapper, plan: Plan) -> list[Loss]:
    """Return what would go, without what is empty. Reads each table that loses anything once."""
    loader = MigrationLoader(connection)
    if not loader.applied_migrations:
        return []  # of nothing, nothing can be lost
    trace = _Trace(connection)
    for step in steps(loader, plan):
        trace.follow(step)
    return [*trace.counted(), *trace.hanging(), *trace.notes]


def irreversible(connection: BaseDatabaseWrapper, plan: Plan) -> list[str]:
    """Return the operations of a way back that cannot be undone, with their migrations."""
    back = [step for step in plan if step[1]]
    return [
        f"{step.migration}: {step.operation.describe()}"
        for step in (steps(MigrationLoader(connection), back) if back else ())
        if not step.operation.reversible
    ]


def columns_of(graph: RevisionGraph, revision: Revision) -> set[tuple[str, str]]:
    """Return (table, column) of what a revision adds."""
    own = set(revision.nodes)
    before = {n for node in own for n in graph.migrations.forwards_plan(node)} - own
    had, has = _columns(graph, before), _columns(graph, before | own)
    return has - had


def _columns(graph: RevisionGraph, nodes: set[tuple[str, str]]) -> set[tuple[str, str]]:
    if not nodes:
        return set()
    return {
        (model._meta.db_table, each.column)
        for model in graph.loader.project_state(list(nodes)).apps.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy
        for each in model._meta.local_concrete_fields
        if each.column
    }


@dataclass(frozen=True, slots=True)
class _Column:
    """How the values of a column are counted that would go, or change."""

    condition: str
    parameters: tuple[Any, ...] = ()
    note: str = ""


@dataclass(slots=True)
class _Trace:
    """Follows a plan and remembers what of today's tables it takes away."""

    connection: BaseDatabaseWrapper
    tables: dict[str, Traced] = field(default_factory=dict)
    #: By their names of today.
    gone: set[str] = field(default_factory=set)
    columns: dict[str, dict[str, _Column]] = field(default_factory=dict)
    notes: list[Loss] = field(default_factory=list)

    def follow(self, step: Step) -> None:
        """Take note of one operation."""
        kinds: dict[type, Callable[[Step, Any], None]] = {
            migrations.CreateModel: self._leave if step.undone else self._arrive,
            migrations.DeleteModel: self._arrive if step.undone else self._leave,
            migrations.AddField: self._remove if step.undone else self._add,
            migrations.RemoveField: self._add if step.undone else self._remove,
            migrations.AlterField: self._alter,
            migrations.RenameField: self._rename_field,
            migrations.RenameModel: self._rename_model,
            migrations.AlterModelTable: self._rename_table,
            migrations.AlterOrderWithRespectTo: self._reorder,
            RenameContentType: lambda step, operation: None,
            migrations.RunPython: self._python,
            migrations.RunSQL: self._sql,
            IndexOperation: lambda step, operation: None,
            ModelOptionOperation: lambda step, operation: None,
        }
        for kind, act in kinds.items():
            if isinstance(step.operation, kind):
                act(step, step.operation)
                return
        if step.undone:
            self._name(step)

    def counted(self) -> Iterator[Loss]:
        """Yield what of it holds anything. One query a table."""
        with self.connection.cursor() as cursor:
            present = set(self.connection.introspection.table_names(cursor))
            for table in sorted((self.gone | self.columns.keys()) & present):
                if table in self.gone:
                    cursor.execute(f"SELECT count(*) FROM {self._quoted(table)}")  # noqa: S608
                    found = [Loss(table, count=cursor.fetchone()[0])]
                else:
                    found = list(self._counted_columns(cursor, table))
                yield from (loss for loss in found if loss.count)

    def hanging(self) -> Iterator[Loss]:
        """Yield what no migration knows and the database drops with a table or a column."""
        columns = {
            table: {name for name, column in found.items() if not column.note}
            for table, found in self.columns.items()
        }
        known = {model._meta.db_table for model in installed.get_models(include_auto_created=True)}
        for what, on in dependents(self.connection, self.gone, columns, known):
            yield Loss(what, note=f"goes with what it uses of {on}")

    def _counted_columns(self, cursor: Any, table: str) -> Iterator[Loss]:
        live = {c.name for c in self.connection.introspection.get_table_description(cursor, table)}
        columns = {name: column for name, column in sorted(self.columns[table].items()) if name in live}
        if not columns:
            return
        counts = ", ".join(
            f"count(CASE WHEN {column.condition.format(self._quoted(name))} THEN 1 END)"
            for name, column in columns.items()
        )
        parameters = [each for column in columns.values() for each in column.parameters]
        cursor.execute(f"SELECT {counts} FROM {self._quoted(table)}", parameters)  # noqa: S608
        for (name, column), count in zip(columns.items(), cursor.fetchone(), strict=True):
            yield Loss(table, name, count, column.note)

    def _quoted(self, name: str) -> str:
        return self.connection.ops.quote_name(name).replace("%", "%%")

    # Operations -------------------------------------------------------------------------------

    def _table(self, name: str) -> Traced:
        return self.tables.setdefault(name, Traced(name))

    def _leave(self, step: Step, operation: Any) -> None:
        model = model_of(step.had, step.migration.app_label, operation.name)
        if has_table(model):
            for table in (
                table_of(model, self.connection),
                *through_tables(model, self.connection).values(),
            ):
                self._drop(table)

    def _drop(self, table: str) -> None:
        if now := self._table(table).now:
            self.gone.add(now)
        self.tables[table] = Traced(None)

    def _arrive(self, step: Step, operation: Any) -> None:
        model = model_of(step.gets, step.migration.app_label, operation.name)
        if has_table(model):
            for table in (
                table_of(model, self.connection),
                *through_tables(model, self.connection).values(),
            ):
                self.tables[table] = Traced(None)

    def _remove(self, step: Step, operation: Any) -> None:
        model = model_of(step.had, step.migration.app_label, operation.model_name)
        each = bound(model, operation.name)
        if through := through_table(model, each, self.connection):
            self._drop(through)
        elif each.column:
            # The field of the operation has the default that its column begins with.
            filler = operation.field if isinstance(operation, migrations.AddField) else each
            self._take(table_of(model, self.connection), each.column, self._unlike_default(each, filler))
            self._table(table_of(model, self.connection)).columns[each.column] = None

    def _add(self, step: Step, operation: Any) -> None:
        model = model_of(step.gets, step.migration.app_label, operation.model_name)
        each = bound(model, operation.name)
        if through := through_table(model, each, self.connection):
            self.tables[through] = Traced(None)
        elif each.column:
            self._table(table_of(model, self.connection)).columns[each.column] = None

    def _take(self, table: str, column: str, how: _Column) -> None:
        traced = self._table(table)
        if traced.now and (now := traced.column(column)):
            self.columns.setdefault(traced.now, {})[now] = how

    def _alter(self, step: Step, operation: Any) -> None:
        label = step.migration.app_label
        model = model_of(step.had, label, operation.model_name)
        target = model_of(step.gets, label, operation.model_name)
        had, gets = bound(model, operation.name), bound(target, operation.name)
        table = table_of(model, self.connection)
        old, new = (through_table(m, f, self.connection) for m, f in ((model, had), (target, gets)))
        if old and new:
            self._move(old, new)
        if not (had.column and gets.column):
            return
        if changed := _changed(self._type(step.had, model, had), self._type(step.gets, target, gets)):
            self._take(table, had.column, changed)
        elif had.null and not gets.null:
            filled = _constant(gets if operation.preserve_default else operation.field)
            note = "empty, would become " + ("the default" if filled is NOT_PROVIDED else repr(filled))
            self._take(table, had.column, _Column("{0} IS NULL", note=note))
        self._table(table).rename(had.column, gets.column)

    def _type(self, state: Any, model: Any, each: AnyField) -> str:
        if each.remote_field:  # the type of what it points to
            each = state.apps.get_model(model.app_label, model.name)._meta.get_field(each.name)
        return each.db_type(self.connection) or ""

    def _rename_field(self, step: Step, operation: Any) -> None:
        names = operation.old_name, operation.new_name
        old, new = reversed(names) if step.undone else names
        label = step.migration.app_label
        model = model_of(step.had, label, operation.model_name)
        target = model_of(step.gets, label, operation.model_name)
        had, gets = bound(model, old), bound(target, new)
        before, after = (through_table(m, f, self.connection) for m, f in ((model, had), (target, gets)))
        if before and after:
            self._move(before, after)
        elif had.column:
            self._table(table_of(model, self.connection)).rename(had.column, gets.column)

    def _rename_model(self, step: Step, operation: Any) -> None:
        names = operation.old_name, operation.new_name
        old, new = reversed(names) if step.undone else names
        self._move_model(step, old, new)

    def _rename_table(self, step: Step, operation: Any) -> None:
        self._move_model(step, operation.name, operation.name)

    def _move_model(self, step: Step, old: str, new: str) -> None:
        had = model_of(step.had, step.migration.app_label, old)
        gets = model_of(step.gets, step.migration.app_label, new)
        if not has_table(had):
            return
        through = through_tables(gets, self.connection)
        for name, table in through_tables(had, self.connection).items():
            self._move(table, through[name])
        self._move(table_of(had, self.connection), table_of(gets, self.connection))

    def _move(self, old: str, new: str) -> None:
        if old != new:
            self.tables[new] = self._table(old)
            self.tables[old] = Traced(None)

    def _reorder(self, step: Step, operation: Any) -> None:
        label = step.migration.app_label
        model, target = (model_of(s, label, operation.name) for s in (step.had, step.gets))
        kept = target.options.get("order_with_respect_to")
        if model.options.get("order_with_respect_to") and not kept:
            self._take(table_of(model, self.connection), "_order", _Column("{0} <> 0"))

    def _python(self, step: Step, operation: Any) -> None:
        if step.undone and operation.reverse_code not in (None, migrations.RunPython.noop):
            self._name(step)

    def _sql(self, step: Step, operation: Any) -> None:
        acts = operation.reverse_sql if step.undone else operation.sql
        if acts and _TAKES.search(str(acts)):
            self._name(step)

    def _name(self, step: Step) -> None:
        text = " ".join(step.operation.describe().split())
        self.notes.append(Loss(str(step.migration), note=f"what {text!r} takes away cannot be counted"))

    def _unlike_default(self, each: AnyField, filler: AnyField) -> _Column:
        default = _constant(filler)
        if default is None or default is NOT_PROVIDED or each.remote_field:
            return _Column("{0} IS NOT NULL")
        stored = each.get_db_prep_save(default, self.connection)
        return _Column("({0} <> %s OR {0} IS NULL)", (stored,))


def _constant(each: AnyField) -> Any:
    """Return the value that a new column is filled with, NOT_PROVIDED if that is no constant."""
    default: Any = each.db_default
    if isinstance(default, Value):
        return default.value
    if default is not NOT_PROVIDED:
        return NOT_PROVIDED if hasattr(default, "resolve_expression") else default
    if each.default in (dict, list, str):
        return each.default()
    if each.has_default():
        return NOT_PROVIDED if callable(each.default) else each.default
    if not each.null and each.blank and each.empty_strings_allowed and not each.remote_field:
        return "" if each.get_internal_type() != "BinaryField" else b""
    return NOT_PROVIDED


def _changed(had: str, gets: str) -> _Column | None:
    """Return how the values are counted that do not survive a change of type, None if all do."""
    text = ("varchar", "character varying", "text")
    whole = ["smallint", "integer", "bigint"]
    if had.startswith(text) and gets.startswith(text):
        _, _, size = gets.rstrip(")").partition("(")
        return _Column(f"length({{0}}) > {int(size)}", note=f"too long for {gets}") if size else None
    if had == gets or (had in whole and gets in whole[whole.index(had) :]):
        return None
    return _Column("{0} IS NOT NULL", note=f"would turn from {had} into {gets}")
