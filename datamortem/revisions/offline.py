"""The SQL of a walk through the history, written without a server.

PostgreSQL: Django renders parameters through an open connection; here they are rendered without
one, and a migration that looks at the live table is refused rather than written wrongly. SQLite:
rebuilding a table means reading it first, so the walk is done for real on an empty database in
memory and what was executed is written down.

Each migration is one transaction that also records it, and begins with a guard: on a database that
stands elsewhere it stops before anything is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Protocol

import django
from django.db import migrations
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.exceptions import IrreversibleError
from django.db.migrations.operations.base import Operation
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ProjectState

from datamortem.revisions.errors import RevisionError
from datamortem.revisions.graph import Node, RevisionGraph
from datamortem.revisions.guard import OLD_TABLES, OLD_VERSIONS
from datamortem.revisions.offline_postgresql import AsksTheServer, PostgreSQLWriter
from datamortem.revisions.offline_sqlite import SQLiteWriter

_RECORDS: Final = "django_migrations"
#: What both parts of an installation make themselves when `migrate` ends, and SQL cannot.
_AFTERWARDS: Final = (
    "python manage.py migrate (it makes permissions and content types), python manage.py db check"
)


class CannotWriteOffline(RevisionError):
    """A migration of the walk cannot be written without the database."""


class Writer(Protocol):
    """What differs between the vendors."""

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """The database, or what stands in its place: it has a vendor, operations, features."""

    def opening(self) -> list[str]:
        """Return the statements before the first migration."""

    def guard(self, condition: str, refusal: str) -> str:
        """Return a statement that fails with `refusal` unless the condition holds."""

    def before_commit(self, statements: list[str]) -> list[str]:
        """Return what is to be checked at the end of a migration that consists of these."""

    def closing(self) -> list[str]:
        """Return the statements after the last migration."""

    def editor(self) -> Any:
        """Return a schema editor that collects its statements."""

    def begin_at(self, state: ProjectState) -> None:
        """Take note of what is there when the walk begins."""


def named_range(graph: RevisionGraph, text: str | None) -> tuple[frozenset[str], frozenset[str]]:
    """Return start and end of `FROM:TO`, `FROM:`, `:TO` or `TO`; base and head are what is left out.

    Raises UnknownRevision, NoSuchStep, SeveralHeads.
    """
    start, colon, end = (text or "").partition(":")
    if not colon:
        start, end = "", start
    return graph.resolve(start or "base"), graph.resolve(end or "head")


def statements(connection: BaseDatabaseWrapper, start: frozenset[str], end: frozenset[str]) -> Iterator[str]:
    """Yield the SQL that takes a database from one set of revisions to another, line groups in order.

    From `base` means: from an empty database, with everything that other apps need. The database
    of `connection` is never asked. Raises CannotWriteOffline before anything is yielded.
    """
    walk = _Walk(RevisionGraph(), start, end)
    with _writer(connection) as writer:
        written = list(walk.written_by(writer))
    yield from written


@contextmanager
def _writer(connection: BaseDatabaseWrapper) -> Iterator[Writer]:
    if connection.vendor == "postgresql":
        yield PostgreSQLWriter(connection)
    else:
        with SQLiteWriter.in_memory(connection) as writer:
            yield writer


class _Walk:
    """What is undone and what is applied between two sets of revisions."""

    def __init__(self, graph: RevisionGraph, start: frozenset[str], end: frozenset[str]) -> None:
        self.graph = graph
        self.start, self.end = start, end
        had = self._complete(start) if start else set()
        gets = self._complete(end)
        self.gets: Final = gets
        self.had: Final = [node for node in graph.nodes if node in had]
        self.undone: Final = [node for node in reversed(self.had) if node not in gets]
        self.applied: Final = [node for node in graph.nodes if node in gets - had]

    def _complete(self, names: frozenset[str]) -> set[Node]:
        """Return all migrations, of any app, that need no revision beyond these."""
        beyond = set(self.graph.of_node) - {
            node for name in names for node in self.graph.revisions[name].nodes
        }
        return {n for n in self.graph.nodes if not beyond & set(self.graph.migrations.forwards_plan(n))}

    def written_by(self, writer: Writer) -> Iterator[str]:
        """Yield the statements."""
        state = self._state(self.had)
        yield self._header(writer, state, self._state(n for n in self.graph.nodes if n in self.gets))
        writer.begin_at(state)
        yield from writer.opening()
        if not self.start and self.applied:
            yield from self._make_records(writer)
        before = self._states_before(self.undone)
        for node in self.undone:
            migration = self.graph.migrations.nodes[node]
            unapply = partial(migration.unapply, before[node])
            yield self._written(writer, migration, unapply, undone=True)
        undone = set(self.undone)
        state = self._state(node for node in self.had if node not in undone)
        for node in self.applied:
            migration = self.graph.migrations.nodes[node]
            yield self._written(writer, migration, partial(migration.apply, state), undone=False)
        yield from writer.closing()

    def _state(self, nodes: Iterable[Node]) -> ProjectState:
        return self.graph.loader.project_state(list(nodes))

    def _states_before(self, nodes: Iterable[Node]) -> dict[Node, ProjectState]:
        """Return the state that each of these begins with, when all that is there is applied in order."""
        wanted = set(nodes)
        states: dict[Node, ProjectState] = {}
        state = self._state([])
        for node in self.had if wanted else []:
            if node in wanted:
                states[node] = state.clone()
            state = self.graph.migrations.nodes[node].mutate_state(state, preserve=False)
        return states

    def _steps(self) -> Iterator[tuple[Migration, bool]]:
        for nodes, undone in ((self.undone, True), (self.applied, False)):
            yield from ((self.graph.migrations.nodes[node], undone) for node in nodes)

    def _header(self, writer: Writer, before: ProjectState, after: ProjectState) -> str:
        vendor = writer.connection.display_name
        lines = [
            f"dataMortem, schema: from {self._called(self.start)} to {self._called(self.end)}, for {vendor}.",
            f"Written without a database, by Django {django.get_version()}.",
            *(["For an empty database."] if not self.start else []),
            *LOADING[writer.connection.vendor],
        ]
        lost = sorted(_lost(before, after))
        if lost:
            lines += ["", "DESTROYS, with every value in it. Take a backup first:", *(f"  {i}" for i in lost)]
        missing = [
            f"  {migration}: {_one_line(operation.describe())}"
            for migration, undone in self._steps()
            for operation in migration.operations
            if not operation.reduces_to_sql and _acts(operation, undone=undone)
        ]
        if missing:
            lines += ["", "NOT IN HERE, because it is Python and not SQL:", *missing]
        if self.applied:
            whole = self.end == self.graph.revisions.keys()
            lines += ["", f"Afterwards: {_AFTERWARDS if whole else 'python manage.py db current'}"]
        elif not self.undone:
            lines += ["", "Nothing to do."]
        return "".join(f"-- {line}".rstrip() + "\n" for line in lines) + "\n"

    def _called(self, names: frozenset[str]) -> str:
        tips = " and ".join(revision.id for revision in self.graph.tips(names))
        heads = names and names == self.graph.revisions.keys()
        return (tips + (" (head)" if heads else "")) or "base"

    def _make_records(self, writer: Writer) -> Iterator[str]:
        quoted = ", ".join(_text(name) for name in sorted({*OLD_TABLES, OLD_VERSIONS, _RECORDS}))
        editor = writer.editor()
        editor.create_model(MigrationRecorder.Migration)
        yield f"{_BEGIN[writer.connection.vendor]}\n" + "\n".join(
            [
                writer.guard(
                    _NO_TABLES[writer.connection.vendor].format(names=quoted), "the database is not empty"
                ),
                *_collected(editor),
                "COMMIT;\n\n",
            ]
        )

    def _written(self, writer: Writer, migration: Migration, act: Callable[..., Any], *, undone: bool) -> str:
        editor = writer.editor()
        try:
            act(editor, collect_sql=True)
            done = _collected(editor)
        except AsksTheServer as asked:
            raise CannotWriteOffline(
                f"{migration} looks at the live tables before it changes them, so its SQL cannot be written "
                f"without a database. Nothing was written. Use instead: python manage.py db "
                f"{'downgrade' if undone else 'upgrade'}"
            ) from asked
        except IrreversibleError as error:
            raise CannotWriteOffline(f"{error}. Nothing was written.") from error
        revision = getattr(migration, "revision", "")
        refusal = f"the database stands elsewhere: {migration} is not what follows"
        return "\n".join(
            [
                f"-- {'Undo' if undone else 'Apply'} {migration}{revision and f' [{revision}]'}",
                *([_BEGIN[writer.connection.vendor]] if migration.atomic else []),
                writer.guard(self._expected(migration, undone=undone), refusal),
                *done,
                _record(migration, undone=undone),
                *writer.before_commit(done),
                *(["COMMIT;"] if migration.atomic else []),
                "\n",
            ]
        )

    def _expected(self, migration: Migration, *, undone: bool) -> str:
        """Return the condition that a database stands right before this step."""
        node = (migration.app_label, migration.name)
        linked = self.graph.migrations.node_map[node]
        there = [node] if undone else sorted(n.key for n in linked.parents)
        absent = sorted(n.key for n in linked.children) if undone else [node]
        wanted = [f"{_count(n)} = {count}" for n, count in ((there, len(there)), (absent, 0)) if n]
        return " AND ".join(wanted)


_BEGIN: Final = {"postgresql": "BEGIN;", "sqlite": "BEGIN IMMEDIATE;"}
_NO_TABLES: Final = {
    "postgresql": "NOT EXISTS (SELECT FROM pg_tables WHERE schemaname = current_schema()"
    " AND tablename IN ({names}))",
    "sqlite": "NOT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name IN ({names}))",
}
#: How the SQL is given to a database, for the header.
LOADING: Final = {
    "postgresql": (
        "For PostgreSQL 15 or later. Load it with: psql -v ON_ERROR_STOP=1 -d NAME -f FILE",
        "One transaction a migration; it waits for a table at most as long as db upgrade does.",
    ),
    "sqlite": (
        "Load it, while nothing else uses the database, with: sqlite3 -bail FILE.sqlite3 < THIS",
        "A table is rebuilt only if it has no column, index or trigger that the migrations do not",
        "know: it would be lost. Where this stops, use: python manage.py db upgrade (it keeps them).",
    ),
}


def _collected(editor: Any) -> list[str]:
    """Return what an editor wrote, with the statements it keeps for the end."""
    for statement in editor.deferred_sql:
        editor.execute(statement, None)
    editor.deferred_sql = []
    return [
        line.replace("\n", "\n-- ") if line.startswith("--") else line
        for line in map(str, editor.collected_sql)
    ]


def _record(migration: Migration, *, undone: bool) -> str:
    app, name = _text(migration.app_label), _text(migration.name)
    if undone:
        return f"DELETE FROM {_RECORDS} WHERE app = {app} AND name = {name};"  # noqa: S608
    return f"INSERT INTO {_RECORDS} (app, name, applied) VALUES ({app}, {name}, CURRENT_TIMESTAMP);"  # noqa: S608


def _count(nodes: Iterable[Node]) -> str:
    these = " OR ".join(f"(app = {_text(app)} AND name = {_text(name)})" for app, name in nodes)
    return f"(SELECT count(*) FROM {_RECORDS} WHERE {these})"  # noqa: S608


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _acts(operation: Operation, *, undone: bool) -> bool:
    if isinstance(operation, migrations.RunPython):
        code = operation.reverse_code if undone else operation.code
        return code not in (None, migrations.RunPython.noop)
    return True


def _lost(before: ProjectState, after: ProjectState) -> Iterator[str]:
    had, has = _columns(before), _columns(after)
    for table, columns in had.items():
        if table not in has:
            yield f"table {table}"
            continue
        yield from (f"column {table}.{column}" for column in columns - has[table])


def _columns(state: ProjectState) -> dict[str, set[str]]:
    return {
        model._meta.db_table: {field.column for field in model._meta.local_concrete_fields if field.column}
        for model in state.apps.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy
    }
