"""kill -9 while the schema changes: what is recorded is there, nothing else, and a second run ends it.

DATAMORTEM_KILLS sets how many die of each kind; `make test-schema` kills 12 of each, the ordinary
suite two. The seed of the random moments is printed; DATAMORTEM_SEED repeats it.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from datamortem.revisions.backup import verify
from datamortem.revisions.executor import Executor
from datamortem.revisions.guard import FENCE, KEPT_VERSIONS, old_versions
from datamortem.revisions.live import Level, drift
from datamortem.tests.revisions.legacy import everything, load
from datamortem.tests.revisions.processes import Ended, Process, wait_until
from datamortem.tests.revisions.scratch import Scratch
from datamortem.tests.revisions.states import (
    BRANCH_POINT,
    assert_at_branch_point,
    assert_at_head,
    assert_consistent,
    at_branch_point,
    at_head,
    original,
    recorded,
    rows,
    settled,
)

KILLS = int(os.environ.get("DATAMORTEM_KILLS", "12"))
SEED = int(os.environ.get("DATAMORTEM_SEED", str(int.from_bytes(os.urandom(4)))))
#: A migration whose foreign keys and indexes are deferred: Django records it after their commit.
DEFERRING = ("admin", "0001_initial")


@dataclass(frozen=True, slots=True)
class Walk:
    """Where a database stands, the commands that walk it, and what must hold at the end."""

    name: str
    prepare: Callable[[Scratch], None]
    commands: tuple[tuple[str, ...], ...]
    arrived: Callable[[Scratch], None]


def _empty(scratch: Scratch) -> None:
    """Leave it as it was made."""


def _old(scratch: Scratch) -> None:
    """Load a database of the old system."""
    load(scratch, postgresql="alembic_8f6e0f2be8d2", sqlite="ev3a")


DOWN = ("db", "downgrade", BRANCH_POINT, "--yes")
UP = (("migrate",), ("db", "upgrade"))
FRESH = Walk("fresh", _empty, UP, assert_at_head)
FORWARDS = Walk("forwards", at_branch_point, UP, assert_at_head)
BACKWARDS = Walk("backwards", at_head, (DOWN,), assert_at_branch_point)
ADOPT = ("adopt", "--yes")
ADOPTION = Walk("adoption", _old, (ADOPT,), _empty)
WALKS = pytest.mark.parametrize("walk", [FRESH, FORWARDS, BACKWARDS, ADOPTION], ids=lambda walk: walk.name)


class Killing:
    """Kills walks of one kind and counts those that were survived."""

    def __init__(self, scratch: Scratch, walk: Walk) -> None:
        walk.prepare(scratch)
        self.scratch = scratch
        self.walk = walk
        self.survived = 0
        self.before = rows(scratch.connection) if recorded(scratch.connection) else None

    def survive(self, start: Callable[[tuple[str, ...]], Ended], command: tuple[str, ...]) -> bool:
        """Start a command that dies, assert that all is well, finish it; return whether it died."""
        ended = start(command)
        if ended.status != -signal.SIGKILL:
            assert ended.status == 0, ended
            return False
        settled(self.scratch)
        self.assert_sound()
        again = Process(self.scratch, *command).wait()
        assert self.is_finished(again), f"{ended}\n\n{again}"
        self.assert_arrived()
        self.survived += 1
        return True

    def assert_sound(self) -> None:
        """Assert what must hold after a death."""
        assert_consistent(self.scratch)
        self._assert_rows()

    def is_finished(self, again: Ended) -> bool:
        """Whether the same command, run again, ended as it should."""
        return again.status == 0

    def assert_arrived(self) -> None:
        """Assert what must hold at the end."""
        self.walk.arrived(self.scratch)
        self._assert_rows()

    def _assert_rows(self) -> None:
        if self.before is not None:
            assert rows(self.scratch.connection) == self.before
        self.assert_backups()

    def assert_backups(self) -> None:
        """Assert that whatever looks like a backup is one."""
        for path in (self.scratch.home / "backups").glob("*.*"):
            if path.suffix in (".dump", ".sqlite3"):
                verify(path)

    def times(self) -> tuple[float, float]:
        """Return how long a command takes that has nothing to do, and one that goes all the way."""
        process = Process(self.scratch, *self.walk.commands[0])
        whole = process.timed()
        again = Process(self.scratch, *self.walk.commands[0])
        assert self.is_finished(again.wait())
        return again.age, whole


class KillingAdoption(Killing):
    """Kills adoptions: before the commit nothing has happened, after it a second run finishes."""

    def __init__(self, scratch: Scratch, walk: Walk) -> None:
        super().__init__(scratch, walk)
        self.old = everything(scratch.connection)
        with original(scratch) as kept:
            scratch.manage(*ADOPT)
            self.adopted = _lasting(everything(scratch.connection))
            kept.put_back()

    def assert_sound(self) -> None:
        """Assert that the database is the old one, or taken over."""
        if old_versions(self.scratch.connection) == [FENCE]:
            errors = [d for d in drift(self.scratch.connection) if d.level is Level.ERROR]
            assert not errors, [str(error) for error in errors]
        else:
            assert everything(self.scratch.connection) == self.old
        self.assert_backups()

    def is_finished(self, again: Ended) -> bool:
        """Whether it is taken over now, or said that it had been."""
        return again.status == 0 or "taken over already" in again.said

    def assert_arrived(self) -> None:
        """Assert that the database is what an adoption that nobody killed makes of it."""
        assert _lasting(everything(self.scratch.connection)) == self.adopted


def _lasting(database: dict[str, Any]) -> dict[str, Any]:
    """Return what does not depend on the time of an adoption."""
    if "sql" in database:
        timed = ('INSERT INTO "django_migrations"', f'INSERT INTO "{KEPT_VERSIONS}"')
        return {"sql": [line for line in database["sql"] if not line.startswith(timed)]}
    return {name: rows for name, rows in database.items() if name not in ("django_migrations", KEPT_VERSIONS)}


def _random_kills(scratch: Scratch, walk: Walk, wanted: int) -> str:
    chance = random.Random(f"{SEED} {walk.name}")
    killing = (KillingAdoption if walk is ADOPTION else Killing)(scratch, walk)
    with original(scratch) as kept:
        idle, whole = killing.times()
        for _ in range(3 * wanted):
            kept.put_back()
            after = chance.uniform(idle / 2, whole)
            children = chance.random() < 0.5

            def start(command: tuple[str, ...]) -> Ended:
                return Process(scratch, *command).killed(after=after, children=children)  # noqa: B023

            killing.survive(start, chance.choice(walk.commands))
            if killing.survived == wanted:
                break
    return f"{walk.name}: {killing.survived} random kills survived (DATAMORTEM_SEED={SEED})"


@pytest.mark.schema
@WALKS
def test_a_walk_killed_at_random_moments_is_finished_by_the_same_command(
    scratch: Scratch, walk: Walk, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = _random_kills(scratch, walk, KILLS)
    with capsys.disabled():
        sys.stdout.write(f"\n  {scratch.connection.vendor}, {figure}\n")


def test_an_upgrade_killed_at_a_random_migration_is_finished_by_the_same_command(scratch: Scratch) -> None:
    chance = random.Random(SEED)
    killing = Killing(scratch, FORWARDS)

    def start(command: tuple[str, ...]) -> Ended:
        process = Process(scratch, *command)
        begun = chance.randint(1, 8)
        wait_until(lambda: process.said.count("Applying") >= begun, what="that migration")
        return process.killed(after=process.age + chance.uniform(0, 0.1), children=False)

    assert killing.survive(start, chance.choice(UP)), f"DATAMORTEM_SEED={SEED}"


def _number_of(executor: MigrationExecutor) -> int:
    """Return which migration in the executor's plan is the one that defers statements, from 1."""
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return 1 + [(migration.app_label, migration.name) for migration, _ in plan].index(DEFERRING)


