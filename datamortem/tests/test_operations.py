"""The operations of the documented chain complete what is there, and refuse what is something else."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, migrations, models
from django.db.migrations.state import ProjectState

from datamortem.revisions import live
from datamortem.revisions.errors import RowsInTheWay, Unfit
from datamortem.revisions.operations import AddFieldIfMissing, CreateModelIfMissing

_TABLE = live.Table("none")

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
        for table in ("lab_thing_places", "lab_thing", "lab_place"):
            kind = "VIEW" if live.read(connection, [table]).get(table, _TABLE).kind == "view" else "TABLE"
            cursor.execute(f"DROP {kind} IF EXISTS {table}")


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


def rows(query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def refused(operation: Any, state: ProjectState) -> str:
    """Apply an operation that must be refused, prove that nothing has changed, and return why."""
    before = (live.read(connection), rows("SELECT * FROM lab_thing"))
    with pytest.raises((Unfit, RowsInTheWay)) as caught:
        apply(operation, state)
    assert (live.read(connection), rows("SELECT * FROM lab_thing")) == before
    return str(caught.value)


def full() -> CreateModelIfMissing:
    """A model with something of everything; lab_place must be there."""
    return CreateModelIfMissing(
        name="Thing",
        fields=[
            ("id", models.AutoField(primary_key=True)),
            ("name", models.CharField(unique=True)),
            ("kind", models.CharField(default="plain", db_index=True)),
            ("note", models.TextField(null=True)),
            ("place", models.ForeignKey("lab.place", models.CASCADE, null=True)),
            ("places", models.ManyToManyField("lab.place", related_name="+")),
            ("score", models.IntegerField(db_default=5)),
        ],
        options={
            "db_table": "lab_thing",
            "constraints": [
                models.UniqueConstraint(fields=["kind", "note"], name="lab_kind_note"),
                models.CheckConstraint(condition=models.Q(score__lt=100), name="lab_score"),
            ],
            "indexes": [models.Index(fields=["score", "-id"], name="lab_by_score")],
        },
    )


def with_places() -> ProjectState:
    key: models.Field[Any, Any] = models.AutoField(primary_key=True)
    return apply(CreateModelIfMissing("Place", [("id", key)], {"db_table": "lab_place"}), ProjectState())


def differences(state: ProjectState) -> list[str]:
    """What is left, without what the operations leave to adoption."""
    expected = live.expected(connection, state, {"lab"})
    found = live.compare(connection.vendor, expected, live.read(connection, expected))
    return [str(d) for d in found if d.level is live.Level.ERROR or (d.absent and "LIKE" not in d.what)]


def test_a_table_that_is_there_without_its_constraint_is_completed_and_keeps_its_rows() -> None:
    run(
        "CREATE TABLE lab_thing (id integer PRIMARY KEY, name varchar NOT NULL)",
        "INSERT INTO lab_thing (id, name) VALUES (7, 'kept')",
    )
    apply(create(), ProjectState())
    assert ("name",) in uniques()
    assert rows("SELECT id, name FROM lab_thing") == [(7, "kept")]


def test_a_column_that_is_there_without_its_constraint_is_completed() -> None:
    state = apply(create(), ProjectState())
    run(
        "ALTER TABLE lab_thing ADD COLUMN slug varchar",
        "INSERT INTO lab_thing (id, name, slug) VALUES (1, 'a', 's')",
    )
    apply(AddFieldIfMissing("thing", "slug", models.CharField(null=True, unique=True)), state)
    assert ("slug",) in uniques()
    assert rows("SELECT slug FROM lab_thing") == [("s",)]


def test_what_is_missing_is_made_and_doing_it_twice_changes_nothing() -> None:
    state = apply(create(), ProjectState())
    apply(create(), ProjectState())
    field = AddFieldIfMissing("thing", "slug", models.CharField(null=True, unique=True))
    apply(field, state)
    apply(field, state)
    assert columns() == {"id", "name", "slug"}


def test_everything_a_table_lacks_is_added_and_rows_get_the_defaults() -> None:
    state = with_places()
    run(
        "CREATE TABLE lab_thing (id integer PRIMARY KEY, name varchar, extra varchar)",
        "INSERT INTO lab_thing (id, name, extra) VALUES (1, 'a', 'x'), (7, 'b', NULL)",
    )
    after = apply(full(), state)
    assert differences(after) == []
    assert rows("SELECT id, name, kind, note, place_id, score, extra FROM lab_thing ORDER BY id") == [
        (1, "a", "plain", None, None, 5, "x"),
        (7, "b", "plain", None, None, 5, None),
    ]
    assert live.read(connection, ["lab_thing_places"]) != {}
    apply(full(), state)
    assert differences(after) == []


def test_what_is_wide_enough_is_accepted_as_the_old_system_made_it() -> None:
    state = with_places()
    times = "timestamp" if connection.vendor == "postgresql" else "DATETIME"
    number = "serial" if connection.vendor == "postgresql" else "INTEGER"
    run(
        f"CREATE TABLE lab_thing (id {number} PRIMARY KEY, name text UNIQUE NOT NULL, at {times},"
        " place_id integer REFERENCES lab_place (id), ok BOOLEAN NOT NULL)"
    )
    operation = CreateModelIfMissing(
        name="Thing",
        fields=[
            ("id", models.AutoField(primary_key=True)),
            ("name", models.CharField(unique=True)),
            ("at", models.DateTimeField(null=True)),
            ("place", models.ForeignKey("lab.place", models.CASCADE, null=True, db_index=False)),
            ("ok", models.BooleanField()),
        ],
        options={"db_table": "lab_thing"},
    )
    before = live.read(connection)
    after = apply(operation, state)
    assert live.read(connection) == before
    with connection.schema_editor() as editor:
        found, wanted = operation.present("lab", editor, state, after)
    assert found == wanted


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("CREATE VIEW lab_thing AS SELECT 1 AS id, 'a' AS name", "is a view"),
        ("CREATE TABLE lab_thing (id integer, name varchar PRIMARY KEY)", "primary key is name, expected id"),
        ("CREATE TABLE lab_thing (id integer PRIMARY KEY, name integer)", "name is integer, expected"),
    ],
)
def test_what_is_something_else_is_refused(table: str, reason: str) -> None:
    run(table)
    assert reason in refused(create(), ProjectState())


def test_a_foreign_key_that_leads_elsewhere_is_refused() -> None:
    state = apply(create(), with_places())
    run("ALTER TABLE lab_thing ADD COLUMN place_id integer REFERENCES lab_thing (id)")
    field = models.ForeignKey("lab.place", models.CASCADE, null=True)
    reason = refused(AddFieldIfMissing("thing", "place", field), state)
    assert "place_id -> lab_thing (id), expected place_id -> lab_place (id)" in reason


def test_rows_that_break_a_constraint_are_named_and_nothing_changes() -> None:
    state = apply(create(), with_places())
    run("ALTER TABLE lab_thing ADD COLUMN slug varchar", "ALTER TABLE lab_thing ADD COLUMN place_id integer")
    for number in range(1, 9):
        run(f"INSERT INTO lab_thing (id, name, slug) VALUES ({number}, 'n{number}', 'same')")
    run("UPDATE lab_thing SET slug = NULL WHERE id = 8", "UPDATE lab_thing SET place_id = 77 WHERE id = 3")
    unique = AddFieldIfMissing("thing", "slug", models.CharField(null=True, unique=True))
    assert "7 rows of lab_thing share slug with another" in refused(unique, state)
    assert "id 1, 2, 3, 4, 5 …" in refused(unique, state)
    required = AddFieldIfMissing("thing", "slug", models.CharField())
    assert "1 rows of lab_thing have no slug, which is required: id 8." in refused(required, state)
    place = AddFieldIfMissing("thing", "place", models.ForeignKey("lab.place", models.CASCADE, null=True))
    reason = refused(place, state)
    assert "1 rows of lab_thing name a place_id that is not in lab_place (id): id 3." in reason


def test_a_required_column_without_default_is_refused_when_rows_are_there() -> None:
    state = apply(create(), ProjectState())
    size = AddFieldIfMissing("thing", "size", models.IntegerField())
    run("INSERT INTO lab_thing (id, name) VALUES (1, 'a')")
    assert "lab_thing has 1 rows but no column size" in refused(size, state)
    run("DELETE FROM lab_thing")
    apply(size, state)
    assert columns() == {"id", "name", "size"}


def test_present_tells_the_parts_that_are_there() -> None:
    state = with_places()
    after = state.clone()
    operation = full()
    operation.state_forwards("lab", after)

    def lacking() -> tuple[int, set[str]]:
        with connection.schema_editor() as editor:
            found, wanted = operation.present("lab", editor, state, after)
        return len(found), wanted - found

    number, missing = lacking()
    assert number == 0
    assert {"table lab_thing", "column lab_thing.name", "unique lab_thing.name"} <= missing
    assert {"foreign key lab_thing.place_id", "index lab_thing.kind", "table lab_thing_places"} <= missing
    run("CREATE TABLE lab_thing (id integer PRIMARY KEY, name varchar UNIQUE NOT NULL)")
    number, missing = lacking()
    assert number > 0
    assert "unique lab_thing.name" not in missing
    apply(operation, state)
    assert lacking()[1] == set()


def test_present_of_a_column_speaks_of_that_column_only() -> None:
    state = apply(create(), ProjectState())
    field = AddFieldIfMissing("thing", "slug", models.CharField(null=True, unique=True))
    after = state.clone()
    field.state_forwards("lab", after)
    run("ALTER TABLE lab_thing ADD COLUMN slug varchar")
    with connection.schema_editor() as editor:
        found, wanted = field.present("lab", editor, state, after)
    assert found == {"column lab_thing.slug"}
    assert wanted - found == {"unique lab_thing.slug"}


def test_going_back_takes_what_is_there_and_minds_nothing_that_is_not() -> None:
    before = ProjectState()
    state = apply(create(), before)
    field = AddFieldIfMissing("thing", "slug", models.CharField(null=True))
    after = state.clone()
    field.state_forwards("lab", after)
    for _ in range(2):
        with connection.schema_editor() as editor:
            field.database_backwards("lab", editor, after, state)
        assert columns() == {"id", "name"}
    for _ in range(2):
        with connection.schema_editor() as editor:
            create().database_backwards("lab", editor, state, before)
            field.database_backwards("lab", editor, after, state)
        assert live.read(connection, ["lab_thing"]) == {}


def test_collected_sql_is_whole_whatever_the_database_holds() -> None:
    state = apply(create(), ProjectState())
    with connection.schema_editor(collect_sql=True) as editor:
        create().database_forwards("lab", editor, ProjectState(), state)
    assert any(sql.startswith("CREATE TABLE") for sql in editor.collected_sql)
