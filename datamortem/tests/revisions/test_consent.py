"""What is destroyed only after a yes and a backup, and output that stops nothing."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError

from datamortem.revisions.graph import RevisionGraph
from datamortem.revisions.output import typed_yes
from datamortem.tests.revisions.legacy import everything
from datamortem.tests.revisions.operator import db, execute, migrate, standing, value
from datamortem.tests.revisions.scratch import Scratch

F86E, B7B4, A2A6, H0D8 = ("8f6e0f2be8d2", "7b4f50a1e0e0", "2a6d94c6cc2b", "0d8c359bb4f1")
HEAD = RevisionGraph().heads[0].id
BOB = (
    "INSERT INTO users"
    " (id, email, username, hashed_password, role, is_active, is_superuser, created_at_utc{more})"
    " VALUES (7, 'b@example.org', 'bob', 'x', 'lead', '1', '0', '2025-01-01'{values})"
)


def with_bob(scratch: Scratch, *, otp_secret: str | None = "secret") -> None:
    """Put a user into a database at the documented head, and a case with a slug."""
    more = ", email_verified, otp_enabled, otp_secret"
    values = ", '0', '0', " + (f"'{otp_secret}'" if otp_secret else "NULL")
    execute(scratch, BOB.format(more=more, values=values))
    execute(
        scratch,
        "INSERT INTO cases (case_id, status, created_at_utc, hedgedoc_slug, owner_id)"
        " VALUES ('a', 'open', '2025-01-01', 'precious', 7)",
    )


def backups(scratch: Scratch) -> list[Path]:
    return sorted(path for path in settings.BACKUP_ROOT.glob("*") if path.suffix in (".dump", ".sqlite3"))


# Consent --------------------------------------------------------------------------------------


def test_values_are_listed_and_kept_without_a_yes(documented: Scratch) -> None:
    with_bob(documented)
    before = everything(documented.connection)
    planned = db(documented, "downgrade", "8f6e", "--plan")
    assert planned.endswith(
        "This destroys:\n  column cases.hedgedoc_slug: 1 value\n  column users.otp_secret: 1 value\n"
    )
    with pytest.raises(CommandError, match=r"Nothing was changed. Repeat with --yes"):
        db(documented, "downgrade", "8f6e")
    with pytest.raises(CommandError, match=r"Nothing was changed. Repeat with --yes"):
        migrate(documented, "cases", "0003")
    with pytest.raises(CommandError, match=r"Nothing was changed. Repeat with --yes"):
        migrate(documented, "cases", "0003", interactive=False)
    assert everything(documented.connection) == before
    assert backups(documented) == []


def test_with_a_yes_a_backup_is_taken_that_brings_the_values_back(documented: Scratch) -> None:
    with_bob(documented)
    before = everything(documented.connection)
    told = db(documented, "downgrade", "8f6e", "--yes")
    (backup,) = backups(documented)
    assert f"To return to it: python manage.py db restore {backup}" in told
    assert standing(documented) == {F86E}
    with pytest.raises(CommandError, match="Repeat with --yes"):
        db(documented, "restore", str(backup))
    restored = db(documented, "restore", str(backup), "--yes")
    assert restored.endswith(f"Restored. The database stands at {H0D8}.\n")
    assert everything(documented.connection) == before
    assert len(backups(documented)) == 2


def test_plain_migrate_asks_too_and_faking_destroys_nothing(documented: Scratch) -> None:
    with_bob(documented)
    migrate(documented, "cases", "0003", fake=True)
    migrate(documented, "cases", "0006", fake=True)
    assert "Planned operations" in migrate(documented, "cases", "0003", plan=True)
    told = migrate(documented, "cases", "0003", yes=True)
    assert "column cases.hedgedoc_slug: 1 value" in told
    assert len(backups(documented)) == 1
    assert standing(documented) == {B7B4}


def test_a_backup_that_fails_stops_it(documented: Scratch, tmp_path: Path) -> None:
    with_bob(documented)
    before = everything(documented.connection)
    (tmp_path / "taken").write_text("a file in the place of the directory")
    with pytest.raises(CommandError):
        db(documented, "downgrade", "-3", "--yes", "--backup-dir", str(tmp_path / "taken"))
    assert everything(documented.connection) == before


def test_where_nothing_is_lost_nothing_is_asked(documented: Scratch) -> None:
    with_bob(documented, otp_secret=None)
    execute(documented, "UPDATE cases SET hedgedoc_slug = NULL")
    assert "destroys" not in db(documented, "downgrade", "8f6e")
    assert backups(documented) == []
    assert value(documented, "SELECT username FROM users") == "bob"


def test_on_a_terminal_a_typed_yes_goes_on(documented: Scratch) -> None:
    with_bob(documented)
    documented.connection.close()
    master, slave = pty.openpty()
    os.write(master, b"yes\n")
    ended = subprocess.run(
        [documented.python, "manage.py", "db", "downgrade", "8f6e"],
        cwd=settings.BASE_DIR,
        env=documented.environment,
        stdin=slave,
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(slave)
    os.close(master)
    assert "Type yes to go on" in ended.stdout
    assert (ended.returncode, ended.stderr) == (0, "")
    assert standing(documented) == {F86E}


@pytest.mark.parametrize("typed", ["y", "YES", "yes please", "", "oui"])
def test_nothing_that_resembles_a_yes_is_one(typed: str) -> None:
    assert not typed_yes(lambda question: typed, "?")


@pytest.mark.parametrize("ending", [EOFError, KeyboardInterrupt])
def test_an_answer_that_does_not_come_is_no(ending: type[BaseException]) -> None:
    def ask(question: str) -> str:
        raise ending

    assert not typed_yes(ask, "?")


def test_a_way_back_that_fails_names_the_backup(documented: Scratch) -> None:
    with_bob(documented)
    if documented.connection.vendor == "postgresql":
        execute(documented, "CREATE TABLE parent (hedgedoc_slug varchar)", "ALTER TABLE cases INHERIT parent")
    else:
        execute(documented, "CREATE VIEW slugs AS SELECT hedgedoc_slug FROM cases")
    with pytest.raises(CommandError) as failed:
        db(documented, "downgrade", "8f6e", "--yes")
    (backup,) = backups(documented)
    assert f"python manage.py db restore {backup}" in str(failed.value)
    assert f"The database stands at {B7B4}, {A2A6}." in str(failed.value)
    assert value(documented, "SELECT hedgedoc_slug FROM cases") == "precious"


# Output ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["db upgrade", pytest.param("migrate", marks=pytest.mark.schema)])
def test_a_reader_that_goes_away_does_not_stop_it(documented: Scratch, command: str) -> None:
    documented.connection.close()
    shell = f"{documented.python} manage.py {command} | head -n 1; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(
        ["bash", "-c", shell],
        cwd=settings.BASE_DIR,
        env={**documented.environment, "PYTHONUNBUFFERED": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert standing(documented) == {HEAD}


@pytest.mark.parametrize(("verb", "status"), [("upgrade", 0), ("history", 1)])
def test_a_full_disk_and_a_narrow_encoding_of_the_output_do_not_stop_it(
    documented: Scratch, verb: str, status: int
) -> None:
    documented.connection.close()
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [documented.python, "manage.py", "db", verb],
            cwd=settings.BASE_DIR,
            env={**documented.environment, "PYTHONIOENCODING": "ascii"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (
        status,
        "CommandError: The output could not be written: No space left on device.\n" if status else "",
    )
    assert standing(documented) == {HEAD if verb == "upgrade" else H0D8}
