"""A table of SQLite made anew keeps what Django does not know, or stays as it was."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError, connection, migrations, models
from django.db.migrations.state import ProjectState

from datamortem.revisions.errors import WouldLose
from datamortem.sqlite3.statement import checks, normal, table_statement, tokens

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite makes tables anew"),
]

UNIQUE = migrations.AlterField("thing", "name", models.CharField(unique=True))


def run(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def rows(query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def schema() -> list[tuple[Any, ...]]:
    return rows("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name")


def names(kind: str) -> set[str]:
    return {name for found, name, *_ in schema() if found == kind}


def apply(operation: migrations.operations.base.Operation, state: ProjectState) -> ProjectState:
    after = state.clone()
    operation.state_forwards("lab", after)
    with connection.schema_editor() as editor:
        operation.database_forwards("lab", editor, state, after)
    return after


@pytest.fixture
def state() -> Any:
    """A table of Django's, `lab_thing` (id, name, size), and one it refers to nowhere, `lab_place`."""
    fields: list[tuple[str, models.Field[Any, Any]]] = [
        ("id", models.AutoField(primary_key=True)),
        ("name", models.CharField()),
        ("size", models.IntegerField(null=True)),
    ]
    run("CREATE TABLE lab_place (id integer PRIMARY KEY, label varchar)")
    yield apply(migrations.CreateModel("Thing", fields, {"db_table": "lab_thing"}), ProjectState())
    for view in names("view"):
        run(f"DROP VIEW {view}")
    run("DROP TABLE IF EXISTS lab_log", "DROP TABLE lab_thing", "DROP TABLE lab_place")


def remade(*definitions: str) -> None:
    """Replace lab_thing by a table with further columns or constraints, as a person would."""
    (sql,) = rows("SELECT sql FROM sqlite_master WHERE name = 'lab_thing'")[0]
    run("DROP TABLE lab_thing", sql[: sql.rindex(")")] + ", " + ", ".join(definitions) + ")")


def test_unknown_columns_keep_values_of_every_storage_class_and_their_definition(state: Any) -> None:
    remade(
        "anything",
        "amount DECIMAL(10, 2) NOT NULL",
        "label varchar(5) NOT NULL DEFAULT 'a, (b)' COLLATE NOCASE CHECK (length(label) < 99)",
        "place integer REFERENCES lab_place (id) ON DELETE CASCADE",
    )
    run(
        "INSERT INTO lab_place VALUES (1, 'here')",
        "INSERT INTO lab_thing VALUES (1, 'a', 1, x'00ff', 1.5, 'Lab', 1)",
        "INSERT INTO lab_thing VALUES (2, 'b', 2, NULL, 0, '', NULL)",
        "INSERT INTO lab_thing VALUES (7, 'c', NULL, 'a' || char(0) || 'b', '1e3x', char(0), 1)",
        "INSERT INTO lab_thing VALUES (9, 'd', NULL, 9007199254740993, 0.1, '€', NULL)",
    )
    query = (
        "SELECT id, name, size, anything, amount, label, place, typeof(anything), hex(anything),"
        " typeof(amount), hex(label) FROM lab_thing ORDER BY id"
    )
    before = rows(query)
    apply(UNIQUE, state)
    assert rows(query) == before
    (sql,) = rows("SELECT sql FROM sqlite_master WHERE name = 'lab_thing'")[0]
    assert "label varchar(5) NOT NULL DEFAULT 'a, (b)' COLLATE NOCASE CHECK (length(label) < 99)" in sql
    assert "amount DECIMAL(10, 2) NOT NULL" in sql
    assert "place integer REFERENCES lab_place (id) ON DELETE CASCADE" in sql
    assert '"name" varchar NOT NULL UNIQUE' in sql


def test_a_column_is_known_whatever_case_its_name_has(state: Any) -> None:
    run("ALTER TABLE lab_thing RENAME COLUMN size TO SIZE", "INSERT INTO lab_thing VALUES (1, 'a', 5)")
    apply(UNIQUE, state)
    assert rows("SELECT size FROM lab_thing") == [(5,)]
    assert len(rows("PRAGMA table_info(lab_thing)")) == 3


