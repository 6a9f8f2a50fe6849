"""Databases of the old system on SQLite are taken over at any of their states, value by value the same."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from typing import Final

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection

from cases.models import Case, Event
from datamortem.revisions import live
from datamortem.revisions.adoption import sqlite
from datamortem.revisions.live import Level
from datamortem.tests.revisions import legacy
from datamortem.tests.revisions.old_sqlite import (
    OLD_TABLES,
    adopt,
    changed,
    dump,
    load,
    migrate,
    opened,
    path_of,
    redeclare,
    rows,
    values,
)
from datamortem.tests.revisions.scratch import Scratch

pytestmark = pytest.mark.skipif("connection.vendor != 'sqlite'", reason="these are files of SQLite")

PASSWORDS: Final = {
    "admin": "admin123",
    "elodie": "mot de passe très long!",
    "viewer": "é" * 40 + "-longer-than-72-bytes",
}
#: The last name is the richest; the others take their time in `make test-schema`.
SAMPLES: Final = [
    pytest.param(name, marks=[] if name in ("ev3a", "ca_1250a46_0d8c") else [pytest.mark.schema])
    for name in legacy.names("sqlite")
]


def faults(scratch: Scratch) -> list[str]:
    """What `db check` would not call clean."""
    found = [str(d) for d in live.drift(scratch.connection) if d.level is not Level.EXTRA]
    found += [str(row) for row in rows(scratch, "PRAGMA foreign_key_check")]
    return found + [row[0] for row in rows(scratch, "PRAGMA integrity_check") if row[0] != "ok"]


# Every sample -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample_is_taken_over_and_walks_the_history_with_every_value(scratch: Scratch, sample: str) -> None:
    load(scratch, sample)
    before = values(scratch)
    highest = {t: max(before[t]["id"]) for t in OLD_TABLES & before.keys() if before[t]["id"]}

    adopt(scratch, "--yes")
    assert faults(scratch) == []
    assert changed(before, values(scratch)) == []
    assert rows(scratch, "SELECT version_num FROM alembic_version") == [("adopted-by-django",)]

    migrate(scratch)
    assert faults(scratch) == []
    assert changed(before, values(scratch)) == []
    _passwords_are_those_of_before(scratch)
    _new_rows_get_ids_above(scratch, highest)

    before = values(scratch)
    call_command("db", "downgrade", "-3", "--yes", database=scratch.alias, verbosity=0)
    migrate(scratch)
    assert faults(scratch) == []
    known = {table: columns for table, columns in before.items() if table in OLD_TABLES}
    assert [fault for fault in changed(known, values(scratch)) if "hashed_password" not in fault] == []

    with pytest.raises(CommandError, match="taken over already"):
        adopt(scratch, "--yes")


def _passwords_are_those_of_before(scratch: Scratch) -> None:
    for user in get_user_model().objects.using(scratch.alias).filter(username__in=PASSWORDS):
        assert not user.check_password(PASSWORDS[user.username] + "x" if user.username != "viewer" else "x")
        assert user.check_password(PASSWORDS[user.username]), user.username
        assert user.is_active == (user.username != "viewer")


def _new_rows_get_ids_above(scratch: Scratch, highest: dict[str, int]) -> None:
    case = Case.objects.using(scratch.alias).create(case_id="NEW-1")
    event = Event.objects.using(scratch.alias).create(
        case=case, ts="2026-01-01T00:00:00Z", source="x", message=""
    )
    assert (case.pk, event.pk) == (highest["cases"] + 1, highest["events"] + 1)
    # A time that the old system wrote with ".000000" is found by what it is.
    old = Case.objects.using(scratch.alias).get(pk=2)
    assert Case.objects.using(scratch.alias).get(created_at_utc=old.created_at_utc) == old
    assert str(old.created_at_utc) == "2025-10-26 02:30:00+00:00"
    event.delete()
    case.delete()


def test_people_sign_in_as_before_and_the_inactive_do_not(scratch: Scratch) -> None:
    load(scratch, "ev3a")
    scratch.manage("adopt", "--yes")
    scratch.manage("db", "upgrade")
    ask = (
        "from django.contrib.auth import authenticate as a;"
        "from accounts.models import User;"
        "mail = lambda name: User.objects.get(username=name).email;"
        f"print([bool(a(email=mail(n), password=p)) for n, p in {list(PASSWORDS.items())!r}],"
        " bool(a(email=mail('admin'), password='admin124')))"
    )
    assert "[True, True, False] False" in scratch.manage("shell", "-c", ask).stdout
    assert "0d8c359bb4f1" in scratch.manage("db", "history").stdout
    refused = scratch.manage("adopt", "--yes", check=False)
    assert refused.returncode == 1 and "taken over already" in refused.stderr


# Other states -----------------------------------------------------------------------------------

WITHOUT_OWNER_KEY: Final = redeclare(
    "cases", ", \n\tCONSTRAINT fk_cases_owner FOREIGN KEY(owner_id) REFERENCES users (id)", ""
)
STATES: Final = {
    "the committed dev.db: a head without its foreign key": ("ev1", WITHOUT_OWNER_KEY, ["c6e23e92af16"]),
    "stamped with the head, never migrated": ("ca_673e843", [], ["0d8c359bb4f1"]),
    "a column dropped under the stamped head": (
        "ev3a",
        ["ALTER TABLE users DROP COLUMN otp_secret", "ALTER TABLE custom_scripts DROP COLUMN requirements"],
        ["0d8c359bb4f1"],
    ),
    "2a6d94c6cc2b half done, and stamped": (
        "ev3a",
        [
            "ALTER TABLE cases ADD COLUMN hedgedoc_slug VARCHAR",
            "UPDATE cases SET hedgedoc_slug = 'x' WHERE id = 2",
        ],
        ["7b4f50a1e0e0", "2a6d94c6cc2b"],
    ),
    "2a6d94c6cc2b half done, not stamped": (
        "ev3a",
        [
            "ALTER TABLE cases ADD COLUMN hedgedoc_slug VARCHAR",
            "UPDATE cases SET hedgedoc_slug = 'x' WHERE id = 2",
        ],
        ["8f6e0f2be8d2"],
    ),
    "columns that rows are too old to hold": (
        "ev1",
        [
            "ALTER TABLE users ADD COLUMN email_verified BOOLEAN NOT NULL DEFAULT 1",
            "ALTER TABLE users ADD COLUMN note_of_later VARCHAR(20) NOT NULL DEFAULT 'kept, (as) it is'",
            "ALTER TABLE cases ADD COLUMN hedgedoc_slug VARCHAR DEFAULT NULL",
        ],
        ["c6e23e92af16"],
    ),
    "booleans with checks, lengths, and UNIQUE in the column": (
        "ca_673e843",
        [
            *redeclare("users", "PRIMARY KEY (id)", "PRIMARY KEY (id), CHECK (is_active IN (0, 1))"),
            *redeclare(
                "users",
                "is_superuser BOOLEAN NOT NULL",
                "is_superuser BOOLEAN CHECK (is_superuser IN (0, 1)) NOT NULL",
            ),
            *redeclare("events", "host VARCHAR", "host VARCHAR(255)"),
            *redeclare("cases", "note TEXT", "note TEXT /* , */ -- of the case (\n"),
        ],
        None,
    ),
    "indexes gone": (
        "ev3a",
        ["DROP INDEX ix_cases_case_id", "DROP INDEX ix_events_case_id", "DROP INDEX ix_users_email"],
        ["8f6e0f2be8d2"],
    ),
    "indexes too many": (
        "ev3a",
        [
            "CREATE INDEX twin ON events (case_id)",
            "CREATE INDEX by_hand ON events (source, ts DESC) WHERE score > 50",
            "CREATE INDEX on_unique ON cases (case_id)",
        ],
        None,
    ),
    "NULL allowed where nothing is NULL": (
        "ev1",
        [
            *redeclare("users", "email VARCHAR NOT NULL", "email VARCHAR"),
            *redeclare("cases", "status VARCHAR NOT NULL", "status VARCHAR"),
        ],
        None,
    ),
    "tables and columns of the latest version, claimed": ("ca_1250a46_0d8c", [], ["431f727a1611"]),
    "an empty claim": ("ca_1250a46_0d8c", [], []),
    "triggers, views and tables of somebody else": (
        "ev3a",
        [
            "CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, user_id REFERENCES users (id), what)",
            "INSERT INTO audit VALUES (7, 1, x'00ff'), (9, NULL, 1.5), (12, 2, 'a' || char(0) || 'b')",
            "CREATE TABLE bare (a, b PRIMARY KEY) WITHOUT ROWID",
            "CREATE VIEW open_cases AS SELECT * FROM cases WHERE status = 'open'",
            "CREATE TRIGGER noted AFTER DELETE ON events BEGIN INSERT INTO audit (what) VALUES (old.id); END",
        ],
        None,
    ),
    "a higher number was given before": (
        "ev3a",
        [
            "CREATE TABLE seq_maker (id INTEGER PRIMARY KEY AUTOINCREMENT)",
            "PRAGMA writable_schema = ON",
            "UPDATE sqlite_master SET sql = 'CREATE TABLE analysis_modules (id INTEGER PRIMARY KEY AUTOINCREMENT,"
            " name VARCHAR NOT NULL, description TEXT, tool VARCHAR, enabled BOOLEAN NOT NULL)'"
            " WHERE name = 'analysis_modules'",
            "PRAGMA writable_schema = RESET",
            "INSERT INTO sqlite_sequence VALUES ('analysis_modules', 500)",
        ],
        None,
    ),
    "NUL characters, odd numbers and very long texts": (
        "ev3a",
        [
            "UPDATE events SET message = 'a' || char(0) || 'b', score = 9223372036854775807 WHERE id = 1",
            "UPDATE events SET raw = printf('%.*c', 3000000, 'x'), host = '' WHERE id = 2",
            "UPDATE events SET ts = '', created_at_utc = '2025-03-30T02:30:00+02:00' WHERE id = 3",
        ],
        None,
    ),
}
QUICK: Final = [
    "the committed dev.db: a head without its foreign key",
    "columns that rows are too old to hold",
    "indexes too many",
    "triggers, views and tables of somebody else",
]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.schema]) for name in STATES]
)
def test_a_state_is_completed_with_every_value(scratch: Scratch, name: str) -> None:
    sample, statements, claims = STATES[name]
    load(scratch, sample, statements, claims)
    before = values_of_known(scratch)
    adopt(scratch, "--yes")
    # A column of a later documented revision is unknown until the upgrade.
    assert [fault for fault in faults(scratch) if "unknown column" not in fault] == []
    assert changed(before, values_of_known(scratch)) == []
    migrate(scratch)
    assert faults(scratch) == []
    assert changed(before, values_of_known(scratch)) == []
    assert "by_hand" in str(dump(scratch)) or "too many" not in name


def values_of_known(scratch: Scratch) -> dict:
    """Without a table that has no row numbers."""
    with opened(scratch) as file:
        file.execute("DROP TABLE IF EXISTS bare")
    return values(scratch)
