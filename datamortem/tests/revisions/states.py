"""States of a scratch database: making them, putting them back, and what must hold of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.apps import apps
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from datamortem.revisions.errors import LockHeld
from datamortem.revisions.graph import RevisionGraph
from datamortem.revisions.live import Level, drift
from datamortem.revisions.lock import migration_lock
from datamortem.tests.revisions.processes import wait_until
from datamortem.tests.revisions.scratch import Scratch

#: The branch point of the documented history: everything after it has rows to endanger.
BRANCH_POINT = "8f6e0f2be8d2"
BOOKKEEPING = {"django_migrations", "alembic_version", "alembic_version_before_adoption"}
#: What rows looked like at the branch point: kept by every walk forwards, and back to it.
COLUMNS_AT_BRANCH_POINT = {
    "users": "id, email, username, hashed_password, full_name, role, is_active, is_superuser",
    "cases": "id, case_id, status, note, owner_id, created_at_utc",
    "evidence": "id, evidence_uid, case_id, local_path, added_at_utc",
    "events": "id, ts, source, message, host, tags, score, case_id, evidence_uid, raw",
    "custom_scripts": "id, name, language, python_version, requirements, source_code, created_by_id",
}


class Original:
    """A database that can be put back as it was, quickly: a copied file, a copied database."""

    def __init__(self, scratch: Scratch) -> None:
        """Keep the present state of a database that no other process uses."""
        self._scratch = scratch
        self._kept = f"{scratch.alias}_kept"
        scratch.connection.close()
        if self._is_file:
            _copy_file(self._live, scratch.home / self._kept)
        else:
            self._on_server(f'CREATE DATABASE "{self._kept}" TEMPLATE "{self._live}"')

    def put_back(self) -> None:
        """Return the database to that state, whoever uses it."""
        self._scratch.connection.close()
        if self._is_file:
            for path in self._live_path.parent.glob(f"{self._live_path.name}-*"):
                path.unlink()
            _copy_file(self._scratch.home / self._kept, self._live)
        else:
            self._on_server(f'DROP DATABASE "{self._live}" WITH (FORCE)')
            self._on_server(f'CREATE DATABASE "{self._live}" TEMPLATE "{self._kept}"')

    def forget(self) -> None:
        """Remove what was kept."""
        if not self._is_file:
            self._on_server(f'DROP DATABASE "{self._kept}" WITH (FORCE)')

    @property
    def _is_file(self) -> bool:
        return self._scratch.connection.vendor == "sqlite"

    @property
    def _live(self) -> str:
        return str(self._scratch.connection.settings_dict["NAME"])

    @property
    def _live_path(self) -> Path:
        return Path(self._live)

    def _on_server(self, statement: str) -> None:
        with connections["default"]._nodb_cursor() as cursor:
            cursor.execute(statement)


def _copy_file(source: str | Path, target: str | Path) -> None:
    """Copy a SQLite database that is closed; without it (nothing was made yet) there is none after."""
    Path(target).unlink(missing_ok=True)
    if Path(source).exists():
        Path(target).write_bytes(Path(source).read_bytes())


@contextmanager
def original(scratch: Scratch) -> Iterator[Original]:
    """Keep the present state for as long as it is needed."""
    kept = Original(scratch)
    try:
        yield kept
    finally:
        kept.forget()


_AT = "2025-10-26 00:30:00.000001"  # inside the hour that Paris has twice


def fill(connection: BaseDatabaseWrapper, *, cases: int = 50) -> None:
    """Put rows into a database at the branch point or later."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO users (id, email, username, hashed_password, full_name, role, is_active,"
            " is_superuser, created_at_utc)"
            " VALUES (7, 'élodie@example.org', 'élodie', '$2b$04$none', 'É', 'lead', %s, %s, %s)",
            [True, False, _AT],
        )
        cursor.executemany(
            "INSERT INTO cases (id, case_id, status, note, owner_id, created_at_utc)"
            " VALUES (%s, %s, 'open', %s, 7, %s)",
            [(n, f"ir/{n}-é", "" if n % 2 else None, _AT) for n in range(1, cases + 1)],
        )
        cursor.executemany(
            "INSERT INTO evidence (id, evidence_uid, case_id, local_path, added_at_utc)"
            " VALUES (%s, %s, %s, '/evidence/x', %s)",
            [(n, f"ev-{n}", f"ir/{n}-é", _AT) for n in range(1, cases + 1)],
        )
        cursor.executemany(
            "INSERT INTO events (id, ts, source, message, case_id, evidence_uid, score, created_at_utc)"
            " VALUES (%s, %s, 'log', %s, %s, %s, %s, %s)",
            [
                (n, _AT, f"message {n}\n\t'\"", f"ir/{n}-é", f"ev-{n}", n % 3, _AT)
                for n in range(1, cases + 1)
            ],
        )
        cursor.execute(
            "INSERT INTO custom_scripts (id, name, language, python_version, source_code, created_by_id,"
            " created_at_utc, is_approved) VALUES (1, 's', 'python', '3.11', 'print()', 7, %s, %s)",
            [_AT, False],
        )
        if connection.vendor == "postgresql":
            for table in COLUMNS_AT_BRANCH_POINT:
                cursor.execute(
                    f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}"
                )