def test_computed_columns_are_kept_and_go_on_computing(state: Any) -> None:
    remade(
        "twice integer GENERATED ALWAYS AS (size * 2) VIRTUAL",
        "loud text AS (upper(name)) STORED",
    )
    run("INSERT INTO lab_thing (id, name, size) VALUES (1, 'a', 4)")
    apply(UNIQUE, state)
    run("INSERT INTO lab_thing (id, name, size) VALUES (2, 'b', 5)")
    assert rows("SELECT twice, loud FROM lab_thing ORDER BY id") == [(8, "A"), (10, "B")]


def test_constraints_django_does_not_know_are_kept(state: Any) -> None:
    remade(
        "code varchar",
        "place integer",
        "CONSTRAINT one_code UNIQUE (name, code)",
        "UNIQUE (name, size)",
        "FOREIGN KEY (place) REFERENCES lab_place (id) DEFERRABLE INITIALLY DEFERRED",
        "CONSTRAINT small CHECK (size < 1000)",
        "CHECK (code <> 'x, y')",
    )
    apply(UNIQUE, state)
    statement = table_statement(rows("SELECT sql FROM sqlite_master WHERE name = 'lab_thing'")[0][0])
    assert [" ".join(token.text for token in part) for part in statement.constraints] == [
        "CONSTRAINT one_code UNIQUE ( name , code )",
        "UNIQUE ( name , size )",
        "FOREIGN KEY ( place ) REFERENCES lab_place ( id ) DEFERRABLE INITIALLY DEFERRED",
        'CONSTRAINT "small" CHECK ( size < 1000 )',
        "CHECK ( code <> 'x, y' )",
    ]
    apply(migrations.AlterField("thing", "name", models.CharField()), state)
    assert len(rows("PRAGMA foreign_key_list(lab_thing)")) == 1


def test_constraints_are_not_doubled_and_go_when_a_migration_removes_them(state: Any) -> None:
    both = models.UniqueConstraint(fields=["name", "size"], name="both")
    small = models.CheckConstraint(condition=models.Q(size__lt=9), name="small")
    for constraint in (both, small):
        state = apply(migrations.AddConstraint("thing", constraint), state)
    (sql,) = rows("SELECT sql FROM sqlite_master WHERE name = 'lab_thing'")[0]
    assert sql.count("both") == sql.count("small") == 1
    for name in ("both", "small"):
        state = apply(migrations.RemoveConstraint("thing", name), state)
    (sql,) = rows("SELECT sql FROM sqlite_master WHERE name = 'lab_thing'")[0]
    assert "UNIQUE" not in sql
    assert "CHECK" not in sql


def test_indexes_triggers_and_views_are_kept_and_work(state: Any) -> None:
    run(
        "CREATE INDEX by_size ON lab_thing (size DESC) WHERE size > 3",
        "CREATE UNIQUE INDEX loud ON lab_thing (upper(name))",
        "CREATE TABLE lab_log (name varchar)",
        "CREATE TRIGGER noted AFTER INSERT ON lab_thing BEGIN INSERT INTO lab_log VALUES (new.name); END",
        "CREATE TRIGGER cascaded AFTER DELETE ON lab_place"
        " BEGIN DELETE FROM lab_thing WHERE size = old.id; END",
        "CREATE VIEW lab_big AS SELECT id, name FROM lab_thing WHERE size > 3",
        "CREATE VIEW lab_bigger AS SELECT * FROM lab_big",
        "CREATE TRIGGER through_view INSTEAD OF INSERT ON lab_bigger"
        " BEGIN INSERT INTO lab_thing (name, size) VALUES (new.name, 9); END",
        "INSERT INTO lab_thing VALUES (1, 'a', 4)",
    )
    before = {row for row in schema() if row[0] in ("trigger", "view") or row[1] in ("by_size", "loud")}
    apply(UNIQUE, state)
    assert before <= set(schema())
    assert rows("SELECT name FROM lab_log") == [("a",)]  # the rebuild itself fires nothing
    run("INSERT INTO lab_bigger (id, name) VALUES (0, 'b')")
    assert rows("SELECT name FROM lab_bigger ORDER BY id") == [("a",), ("b",)]
    assert rows("SELECT name FROM lab_log") == [("a",), ("b",)]


def test_numbers_of_deleted_rows_do_not_come_again(state: Any) -> None:
    run("INSERT INTO lab_thing VALUES (41, 'a', 1)", "DELETE FROM lab_thing")
    apply(UNIQUE, state)
    run("INSERT INTO lab_thing (name) VALUES ('b')")
    assert rows("SELECT id FROM lab_thing") == [(42,)]