def test_a_migration_is_never_committed_without_its_record(scratch: Scratch) -> None:
    killing = Killing(scratch, FORWARDS)
    number = _number_of(Executor(scratch.connection))

    def start(command: tuple[str, ...]) -> Ended:
        return Process(scratch, *command, lab=["--die", f"before-record:{number}"]).wait()

    assert killing.survive(start, ("db", "upgrade"))


@pytest.mark.schema
def test_with_the_stock_executor_the_same_kill_leaves_tables_without_a_record(scratch: Scratch) -> None:
    number = _number_of(MigrationExecutor(scratch.connection))
    Process(scratch, "migrate", lab=["--stock", "--die", f"before-record:{number}"]).wait()
    assert DEFERRING not in recorded(scratch.connection)
    with pytest.raises(AssertionError):
        assert_consistent(scratch)
    again = Process(scratch, "migrate", lab=["--stock"]).wait()
    assert again.status != 0
    assert "already exists" in again.said


@pytest.mark.schema
@pytest.mark.parametrize("point", ["before-record", "after-record", "after-commit"])
@pytest.mark.parametrize("walk", [FORWARDS, BACKWARDS], ids=lambda walk: walk.name)
def test_a_walk_killed_around_the_commit_of_each_migration(
    scratch: Scratch, walk: Walk, point: str, capsys: pytest.CaptureFixture[str]
) -> None:
    killing = Killing(scratch, walk)
    with original(scratch) as kept:
        number, died = 0, True
        while died:
            number += 1
            kept.put_back()

            def start(command: tuple[str, ...]) -> Ended:
                return Process(scratch, *command, lab=["--die", f"{point}:{number}"]).wait()  # noqa: B023

            died = killing.survive(start, walk.commands[-1])
    assert killing.survived > 5
    with capsys.disabled():
        sys.stdout.write(
            f"\n  {scratch.connection.vendor}, {walk.name}, {point}: {killing.survived} kills survived\n"
        )


