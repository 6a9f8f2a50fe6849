"""Record the migrations that a database of the old system is to have, and complete those it has not quite."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

from datamortem.revisions import live
from datamortem.revisions.adoption.claim import DOCUMENTED_HEAD
from datamortem.revisions.executor import Executor
from datamortem.revisions.graph import Node, RevisionGraph
from datamortem.revisions.live import Table
from datamortem.revisions.operations import AddFieldIfMissing, CreateModelIfMissing

#: Statements that change nothing.
_READING: Final = ("SELECT", "PRAGMA", "SET ", "SAVEPOINT", "RELEASE")
#: Tables that no documented revision made, and every state of the old system but an empty one has.
_ROOT: Final = ("cases", "0001_create_all")

#: The old system's own values for columns it added later, NOT NULL and without a default.
LATER_DEFAULTS: Final[Mapping[tuple[str, str], str]] = {
    ("custom_scripts", "language_version"): "'3.11'",
    ("custom_scripts", "timeout_seconds"): "300",
    ("custom_scripts", "memory_limit_mb"): "512",
}


@dataclass(frozen=True, slots=True)
class Recorded:
    """A migration that is recorded now, and the statements that completed it; none if all was there."""

    node: Node
    revision: str
    statements: tuple[str, ...] = ()

    def __str__(self) -> str:
        name = f"{'.'.join(self.node)} ({self.revision or 'baseline'})"
        return (
            f"{name}: completed, {len(self.statements)} statements" if self.statements else f"{name}: there"
        )


def wanted_nodes(graph: RevisionGraph, revisions: Collection[str]) -> list[Node]:
    """Return our migrations that these revisions stand for, with the baseline before them, in order."""
    wanted = graph.nodes_for(revisions) | {_ROOT}
    return [node for node in graph.nodes if node in wanted and node[0] in graph.apps]


def foreign_nodes(graph: RevisionGraph, revisions: Collection[str]) -> list[Node]:
    """Return the migrations of other apps that must be there first (content types, groups, permissions)."""
    wanted = graph.nodes_for(revisions or {graph.order[0].id})
    return [node for node in graph.nodes if node in wanted and node[0] not in graph.apps]


def apply_foreign(connection: BaseDatabaseWrapper, graph: RevisionGraph, revisions: Collection[str]) -> None:
    """Apply and record the migrations of other apps. Inside the transaction of the caller."""
    executor = Executor(connection)
    recorded = executor.loader.applied_migrations or {}
    plan = [(graph.migrations.nodes[n], False) for n in foreign_nodes(graph, revisions) if n not in recorded]
    if plan:
        executor.migrate(None, plan=plan)


def record(
    connection: BaseDatabaseWrapper,
    graph: RevisionGraph,
    revisions: Collection[str],
    incomplete: Collection[Node],
    now: Callable[[str], str] = lambda statement: statement,
) -> Iterator[Recorded]:
    """Record our migrations, oldest first, and complete those of which parts are missing (`outlook`).

    `now` is given each statement that changes the schema, and returns what of it is to be executed.
    """
    recorder = MigrationRecorder(connection)
    state = graph.loader.project_state(foreign_nodes(graph, revisions))
    for node in wanted_nodes(graph, revisions):
        migration, done = graph.migrations.nodes[node], []
        if node in incomplete:
            with _statements(connection, now) as done, connection.schema_editor(atomic=False) as editor:
                state = migration.apply(state, editor)
        else:
            state = migration.mutate_state(state, preserve=False)
        recorder.record_applied(*node)
        yield Recorded(node, graph.of_node.get(node, ""), tuple(done))


@contextmanager
def _statements(connection: BaseDatabaseWrapper, now: Callable[[str], str]) -> Iterator[list[str]]:
    """Collect what changes the database; what `live.expected` builds and rolls back does not."""
    done: list[str] = []
    trying = False

    def collect(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal trying
        text = str(sql).lstrip()
        if text.startswith('CREATE SCHEMA "expected_'):
            trying = True
        elif text.startswith("ROLLBACK TO SAVEPOINT"):
            trying = False
        elif not trying and not text.upper().startswith(_READING):
            sql = now(text)
            if not sql:
                return None
            done.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(collect):
        yield done


def outlook(
    connection: BaseDatabaseWrapper, graph: RevisionGraph, revisions: Collection[str]
) -> dict[Node, list[str]]:
    """Return our migrations that would be recorded, in order, and the parts that are missing of each."""
    found: dict[Node, list[str]] = {}
    editor = connection.schema_editor(collect_sql=True)  # never entered: it only looks
    state = graph.loader.project_state(foreign_nodes(graph, revisions))
    for node in wanted_nodes(graph, revisions):
        missing = found[node] = []
        for operation in graph.migrations.nodes[node].operations:
            before = state.clone()
            operation.state_forwards(node[0], state)
            if isinstance(operation, CreateModelIfMissing | AddFieldIfMissing):
                present = operation.present(node[0], editor, before, state)
                missing += sorted(present.wanted - present.found)
            else:
                missing.append(operation.describe())  # which says nothing of what is there
    return found


def expected_of(
    connection: BaseDatabaseWrapper, graph: RevisionGraph, nodes: Collection[Node]
) -> dict[str, Table]:
    """Return the tables as these migrations would make them."""
    state = graph.loader.project_state([node for node in graph.nodes if node in nodes])
    return live.expected(connection, state, settings.REVISION_APPS)


def documented_nodes(graph: RevisionGraph) -> set[Node]:
    """Return our migrations up to the documented head."""
    return set(wanted_nodes(graph, graph.closure([DOCUMENTED_HEAD])))


def within(wanted: Mapping[str, Table], actual: Mapping[str, Table]) -> dict[str, Table]:
    """Return the wanted tables without what is not there at all: later migrations will make that."""

    def there(table: Table) -> Table:
        columns = actual[table.name].columns

        def holds(names: Iterable[str]) -> bool:
            return all(name in columns for name in names if name in table.columns)

        return replace(
            table,
            columns={name: column for name, column in table.columns.items() if name in columns},
            uniques=tuple(u for u in table.uniques if holds(u.columns)),
            indexes=tuple(i for i in table.indexes if holds(i.columns)),
            foreign_keys=tuple(k for k in table.foreign_keys if holds(k.columns) and k.table in actual),
        )

    return {name: there(table) for name, table in wanted.items() if name in actual}
