"""Several migrators at once: one works, the others wait, none fails, and nothing is done twice.

`make test-schema` runs ten rounds of five; the ordinary suite one small round.
"""

from __future__ import annotations

import random
import signal

import pytest

from datamortem.revisions.lock import migration_lock
from datamortem.tests.revisions.legacy import load
from datamortem.tests.revisions.processes import Process, together, wait_until
from datamortem.tests.revisions.scratch import Scratch
from datamortem.tests.revisions.states import (
    assert_at_head,
    assert_consistent,
    at_branch_point,
    original,
    recorded,
    rows,
)

COMMANDS = (["migrate"], ["db", "upgrade"])


def _rounds(scratch: Scratch, *, rounds: int, at_once: int, extras: bool = False) -> None:
    """Put the database back and let several bring it to the head, that often."""
    chance = random.Random(rounds)
    with original(scratch) as kept:
        for number in range(rounds):
            kept.put_back()
            commands = [COMMANDS[0]] * at_once if not number else chance.choices(COMMANDS, k=at_once)
            ended = together(scratch, *commands)
            assert [one.status for one in ended] == [0] * at_once, "\n".join(map(str, ended))
            assert_at_head(scratch, extras=extras)


def test_a_migrate_and_an_upgrade_started_together_both_succeed(scratch: Scratch) -> None:
    ended = together(scratch, *COMMANDS)
    assert [one.status for one in ended] == [0, 0], "\n".join(map(str, ended))
    assert_at_head(scratch)


@pytest.mark.schema
def test_five_migrators_on_a_fresh_database_in_ten_rounds(scratch: Scratch) -> None:
    _rounds(scratch, rounds=10, at_once=5)


@pytest.mark.schema
def test_five_migrators_on_a_database_with_rows_in_ten_rounds(scratch: Scratch) -> None:
    at_branch_point(scratch)
    before = rows(scratch.connection)
    _rounds(scratch, rounds=10, at_once=5)
    assert rows(scratch.connection) == before


@pytest.mark.schema
def test_five_migrators_on_a_database_that_was_taken_over_in_ten_rounds(scratch: Scratch) -> None:
    load(scratch, postgresql="alembic_8f6e0f2be8d2", sqlite="ev3a")
    scratch.manage("adopt", "--yes")
    before = rows(scratch.connection)
    _rounds(scratch, rounds=10, at_once=5, extras=True)
    assert rows(scratch.connection) == before


@pytest.mark.schema
def test_upgrades_and_downgrades_started_together_leave_one_of_their_targets(scratch: Scratch) -> None:
    at_branch_point(scratch)
    before = rows(scratch.connection)
    down = ["db", "downgrade", "8f6e0f2be8d2", "--yes"]
    for _ in range(3):
        ended = together(scratch, ["db", "upgrade"], down, ["migrate"], down)
        assert [one.status for one in ended] == [0] * 4, "\n".join(map(str, ended))
        assert_consistent(scratch)
        assert rows(scratch.connection) == before


def test_a_migrator_waits_for_the_lock_no_longer_than_told_and_names_the_holder(scratch: Scratch) -> None:
    with migration_lock(scratch.connection, doing="a long change"):
        for command in (["migrate"], ["db", "upgrade"]):
            refused = Process(scratch, *command, "--lock-wait", "0.5").wait()
            assert refused.status == 1
            assert "Another process is changing the schema of this database" in refused.said
            assert "a long change" in refused.said
            assert "nothing was changed" in refused.said
    assert recorded(scratch.connection) == []


@pytest.mark.schema
def test_a_migrator_that_waits_goes_on_as_soon_as_the_lock_is_free(scratch: Scratch) -> None:
    with migration_lock(scratch.connection, doing="a long change"):
        waiting = Process(scratch, "migrate")
        wait_until(lambda: "Waiting for another process" in waiting.said, what="the note that it waits")
    assert waiting.wait().status == 0
    assert_at_head(scratch)


def test_the_lock_of_a_killed_holder_is_free(scratch: Scratch) -> None:
    killed = Process(scratch, "migrate", lab=["--die", "before-record:3"]).wait()
    assert killed.status == -signal.SIGKILL, killed
    with migration_lock(scratch.connection, wait=10):
        assert_consistent(scratch)
