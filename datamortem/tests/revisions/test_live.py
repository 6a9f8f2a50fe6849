"""The database against its migrations: every kind of difference is found, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from re import search

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from datamortem.revisions import live
from datamortem.revisions.graph import RevisionGraph
from datamortem.revisions.live import Level
from datamortem.tests.revisions.handmade import differences, lab, one, run

pytestmark = pytest.mark.django_db(transaction=True)

POSTGRESQL = connection.vendor == "postgresql"
ERROR, BRIDGE, EXTRA = Level.ERROR, Level.BRIDGE, Level.EXTRA


@pytest.fixture
def expected() -> Iterator[dict[str, live.Table]]:
    with lab() as tables:
        yield tables


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


@pytest.mark.schema
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


def test_reading_takes_no_lock_that_stops_anybody(expected: dict[str, live.Table]) -> None:
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
    assert drift() == []


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
