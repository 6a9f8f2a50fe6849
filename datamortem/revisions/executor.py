"""How migrations are executed: each one whole or not at all, and never in the way for long.

Django runs the deferred statements of a migration (foreign keys, indexes for LIKE) when its
transaction ends, and records the migration after that, in a transaction of its own (Django ticket
32374). A process that dies in between leaves a changed schema and no record of it. Here one outer
transaction holds both. On PostgreSQL a statement waits for its table at most `LOCK_TIMEOUT`: a
waiting ALTER makes all later readers and writers queue behind it. The migration, rolled back,
is then tried again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from django.apps import apps as installed
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db import OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ModelState, ProjectState
from psycopg.errors import DeadlockDetected, LockNotAvailable

from datamortem.revisions.errors import Blocked
from datamortem.revisions.graph import Plan, in_order
from datamortem.revisions.lock import hold_until_commit
from datamortem.revisions.output import note

_StockExecutor: Any = MigrationExecutor  # whose plan is a list in truth, and a sequence in the type stubs
#: How long one statement waits for a table, in milliseconds. More than the server's deadlock_timeout (1 s):
#: a steady writer that checks a foreign key (child, then parent) against a migration that has the parent
#: and wants the child is a deadlock at each attempt, which then ends one of the two; less, and the
#: migration would give way to it for ever.
LOCK_TIMEOUT: Final = 1500
#: How often a migration is tried, with pauses (seconds) of 0.5, 1, 2, 4, 5, 5 … between.
ATTEMPTS: Final = 12
_LONGEST_PAUSE: Final = 5.0

Progress = Callable[..., None]
Result = TypeVar("Result")

_OTHERS: Final = """
    SELECT pid, coalesce(nullif(application_name, ''), 'a session'), usename, state,
           round(extract(epoch FROM now() - xact_start))
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
    ORDER BY xact_start LIMIT 5
"""


class Executor(_StockExecutor):  # type: ignore[misc]
    """Django's executor with the transactions and the lock waits described above.

    `before` is called with the plan, before anything is changed and not for a faked one, and
    refuses by raising.
    """

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        progress_callback: Progress | None = None,
        *,
        before: Callable[[Plan], object] | None = None,
    ) -> None:
        super().__init__(connection, progress_callback)
        self._before = before

    def migration_plan(self, targets: Any, clean_start: bool = False) -> Plan:
        """Return Django's plan, forwards in the order of `db history`."""
        plan: Plan = super().migration_plan(targets, clean_start)
        if any(undone for _, undone in plan):
            return plan
        position = {node: number for number, node in enumerate(in_order(self.loader.graph))}
        return sorted(plan, key=lambda step: position[step[0].app_label, step[0].name])

    def migrate(
        self,
        targets: Any,
        plan: Plan | None = None,
        state: ProjectState | None = None,
        fake: bool = False,
        fake_initial: bool = False,
    ) -> ProjectState:
        """Execute a plan. Raises what `before` raises, and Blocked."""
        if plan and not fake and self._before:
            self._before(plan)
        with short_lock_waits(self.connection):
            after: ProjectState = super().migrate(targets, plan, state, fake, fake_initial)
            return after

    def apply_migration(
        self, state: ProjectState, migration: Migration, fake: bool = False, fake_initial: bool = False
    ) -> ProjectState:
        """Apply and record one migration in one transaction."""
        apply = super().apply_migration
        return self._whole(migration, lambda s: apply(s, migration, fake, fake_initial), state)

    def unapply_migration(
        self, state: ProjectState, migration: Migration, fake: bool = False
    ) -> ProjectState:
        """Undo one migration and its record in one transaction."""
        unapply = super().unapply_migration
        return self._whole(migration, lambda s: unapply(s, migration, fake), state)

    def _whole(
        self, migration: Migration, act: Callable[[ProjectState], ProjectState], state: ProjectState
    ) -> ProjectState:
        if not migration.atomic:
            return act(state)  # its operations look after themselves, and only they can be repeated

        def attempt() -> ProjectState:
            with whole_transaction(self.connection):
                return act(state.clone() if self.connection.vendor == "postgresql" else state)

        return when_free(self.connection, attempt, what=str(migration), tell=bool(self.progress_callback))


def when_free(
    connection: BaseDatabaseWrapper,
    attempt: Callable[[], Result],
    *,
    what: str,
    before: str = "what came before it is done",
    tell: bool = True,
) -> Result:
    """Return what a transaction returns; it is repeated while others use its tables. Raises Blocked."""
    for number in range(1, ATTEMPTS + 1):
        try:
            return attempt()
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable | DeadlockDetected):
                raise
            if number == ATTEMPTS:
                raise Blocked(
                    f"{what} waited {ATTEMPTS} times for tables that others use and was rolled back; "
                    f"{before}. Open transactions: {_open_transactions(connection) or 'none'}. "
                    "End them, then run this again."
                ) from error
            pause = min(0.25 * 2**number, _LONGEST_PAUSE)
            if tell:
                note(f" a table of it is in use; again in {pause:g} s")
            time.sleep(pause)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _open_transactions(connection: BaseDatabaseWrapper) -> str:
    with connection.cursor() as cursor:
        cursor.execute(_OTHERS)
        return "; ".join(
            f"{name} of {user}, process {pid}, {state}, for {seconds} s"
            for pid, name, user, state, seconds in cursor.fetchall()
        )


@contextmanager
def whole_transaction(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """One transaction around schema editors. SQLite's refuse to work in one that checks foreign keys."""
    sqlite = connection.vendor == "sqlite" and not connection.in_atomic_block
    if sqlite:
        connection.disable_constraint_checking()
    try:
        with transaction.atomic(using=connection.alias):
            hold_until_commit(connection)
            yield
    finally:
        if sqlite:
            connection.enable_constraint_checking()


@contextmanager
def short_lock_waits(connection: BaseDatabaseWrapper, milliseconds: int = LOCK_TIMEOUT) -> Iterator[None]:
    """Let no statement of this session wait for a table longer than that (PostgreSQL)."""
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('lock_timeout')")
        (usual,) = cursor.fetchone()
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", [f"{milliseconds}ms"])
    try:
        yield
    finally:
        if connection.connection is not None and connection.is_usable():
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, false)", [usual])


def run_plan(
    connection: BaseDatabaseWrapper, plan: Plan, *, progress: Progress | None = None, verbosity: int = 1
) -> None:
    """Execute a plan as `migrate` would, with its signals. The caller holds the migration lock."""
    executor = Executor(connection, progress)
    executor.loader.check_consistent_history(connection)
    before = executor._create_project_state(with_applied_migrations=True)
    emit_pre_migrate_signal(verbosity, False, connection.alias, apps=before.apps, plan=plan)
    nodes = [(executor.loader.graph.nodes[m.app_label, m.name], undo) for m, undo in plan]
    after = executor.migrate(None, plan=nodes, state=before.clone())
    # As in Django's command: handlers see models with the base classes of today.
    after.clear_delayed_apps_cache()
    with after.apps.bulk_update():
        keys = [(model.app_label, model.name_lower) for model in after.apps.real_models]
        for key in keys:
            after.apps.unregister_model(*key)
    after.apps.render_multiple([ModelState.from_model(installed.get_model(*key)) for key in keys])
    emit_post_migrate_signal(verbosity, False, connection.alias, apps=after.apps, plan=plan)
