"""What a plan does to tables and columns, followed operation by operation without executing anything.

A table may be renamed before it is dropped, and a column may be added by the same plan that
removes it: names are followed back to what is in the database now.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.db import migrations
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import strip_quotes, truncate_name
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from datamortem.revisions.graph import Node, Plan, in_order

AnyField = Any  # a model field; the class takes type arguments only in the type stubs


class Step(NamedTuple):
    """One operation on the database, with the states on both sides of it in the direction of the plan."""

    migration: Migration
    operation: Operation
    undone: bool
    had: ProjectState
    gets: ProjectState


def steps(loader: MigrationLoader, plan: Plan) -> Iterator[Step]:
    """Yield what touches the database, in the order of its execution."""
    moved = {(migration.app_label, migration.name) for migration, undone in plan if undone}
    state = ProjectState(real_apps=loader.unmigrated_apps)
    before: dict[Node, ProjectState] = {}
    for node in in_order(loader.graph):
        if node in (loader.applied_migrations or {}):
            if node in moved:
                before[node] = state.clone()
            loader.graph.nodes[node].mutate_state(state, preserve=False)
    for migration, undone in plan:
        if undone:
            yield from _backwards(migration, before[migration.app_label, migration.name])
        else:
            for operation in migration.operations:
                after = _after(migration, operation, state)
                yield from _forwards(migration, operation, state, after)
                state = after


def _after(migration: Migration, operation: Operation, state: ProjectState) -> ProjectState:
    after = state.clone()
    operation.state_forwards(migration.app_label, after)
    return after


def _forwards(
    migration: Migration, operation: Operation, before: ProjectState, after: ProjectState
) -> Iterator[Step]:
    if not isinstance(operation, migrations.SeparateDatabaseAndState):
        yield Step(migration, operation, False, before, after)
        return
    for inner in operation.database_operations:
        after = _after(migration, inner, before)
        yield from _forwards(migration, inner, before, after)
        before = after


def _backwards(migration: Migration, state: ProjectState) -> Iterator[Step]:
    found: list[Step] = []
    for operation in migration.operations:
        after = _after(migration, operation, state)
        found += _forwards(migration, operation, state, after)
        state = after
    for step in reversed(found):
        yield Step(migration, step.operation, True, step.gets, step.had)


# Names in the database ------------------------------------------------------------------------


def model_of(state: ProjectState, app_label: str, name: str) -> ModelState:
    """Return a model as the migrations describe it."""
    found: ModelState = state.models[app_label, name.lower()]
    return found


def has_table(model: ModelState) -> bool:
    """Whether the model has a table that migrations look after."""
    return not model.options.get("proxy") and bool(model.options.get("managed", True))


def table_of(model: ModelState, connection: BaseDatabaseWrapper) -> str:
    """Return the name of its table."""
    name = model.options.get("db_table") or f"{model.app_label}_{model.name_lower}"
    return truncate_name(str(name), connection.ops.max_name_length())


def bound(model: ModelState, name: str) -> AnyField:
    """Return a copy of a field that knows its name and column; `column` is None if it has none."""
    copied: AnyField = next(f for n, f in model.fields.items() if n.lower() == name.lower()).clone()
    copied.set_attributes_from_name(name)
    return copied


def through_table(model: ModelState, each: AnyField, connection: BaseDatabaseWrapper) -> str | None:
    """Return the table that Django makes by itself for a many-to-many field, if it is one."""
    if not each.many_to_many or each.remote_field.through is not None:
        return None
    if each.db_table:
        return str(each.db_table)
    name = f"{strip_quotes(table_of(model, connection))}_{each.name}"
    return truncate_name(name, connection.ops.max_name_length())


def through_tables(model: ModelState, connection: BaseDatabaseWrapper) -> dict[str, str]:
    """Return the names of its many-to-many fields that have a table of their own, with the table."""
    found = {name: through_table(model, bound(model, name), connection) for name in model.fields}
    return {name: table for name, table in found.items() if table}


@dataclass(slots=True)
class Traced:
    """A table during the plan, and what it is called in the database now (None: it is not there yet)."""

    now: str | None
    #: Column during the plan -> its name now; those that are not listed are called the same.
    columns: dict[str, str | None] = field(default_factory=dict)

    def column(self, name: str) -> str | None:
        """Return what a column is called now."""
        return None if self.now is None else self.columns.get(name, name)

    def rename(self, old: str, new: str) -> None:
        """Follow a column to its new name."""
        if old != new:
            self.columns[new] = self.column(old)
            self.columns[old] = None
