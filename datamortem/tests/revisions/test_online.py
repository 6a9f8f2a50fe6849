"""Operations for large tables can be run again after any death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import IntegrityError, NotSupportedError, connection, migrations, models
from django.db.migrations.state import ProjectState

from datamortem.revisions import live
from datamortem.revisions.errors import Unfit
from datamortem.revisions.executor import short_lock_waits
from datamortem.revisions.online import AddIndexOnline, AddUniqueOnline

pytestmark = pytest.mark.django_db(transaction=True)
on_postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="only PostgreSQL builds indexes beside writers"
)
INDEX = models.Index(fields=["name"], name="lab_by_name")
UNIQUE = models.UniqueConstraint(fields=["name"], name="lab_one_name")


def apply(operation: Any, state: ProjectState, *, atomic: bool = False) -> ProjectState:
    after = state.clone()
    operation.state_forwards("lab", after)
    with connection.schema_editor(atomic=atomic) as editor:
        operation.database_forwards("lab", editor, state, after)
    return after


def table() -> live.Table:
    return live.read(connection, ["lab_thing"])["lab_thing"]


def run(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture
def state() -> Iterator[ProjectState]:
    fields = [("id", models.AutoField(primary_key=True)), ("name", models.CharField())]
    yield apply(migrations.CreateModel("Thing", fields, {"db_table": "lab_thing"}), ProjectState())
    run("DROP TABLE lab_thing")


@pytest.fixture
def writer() -> Iterator[psycopg.Connection[Any]]:
    """A transaction that has written to the table, and that a concurrent build therefore waits for."""
    with psycopg.connect(dsn()) as other:
        other.execute("INSERT INTO lab_thing (name) VALUES ('writer')")
        yield other
        other.rollback()


def dsn() -> str:
    parameters = connection.get_connection_params()
    return psycopg.conninfo.make_conninfo(
        **{k: v for k, v in parameters.items() if k in ("dbname", "user", "host", "port", "password")}
    )


def wait_until(question: str) -> None:
    """Return once the server answers the question with yes."""
    deadline = time.monotonic() + 20
    with psycopg.connect(dsn(), autocommit=True) as other:
        while not other.execute(question).fetchone()[0]:  # type: ignore[index]
            assert time.monotonic() < deadline, question
            time.sleep(0.02)


BUILDING = "SELECT count(*) > 0 FROM pg_stat_progress_create_index"
BUILD = """
import django; django.setup()
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("CREATE INDEX CONCURRENTLY lab_by_name ON lab_thing (name)")
"""


def killed_while_building() -> None:
    """Start a process that builds the index, and kill it in the middle: its server process goes on."""
    database = settings.DATABASES["default"]
    url = "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(
        **{**database, "NAME": connection.settings_dict["NAME"]}
    )
    environment = {**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "datamortem.settings"}
    process = subprocess.Popen([sys.executable, "-c", BUILD], env=environment)
    wait_until(BUILDING)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_an_index_is_built_once_and_dropped_once(state: ProjectState) -> None:
    operation = AddIndexOnline("thing", INDEX)
    after = apply(operation, state)
    apply(operation, state)
    assert [(index.name, index.valid) for index in table().indexes if not index.pattern] == [
        ("lab_by_name", True)
    ]
    for _ in range(2):
        with connection.schema_editor(atomic=False) as editor:
            operation.database_backwards("lab", editor, after, state)
        assert [index for index in table().indexes if not index.pattern] == []


def test_a_unique_constraint_is_added_once_and_removed_once(state: ProjectState) -> None:
    operation = AddUniqueOnline("thing", UNIQUE)
    after = apply(operation, state)
    apply(operation, state)
    assert [(u.columns, u.is_constraint) for u in table().uniques] == [(("name",), True)]
    with connection.schema_editor(atomic=False) as editor:
        operation.database_backwards("lab", editor, after, state)
    assert table().uniques == ()


def test_rows_that_share_a_value_leave_no_half_built_index(state: ProjectState) -> None:
    run("INSERT INTO lab_thing (name) VALUES ('a'), ('a')")
    with pytest.raises(IntegrityError):
        apply(AddUniqueOnline("thing", UNIQUE), state)
    assert table().uniques == ()


@on_postgresql
def test_a_transaction_around_it_is_refused(state: ProjectState) -> None:
    with pytest.raises(NotSupportedError, match="atomic = False"):
        apply(AddIndexOnline("thing", INDEX), state, atomic=True)


@on_postgresql
def test_an_index_of_that_name_on_other_columns_is_refused(state: ProjectState) -> None:
    run("CREATE INDEX lab_by_name ON lab_thing (id, name)")
    with pytest.raises(Unfit, match=r"on lab_thing \(id, name\), expected on lab_thing \(name\)"):
        apply(AddIndexOnline("thing", INDEX), state)


@on_postgresql
def test_an_index_that_was_not_built_to_its_end_is_built_anew(state: ProjectState) -> None:
    run("INSERT INTO lab_thing (name) VALUES ('a'), ('a')")
    with pytest.raises(IntegrityError):
        run("CREATE UNIQUE INDEX CONCURRENTLY lab_by_name ON lab_thing (name)")
    assert [unique.valid for unique in table().uniques] == [False]
    apply(AddIndexOnline("thing", INDEX), state)
    assert [(i.name, i.valid) for i in table().indexes if not i.pattern] == [("lab_by_name", True)]
    assert table().uniques == ()


@on_postgresql
def test_short_lock_waits_do_not_end_a_build_that_waits_for_a_writer(
    state: ProjectState, writer: psycopg.Connection[Any]
) -> None:
    threading.Timer(1.0, writer.rollback).start()
    with short_lock_waits(connection, 100):
        apply(AddIndexOnline("thing", INDEX), state)
        with connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            assert cursor.fetchone() == ("100ms",)
    assert [index.valid for index in table().indexes if not index.pattern] == [True]


@on_postgresql
def test_after_kill_9_the_index_that_the_server_goes_on_building_is_waited_for_and_kept(
    state: ProjectState, writer: psycopg.Connection[Any]
) -> None:
    killed_while_building()
    assert [index.valid for index in table().indexes if index.name == "lab_by_name"] == [False]
    oid = "SELECT 'lab_by_name'::regclass::oid"
    with connection.cursor() as cursor:
        cursor.execute(oid)
        orphan = cursor.fetchone()
        threading.Timer(1.0, writer.rollback).start()
        apply(AddIndexOnline("thing", INDEX), state)
        cursor.execute(oid)
        assert cursor.fetchone() == orphan
    assert [index.valid for index in table().indexes if index.name == "lab_by_name"] == [True]


@on_postgresql
def test_after_kill_9_an_index_whose_building_ended_too_is_built_anew(
    state: ProjectState, writer: psycopg.Connection[Any]
) -> None:
    killed_while_building()
    run("SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index")
    wait_until(f"SELECT NOT ({BUILDING})")
    writer.rollback()
    assert [index.valid for index in table().indexes if index.name == "lab_by_name"] == [False]
    apply(AddIndexOnline("thing", INDEX), state)
    assert [index.valid for index in table().indexes if index.name == "lab_by_name"] == [True]
