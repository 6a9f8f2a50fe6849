"""Others use a database while it is taken over: nothing may change unnoticed, and one takes it over."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from django.db import connection, transaction

from datamortem.revisions import live
from datamortem.revisions.adoption import postgresql
from datamortem.revisions.adoption.fingerprint import Fingerprint, exact_text, take
from datamortem.revisions.live import Table
from datamortem.tests.revisions.legacy import load
from datamortem.tests.revisions.processes import together
from datamortem.tests.revisions.scratch import Scratch
from datamortem.tests.revisions.states import assert_at_head

on_postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite: one writer, and the version of the file says it all"
)
CHANGE = "UPDATE events SET message = 'another' WHERE id = (SELECT min(id) FROM events)"


def _read_while(
    scratch: Scratch, others: Callable[[psycopg.Connection], object]
) -> tuple[Fingerprint, Fingerprint]:
    """Let another session begin, take the snapshot, let it commit; return what is said, and what is true."""
    own = scratch.connection
    table: Table = live.read(own, ["events"])["events"]
    with psycopg.connect(scratch.url) as other:
        others(other)
        snapshot = postgresql.fingerprint_large(own, [table], lambda text: None)
        other.commit()
    with transaction.atomic(using=own.alias), exact_text(own):
        postgresql.lock(own, ["events"])
        return postgresql.still_that(own, table, snapshot), take(own, table)


def _old(scratch: Scratch) -> None:
    load(scratch, postgresql="alembic_8f6e0f2be8d2", sqlite="ev3a")


@on_postgresql
def test_rows_added_by_a_transaction_that_was_open_are_in_the_fingerprint(scratch: Scratch) -> None:
    _old(scratch)

    def add(other: psycopg.Connection) -> None:
        other.execute("CREATE TEMPORARY TABLE more AS SELECT * FROM events LIMIT 1")
        other.execute("UPDATE more SET id = 1000000")
        other.execute("INSERT INTO events SELECT * FROM more")

    concluded, true = _read_while(scratch, add)
    assert concluded == true


@on_postgresql
@pytest.mark.parametrize("statement", [CHANGE, "DELETE FROM events WHERE id = (SELECT min(id) FROM events)"])
def test_a_row_changed_or_deleted_by_a_transaction_that_was_open_is_noticed(
    scratch: Scratch, statement: str
) -> None:
    _old(scratch)
    with pytest.raises(postgresql.RowsChanged):
        _read_while(scratch, lambda other: other.execute(statement))


@on_postgresql
def test_a_row_changed_in_a_savepoint_is_noticed(scratch: Scratch) -> None:
    """The server's snapshots do not name the numbers of savepoints, which the changed row carries."""
    _old(scratch)

    def change(other: psycopg.Connection) -> None:
        other.execute("SELECT pg_current_xact_id()")
        other.execute("SAVEPOINT inner_one")
        other.execute(CHANGE)
        other.execute("RELEASE SAVEPOINT inner_one")
        with psycopg.connect(scratch.url) as later:
            later.execute("SELECT pg_current_xact_id()")

    with pytest.raises(postgresql.RowsChanged):
        _read_while(scratch, change)


@on_postgresql
def test_rows_added_between_the_first_statement_of_the_conversion_and_its_locks_are_in_the_fingerprint(
    scratch: Scratch,
) -> None:
    _old(scratch)
    own = scratch.connection
    table: Table = live.read(own, ["events"])["events"]
    snapshot = postgresql.fingerprint_large(own, [table], lambda text: None)
    with transaction.atomic(using=own.alias), exact_text(own), own.cursor() as cursor:
        cursor.execute("CREATE TABLE made_first (id integer)")
        with psycopg.connect(scratch.url, autocommit=True) as other:
            other.execute("CREATE TEMPORARY TABLE more AS SELECT * FROM events LIMIT 1")
            other.execute("UPDATE more SET id = 1000000")
            other.execute("INSERT INTO events SELECT * FROM more")
        postgresql.lock(own, ["events"])
        assert postgresql.still_that(own, table, snapshot) == take(own, table)


@on_postgresql
def test_rows_added_in_a_savepoint_are_in_the_fingerprint(scratch: Scratch) -> None:
    _old(scratch)

    def add(other: psycopg.Connection) -> None:
        other.execute("CREATE TEMPORARY TABLE more AS SELECT * FROM events LIMIT 1")
        other.execute("UPDATE more SET id = 1000000")
        other.execute("SAVEPOINT inner_one")
        other.execute("INSERT INTO events SELECT * FROM more")
        other.execute("RELEASE SAVEPOINT inner_one")
        with psycopg.connect(scratch.url) as later:
            later.execute("SELECT pg_current_xact_id()")

    concluded, true = _read_while(scratch, add)
    assert concluded == true


@pytest.mark.schema
def test_several_adoptions_and_migrations_at_once_end_in_one_adoption(scratch: Scratch) -> None:
    _old(scratch)
    adopt = ["adopt", "--yes"]
    ended = together(scratch, adopt, ["migrate"], adopt, ["db", "upgrade"], adopt)
    for one in ended:
        refused = "taken over already" in one.said or "belongs to the old system" in one.said
        assert one.status == 0 or refused, one
    assert sum(one.status == 0 for one in ended if one.command.startswith("adopt")) == 1
    scratch.manage("db", "upgrade")
    assert_at_head(scratch)