def at_branch_point(scratch: Scratch) -> None:
    """Bring an empty database to the branch point and put rows into it."""
    scratch.manage("db", "upgrade", BRANCH_POINT)
    fill(scratch.connection)


def at_head(scratch: Scratch) -> None:
    """Bring an empty database to the head, with rows and with values that a way back destroys."""
    at_branch_point(scratch)
    scratch.manage("migrate", "--verbosity", "0")
    with scratch.connection.cursor() as cursor:
        cursor.execute("UPDATE cases SET hedgedoc_slug = 'notes-' || id, title = 'Title'")
        cursor.execute("UPDATE users SET otp_secret = 'secret'")


def rows(connection: BaseDatabaseWrapper) -> dict[str, list[tuple[Any, ...]]]:
    """Return every value that was there at the branch point."""
    found = {}
    with connection.cursor() as cursor:
        for table, columns in COLUMNS_AT_BRANCH_POINT.items():
            cursor.execute(f"SELECT {columns} FROM {table} ORDER BY id")
            found[table] = cursor.fetchall()
    return found


# What must hold -------------------------------------------------------------------------------


def settled(scratch: Scratch) -> None:
    """Wait until the server has noticed that killed processes are gone; they may have been mid-statement."""
    connection = scratch.connection
    if connection.vendor != "postgresql":
        return

    def alone() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
            return bool(cursor.fetchone()[0] == 0)

    wait_until(alone, what="the end of the sessions of a killed process")


def recorded(connection: BaseDatabaseWrapper) -> list[tuple[str, str]]:
    """Return the recorded migrations in their order."""
    recorder = MigrationRecorder(connection)
    if not recorder.has_table():
        return []
    return list(recorder.migration_qs.order_by("id").values_list("app", "name"))


def assert_consistent(scratch: Scratch, *, extras: bool = False) -> None:
    """Assert that the tables are exactly what the recorded migrations make: none half done or twice.

    A database that was taken over may have extras.
    """
    connection = scratch.connection
    connection.close()  # what is seen is what a new process sees
    found = recorded(connection)
    twice = [node for node, count in Counter(found).items() if count > 1]
    assert not twice, twice
    differences = [found for found in drift(connection) if not extras or found.level is not Level.EXTRA]
    assert not differences, [str(difference) for difference in differences]
    loader = MigrationLoader(connection)
    models = loader.project_state([n for n in found if n in loader.graph.nodes]).apps.get_models(
        include_auto_created=True
    )
    with connection.cursor() as cursor:
        present = set(connection.introspection.table_names(cursor)) - BOOKKEEPING
        expected = {model._meta.db_table for model in models}
        assert expected <= present if extras else expected == present
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA integrity_check")
            assert cursor.fetchall() == [("ok",)]
            cursor.execute("PRAGMA foreign_key_check")
            assert cursor.fetchall() == []


def assert_at_head(scratch: Scratch, *, extras: bool = False) -> None:
    """Assert that every migration is recorded once, its tables are there, and so is what follows them."""
    assert_consistent(scratch, extras=extras)
    assert sorted(recorded(scratch.connection)) == sorted(MigrationLoader(None).graph.nodes)
    with scratch.connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM auth_permission")
        permissions = cursor.fetchone()[0]
    wanted = sum(
        len(model._meta.default_permissions) + len(model._meta.permissions) for model in apps.get_models()
    )
    assert permissions == wanted, "permissions are made when all migrations are done; not here"


def assert_at_branch_point(scratch: Scratch) -> None:
    """Assert that exactly the revisions up to the branch point are applied."""
    assert_consistent(scratch)
    graph = RevisionGraph(scratch.connection)
    assert graph.status().touched == graph.closure([BRANCH_POINT])


def is_locked(scratch: Scratch) -> bool:
    """Whether some process holds the migration lock."""
    try:
        with migration_lock(scratch.connection, wait=0):
            return False
    except LockHeld:
        return True
