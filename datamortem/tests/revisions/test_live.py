"""The database against its migrations: every kind of difference is found, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from re import search
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, models, transaction
from django.db.migrations import CreateModel
from django.db.migrations.state import ProjectState

from datamortem.revisions import live
from datamortem.revisions.graph import RevisionGraph
from datamortem.revisions.live import Difference, Level

pytestmark = pytest.mark.django_db(transaction=True)

POSTGRESQL = connection.vendor == "postgresql"
on_postgresql = pytest.mark.skipif(not POSTGRESQL, reason="differences that only PostgreSQL can have")
on_sqlite = pytest.mark.skipif(POSTGRESQL, reason="differences that only SQLite can have")
ERROR, BRIDGE, EXTRA = Level.ERROR, Level.BRIDGE, Level.EXTRA

PLACE = CreateModel(
    "Place",
    [("id", models.AutoField(primary_key=True)), ("code", models.CharField(unique=True))],
    {"db_table": "lab_place"},
)
THING = CreateModel(
    "Thing",
    [
        ("id", models.AutoField(primary_key=True)),
        ("name", models.CharField(max_length=16)),
        ("kind", models.CharField(db_default="plain")),
        ("word", models.CharField(default="")),
        ("at", models.DateTimeField()),
        ("seen", models.DateTimeField(null=True)),
        ("size", models.IntegerField(null=True, db_index=True)),
        ("big", models.BigIntegerField(null=True)),
        ("ok", models.BooleanField()),
        ("place", models.ForeignKey("lab.place", models.CASCADE)),
    ],
    {
        "db_table": "lab_thing",
        "constraints": [
            models.UniqueConstraint(fields=["name", "size"], name="lab_name_size"),
            models.UniqueConstraint(fields=["kind"], condition=models.Q(ok=True), name="lab_one_ok"),
            models.UniqueConstraint(models.functions.Lower("name"), name="lab_lower"),
            models.CheckConstraint(condition=models.Q(size__gte=0), name="lab_size"),
        ],
        "indexes": [
            models.Index(fields=["kind", "-at"], name="lab_kind_at"),
            models.Index(fields=["big"], condition=models.Q(big__gt=9), name="lab_big"),
            models.Index(models.functions.Upper("kind"), name="lab_upper"),
        ],
    },
)


@pytest.fixture
def expected() -> Iterator[dict[str, live.Table]]:
    """Two tables as Django makes them, and what they are expected to be, which is the same."""
    state = ProjectState()
    with connection.schema_editor() as editor:
        for operation in (PLACE, THING):
            before = state.clone()
            operation.state_forwards("lab", state)
            operation.database_forwards("lab", editor, before, state)
    yield live.expected(connection, state, {"lab"})
    run("DROP TABLE IF EXISTS lab_thing", "DROP TABLE IF EXISTS lab_place", "DROP VIEW IF EXISTS lab_view")


def run(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def differences(expected: dict[str, live.Table]) -> list[Difference]:
    return live.compare(connection.vendor, expected, live.read(connection, expected))


def one(expected: dict[str, live.Table]) -> Difference:
    found = differences(expected)
    assert len(found) == 1, [str(difference) for difference in found]
    assert found[0].remedy
    return found[0]


# Clean ----------------------------------------------------------------------------------------------


def drift() -> list[str]:
    return [str(difference) for difference in live.drift(connection)]


def test_a_fresh_database_is_clean_inside_a_transaction_too() -> None:
    assert drift() == []
    with transaction.atomic():
        assert drift() == []
    if POSTGRESQL:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'expected%'")
            assert cursor.fetchall() == []
            cursor.execute("SHOW search_path")
            assert cursor.fetchone() == ('"$user", public',)


def test_the_database_is_clean_at_every_revision_and_after_going_down_and_up() -> None:
    graph = RevisionGraph(connection)
    try:
        for revision in sorted(graph.revisions.values(), key=lambda revision: -revision.order):
            for app, name in reversed(revision.nodes):
                before = graph.loader.graph.node_map[app, name].parents
                (below,) = [p.key[1] for p in before if p.key[0] == app] or ["zero"]
                if app != "accounts" or below != "zero":  # other people's tables hang on that
                    call_command("migrate", app, below, verbosity=0)
            assert drift() == [], revision.id
    finally:
        call_command("migrate", verbosity=0)
    assert drift() == []


def test_reading_takes_no_lock_that_stops_anybody(expected: Any) -> None:
    del expected
    with transaction.atomic():
        live.drift(connection)
        if POSTGRESQL:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT DISTINCT mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation"
                    " WHERE pid = pg_backend_pid() AND relnamespace = 'public'::regnamespace"
                )
                assert {mode for (mode,) in cursor.fetchall()} <= {"AccessShareLock"}


def test_unknown_tables_and_tables_of_later_revisions_are_told() -> None:
    call_command("migrate", "cases", "0009", verbosity=0)
    try:
        run("CREATE TABLE feature_flags (id integer)", "ALTER TABLE cases ADD COLUMN closed varchar")
        assert drift() == [
            "[extra] cases: unknown column closed "
            + ("character varying" if POSTGRESQL else "varchar")
            + "; it is kept",
            "[extra] feature_flags: unknown table; it is kept",
        ]
        assert live.unknown_tables(connection, ()) == ["feature_flags"]
        call_command("migrate", "cases", "0008", verbosity=0)
        run("CREATE TABLE rejected_records (id integer)")
        assert drift()[1] == (
            "[extra] rejected_records: the table belongs to a migration that is not recorded, which will"
            " stop at it"
        )
        run("DROP TABLE rejected_records")
    finally:
        run("DROP TABLE feature_flags", "ALTER TABLE cases DROP COLUMN closed")
        call_command("migrate", verbosity=0)


# On both databases ----------------------------------------------------------------------------------


def test_a_missing_table_and_a_view_in_its_place(expected: dict[str, live.Table]) -> None:
    run("DROP TABLE lab_thing")
    assert str(one(expected)) == "[error] lab_thing: the table is missing"
    run("CREATE VIEW lab_thing AS SELECT 1 AS id")
    assert str(one(expected)) == "[error] lab_thing: is a view, expected a table"
    run("DROP VIEW lab_thing")


@pytest.mark.parametrize(
    ("change", "level", "what"),
    [
        ("ALTER TABLE lab_thing DROP COLUMN seen", ERROR, "column seen is missing"),
        ("ALTER TABLE lab_thing ADD COLUMN x integer", EXTRA, "unknown column x integer; it is kept"),
        ("ALTER TABLE lab_thing ADD COLUMN x integer NOT NULL DEFAULT 1", EXTRA, "unknown column x"),
        ("CREATE INDEX more ON lab_thing (ok, at)", EXTRA, "unknown index more on ok, at"),
        ("CREATE INDEX more ON lab_thing (big)", EXTRA, "unknown index more on big"),
        ("CREATE UNIQUE INDEX more ON lab_thing (at)", EXTRA, "unknown unique index more on at"),
        ("CREATE INDEX more ON lab_thing (id)", BRIDGE, "redundant index more on id"),
        ("CREATE INDEX more ON lab_thing (name, size)", BRIDGE, "redundant index more on name, size"),
        ("CREATE INDEX more ON lab_thing (size)", BRIDGE, "redundant index"),
        ("DROP INDEX lab_kind_at", BRIDGE, "index lab_kind_at on kind, at is missing"),
        ("DROP INDEX lab_big", BRIDGE, "index lab_big on big where .* is missing"),
        ("DROP INDEX lab_upper", BRIDGE, "index lab_upper on .*kind.* is missing"),
        ("DROP INDEX lab_one_ok", ERROR, "unique index lab_one_ok on kind where .* is missing"),
        ("DROP INDEX lab_lower", ERROR, "unique index lab_lower on .*name.* is missing"),
    ],
)
def test_each_difference_is_told_with_its_level_and_remedy(
    expected: dict[str, live.Table], change: str, level: Level, what: str
) -> None:
    run(change)
    found = one(expected)
    assert found.level is level
    assert found.table == "lab_thing"
    assert search(what, found.what), found.what
    if level is BRIDGE:  # indexes are mended in the same words everywhere
        run(found.remedy)
        assert differences(expected) == []


@pytest.mark.parametrize(
    ("name", "again"),
    [
        ("lab_one_ok", "CREATE UNIQUE INDEX lab_one_ok ON lab_thing (kind)"),
        ("lab_lower", "CREATE UNIQUE INDEX lab_lower ON lab_thing (at)"),
    ],
)
def test_a_unique_index_of_that_name_with_another_meaning_is_missing_and_unknown(
    expected: dict[str, live.Table], name: str, again: str
) -> None:
    run(f"DROP INDEX {name}", again)
    missing, unknown = differences(expected)
    assert (missing.level, missing.part, missing.absent) == (ERROR, live.Part.UNIQUE, True)
    assert (unknown.level, unknown.part) == (EXTRA, live.Part.UNIQUE)


def test_names_of_indexes_do_not_matter(expected: dict[str, live.Table]) -> None:
    run("DROP INDEX lab_big", "CREATE INDEX anything ON lab_thing (big) WHERE big > 9")
    assert differences(expected) == []


# PostgreSQL -----------------------------------------------------------------------------------------

_T, _C = "ALTER TABLE lab_thing ", "ALTER TABLE lab_thing ALTER COLUMN "
_LEVELS_ON_POSTGRESQL = [
    (_C + "name TYPE varchar(8)", ERROR, r"name is character varying\(8\), expected .*\(16\)", True),
    (_C + "name TYPE varchar(32)", BRIDGE, r"name is character varying\(32\)", False),
    (_C + "word TYPE text", BRIDGE, "word is text, expected character varying", True),
    (_C + "big TYPE integer", ERROR, "big is integer, expected bigint", False),
    (_C + "size TYPE bigint", BRIDGE, "size is bigint, expected integer", False),
    (_C + "seen TYPE date", ERROR, "seen is date, expected timestamp with time zone", False),
    (_C + "seen SET NOT NULL", ERROR, "seen is NOT NULL, expected NULL", True),
    (_C + "at DROP NOT NULL", ERROR, "at may be NULL, expected NOT NULL", True),
    (_C + "at SET DEFAULT now()", EXTRA, r"at has a default in the database \(now\(\)\)", False),
    (_C + "kind DROP DEFAULT", ERROR, "kind has no default in the database, expected 'plain'", True),
    (_C + "kind SET DEFAULT 'other'", ERROR, "the default 'other'.* expected 'plain'", True),
    (_C + "id DROP IDENTITY", ERROR, "id is not numbered by the database, expected an identity", True),
    (_T + "ADD COLUMN x integer NOT NULL", ERROR, "NOT NULL without default: every INSERT", False),
    (_T + "DROP CONSTRAINT lab_name_size", ERROR, "unique constraint lab_name_size .* is missing", True),
    (_T + "DROP CONSTRAINT lab_size", ERROR, "check lab_size CHECK .* is missing", True),
    (_T + "ADD CONSTRAINT more CHECK (big > 0)", EXTRA, "unknown check more", False),
    (_T + "ADD UNIQUE (at)", EXTRA, "unknown unique constraint", False),
    (
        _T + "DROP CONSTRAINT lab_size, ADD CONSTRAINT lab_size CHECK (size >= 5)",
        ERROR,
        r"check lab_size says CHECK \(\(size >= 5\)\), expected CHECK \(\(size >= 0\)\)",
        True,
    ),
    (
        _T + "DROP CONSTRAINT lab_size, ADD CONSTRAINT lab_size CHECK (size >= 0) NOT VALID",
        BRIDGE,
        "check lab_size was not validated",
        True,
    ),
    (
        _T + "DROP CONSTRAINT lab_name_size, ADD CONSTRAINT lab_name_size UNIQUE (name, size) DEFERRABLE",
        ERROR,
        "is deferrable",
        True,
    ),
]


@on_postgresql
@pytest.mark.parametrize(("change", "level", "what", "mended"), _LEVELS_ON_POSTGRESQL)
def test_on_postgresql_each_difference_is_told_and_mended_where_that_is_safe(
    expected: dict[str, live.Table], change: str, level: Level, what: str, mended: bool
) -> None:
    run("INSERT INTO lab_place (id, code) VALUES (41, 'a')")
    run(
        "INSERT INTO lab_thing (id, name, word, at, seen, ok, place_id)"
        " VALUES (41, 'a', '', now(), now(), true, 41)"
    )
    run(change.replace("ADD COLUMN x integer NOT NULL", "ADD COLUMN x integer NOT NULL DEFAULT 1"))
    if "ADD COLUMN x" in change:
        run(_C + "x DROP DEFAULT")
    found = one(expected)
    assert found.level is level
    assert search(what, found.what), found.what
    assert bool(found.statements) == mended
    if mended:
        run(*found.statements)
        assert differences(expected) == []


@on_postgresql
def test_on_postgresql_times_without_zone_are_told_together_and_keep_their_instant(
    expected: dict[str, live.Table],
) -> None:
    run("INSERT INTO lab_place (id, code) VALUES (1, 'a')")
    run(
        "INSERT INTO lab_thing (name, word, at, ok, place_id)"
        " VALUES ('a', '', '2025-03-30 02:30:00.000001Z', true, 1)",
        _C + "at TYPE timestamp, ALTER COLUMN seen TYPE timestamp",
    )
    found = one(expected)
    assert (found.level, found.columns) == (BRIDGE, ("at", "seen"))
    with transaction.atomic():
        run("SET LOCAL TimeZone = 'Europe/Paris'", *found.statements)
    with connection.cursor() as cursor:
        cursor.execute("SELECT at AT TIME ZONE 'UTC' FROM lab_thing")
        assert str(cursor.fetchone()[0]) == "2025-03-30 02:30:00.000001"
    assert differences(expected) == []


@on_postgresql
@pytest.mark.parametrize("owned", [True, False])
def test_on_postgresql_a_sequence_becomes_an_identity_above_all_it_ever_gave(
    expected: dict[str, live.Table], owned: bool
) -> None:
    run(
        _C + "id DROP IDENTITY",
        'CREATE SEQUENCE "odd Name"' + (" OWNED BY lab_thing.id" if owned else ""),
        _C + "id SET DEFAULT nextval('\"odd Name\"')",
        "SELECT setval('\"odd Name\"', 90)",
        "INSERT INTO lab_place (code) VALUES ('a')",
        "INSERT INTO lab_thing (id, name, word, at, ok, place_id)"
        " SELECT 41, 'a', '', now(), true, id FROM lab_place",
    )
    found = one(expected)
    assert found.level is BRIDGE
    assert 'sequence "odd Name"' in found.what
    run(*found.statements)
    assert differences(expected) == []
    run(
        "INSERT INTO lab_thing (name, word, at, ok, place_id) SELECT 'b', '', now(), false, id FROM lab_place"
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(id) FROM lab_thing")
        assert cursor.fetchone() == (91,)


@on_postgresql
def test_on_postgresql_a_unique_index_becomes_the_constraint(expected: dict[str, live.Table]) -> None:
    run(
        "ALTER TABLE lab_place DROP CONSTRAINT lab_place_code_key",
        "CREATE UNIQUE INDEX own ON lab_place (code)",
    )
    found = one(expected)
    assert str(found) == "[bridge] lab_place: unique index own instead of a constraint on code"
    run(*found.statements)
    assert differences(expected) == []


@on_postgresql
def test_on_postgresql_a_missing_index_for_like_is_told_apart(expected: dict[str, live.Table]) -> None:
    (like,) = [index for index in expected["lab_place"].indexes if index.pattern]
    run(f'DROP INDEX "{like.name}"')
    found = one(expected)
    assert str(found) == f"[bridge] lab_place: index for LIKE {like.name} on code is missing"
    run(*found.statements)
    assert differences(expected) == []


@on_postgresql
def test_on_postgresql_indexes_that_were_not_built_to_their_end_are_told(
    expected: dict[str, live.Table],
) -> None:
    run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'lab_kind_at'::regclass")
    found = one(expected)
    assert (found.level, found.part) == (ERROR, live.Part.INDEX)
    run(*found.statements)
    assert differences(expected) == []
    run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'lab_lower'::regclass")
    assert "guards nothing" in one(expected).what
    run(*one(expected).statements)
    run("CREATE INDEX rest ON lab_thing (ok)")
    run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'rest'::regclass")
    assert str(one(expected)) == "[bridge] lab_thing: broken index rest on ok"
    run(*one(expected).statements)
    assert differences(expected) == []


_FK = "ALTER TABLE lab_thing ADD CONSTRAINT own FOREIGN KEY (place_id) REFERENCES "


@on_postgresql
@pytest.mark.parametrize(
    ("again", "level", "what"),
    [
        ("", ERROR, r"foreign key place_id -> lab_place \(id\) is missing"),
        (_FK + "lab_place (id)", BRIDGE, "is checked at once, expected at commit"),
        (_FK + "lab_place (id) DEFERRABLE INITIALLY DEFERRED NOT VALID", BRIDGE, "was not validated"),
        (_FK + "lab_place (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED", BRIDGE, "ON DELETE CASCADE"),
    ],
)
def test_on_postgresql_foreign_keys_are_told_and_mended(
    expected: dict[str, live.Table], again: str, level: Level, what: str
) -> None:
    (key,) = expected["lab_thing"].foreign_keys
    run(f'ALTER TABLE lab_thing DROP CONSTRAINT "{key.name}"')
    if again:
        run(again)
    found = one(expected)
    assert found.level is level
    assert search(what, found.what)
    run(*found.statements)
    assert differences(expected) == []


@on_postgresql
def test_on_postgresql_a_foreign_key_that_leads_elsewhere_is_told(expected: dict[str, live.Table]) -> None:
    (key,) = expected["lab_thing"].foreign_keys
    run(f'ALTER TABLE lab_thing DROP CONSTRAINT "{key.name}"', _FK + "lab_thing (id)")
    wrong, unknown = differences(expected)
    assert "place_id -> lab_thing (id), expected place_id -> lab_place (id)" in wrong.what
    assert (wrong.level, wrong.absent, unknown.level) == (ERROR, False, EXTRA)


@on_postgresql
def test_on_postgresql_a_table_of_the_same_name_in_another_schema_is_not_looked_at(
    expected: dict[str, live.Table],
) -> None:
    run("CREATE SCHEMA elsewhere", "CREATE TABLE elsewhere.lab_thing (id text)")
    try:
        assert differences(expected) == []
    finally:
        run("DROP SCHEMA elsewhere CASCADE")


# SQLite ---------------------------------------------------------------------------------------------

_LEVELS_ON_SQLITE = [
    ('"name" varchar(16)', '"name" varchar(32)', BRIDGE, r"name is varchar\(32\), expected varchar\(16\)"),
    ('"ok" bool', '"ok" BOOLEAN', BRIDGE, "ok is boolean, expected bool"),
    ('"at" datetime', '"at" timestamp', BRIDGE, "at is timestamp, expected datetime"),
    ('"at" datetime', '"at" text', ERROR, "at is text, expected datetime"),
    ('"at" datetime NOT NULL', '"at" datetime NULL', ERROR, "at may be NULL, expected NOT NULL"),
    ('"seen" datetime NULL', '"seen" datetime NOT NULL', ERROR, "seen is NOT NULL, expected NULL"),
    ("DEFAULT 'plain'", "", ERROR, "kind has no default in the database, expected 'plain'"),
    ("DEFAULT 'plain'", "DEFAULT 'b'", ERROR, "kind has the default 'b' in the database"),
    (" AUTOINCREMENT", "", BRIDGE, "id is numbered without AUTOINCREMENT"),
    ("DEFERRABLE INITIALLY DEFERRED", "", BRIDGE, "is checked at once, expected at commit"),
    ("DEFERRABLE INITIALLY", "ON DELETE CASCADE DEFERRABLE INITIALLY", BRIDGE, "ON DELETE CASCADE"),
    ('CONSTRAINT "lab_size" CHECK ("size" >= 0)', "CHECK (1)", ERROR, "check lab_size size >= 0 is missing"),
    ('"size" >= 0', '"size" >= 7', ERROR, "check lab_size says size >= 7, expected size >= 0"),
    ('("name", "size")', '("name", "ok")', ERROR, "on name, size is missing"),
    ('"big" bigint NULL', '"big" bigint NULL, "x" text NOT NULL', ERROR, "unknown column x text NOT NULL"),
    ('"big" bigint NULL', '"big" bigint AS ("size") STORED', ERROR, "big is computed by the database"),
]


def rewritten(old: str, new: str) -> None:
    """Make lab_thing anew with another text, as an old installation would have it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sql FROM sqlite_master WHERE tbl_name = 'lab_thing' AND sql IS NOT NULL")
        table, *indexes = (sql for (sql,) in cursor.fetchall())
    assert old in table, table
    run("DROP TABLE lab_thing", table.replace(old, new), *indexes)


