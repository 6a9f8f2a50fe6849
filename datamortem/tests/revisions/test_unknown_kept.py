"""What Django does not know survives the whole documented history on SQLite, down and up."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from datamortem.revisions import live
from datamortem.tests.revisions.scratch import Scratch

pytestmark = [
    pytest.mark.schema,
    pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite makes tables anew"),
]

ROWS = (
    "users (id, email, username, hashed_password, role, is_active, is_superuser, created_at_utc,"
    " email_verified, otp_enabled) VALUES (7, 'e', 'u', 'x', 'analyst', 1, 0, '2025-01-01', 0, 0)",
    "cases (id, case_id, status, created_at_utc, owner_id) VALUES (3, 'c', 'open', '2025-01-01', 7)",
    "evidence (id, evidence_uid, added_at_utc, case_id) VALUES (9, 'ev', '2025-01-01', 'c')",
    "custom_scripts (id, name, language, source_code, created_at_utc, is_approved, created_by_id,"
    " python_version) VALUES (2, 's', 'python', 'x', '2025-01-01', 0, 7, '3.11')",
    "task_run (id, task_name, status, created_at_utc, evidence_uid, script_id)"
    " VALUES (4, 't', 'queued', '2025-01-01', 'ev', 2)",
    "events (id, ts, source, message, created_at_utc, case_id) VALUES (5, 't', 's', 'm', '2025-01-01', 'c')",
)
TABLES = ("users", "cases", "evidence", "custom_scripts", "task_run", "events")
UNKNOWN = (
    'ALTER TABLE {0} ADD COLUMN "odd Col" blob',
    "ALTER TABLE {0} ADD COLUMN req integer NOT NULL DEFAULT 5",
    "ALTER TABLE {0} ADD COLUMN ref integer REFERENCES users (id)",
    "UPDATE {0} SET \"odd Col\" = x'00ff', req = 77, ref = 7",
    "CREATE UNIQUE INDEX own_{0} ON {0} (req, id)",
    "CREATE VIEW seen_{0} AS SELECT id, req FROM {0}",
    "CREATE TRIGGER noted_{0} AFTER UPDATE ON {0} BEGIN SELECT 1; END",
)
DOWN = (
    ("cases", "0006_0d8c359bb4f1_sync"),
    ("accounts", "0002_7b4f50a1e0e0_user_security_fields"),
    ("cases", "0004_2a6d94c6cc2b_hedgedoc_slug"),
    ("accounts", "0001_c6e23e92af16_users"),
    ("cases", "0003_task_run_script"),
)


def test_unknown_columns_indexes_views_and_triggers_survive_every_revision(scratch: Scratch) -> None:
    def ask(query: str) -> list[Any]:
        with scratch.connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    def kept() -> list[Any]:
        rows = [ask(f'SELECT id, "odd Col", req, ref FROM {table}') for table in TABLES]
        own = "type IN ('view', 'trigger') OR substr(name, 1, 4) = 'own_'"
        return [*rows, ask(f"SELECT name, sql FROM sqlite_master WHERE {own} ORDER BY name")]

    def go(target: tuple[str, str] | None = None) -> None:
        executor = MigrationExecutor(scratch.connection)
        executor.migrate([target] if target else executor.loader.graph.leaf_nodes())

    def faults() -> list[str]:
        found = live.drift(scratch.connection)
        return [str(difference) for difference in found if difference.level is not live.Level.EXTRA]

    go()
    for row in ROWS:
        ask(f"INSERT INTO {row}")
    for table in TABLES:
        for statement in UNKNOWN:
            ask(statement.format(table))
    before = kept()
    for target in (*DOWN, None):
        go(target)
        assert kept() == before, target
        assert faults() == [], target
    assert ask("PRAGMA integrity_check") == [("ok",)]
    assert ask("PRAGMA foreign_key_check") == []