def test_adding_a_column_that_is_there_is_refused_and_its_values_stay(state: Any) -> None:
    run("ALTER TABLE lab_thing ADD COLUMN Score integer", "INSERT INTO lab_thing VALUES (1, 'a', 1, 99)")
    with pytest.raises(OperationalError, match="duplicate column name"):
        apply(migrations.AddField("thing", "score", models.IntegerField(default=7)), state)
    assert rows("SELECT score FROM lab_thing") == [(99,)]


@pytest.mark.parametrize(
    ("definition", "named"),
    [
        ("CREATE VIEW lab_sizes AS SELECT size FROM lab_thing", "view lab_sizes"),
        (
            "CREATE TRIGGER sized AFTER INSERT ON lab_thing WHEN new.size > 3 BEGIN SELECT 1; END",
            "trigger sized",
        ),
        ("ALTER TABLE lab_thing ADD COLUMN twice integer AS (size * 2)", "column twice"),
    ],
)
def test_a_column_that_others_use_is_not_dropped_under_them(state: Any, definition: str, named: str) -> None:
    state = apply(migrations.AlterField("thing", "size", models.IntegerField(null=True, unique=True)), state)
    run(definition, "INSERT INTO lab_thing (id, name, size) VALUES (1, 'a', 4)")
    before = schema()
    with pytest.raises(WouldLose, match=named):
        apply(migrations.RemoveField("thing", "size"), state)
    assert schema() == before
    assert rows("SELECT id, name, size FROM lab_thing") == [(1, "a", 4)]


def test_a_word_that_is_only_text_is_no_use_of_the_column(state: Any) -> None:
    run("ALTER TABLE lab_thing ADD COLUMN label varchar DEFAULT 'size'")
    state = apply(migrations.AlterField("thing", "size", models.IntegerField(null=True, unique=True)), state)
    apply(migrations.RemoveField("thing", "size"), state)
    assert [row[1] for row in rows("PRAGMA table_info(lab_thing)")] == ["id", "name", "label"]


@pytest.mark.parametrize(
    ("constraint", "named"),
    [("REFERENCES lab_place (id)", "foreign key on size"), ("UNIQUE", "unique on size")],
)
def test_a_constraint_that_cannot_come_along_stops_the_rebuild(
    state: Any, constraint: str, named: str
) -> None:
    (sql,) = rows("SELECT sql FROM sqlite_master WHERE name = 'lab_thing'")[0]
    run("DROP TABLE lab_thing", sql.replace('"size" integer NULL', f'"size" integer NULL {constraint}'))
    before = schema()
    with pytest.raises(WouldLose, match=named):
        apply(UNIQUE, state)
    assert schema() == before


def test_a_table_that_is_declared_without_row_numbers_stays(state: Any) -> None:
    run("DROP TABLE lab_thing", "CREATE TABLE lab_thing (id integer PRIMARY KEY, name text) WITHOUT ROWID")
    with pytest.raises(WouldLose, match="WITHOUT ROWID"):
        apply(UNIQUE, state)


def test_the_primary_key_may_change_and_unknown_columns_come_along(state: Any) -> None:
    run("ALTER TABLE lab_thing ADD COLUMN note varchar", "INSERT INTO lab_thing VALUES (3, 'a', 1, 'n')")
    apply(migrations.AlterField("thing", "id", models.BigAutoField(primary_key=True)), state)
    assert rows("SELECT id, name, note FROM lab_thing") == [(3, "a", "n")]


def test_a_statement_is_taken_apart_whatever_it_is_written_like() -> None:
    sql = (
        'CREATE TABLE [odd "table] ("a""b" int, -- not, a column\n `c` text DEFAULT \'x,)\' /* ( */,'
        " [d e] varchar(3) CHECK ([d e] IN ('(', ')')), CONSTRAINT k UNIQUE (`c`, \"a\"\"b\"),"
        " check (`c`<>'')) WITHOUT ROWID"
    )
    statement = table_statement(sql)
    assert list(statement.columns) == ['a"b', "c", "d e"]
    assert len(statement.constraints) == 2
    assert statement.options == "WITHOUT ROWID"
    assert [normal(e) for p in statement.columns.values() for _, e in checks(p)] == ["d e in ( '(' , ')' )"]
    assert normal(tokens('(("A" >= 0))')) == normal(tokens("a>=0")) == "a >= 0"