@on_sqlite
@pytest.mark.parametrize(("old", "new", "level", "what"), _LEVELS_ON_SQLITE)
def test_on_sqlite_each_difference_is_told(
    expected: dict[str, live.Table], old: str, new: str, level: Level, what: str
) -> None:
    rewritten(old, new)
    first, *more = differences(expected)
    assert first.level is level
    assert search(what, first.what), first.what
    assert {difference.level for difference in more} <= {EXTRA}
    assert first.remedy


@on_sqlite
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"name" varchar(16) NOT NULL', "NAME VARCHAR(16) not null"),
        ('CHECK ("size" >= 0)', "check((Size>=0))"),
        ("DEFAULT 'plain'", "DEFAULT ('plain')"),
        (
            '"place_id" integer NOT NULL REFERENCES "lab_place" ("id") DEFERRABLE INITIALLY DEFERRED',
            "place_id INTEGER NOT NULL /* , */ REFERENCES LAB_PLACE DEFERRABLE INITIALLY DEFERRED -- )\n",
        ),
    ],
)
def test_on_sqlite_another_spelling_is_no_difference(
    expected: dict[str, live.Table], old: str, new: str
) -> None:
    rewritten(old, new)
    assert differences(expected) == []


@on_sqlite
def test_on_sqlite_a_unique_index_is_as_good_as_a_constraint(expected: dict[str, live.Table]) -> None:
    rewritten(', CONSTRAINT "lab_name_size" UNIQUE ("name", "size")', "")
    assert "is missing" in one(expected).what
    run(one(expected).remedy)
    assert differences(expected) == []


@on_sqlite
def test_on_sqlite_foreign_keys_that_miss_or_lead_elsewhere_are_told(
    expected: dict[str, live.Table],
) -> None:
    rewritten('REFERENCES "lab_place"', 'REFERENCES "lab_thing"')
    wrong, _ = differences(expected)
    assert "place_id -> lab_thing (id), expected place_id -> lab_place (id)" in wrong.what
    rewritten('REFERENCES "lab_thing" ("id") DEFERRABLE INITIALLY DEFERRED', "")
    assert str(one(expected)) == "[error] lab_thing: foreign key place_id -> lab_place (id) is missing"
