"""SQL written without a server, loaded by psql and sqlite3 and compared with the real thing."""

from __future__ import annotations

import datetime
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections, migrations, models
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from pytest_django import DjangoDbBlocker

from datamortem.revisions import live, offline
from datamortem.revisions.backup.clients import clients_for, environment_for
from datamortem.revisions.graph import RevisionGraph
from datamortem.revisions.offline import CannotWriteOffline, named_range, statements
from datamortem.revisions.offline_postgresql import OfflineWrapper
from datamortem.tests.revisions.scratch import Scratch

DOCUMENTED = ("c6e23e92af16", "8f6e0f2be8d2", "7b4f50a1e0e0", "2a6d94c6cc2b", "7c6ac304c575", "0d8c359bb4f1")

Load = Callable[..., "subprocess.CompletedProcess[str]"]


@cache
def written(text: str | None) -> str:
    start, end = named_range(RevisionGraph(), text)
    return "\n".join(statements(connection, start, end))


@pytest.fixture(autouse=True)
def _in_memory(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """SQLite's statements are written while they run on a database in memory."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def load(scratch: Scratch) -> Load:
    """Give SQL to the database as an administrator would."""

    def by_psql(sql: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        clients = clients_for(scratch.connection)
        environment = {**environment_for(scratch.connection), "PGDATABASE": _name(scratch)}
        arguments = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(_file(sql))]
        command = clients.command("psql", *arguments)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done

    def by_sqlite3(sql: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        error = ""
        with closing(sqlite3.connect(_name(scratch))) as database:
            try:
                database.executescript(sql)
            except sqlite3.Error as raised:
                error = str(raised)
        assert not check or not error, error
        return subprocess.CompletedProcess("sqlite3", int(bool(error)), "", error)

    def _file(sql: str) -> Path:
        path = scratch.home / "walk.sql"
        path.write_text(sql, encoding="utf-8")
        return path

    return by_psql if connection.vendor == "postgresql" else by_sqlite3


def _name(scratch: Scratch) -> str:
    return str(scratch.connection.settings_dict["NAME"])


def standing(scratch: Scratch) -> set[str]:
    return {revision.id for revision in RevisionGraph(scratch.connection).current()}


def drift(scratch: Scratch) -> list[str]:
    return [str(difference) for difference in live.drift(scratch.connection)]


def unapplied(scratch: Scratch) -> list[Any]:
    executor = MigrationExecutor(scratch.connection)
    return list(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def test_the_whole_history_loads_into_an_empty_database_and_goes_back_to_base(
    scratch: Scratch, load: Load
) -> None:
    load(written(None))
    assert standing(scratch) == {RevisionGraph().heads[0].id}
    assert drift(scratch) == []
    assert unapplied(scratch) == []
    load(written("head:base"))
    assert standing(scratch) == set()
    with scratch.connection.cursor() as cursor:
        left = set(scratch.connection.introspection.table_names(cursor))
    assert {"cases", "events", "django_migrations"} <= left
    assert not {"users", "custom_scripts", "custody_entries"} & left


@pytest.mark.schema
def test_it_goes_in_pieces_and_through_one_branch_and_keeps_values(scratch: Scratch, load: Load) -> None:
    load(written("8f6e0f2be8d2"))
    assert standing(scratch) == {"8f6e0f2be8d2"}
    assert drift(scratch) == []
    load(
        "INSERT INTO cases (case_id, status, created_at_utc, note)"
        r" VALUES ('l''été/1', 'open', '2025-10-26 02:30:00+00:00', 'kept \\ %''x');"
    )
    load(written("8f6e0f2be8d2:2a6d"))
    assert standing(scratch) == {"2a6d94c6cc2b"}
    load(written("2a6d:7b4f"))  # undoes one branch and applies the other
    assert standing(scratch) == {"7b4f50a1e0e0"}
    assert drift(scratch) == []
    load(written("7b4f:"))
    assert drift(scratch) == []
    assert unapplied(scratch) == []
    with scratch.connection.cursor() as cursor:
        cursor.execute("SELECT case_id, note, title FROM cases")
        assert cursor.fetchall() == [("l'été/1", r"kept \\ %'x", "")]


@pytest.mark.schema
@pytest.mark.parametrize("revision", DOCUMENTED)
def test_each_documented_revision_is_reached_from_both_sides(
    scratch: Scratch, load: Load, revision: str
) -> None:
    load(written(f":{revision}"))
    assert standing(scratch) == {revision}
    assert drift(scratch) == []
    load(written(f"{revision}:head"))
    assert drift(scratch) == []
    load(written(f"head:{revision}"))
    assert standing(scratch) == {revision}
    assert drift(scratch) == []


@pytest.mark.schema
def test_what_was_loaded_is_a_database_to_work_with(scratch: Scratch, load: Load) -> None:
    load(written(None))
    scratch.manage("db", "current", "--check-heads")
    scratch.manage("migrate")
    assert (
        "Permission"
        in scratch.manage(
            "shell",
            "-c",
            "from django.contrib.auth.models import Permission as P; print(P.objects.count(), P)",
        ).stdout
    )
    scratch.manage("db", "downgrade", "-1", "--yes")
    scratch.manage("db", "upgrade")
    assert drift(scratch) == []


def test_a_database_that_stands_elsewhere_is_left_alone(scratch: Scratch, load: Load) -> None:
    load(written("c6e23e92af16"))
    again = load(written("c6e23e92af16"), check=False)
    assert again.returncode != 0
    other = load(written("7b4f:7c6a"), check=False)
    assert other.returncode != 0
    assert "stands elsewhere" in other.stderr or "not where this begins" in other.stderr
    assert standing(scratch) == {"c6e23e92af16"}
    assert drift(scratch) == []


def test_a_database_of_the_old_system_is_left_alone(scratch: Scratch, load: Load) -> None:
    load("CREATE TABLE alembic_version (version_num varchar(32) NOT NULL);")
    assert load(written(None), check=False).returncode != 0
    with scratch.connection.cursor() as cursor:
        assert scratch.connection.introspection.table_names(cursor) == ["alembic_version"]


def test_a_column_that_no_migration_knows_stops_the_rebuild_of_its_table(
    scratch: Scratch, load: Load
) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL alters tables in place: nothing is rebuilt")
    load(written("0d8c"))
    load(
        "ALTER TABLE cases ADD COLUMN later varchar;"
        " INSERT INTO cases (case_id, status, created_at_utc, later)"
        " VALUES ('a', 'open', '2025-01-01', 'precious');"
    )
    stopped = load(written("0d8c:head"), check=False)
    assert "a column, index or trigger that no migration knows" in stopped.stderr
    with scratch.connection.cursor() as cursor:
        cursor.execute("SELECT later FROM cases")
        assert cursor.fetchall() == [("precious",)]


def test_the_header_says_what_goes_and_how_to_load_it() -> None:
    down = written("0d8c:c6e2")
    head = down.split("\n\n")[0]
    assert "from 0d8c359bb4f1 to c6e23e92af16" in head
    for lost in (
        "column users.otp_secret",
        "column cases.hedgedoc_slug",
        "column custom_scripts.requirements",
    ):
        assert lost in head
    assert "column users.email\n" not in head
    assert ("psql -v ON_ERROR_STOP=1" if connection.vendor == "postgresql" else "sqlite3 -bail") in head
    assert "DESTROYS" not in written("c6e2:0d8c")
    assert ("SET lock_timeout" in down) is (connection.vendor == "postgresql")
    assert "Nothing to do" in written("head:head")


def test_python_that_is_not_in_it_is_named() -> None:
    assert "auth.0011_update_proxy_permissions" in written(None).split("NOT IN HERE")[1].split("\n\n")[0]


def test_nothing_is_asked_of_a_server_that_is_down() -> None:
    settings = {**connection.settings_dict, "NAME": "/nowhere/at/all", "HOST": "127.0.0.1", "PORT": "1"}
    down = type(connections["default"])(settings, "default")
    sql = "\n".join(statements(down, frozenset(), RevisionGraph().closure(["c6e23e92af16"])))
    assert "[c6e23e92af16]" in sql
    assert down.connection is None


def test_parameters_are_rendered_as_a_server_reads_them(scratch: Scratch) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite executes what it writes")
    values: list[Any] = [
        "l'été \\ %s \"", "", None, True, 7, -1, 1.5, Decimal("1.10"), b"\x00'\xff",
        datetime.datetime(2025, 10, 26, 2, 30, tzinfo=datetime.UTC), datetime.date(2025, 1, 2),
        datetime.timedelta(seconds=90),
    ]  # fmt: skip
    operations = OfflineWrapper(connection.settings_dict, alias="default").ops
    for value in values:
        with scratch.connection.cursor() as cursor:
            cursor.execute(operations.compose_sql("SELECT %s, '100%%'", [value]))
            offline_row = cursor.fetchone()
            cursor.execute("SELECT %s, '100%%'", [value])
            assert offline_row == cursor.fetchone(), value


def test_a_migration_that_must_look_first_is_refused_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = MigrationLoader(None)
    (leaf,) = loader.graph.leaf_nodes("cases")
    last = loader.graph.nodes[leaf]
    alters = migrations.AlterField("case", "hedgedoc_slug", models.CharField(null=True))
    monkeypatch.setattr(last, "operations", [alters], raising=False)
    monkeypatch.setattr(offline, "RevisionGraph", lambda: RevisionGraph(loader=loader))
    graph = RevisionGraph(loader=loader)
    ends = graph.closure([graph.of_node[leaf]])
    produced = statements(connection, ends - {graph.of_node[leaf]}, ends)
    if connection.vendor == "postgresql":
        with pytest.raises(CannotWriteOffline, match=f"{last.name} looks at the live tables"):
            next(produced)
    else:
        assert 'CREATE TABLE "new__cases"' in "".join(produced)


def test_an_irreversible_migration_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = MigrationLoader(None)
    (leaf,) = loader.graph.leaf_nodes("cases")
    monkeypatch.setattr(
        loader.graph.nodes[leaf], "operations", [migrations.RunSQL("SELECT 1")], raising=False
    )
    monkeypatch.setattr(offline, "RevisionGraph", lambda: RevisionGraph(loader=loader))
    graph = RevisionGraph(loader=loader)
    ends = graph.closure([graph.of_node[leaf]])
    with pytest.raises(CannotWriteOffline, match="not reversible"):
        next(statements(connection, ends, ends - {graph.of_node[leaf]}))


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        (None, "base", "head"),
        ("0d8c:", "0d8c", "head"),
        (":0d8c", "base", "0d8c"),
        ("0d8c", "base", "0d8c"),
        ("head-2:head-1", "head-2", "head-1"),
    ],
)
def test_ranges_are_read_as_alembic_reads_them(text: str | None, start: str, end: str) -> None:
    graph = RevisionGraph()
    assert named_range(graph, text) == (graph.resolve(start), graph.resolve(end))


def test_nothing_of_the_writing_stays_on_the_connection() -> None:
    before = (type(connection.ops), vars(connection.ops).copy(), connection.SchemaEditorClass)
    list(statements(connection, *named_range(RevisionGraph(), "c6e2")))
    assert (type(connection.ops), vars(connection.ops), connection.SchemaEditorClass) == before
