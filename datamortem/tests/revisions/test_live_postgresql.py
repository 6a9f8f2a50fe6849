"""Differences that only PostgreSQL can have, and what mends them."""

from __future__ import annotations

from collections.abc import Iterator
from re import search

import pytest
from django.db import connection, transaction

from datamortem.revisions import live
from datamortem.revisions.errors import NotAllowed
from datamortem.revisions.live import Level
from datamortem.tests.revisions.handmade import differences, lab, one, run

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="differences that only PostgreSQL can have"),
]

ERROR, BRIDGE, EXTRA = Level.ERROR, Level.BRIDGE, Level.EXTRA


@pytest.fixture
def expected() -> Iterator[dict[str, live.Table]]:
    with lab() as tables:
        yield tables


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


@pytest.mark.parametrize(("change", "level", "what", "mended"), _LEVELS_ON_POSTGRESQL)
def test_each_difference_is_told_and_mended_where_that_is_safe(
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


def test_times_without_zone_are_told_together_and_keep_their_instant(
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


@pytest.mark.parametrize("owned", [True, False])
def test_a_sequence_becomes_an_identity_above_all_it_ever_gave(
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


def test_a_unique_index_becomes_the_constraint(expected: dict[str, live.Table]) -> None:
    run(
        "ALTER TABLE lab_place DROP CONSTRAINT lab_place_code_key",
        "CREATE UNIQUE INDEX own ON lab_place (code)",
    )
    found = one(expected)
    assert str(found) == "[bridge] lab_place: unique index own instead of a constraint on code"
    run(*found.statements)
    assert differences(expected) == []


def test_a_missing_index_for_like_is_told_apart(expected: dict[str, live.Table]) -> None:
    (like,) = [index for index in expected["lab_place"].indexes if index.pattern]
    run(f'DROP INDEX "{like.name}"')
    found = one(expected)
    assert str(found) == f"[bridge] lab_place: index for LIKE {like.name} on code is missing"
    run(*found.statements)
    assert differences(expected) == []


def test_indexes_that_were_not_built_to_their_end_are_told(
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


@pytest.mark.parametrize(
    ("again", "level", "what"),
    [
        ("", ERROR, r"foreign key place_id -> lab_place \(id\) is missing"),
        (_FK + "lab_place (id)", BRIDGE, "is checked at once, expected at commit"),
        (_FK + "lab_place (id) DEFERRABLE INITIALLY DEFERRED NOT VALID", BRIDGE, "was not validated"),
        (_FK + "lab_place (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED", BRIDGE, "ON DELETE CASCADE"),
    ],
)
def test_foreign_keys_are_told_and_mended(
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


def test_a_foreign_key_that_leads_elsewhere_is_told(expected: dict[str, live.Table]) -> None:
    (key,) = expected["lab_thing"].foreign_keys
    run(f'ALTER TABLE lab_thing DROP CONSTRAINT "{key.name}"', _FK + "lab_thing (id)")
    wrong, unknown = differences(expected)
    assert "place_id -> lab_thing (id), expected place_id -> lab_place (id)" in wrong.what
    assert (wrong.level, wrong.absent, unknown.level) == (ERROR, False, EXTRA)


def test_a_table_of_the_same_name_in_another_schema_is_not_looked_at(
    expected: dict[str, live.Table],
) -> None:
    run("CREATE SCHEMA elsewhere", "CREATE TABLE elsewhere.lab_thing (id text)")
    try:
        assert differences(expected) == []
    finally:
        run("DROP SCHEMA elsewhere CASCADE")


def test_rows_above_the_next_number_are_told_and_it_goes_above_them() -> None:
    run(
        "SELECT setval(pg_get_serial_sequence('cases', 'id'), 7)",
        "INSERT INTO cases (id, case_id, status, created_at_utc) VALUES (41, 'a', 'open', now())",
    )
    (found,) = [difference for difference in live.drift(connection) if difference.table == "cases"]
    assert found.level is ERROR
    assert search("the next id would be 8, but rows go up to 41", found.what)
    run(*found.statements)
    assert live.drift(connection) == []
    run("INSERT INTO cases (case_id, status, created_at_utc) VALUES ('b', 'open', now())")


def test_a_user_who_may_make_no_schema_is_told_what_to_grant() -> None:
    run("CREATE ROLE lab_user", "GRANT ALL ON ALL TABLES IN SCHEMA public TO lab_user", "SET ROLE lab_user")
    try:
        with pytest.raises(NotAllowed, match=r'GRANT CREATE ON DATABASE "[^"]+" TO '):
            live.drift(connection)
    finally:
        run("RESET ROLE", "DROP OWNED BY lab_user", "DROP ROLE lab_user")


def test_a_check_that_went_through_a_backup_is_the_same_check() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'case_role_is_known'"
        )
        (said,) = cursor.fetchone()
        change = "ALTER TABLE case_memberships DROP CONSTRAINT case_role_is_known"
        cursor.execute(f"{change}, ADD CONSTRAINT case_role_is_known {said}")
        cursor.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'case_role_is_known'"
        )
        assert cursor.fetchone() != (said,)
    assert [str(difference) for difference in live.drift(connection)] == []
