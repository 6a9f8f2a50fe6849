"""Differences that only SQLite can have, and spellings that are none."""

from __future__ import annotations

from collections.abc import Iterator
from re import search

import pytest
from django.db import connection

from datamortem.revisions import live
from datamortem.revisions.live import Level
from datamortem.tests.revisions.handmade import differences, lab, one, run

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="differences that only SQLite can have"),
]

ERROR, BRIDGE, EXTRA = Level.ERROR, Level.BRIDGE, Level.EXTRA


@pytest.fixture
def expected() -> Iterator[dict[str, live.Table]]:
    with lab() as tables:
        yield tables


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


@pytest.mark.parametrize(("old", "new", "level", "what"), _LEVELS_ON_SQLITE)
def test_each_difference_is_told(
    expected: dict[str, live.Table], old: str, new: str, level: Level, what: str
) -> None:
    rewritten(old, new)
    first, *more = differences(expected)
    assert first.level is level
    assert search(what, first.what), first.what
    assert {difference.level for difference in more} <= {EXTRA}
    assert first.remedy


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
def test_another_spelling_is_no_difference(expected: dict[str, live.Table], old: str, new: str) -> None:
    rewritten(old, new)
    assert differences(expected) == []


def test_a_unique_index_is_as_good_as_a_constraint(expected: dict[str, live.Table]) -> None:
    rewritten(', CONSTRAINT "lab_name_size" UNIQUE ("name", "size")', "")
    assert "is missing" in one(expected).what
    run(one(expected).remedy)
    assert differences(expected) == []


def test_foreign_keys_that_miss_or_lead_elsewhere_are_told(
    expected: dict[str, live.Table],
) -> None:
    rewritten('REFERENCES "lab_place"', 'REFERENCES "lab_thing"')
    wrong, _ = differences(expected)
    assert "place_id -> lab_thing (id), expected place_id -> lab_place (id)" in wrong.what
    rewritten('REFERENCES "lab_thing" ("id") DEFERRABLE INITIALLY DEFERRED', "")
    assert str(one(expected)) == "[error] lab_thing: foreign key place_id -> lab_place (id) is missing"
