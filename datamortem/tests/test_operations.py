"""The operations of the documented chain complete what is there; SQLite keeps unknown columns."""

from __future__ import annotations

import pytest
from django.db import connection, migrations, models
from django.db.migrations.state import ProjectState

from datamortem.revisions.operations import AddFieldIfMissing, CreateModelIfMissing

pytestmark = pytest.mark.django_db(transaction=True)


def apply(operation: migrations.operations.base.Operation, state: ProjectState) -> ProjectState:
    after = state.clone()
    operation.state_forwards("lab", after)
    with connection.schema_editor() as editor:
        operation.database_forwards("lab", editor, state, after)
    return after


def create(name: str = "Thing") -> CreateModelIfMissing:
    return CreateModelIfMissing(
        name=name,
        fields=[("id", models.AutoField(primary_key=True)), ("name", models.CharField(unique=True))],
        options={"db_table": f"lab_{name.lower()}"},
    )


@pytest.fixture(autouse=True)
def _clean() -> object:
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS lab_thing")


def uniques() -> set[tuple[str, ...]]:
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, "lab_thing").values()
    return {tuple(c["columns"]) for c in found if c["unique"] and not c["primary_key"]}


def columns() -> set[str]:
    with connection.cursor() as cursor:
        return {c.name for c in connection.introspection.get_table_description(cursor, "lab_thing")}


def run(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def test_a_table_that_is_there_without_its_constraint_is_completed_and_keeps_its_rows() -> None:
    run(
        "CREATE TABLE lab_thing (id integer PRIMARY KEY, name varchar NOT NULL)",
        "INSERT INTO lab_thing (id, name) VALUES (7, 'kept')",
    )
    apply(create(), ProjectState())
    assert ("name",) in uniques()
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, name FROM lab_thing")
        assert cursor.fetchall() == [(7, "kept")]


def test_a_column_that_is_there_without_its_constraint_is_completed() -> None:
    state = apply(create(), ProjectState())
    run(
        "ALTER TABLE lab_thing ADD COLUMN slug varchar",
        "INSERT INTO lab_thing (id, name, slug) VALUES (1, 'a', 's')",
    )
    apply(AddFieldIfMissing("thing", "slug", models.CharField(null=True, unique=True)), state)
    assert ("slug",) in uniques()
    with connection.cursor() as cursor:
        cursor.execute("SELECT slug FROM lab_thing")
        assert cursor.fetchall() == [("s",)]


def test_what_is_missing_is_made_and_doing_it_twice_changes_nothing() -> None:
    state = apply(create(), ProjectState())
    apply(create(), ProjectState())
    field = AddFieldIfMissing("thing", "slug", models.CharField(null=True, unique=True))
    apply(field, state)
    apply(field, state)
    assert columns() == {"id", "name", "slug"}


@pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite rebuilds tables")
def test_a_rebuild_keeps_columns_django_does_not_know_with_values_and_indexes() -> None:
    state = apply(create(), ProjectState())
    run(
        "ALTER TABLE lab_thing ADD COLUMN timeout_seconds integer NOT NULL DEFAULT 300",
        "ALTER TABLE lab_thing ADD COLUMN entry_point varchar",
        "CREATE INDEX lab_entry ON lab_thing (entry_point)",
        "INSERT INTO lab_thing (id, name, timeout_seconds, entry_point) VALUES (1, 'a', 900, './x')",
    )
    apply(migrations.AlterField("thing", "name", models.CharField(unique=False)), state)
    assert ("name",) not in uniques()
    with connection.cursor() as cursor:
        cursor.execute("SELECT timeout_seconds, entry_point FROM lab_thing")
        assert cursor.fetchall() == [(900, "./x")]
        assert "lab_entry" in connection.introspection.get_constraints(cursor, "lab_thing")
