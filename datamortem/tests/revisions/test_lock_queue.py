"""PostgreSQL: whoever reads a table for long must not make everybody wait behind a waiting ALTER."""

from __future__ import annotations

import sys
import time

import pytest
from django.db import connection

from datamortem.tests.revisions.processes import Process, wait_until
from datamortem.tests.revisions.scratch import Scratch
from datamortem.tests.revisions.sessions import Writer, reader
from datamortem.tests.revisions.states import (
    BRANCH_POINT,
    assert_at_branch_point,
    assert_at_head,
    assert_consistent,
    at_branch_point,
    at_head,
    recorded,
    rows,
)

pytestmark = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite has no lock queue: readers and writers use a snapshot"
)

UP = ("db", "upgrade")
DOWN = ("db", "downgrade", BRANCH_POINT, "--yes")
WAITS = "a table of it is in use"


def _finishes_behind_a_reader(
    scratch: Scratch, command: tuple[str, ...], *, seconds: float
) -> tuple[Writer, float, float]:
    """Run a command against a reader that stays that long; return the writer, and when that came and left."""
    with Writer(scratch) as writer:
        with reader(scratch, "cases"):
            came = time.monotonic()
            walking = Process(scratch, *command)
            wait_until(lambda: WAITS in walking.said, what="the note that it waits")
            time.sleep(seconds)
            assert walking.is_running
            left = time.monotonic()
        ended = walking.wait()
        assert ended.status == 0, ended
    assert writer.error is None
    return writer, came, left


def _assert_goes_on(writer: Writer, came: float, left: float) -> None:
    """Rows were stored in every third of the time in which a reader was there and the change waited."""
    third = (left - came) / 3
    for number in range(3):
        assert writer.between(came + number * third, came + (number + 1) * third)


@pytest.mark.schema
@pytest.mark.parametrize("command", [UP, DOWN], ids=["upgrade", "downgrade"])
def test_the_longest_stall_of_a_writer_while_a_change_waits_for_a_reader(
    scratch: Scratch, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    (at_branch_point if command == UP else at_head)(scratch)
    before = rows(scratch.connection)
    writer, came, left = _finishes_behind_a_reader(scratch, command, seconds=8)
    _assert_goes_on(writer, came, left)
    (assert_at_head if command == UP else assert_at_branch_point)(scratch)
    with scratch.connection.cursor() as cursor:
        cursor.execute("DELETE FROM cases WHERE case_id LIKE 'written-%'")
        assert cursor.rowcount == len(writer.done)
    assert rows(scratch.connection) == before
    with capsys.disabled():
        sys.stdout.write(
            f"\n  {command[1]} behind a reader of {left - came:.0f} s: {len(writer.done)} rows written,"
            f" longest stall {writer.longest_stall:.2f} s, {writer.deadlocks} ended by deadlocks\n"
        )


def test_a_reader_that_never_leaves_ends_it_with_the_session_named_and_nothing_half_done(
    scratch: Scratch,
) -> None:
    at_branch_point(scratch)
    before = rows(scratch.connection)
    with Writer(scratch) as writer, reader(scratch, "cases", name="forgotten") as session:
        ended = Process(scratch, *UP, lab=["--attempts", "2"]).wait()
        assert ended.status == 1
        assert "forgotten" in ended.said
        assert f"process {session.info.backend_pid}" in ended.said
        assert "idle in transaction" in ended.said
        assert "The database stands at 7b4f50a1e0e0" in ended.said
    assert writer.error is None
    with scratch.connection.cursor() as cursor:
        cursor.execute("DELETE FROM cases WHERE case_id LIKE 'written-%'")
    assert_consistent(scratch)
    assert ("cases", "0004_2a6d94c6cc2b_hedgedoc_slug") not in recorded(scratch.connection)
    assert rows(scratch.connection) == before
    scratch.manage(*UP)
    assert_at_head(scratch)


@pytest.mark.schema
def test_without_a_short_wait_every_writer_would_stand_behind_the_waiting_change(
    scratch: Scratch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the stock executor does, so that the tests above are seen to measure something."""
    at_branch_point(scratch)
    with Writer(scratch) as writer:
        with reader(scratch, "cases"):
            walking = Process(scratch, "migrate", lab=["--stock"])
            wait_until(lambda: "cases.0004" in walking.said, what="the change of cases")
            time.sleep(6)
        ended = walking.wait()
    assert ended.status == 0, ended
    with capsys.disabled():
        sys.stdout.write(f"\n  stock migrate, reader of 6 s: longest stall {writer.longest_stall:.2f} s\n")
