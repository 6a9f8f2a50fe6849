"""`manage.py db`: what its verbs do to a real database, say, and refuse."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.migrations.loader import MigrationLoader
from django.utils import translation

from datamortem.revisions import live
from datamortem.revisions.graph import RevisionGraph
from datamortem.tests.revisions.legacy import everything, load
from datamortem.tests.revisions.operator import db, execute, migrate, standing, value
from datamortem.tests.revisions.scratch import Scratch
from datamortem.tests.revisions.states import recorded
from datamortem.tests.revisions.test_graph import DOCUMENTED

C6E2, F86E, B7B4, A2A6, M7C6, H0D8 = (
    "c6e23e92af16",
    "8f6e0f2be8d2",
    "7b4f50a1e0e0",
    "2a6d94c6cc2b",
    "7c6ac304c575",
    "0d8c359bb4f1",
)
HEAD = RevisionGraph().heads[0].id


def drift(scratch: Scratch) -> list[str]:
    return [str(found) for found in live.drift(scratch.connection) if found.level is not live.Level.EXTRA]


# Looking --------------------------------------------------------------------------------------


def test_without_a_verb_each_is_shown_with_a_line_and_each_explains_itself() -> None:
    out = io.StringIO()
    call_command("db", stdout=out)
    overview = out.getvalue()
    verbs = (
        "current history heads branches show check upgrade downgrade stamp sql revision merge backup restore"
    )
    for verb in verbs.split():
        assert f" {verb}" in overview
        with pytest.raises(SystemExit) as ended:
            call_command("db", verb, "--help")
        assert ended.value.code == 0


def test_an_empty_database_stands_at_base(scratch: Scratch) -> None:
    assert db(scratch, "current") == "<base>\n"
    assert json.loads(db(scratch, "current", "--json"))["current"] == []
    with pytest.raises(
        CommandError, match=r"behind: .* and .* more. Bring it up: python manage.py db upgrade"
    ):
        db(scratch, "current", "--check-heads")
    lines = db(scratch, "history").splitlines()
    assert lines[-1] == f"<base> -> {C6E2}, Add users table and user foreign key to cases"
    assert not any("(current)" in line for line in lines)
    assert {one["applied"] for one in json.loads(db(scratch, "history", "--json"))} == {False}


def test_the_history_is_the_same_in_every_locale(documented: Scratch, documented_text: str) -> None:
    environment = {**documented.environment, "LC_ALL": "tr_TR.ISO-8859-9", "LANG": "tr_TR.ISO-8859-9"}
    command = [documented.python, "manage.py", "db", "history"]
    told = subprocess.check_output(command, cwd=settings.BASE_DIR, env=environment, text=True)
    assert told == db(documented, "history")
    assert told.endswith(documented_text)
    with translation.override("fr"):
        assert db(documented, "history") == told


@pytest.fixture
def documented_text() -> str:
    """The documented history as Alembic printed it, but for the branch that is not the end of it now."""
    return DOCUMENTED.replace("0d8c359bb4f1 (head) (current)", "0d8c359bb4f1 (current)")


def test_the_history_needs_no_database_and_where_one_stands_does(
    scratch: Scratch, capsys: pytest.CaptureFixture[str]
) -> None:
    parameters = scratch.connection.settings_dict
    if scratch.connection.vendor == "postgresql":
        parameters.update(HOST="127.0.0.1", PORT="1")
    else:
        parameters.update(NAME="/nowhere/at/all.sqlite3")
    assert {one["applied"] for one in json.loads(db(scratch, "history", "--json"))} == {None}
    assert "What is applied is not known" in capsys.readouterr().err
    assert db(scratch, "history").splitlines()[-1].startswith("<base> -> ")
    assert f"{B7B4}, Add email verification" in db(scratch, "show", "7b4f")
    for verb in ("current", "check", "upgrade", "backup"):
        with pytest.raises(CommandError, match="The database cannot be used"):
            db(scratch, verb)


def test_one_branch_alone_and_both_are_where_a_database_may_stand(scratch: Scratch) -> None:
    db(scratch, "upgrade", "7b4f")
    assert db(scratch, "current") == f"{B7B4}\n"
    db(scratch, "upgrade", "2a6d")
    assert db(scratch, "current") == f"{B7B4}\n{A2A6}\n"
    assert (
        db(scratch, "downgrade", "-1").splitlines()[-1] == f"The database stands at {B7B4}."
    )  # applied last


def test_a_revision_of_which_one_migration_is_applied_is_partial(scratch: Scratch) -> None:
    migrate(scratch, "accounts", "0001")
    assert db(scratch, "current") == f"{C6E2} PARTIAL: 1 of 2 migrations applied\n"
    assert json.loads(db(scratch, "current", "--json"))["partial"] == {C6E2: {"applied": 1, "of": 2}}
    assert json.loads(db(scratch, "history", "--json"))[-1]["applied"] == "partial"
    db(scratch, "upgrade", C6E2)
    assert db(scratch, "current") == f"{C6E2}\n"


def test_what_a_newer_version_recorded_is_named(newest: Scratch) -> None:
    assert db(newest, "current", "--check-heads") == f"{HEAD} (head)\n"
    execute(
        newest,
        "INSERT INTO django_migrations (app, name, applied) VALUES ('cases', '0999_later', '2025-01-01')",
    )
    assert "unknown to this one: cases.0999_later" in db(newest, "current")
    with pytest.raises(CommandError, match="ahead of this version"):
        db(newest, "current", "--check-heads")
    with pytest.raises(CommandError):
        db(newest, "check")


def test_heads_branches_and_a_revision_are_shown(documented: Scratch) -> None:
    assert db(documented, "heads").startswith(f"{HEAD} (head), ")
    branches = db(documented, "branches")
    assert f"{F86E} (branchpoint), " in branches
    assert f"    -> {B7B4}, " in branches
    assert f"{A2A6}, {B7B4} -> {M7C6} (mergepoint), Merge multiple heads" in branches
    shown = db(documented, "show", "cases.0004")
    assert f"{F86E} -> {A2A6}, Add HedgeDoc slug to cases\n    applied\n" in shown
    assert "Add field hedgedoc_slug to case" in shown
    with pytest.raises(CommandError, match=r"More than one revision is called '7'"):
        db(documented, "show", "7")


# Walking --------------------------------------------------------------------------------------


def test_steps_back_from_the_documented_head_go_through_the_merge(documented: Scratch) -> None:
    expected: dict[int, set[str]] = {1: {M7C6}, 2: {A2A6, B7B4}, 3: {B7B4}, 4: {F86E}, 6: set()}
    for steps, tips in expected.items():
        db(documented, "downgrade", f"-{steps}")
        assert standing(documented) == tips, steps
        assert drift(documented) == []
        db(documented, "upgrade", H0D8)
        assert standing(documented) == {H0D8}
    before = everything(documented.connection)
    with pytest.raises(CommandError, match="Only 6 revisions are applied: cannot go 7 back"):
        db(documented, "downgrade", "-7")
    assert everything(documented.connection) == before
    assert drift(documented) == []


@pytest.mark.parametrize("how", [["-2"], ["--steps", "2"], ["head-8"], ["7c6a-1"], ["heads-8"]])
def test_a_way_back_is_named_in_many_ways(documented: Scratch, how: list[str]) -> None:
    distance = len(RevisionGraph().order) - 4
    db(documented, "downgrade", *(text.replace("-8", f"-{distance}") for text in how))
    assert standing(documented) == {A2A6, B7B4}


@pytest.mark.parametrize(
    "bad", ["-0", "abc", "+2", "0", "--steps=0", "--steps=-1", "--steps=abc", "--steps=", "1e3"]
)
def test_bad_steps_are_refused_with_a_sentence(documented: Scratch, bad: str) -> None:
    with pytest.raises(CommandError, match=r"Nothing was changed\.|There is no revision|More than one"):
        db(documented, "downgrade", bad)
    assert standing(documented) == {H0D8}


def test_both_or_neither_way_of_saying_how_far_is_refused(documented: Scratch) -> None:
    for args in ([], ["-1", "--steps", "1"]):
        with pytest.raises(CommandError, match="Say how far"):
            db(documented, "downgrade", *args)


def test_a_revision_that_is_not_applied_is_no_way_back(scratch: Scratch) -> None:
    db(scratch, "upgrade", "7b4f")
    with pytest.raises(CommandError, match=f"{A2A6} is not applied, so no way back leads to it"):
        db(scratch, "downgrade", "2a6d")
    with pytest.raises(CommandError, match=r"-1 goes back: python manage.py db downgrade -1"):
        db(scratch, "upgrade", "-1")
    assert standing(scratch) == {B7B4}


def test_an_upgrade_shows_the_plan_and_the_end_and_says_when_there_is_nothing(scratch: Scratch) -> None:
    planned = db(scratch, "upgrade", "+1", "--plan")
    assert f"{C6E2}  Add users table" in planned
    assert "accounts.0001_c6e23e92af16_users" in planned
    assert recorded(scratch.connection) == []
    done = db(scratch, "upgrade", "+1")
    assert done.splitlines()[-1] == f"The database stands at {C6E2}."
    assert "Applying accounts.0001_c6e23e92af16_users… OK" in done
    assert db(scratch, "upgrade", C6E2) == f"Nothing to apply: the database stands at {C6E2}.\n"
    db(scratch, "upgrade")
    assert sorted(recorded(scratch.connection)) == sorted(MigrationLoader(None).graph.nodes)
    assert drift(scratch) == []
    assert db(scratch, "check") == "Models, migrations and database agree.\n"


def test_an_upgrade_makes_up_for_permissions_that_a_kill_left_out(newest: Scratch) -> None:
    made = value(newest, "SELECT count(*) FROM auth_permission")
    execute(newest, "DELETE FROM auth_permission")
    db(newest, "upgrade")
    assert value(newest, "SELECT count(*) FROM auth_permission") == made


def test_what_depends_on_a_way_back_is_listed_apart(newest: Scratch) -> None:
    planned = db(newest, "downgrade", "base", "--plan")
    apart = planned.partition("With them goes what depends on them:\n")[2]
    assert "  admin.0001_initial\n" in apart
    assert "  scripts_marketplace.0001_create_all\n" in apart
    assert "accounts.0001" not in apart
    assert standing(newest) == {HEAD}


def test_a_migration_that_fails_is_rolled_back_and_what_to_do_is_said(newest: Scratch) -> None:
    db(newest, "downgrade", "-1")
    before = standing(newest)
    execute(newest, "CREATE TABLE annotations (id integer)")  # what the newest revision makes
    with pytest.raises(CommandError) as failed:
        db(newest, "upgrade")
    told = str(failed.value)
    assert "cases.0012_ef03a3ed9815_annotations failed: " in told
    assert "It was rolled back." in told
    assert f"The database stands at {', '.join(before)}." in told
    assert "run the same command again" in told
    assert standing(newest) == before
    execute(newest, "DROP TABLE annotations")
    db(newest, "upgrade")
    assert standing(newest) == {HEAD}


# Stamp, check, sql ----------------------------------------------------------------------------


def test_a_stamp_changes_records_and_no_table(documented: Scratch) -> None:
    def tables() -> Any:
        found = everything(documented.connection)
        if "sql" in found:
            return [
                line
                for line in found["sql"]
                if "django_migrations" not in line and "sqlite_sequence" not in line
            ]
        return {name: rows for name, rows in found.items() if name not in ("django_migrations", "sequences")}

    before = tables()
    for name, tips in (
        ("c6e2", {C6E2}),
        ("2a6d", {A2A6}),
        ("7b4f", {B7B4}),
        ("0d8c-1", {M7C6}),
        (H0D8, {H0D8}),
    ):
        db(documented, "stamp", name)
        assert standing(documented) == tips
    assert tables() == before
    told = db(documented, "stamp", "8f6e")
    assert told.endswith(f"Recorded {F86E} (branchpoint): +0 -4 migrations. No table was touched.\n")


def test_a_stamp_that_lies_is_said_to_lie(scratch: Scratch, capsys: pytest.CaptureFixture[str]) -> None:
    told = db(scratch, "stamp", "head")
    assert told.endswith(f"+{len(MigrationLoader(None).graph.nodes)} -0 migrations. No table was touched.\n")
    warned = capsys.readouterr().err
    assert "WARNING: the tables are not what is recorded now" in warned
    assert "[error] cases: the table is missing" in warned
    with pytest.raises(CommandError, match="differences to mend"):
        db(scratch, "check")


def test_a_stamp_below_what_others_depend_on_needs_their_names(newest: Scratch) -> None:
    before = recorded(newest.connection)
    with pytest.raises(CommandError, match=r"admin\.0001_initial.*Nothing was changed.*--include-dependents"):
        db(newest, "stamp", "base")
    for name in ("nix", "7", "head+1", ""):
        with pytest.raises(CommandError):
            db(newest, "stamp", name)
    assert recorded(newest.connection) == before
    db(newest, "stamp", "base", "--include-dependents")
    assert standing(newest) == set()
    left = {app for app, _ in recorded(newest.connection)}
    assert "auth" in left
    assert not left & {"accounts", "admin"}


def test_check_finds_a_lost_column_and_says_what_to_do(newest: Scratch) -> None:
    execute(newest, "ALTER TABLE analysis_modules DROP COLUMN tool", "CREATE TABLE of_somebody (id integer)")
    with pytest.raises(CommandError, match="1 difference to mend"):
        db(newest, "check")
    execute(newest, "ALTER TABLE analysis_modules ADD COLUMN tool varchar")
    assert "of_somebody: unknown table; it is kept" in db(newest, "check")
    (found,) = json.loads(db(newest, "check", "--json"))
    assert found["level"] == "extra"


def test_sql_is_written_without_a_database(scratch: Scratch) -> None:
    assert "Nothing to do" in db(scratch, "sql", "head:head")
    assert recorded(scratch.connection) == []
    with pytest.raises(CommandError, match="There is no revision 'nix'"):
        db(scratch, "sql", "nix")


def test_a_backup_says_where_it_is(documented: Scratch, tmp_path: Path) -> None:
    told = db(documented, "backup", "--backup-dir", str(tmp_path / "kept"))
    (backup,) = [p for p in (tmp_path / "kept").glob("*") if p.suffix != ".json"]
    assert H0D8 in backup.name
    assert f"python manage.py db restore {backup}" in told
    with pytest.raises(CommandError):
        db(documented, "restore", str(tmp_path / "nothing"), "--yes")


# The old system, and tests --------------------------------------------------------------------


def test_a_database_of_the_old_system_is_refused_by_everything_that_changes_it(scratch: Scratch) -> None:
    load(scratch, postgresql="alembic_8f6e0f2be8d2", sqlite="ca_1250a46_0d8c")
    scratch.connection.close()
    before = everything(scratch.connection)
    for verb in (["upgrade"], ["downgrade", "base"], ["stamp", "head"], ["upgrade", "--plan"]):
        with pytest.raises(CommandError, match=r"belongs to the old system.*Take it over first.*adopt"):
            db(scratch, *verb)
    for args in ([], ["--fake"], ["--fake-initial"], ["--plan"], ["cases", "zero"]):
        with pytest.raises(CommandError, match=r"belongs to the old system.*Take it over first.*adopt"):
            migrate(scratch, *args)
    told = db(scratch, "current")
    assert "alembic_version" in told
    assert "python manage.py adopt" in told
    assert "<base>" not in told
    with pytest.raises(CommandError, match="adopt"):
        db(scratch, "current", "--check-heads")
    with pytest.raises(CommandError, match="to mend"):
        db(scratch, "check")
    assert everything(scratch.connection) == before


@pytest.mark.schema
def test_the_test_runner_of_django_works_in_parallel(scratch: Scratch) -> None:
    ended = scratch.manage("test", "datamortem.tests.revisions.stock_suite", "--parallel", "2", "--noinput")
    assert "Ran 2 tests" in ended.stderr
    assert "OK" in ended.stderr
    assert recorded(connections[scratch.alias]) == []
