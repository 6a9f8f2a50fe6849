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
    Values,
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

pytestmark = pytest.mark.skipif(connection.vendor != "sqlite", reason="these are files of SQLite")

PASSWORDS: Final = {
    "admin": "admin123",
    "elodie": "mot de passe très long!",
    "viewer": "é" * 40 + "-longer-than-72-bytes",
}
#: This one is the richest; the others take their time in `make test-schema`.
SAMPLES: Final = [
    pytest.param(name, marks=[] if name == "ca_1250a46_0d8c" else [pytest.mark.schema])
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
    assert refused.returncode == 1
    assert "taken over already" in refused.stderr


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
            "CREATE TRIGGER watched AFTER UPDATE ON users BEGIN INSERT INTO audit (what) VALUES ('%s'); END",
            "CREATE TRIGGER noted AFTER DELETE ON events BEGIN INSERT INTO audit (what) VALUES (old.id); END",
        ],
        None,
    ),
    "a higher number was given before": (
        "ev3a",
        [
            "CREATE TABLE seq_maker (id INTEGER PRIMARY KEY AUTOINCREMENT)",
            "PRAGMA writable_schema = ON",
            "UPDATE sqlite_master SET sql = 'CREATE TABLE analysis_modules"
            " (id INTEGER PRIMARY KEY AUTOINCREMENT, name VARCHAR NOT NULL, description TEXT, tool VARCHAR,"
            " enabled BOOLEAN NOT NULL)'"
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
    if "too many" in name:
        assert "by_hand" in str(dump(scratch))
    if "triggers" in name:
        found = rows(scratch, "SELECT name FROM sqlite_master WHERE type IN ('trigger', 'view') ORDER BY 1")
        assert found == [("noted",), ("open_cases",), ("watched",)]
    if "higher number" in name:
        assert rows(scratch, "SELECT seq FROM sqlite_sequence WHERE name = 'analysis_modules'") == [(500,)]


def values_of_known(scratch: Scratch) -> Values:
    """Without a table that has no row numbers."""
    with opened(scratch) as file:
        file.execute("DROP TABLE IF EXISTS bare")
    return values(scratch)


# Before, during and instead ---------------------------------------------------------------------


def test_the_plan_leaves_every_byte_of_the_file(scratch: Scratch) -> None:
    load(scratch, "ca_1250a46_0d8c")
    before = path_of(scratch).read_bytes()
    said = adopt(scratch)
    assert "Nothing was written." in said
    assert "case_members" in said
    scratch.connection.close()
    assert path_of(scratch).read_bytes() == before
    assert not path_of(scratch).with_name("scratch.sqlite3-wal").exists()


def test_what_cannot_be_converted_is_refused_and_leaves_everything(scratch: Scratch) -> None:
    add = "ALTER TABLE custom_scripts ADD COLUMN owner_ref INTEGER NOT NULL DEFAULT 1"
    load(scratch, "ev3a", [add, "UPDATE custom_scripts SET owner_ref = owner_ref + 1"])
    with opened(scratch) as file:  # a column of somebody else's, without which nothing can be inserted
        for statement in redeclare(
            "custom_scripts", "owner_ref INTEGER NOT NULL DEFAULT 1", "owner_ref BIGINT NOT NULL"
        ):
            file.execute(statement)
    before = dump(scratch)
    with pytest.raises(CommandError, match="owner_ref bigint NOT NULL without default"):
        adopt(scratch, "--yes")
    assert dump(scratch) == before
    with opened(scratch) as file:
        file.execute("ALTER TABLE custom_scripts DROP COLUMN owner_ref")
    assert "The database is taken over" in adopt(scratch, "--yes")


@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_somebody_who_is_writing_is_waited_for_and_then_named(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch, begin: str
) -> None:
    load(scratch, "ev1")
    before = dump(scratch)
    with opened(scratch) as writer:
        writer.execute(begin)
        writer.execute("UPDATE cases SET note = 'being written'")
        monkeypatch.setattr(sqlite.connect, "__defaults__", (0.5,))
        scratch.connection.settings_dict["OPTIONS"] = {
            **scratch.connection.settings_dict["OPTIONS"],
            "timeout": 0.1,
        }
        with pytest.raises(CommandError, match=r"Another process is using .*Stop the old system"):
            adopt(scratch, "--yes")
        writer.execute("ROLLBACK")
    assert dump(scratch) == before
    assert "The database is taken over" in adopt(scratch, "--yes")


def test_readers_of_the_old_system_read_on_while_it_is_taken_over(scratch: Scratch) -> None:
    load(scratch, "ev3a")
    with opened(scratch) as reader:
        assert reader.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM events").fetchone() == (11,)
        adopt(scratch, "--yes")
        assert reader.execute("SELECT hashed_password LIKE 'bcrypt%' FROM users").fetchone() == (0,)
        reader.execute("COMMIT")
        assert reader.execute("SELECT hashed_password LIKE 'bcrypt%' FROM users").fetchone() == (1,)


def test_what_a_killed_writer_of_the_old_system_left_half_done_is_undone_first(scratch: Scratch) -> None:
    load(scratch, "ev3a")
    before = values(scratch)
    write = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('PRAGMA cache_size = 2'); c.execute('PRAGMA cache_spill = 1'); c.execute('BEGIN');"
        'c.execute("UPDATE events SET raw = hex(zeroblob(20000))"); os.kill(os.getpid(), 9)'
    )
    done = subprocess.run([sys.executable, "-c", write, str(path_of(scratch))], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path_of(scratch).with_name("scratch.sqlite3-journal").stat().st_size > 0
    adopt(scratch, "--yes")
    assert faults(scratch) == []
    assert changed(before, values(scratch)) == []


def test_permissions_of_the_file_stay(scratch: Scratch) -> None:
    load(scratch, "ev1")
    path_of(scratch).chmod(0o640)
    adopt(scratch, "--yes")
    assert path_of(scratch).stat().st_mode & 0o777 == 0o640


# Large ------------------------------------------------------------------------------------------

MANY: Final = """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
    INSERT INTO events (ts, source, message, host, user, tags, score, case_id, evidence_uid, raw,
                        created_at_utc)
    SELECT strftime('%Y-%m-%dT%H:%M:%SZ', 1700000000 + i, 'unixepoch'), 'evtx', 'événement ' || i, 'WS-01',
           'CORP\\bob', NULL, i % 100, 'INC-2025-0002', 'ev-0001', '{{"EventID": 4624, "n": ' || i || '}}',
           strftime('%Y-%m-%d %H:%M:%S', 1700000000 + i, 'unixepoch') || printf('.%06d', i * 7919 % 1000000)
    FROM n
"""


def test_a_large_table_is_neither_copied_nor_read_under_the_lock(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "LARGE", 1000)
    load(scratch, "ev3a", [MANY.format(rows=5000)])
    before = values(scratch)
    root = rows(scratch, "SELECT rootpage FROM sqlite_master WHERE name = 'events'")
    said = adopt(scratch, "--yes")
    assert "events: 5,011 rows read (100 %)" in said
    assert "Confirming the values of events" in said
    assert rows(scratch, "SELECT rootpage FROM sqlite_master WHERE name = 'events'") == root
    assert faults(scratch) == []
    assert changed(before, values(scratch)) == []
    assert rows(scratch, "SELECT count(*) FROM events WHERE created_at_utc LIKE '%.000000'") == [(0,)]


def test_a_writer_of_the_old_system_makes_the_reading_begin_again(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "LARGE", 1000)
    load(scratch, "ev3a", [MANY.format(rows=2000)])
    version, asked = sqlite.data_version, []

    def write_after_the_first(_: object) -> int:
        asked.append(version(scratch.connection))
        if len(asked) == 1:
            _write_once(str(path_of(scratch)))
        return asked[-1]

    monkeypatch.setattr(sqlite, "data_version", write_after_the_first)
    said = adopt(scratch, "--yes")
    assert "The database was changed meanwhile: reading again." in said
    assert rows(scratch, "SELECT count(*) FROM events WHERE message = 'meanwhile'") == [(1,)]
    assert faults(scratch) == []


def test_a_writer_who_never_stops_is_not_overtaken(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "LARGE", 1000)
    load(scratch, "ev3a", [MANY.format(rows=2000)])
    version = sqlite.data_version

    def write_each_time(_: object) -> int:
        found = version(scratch.connection)
        if not scratch.connection.in_atomic_block:
            _write_once(str(path_of(scratch)))
        return found

    monkeypatch.setattr(sqlite, "data_version", write_each_time)
    with pytest.raises(CommandError, match=r"changed each time it was read.*Stop the old system"):
        adopt(scratch, "--yes")
    assert rows(scratch, "SELECT version_num FROM alembic_version") == [("7b4f50a1e0e0",)]


def _write_once(path: str) -> None:
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute(
        "INSERT INTO events (ts, source, message, case_id, created_at_utc)"
        " VALUES ('', '', 'meanwhile', 'INC-2025-0002', '2025-01-01 00:00:00.000000')"
    )
    writer.close()


@pytest.mark.schema
@pytest.mark.parametrize("many", [1, 300_000])
def test_an_adoption_killed_at_any_moment_leaves_the_old_state_or_the_new_one(
    scratch: Scratch, many: int
) -> None:
    load(scratch, "ev3a", [MANY.format(rows=many)])
    whole = path_of(scratch).read_bytes()
    before, untouched = values(scratch), dump(scratch)
    took = time.monotonic()
    scratch.manage("adopt", "--yes")
    took = time.monotonic() - took
    old = new = 0
    for number in range(12):
        _reset(scratch, whole)
        process = subprocess.Popen(
            [scratch.python, "manage.py", "adopt", "--yes"],
            env=scratch.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(took * (0.25 + 0.07 * number))
        process.kill()
        process.wait()
        if rows(scratch, "SELECT version_num FROM alembic_version") == [("adopted-by-django",)]:
            new += 1
        else:
            old += 1
            assert dump(scratch) == untouched
        again = scratch.manage("adopt", "--yes", check=False)
        assert again.returncode == 0 or "taken over already" in again.stderr
        assert faults(scratch) == []
        assert changed(before, values(scratch)) == []
    print(f"12 kills: {old} times the old state was left, {new} times the new one")


def _reset(scratch: Scratch, whole: bytes) -> None:
    scratch.connection.close()
    for suffix in ("-wal", "-shm"):
        path_of(scratch).with_name(f"scratch.sqlite3{suffix}").unlink(missing_ok=True)
    path_of(scratch).write_bytes(whole)


@pytest.mark.schema
def test_two_million_events_are_taken_over_while_others_work(scratch: Scratch) -> None:
    load(scratch, "ev3a", [MANY.format(rows=2_000_000)])
    sums = "SELECT count(*), sum(id), sum(score), sum(length(raw)), min(ts), max(ts) FROM events"
    before = rows(scratch, sums)
    waits: dict[str, list[float]] = {"read": [], "write": []}
    stop = threading.Event()

    def use(what: str, *statements: str) -> None:
        file = sqlite3.connect(path_of(scratch), isolation_level=None, timeout=60)
        while not stop.wait(0.005):
            begin = time.monotonic()
            for statement in statements:
                file.execute(statement).fetchall()
            waits[what].append(time.monotonic() - begin)
        file.close()

    others = [
        threading.Thread(target=use, args=("read", "SELECT count(*) FROM users")),
        threading.Thread(target=use, args=("write", "BEGIN IMMEDIATE", "ROLLBACK")),
    ]
    for other in others:
        other.start()
    begin = time.monotonic()
    said = scratch.manage("adopt", "--yes").stdout
    took = time.monotonic() - begin
    stop.set()
    for other in others:
        other.join()
    assert rows(scratch, sums) == before
    assert faults(scratch) == []
    longest = {what: round(max(each), 2) for what, each in waits.items()}
    kept = next(line for line in said.splitlines() if "kept from others" in line)
    print(f"2,000,000 events: {took:.1f} s;{kept}; longest waits of others, in seconds: {longest}")
