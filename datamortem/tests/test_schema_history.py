"""The documented chain: its graph, both directions, and models that say the same."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

OURS = ("accounts", "cases", "scripts_marketplace")


@pytest.fixture(scope="module")
def loader() -> MigrationLoader:
    return MigrationLoader(None)


def revisions(loader: MigrationLoader) -> dict[str, list[tuple[str, str]]]:
    """Revision id -> its migrations."""
    found: dict[str, list[tuple[str, str]]] = {}
    for key in loader.graph.nodes:
        if revision := getattr(loader.disk_migrations[key], "revision", None):
            found.setdefault(revision, []).append(key)
    return found


def ours(nodes: Any) -> set[tuple[str, str]]:
    return {node.key for node in nodes if node.key[0] in OURS}


def test_the_documented_revisions_are_there_with_their_titles(loader: MigrationLoader) -> None:
    titles = {
        getattr(migration, "revision", ""): getattr(migration, "title", "")
        for migration in loader.disk_migrations.values()
        if hasattr(migration, "revision")
    }
    assert titles["c6e23e92af16"] == "Add users table and user foreign key to cases"
    assert titles["8f6e0f2be8d2"] == "Add python_version and requirements to custom_scripts"
    assert titles["7b4f50a1e0e0"] == "Add email verification and OTP fields to users"
    assert titles["2a6d94c6cc2b"] == "Add HedgeDoc slug to cases"
    assert titles["7c6ac304c575"] == "Merge multiple heads"
    assert titles["0d8c359bb4f1"] == "Sync with current models state"


def test_the_branch_point_has_two_children_and_the_merge_two_parents(loader: MigrationLoader) -> None:
    found = revisions(loader)
    (branch,), (merge,), (sync,) = found["8f6e0f2be8d2"], found["7c6ac304c575"], found["0d8c359bb4f1"]
    assert ours(loader.graph.node_map[branch].children) == {
        *found["7b4f50a1e0e0"],
        *found["2a6d94c6cc2b"],
    }
    assert ours(loader.graph.node_map[merge].parents) == {
        *found["7b4f50a1e0e0"],
        *found["2a6d94c6cc2b"],
    }
    assert loader.disk_migrations[merge].operations == []
    assert loader.disk_migrations[sync].operations == []
    assert ours(loader.graph.node_map[sync].parents) == {merge}


def test_the_first_migration_of_accounts_depends_on_nothing_of_ours(loader: MigrationLoader) -> None:
    first = loader.graph.node_map[("accounts", "0001_c6e23e92af16_users")]
    assert ours(first.parents) == set()


def test_every_migration_is_a_revision_or_a_baseline_and_each_app_has_one_leaf(
    loader: MigrationLoader,
) -> None:
    for key, migration in loader.disk_migrations.items():
        if key[0] in OURS:
            assert hasattr(migration, "revision") != getattr(migration, "baseline", False), key
    for app in OURS:
        assert len(loader.graph.leaf_nodes(app)) == 1


@pytest.mark.django_db
def test_models_and_migrations_say_the_same() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def _tables() -> set[str]:
    with connection.cursor() as cursor:
        return set(connection.introspection.table_names(cursor))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("app", OURS)
def test_stock_migrate_walks_to_zero_and_back_and_rows_of_cases_survive(app: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO cases (case_id, status, created_at_utc) VALUES ('kept', 'open', '2025-01-01')"
        )
    before = _tables()
    try:
        if app == "cases":
            with pytest.raises(CommandError, match="--yes"):
                call_command("migrate", app, "zero", verbosity=0)
            assert _tables() == before
        call_command("migrate", app, "zero", verbosity=0, yes=app == "cases")
        if app != "cases":
            with connection.cursor() as cursor:
                cursor.execute("SELECT case_id FROM cases")
                assert cursor.fetchall() == [("kept",)]
    finally:
        call_command("migrate", verbosity=0)
    assert _tables() == before


@pytest.mark.django_db(transaction=True)
def test_the_old_system_has_the_columns_the_models_name() -> None:
    documented = {
        "users": "email username hashed_password full_name role is_active is_superuser created_at_utc"
        " last_login_utc email_verified email_verification_token email_verification_sent_at otp_enabled"
        " otp_secret",
        "cases": "case_id status created_at_utc note owner_id hedgedoc_slug",
        "evidence": "evidence_uid case_id local_path added_at_utc",
        "analysis_modules": "name description tool enabled",
        "task_run": "task_name evidence_uid status progress_message started_at_utc ended_at_utc output_path"
        " error_message celery_task_id module_id script_id created_at_utc",
        "events": "ts source message host user tags score case_id evidence_uid raw created_at_utc",
        "custom_scripts": "name description language python_version requirements source_code created_at_utc"
        " created_by_id is_approved published_at",
        "user_scripts": "user_id script_id installed_at",
    }
    with connection.cursor() as cursor:
        for table, columns in documented.items():
            live = {c.name for c in connection.introspection.get_table_description(cursor, table)}
            assert set(columns.split()) <= live, table