STAGES = [f"{when}-{stage}" for stage in ("record:3", "fence:1", "finish:1") for when in ("before", "after")]


@pytest.mark.schema
@pytest.mark.parametrize("large", [1, 1_000_000], ids=["large", "small"])
def test_an_adoption_killed_at_each_stage_is_none_or_is_finished(scratch: Scratch, large: int) -> None:
    """With tables that count as large, too: those are confirmed after the commit."""
    killing = KillingAdoption(scratch, ADOPTION)
    with original(scratch) as kept:
        for point in STAGES:
            kept.put_back()

            def start(command: tuple[str, ...]) -> Ended:
                lab = ["--large", str(large), "--die", point]  # noqa: B023
                return Process(scratch, *command, lab=lab).wait()

            assert killing.survive(start, ADOPT), point


@pytest.mark.schema
def test_an_adoption_killed_before_its_commit_never_happened(scratch: Scratch) -> None:
    killing = KillingAdoption(scratch, ADOPTION)

    def start(command: tuple[str, ...]) -> Ended:
        return Process(scratch, *command, lab=["--die", "after-fence:1"]).wait()

    assert killing.survive(start, ADOPT)


_SLOW_COMMIT = """
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF new.name LIKE '0004_2a6d%' THEN PERFORM pg_sleep(6); END IF; RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON django_migrations DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION slow();
"""


@pytest.mark.schema
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no server that outlives a process")
def test_a_migrator_waits_for_the_commit_that_the_server_does_for_a_killed_one(
    scratch: Scratch,
) -> None:
    """Else it would not see what that commits, and do and record it again."""
    at_branch_point(scratch)
    own = scratch.connection
    with own.cursor() as cursor:
        cursor.execute(_SLOW_COMMIT)
        first = Process(scratch, "db", "upgrade")

        def commits() -> bool:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
            return bool(cursor.fetchone()[0])

        wait_until(commits, what="the slow commit")
        first.kill()
        assert first.wait().status == -signal.SIGKILL
        again = Process(scratch, "db", "upgrade").wait()
        assert again.status == 0, again
        cursor.execute("DROP TRIGGER slow ON django_migrations")
    assert_at_head(scratch)
