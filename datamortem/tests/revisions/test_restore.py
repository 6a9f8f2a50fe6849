"""A restore returns to the exact state, or changes nothing, and keeps what it replaces."""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from pytest_django import Settings

from datamortem.revisions.backup import (
    Backup,
    BackupDamaged,
    BackupFailed,
    BackupForeign,
    RestoreFailed,
    backup,
    replacing,
    restore,
    sqlite,
    verify,
)
from datamortem.revisions.backup.clients import clients_for
from datamortem.tests.revisions.backups import change, execute, fill, next_id, run_python, started, state
from datamortem.tests.revisions.scratch import Scratch, scratch_database


@pytest.fixture
def room(tmp_path: Path) -> Path:
    return tmp_path / 'it\'s "50%" of\n#1? é; $(id) {rows}'


@pytest.fixture
def filled(scratch: Scratch) -> Scratch:
    fill(scratch)
    return scratch


@pytest.fixture
def made(filled: Scratch, room: Path) -> Backup:
    """A backup of what `filled` holds."""
    return backup(filled.connection, room, revision="old")


def only(vendor: str, scratch: Scratch) -> None:
    if scratch.connection.vendor != vendor:
        pytest.skip(f"about {vendor}")


def rewrite(made: Backup, **changed: Any) -> None:
    """Let the sidecar say something else."""
    made.sidecar.write_text(replace(verify(made.path), **changed).text())


def test_everything_is_as_it_was_and_the_way_back_is_kept(filled: Scratch, room: Path) -> None:
    before = state(filled)
    made = backup(filled.connection, room, revision="old")
    assert state(filled) == before
    change(filled)
    changed = state(filled)
    assert changed != before
    told: list[str] = []

    replaced = restore(filled.connection, made.path, room, revision_now="new", progress=told.append)
    assert state(filled) == before
    assert verify(replaced.path).revision == "new"
    assert any(f"db restore {replaced.path}" in text for text in told)
    assert next_id(filled) == 4  # 3 was given and deleted

    restore(filled.connection, replaced.path, room, revision_now="old")
    assert state(filled) == changed


@pytest.mark.schema
def test_a_database_of_this_product_comes_back_with_its_rows_and_next_ids(
    scratch: Scratch, room: Path
) -> None:
    scratch.manage("migrate", "--verbosity=0")
    execute(scratch, "INSERT INTO auth_group (name) VALUES ('Ermittler é')")
    before = state(scratch)
    made = backup(scratch.connection, room, revision="head")
    execute(scratch, "ALTER TABLE users DROP COLUMN otp_secret; DELETE FROM auth_group; DROP TABLE events")
    restore(scratch.connection, made.path, room, revision_now="earlier")
    assert as_reloaded(state(scratch)) == as_reloaded(before)
    assert "No planned" in scratch.manage("migrate", "--plan").stdout


def as_reloaded(text: str) -> str:
    """Return the text without the casts that PostgreSQL writes in other places after a reload.

    A check on (ARRAY['x'::varchar])::text[] is the same as one on ARRAY['x'::varchar::text].
    """
    casts = re.compile(r"::(text|character varying)|\[\]|[()]")
    return "\n".join(casts.sub("", line) if "CHECK" in line else line for line in text.split("\n"))


def test_it_goes_into_an_empty_database_of_another_name(filled: Scratch, made: Backup, room: Path) -> None:
    with scratch_database() as empty:
        restore(empty.connection, made.path, room, revision_now="base")
        assert state(empty) == state(filled)


def test_an_open_connection_elsewhere_sees_the_restored_state(
    filled: Scratch, made: Backup, room: Path
) -> None:
    with closing(filled.connection.copy()) as other:
        change(filled)
        with other.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM people")
            assert cursor.fetchone() == (4,)
        restore(filled.connection, made.path, room, revision_now="new")
        with other.cursor() as cursor:
            cursor.execute("SELECT name, boss_id, raw FROM people ORDER BY id")
            assert cursor.fetchall() == [("Élodie", None, None), ("tab\tand\nline", 1, None)]


# What is refused --------------------------------------------------------------------------------


def damaged(made: Backup) -> None:
    content = bytearray(made.path.read_bytes())
    content[len(content) // 2] ^= 1
    made.path.write_bytes(content)


def truncated(made: Backup) -> None:
    made.path.write_bytes(made.path.read_bytes()[:-100])


def without_sidecar(made: Backup) -> None:
    made.sidecar.unlink()


def of_another_vendor(made: Backup) -> None:
    rewrite(made, vendor="mysql")


def with_other_bytes(content: bytes, made: Backup) -> None:
    """A whole sidecar that belongs to a file of another kind."""
    rewrite(made, size=len(content), sha256=hashlib.sha256(content).hexdigest())
    made.path.write_bytes(content)


def random_bytes(made: Backup) -> None:
    with_other_bytes(b"\x01\x80 anything" * 1000, made)


def half_a_file(made: Backup) -> None:
    content = made.path.read_bytes()
    with_other_bytes(content[: len(content) // 2], made)


def newer_code(made: Backup) -> None:
    rewrite(made, recorded=["cases.0001_create_all", "cases.9999_from_the_future"])


def other_rows(made: Backup) -> None:
    rows = verify(made.path).rows
    rewrite(made, rows={name: count + 1 for name, count in rows.items()})


def fewer_tables(made: Backup) -> None:
    rows = verify(made.path).rows
    rewrite(made, rows=dict(list(rows.items())[1:]))


def test_a_wrong_file_changes_nothing(filled: Scratch, room: Path) -> None:
    spoilers = [damaged, truncated, without_sidecar, of_another_vendor, random_bytes]
    spoilers += [half_a_file, newer_code, other_rows, fewer_tables]
    spoiled = [(spoil, backup(filled.connection, room, revision=spoil.__name__)) for spoil in spoilers]
    change(filled)
    before = state(filled)
    for spoil, made in spoiled:
        spoil(made)
        with pytest.raises((BackupDamaged, BackupForeign, RestoreFailed)) as refused:
            restore(filled.connection, made.path, room, revision_now="new")
        assert str(made.path) in str(refused.value)
        assert "othing was changed" in str(refused.value)
        assert state(filled) == before, spoil


def test_the_sidecar_of_another_backup_does_not_do(filled: Scratch, made: Backup, room: Path) -> None:
    change(filled)
    other = backup(filled.connection, room, revision="new")
    shutil.copy(other.sidecar, made.sidecar)
    with pytest.raises(BackupDamaged):
        restore(filled.connection, made.path, room, revision_now="new")


def test_a_backup_of_a_newer_version_is_taken_by_force_only(
    filled: Scratch, made: Backup, room: Path
) -> None:
    before = state(filled)
    newer_code(made)
    with pytest.raises(BackupForeign, match=r"cases\.9999_from_the_future.*--force"):
        restore(filled.connection, made.path, room, revision_now="new")
    change(filled)
    restore(filled.connection, made.path, room, revision_now="new", force=True)
    assert state(filled) == before


def test_inside_a_transaction_it_is_refused(filled: Scratch, made: Backup, room: Path) -> None:
    with transaction.atomic(using=filled.alias), pytest.raises(RestoreFailed, match="inside another"):
        restore(filled.connection, made.path, room, revision_now="new")


def test_without_room_for_the_way_back_nothing_is_restored(
    filled: Scratch, made: Backup, tmp_path: Path
) -> None:
    change(filled)
    before = state(filled)
    (tmp_path / "file").write_text("")
    with pytest.raises(BackupFailed):
        restore(filled.connection, made.path, tmp_path / "file", revision_now="new")
    assert state(filled) == before


@pytest.fixture
def user_of_people(filled: Scratch) -> Iterator[Any]:
    """Another session, in a transaction that uses the table `people`."""
    with closing(filled.connection.copy()) as other, other.cursor() as cursor:
        yield cursor


def test_sessions_that_use_the_tables_are_waited_for_and_named(
    filled: Scratch, made: Backup, room: Path, user_of_people: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replacing, "LOCK_WAIT", 300)
    monkeypatch.setattr(sqlite, "WAIT", 0.3)
    user_of_people.execute("BEGIN IMMEDIATE" if filled.connection.vendor == "sqlite" else "BEGIN")
    user_of_people.execute("UPDATE people SET name = 'mine' WHERE id = 2")
    before = state(filled)
    with pytest.raises(RestoreFailed) as refused:
        restore(filled.connection, made.path, room, revision_now="old")
    assert state(filled) == before
    user_of_people.execute("COMMIT")
    if filled.connection.vendor == "postgresql":
        user_of_people.execute("SELECT pg_backend_pid()")
        assert f"pg_terminate_backend({user_of_people.fetchone()[0]})" in str(refused.value)
    restore(filled.connection, made.path, room, revision_now="old")


# Killed -----------------------------------------------------------------------------------------

_RESTORE = (
    "from datamortem.revisions.backup import sqlite; sqlite._STEP = 3\n"
    "backup.restore(connection, Path({path!r}), Path({room!r}),"
    " revision_now='new', progress=die_at({word!r}))"
)


SLOW = pytest.mark.schema


@pytest.mark.parametrize(
    "word",
    [
        pytest.param("Backup of", marks=SLOW),
        pytest.param("Dropping", marks=SLOW),
        pytest.param("Loading", marks=SLOW),
        "Comparing",
        "Restored 3",
    ],
)
def test_a_killed_restore_leaves_the_old_state(filled: Scratch, made: Backup, room: Path, word: str) -> None:
    if word.startswith("Restored") == (filled.connection.vendor == "postgresql") and word != "Backup of":
        pytest.skip("a moment of the other vendor")
    change(filled)
    before = state(filled)
    filled.connection.close()
    done = run_python(filled, _RESTORE.format(path=str(made.path), room=str(room), word=word))
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert state(filled) == before
    restore(filled.connection, made.path, room, revision_now="new")
    assert state(filled) != before


@pytest.mark.schema
def test_restores_killed_at_any_moment_leave_one_state_or_the_other(filled: Scratch, room: Path) -> None:
    """Thirty kills of a restore that takes long enough to be hit while it drops, loads and commits."""
    numbers = (
        "SELECT generate_series(1, 100000)"
        if filled.connection.vendor == "postgresql"
        else "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 200000) SELECT i FROM n"
    )
    execute(filled, f"CREATE TABLE many AS {numbers}; CREATE INDEX many_index ON many ({column(filled)})")
    old = hashlib.sha256(state(filled).encode()).digest()
    made = backup(filled.connection, room, revision="old")
    change(filled)
    new = hashlib.sha256(state(filled).encode()).digest()
    filled.connection.close()
    chance, hit = random.Random(1), 0
    code = _RESTORE.format(path=str(made.path), room=str(room), word="Nothing").replace(
        "_STEP = 3", "_STEP = 100"
    )
    code = code.replace("backup.restore", "print('go', flush=True); backup.restore", 1)
    for _ in range(30):
        with started(filled, code) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(chance.uniform(0.0, 1.2))
            process.kill()
        hit += process.returncode == -signal.SIGKILL
        wait_for_the_server(filled)
        found = hashlib.sha256(state(filled).encode()).digest()
        assert found in (old, new)
        if found == old:
            change(filled)
            filled.connection.close()
    assert hit >= 10


def wait_for_the_server(filled: Scratch) -> None:
    """Wait until the server, too, has noticed that its client is gone."""
    if filled.connection.vendor == "postgresql":
        with filled.connection.cursor() as cursor:
            for _ in range(200):
                cursor.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND pid <> pg_backend_pid()"
                )
                if cursor.fetchone() == (0,):
                    return
                time.sleep(0.1)
        raise AssertionError("the server still works for a client that was killed")


def column(filled: Scratch) -> str:
    return "generate_series" if filled.connection.vendor == "postgresql" else "i"


def test_a_loader_that_dies_midway_is_not_committed(
    filled: Scratch, made: Backup, room: Path, settings: Settings
) -> None:
    """psql would take the end of its input for the end of the work."""
    only("postgresql", filled)
    change(filled)
    before = state(filled)
    clients = clients_for(filled.connection)
    programs = room.parent / "bin"
    programs.mkdir()
    for name in ("pg_dump", "psql"):
        (programs / name).symlink_to(clients.directory / name)
    (programs / "pg_restore").write_text(
        f'#!/bin/sh\ncase " $* " in\n'
        f'*" --use-list"*) {clients.directory}/pg_restore "$@" | head -n 60; kill -9 $$;;\n'
        f'*) exec {clients.directory}/pg_restore "$@";; esac\n'
    )
    (programs / "pg_restore").chmod(0o700)
    settings.PG_BIN = str(programs)
    with pytest.raises(RestoreFailed):
        restore(filled.connection, made.path, room, revision_now="new")
    assert state(filled) == before


# PostgreSQL -------------------------------------------------------------------------------------


def test_what_others_keep_in_the_same_database_is_never_touched(
    filled: Scratch, made: Backup, room: Path
) -> None:
    only("postgresql", filled)
    execute(filled, "CREATE SCHEMA theirs; CREATE TABLE theirs.things AS SELECT 1 AS id")
    restore(filled.connection, made.path, room, revision_now="old")
    assert "theirs.things" in state(filled)
    execute(filled, "CREATE VIEW theirs.people AS SELECT * FROM public.people")
    before = state(filled)
    with pytest.raises(RestoreFailed, match=r"view theirs\.people depends on table people"):
        restore(filled.connection, made.path, room, revision_now="old")
    assert state(filled) == before


def test_owners_and_grants_come_back_where_their_roles_are_there(filled: Scratch, room: Path) -> None:
    only("postgresql", filled)
    reader, owner = f"{filled.alias}_reader", f"{filled.alias}_owner"
    execute(filled, f"CREATE ROLE {reader}; CREATE ROLE {owner}")
    try:
        execute(filled, f"GRANT SELECT ON people TO {reader}; ALTER TABLE moods OWNER TO {owner}")
        before = state(filled)
        made = backup(filled.connection, room, revision="old")
        change(filled)
        restore(filled.connection, made.path, room, revision_now="new")
        assert state(filled) == before
        assert f"GRANT SELECT ON TABLE public.people TO {reader}" in before
    finally:
        execute(filled, f"DROP OWNED BY {reader}; REASSIGN OWNED BY {owner} TO CURRENT_USER")
        execute(filled, f"DROP ROLE {reader}, {owner}")
    told: list[str] = []
    restore(filled.connection, made.path, room, revision_now="new", progress=told.append)
    assert any(owner in text and "belong to who restores" in text for text in told)
    assert any(reader in text and "grant them again" in text for text in told)


def test_a_role_without_special_rights_restores_what_it_owns(scratch: Scratch, room: Path) -> None:
    only("postgresql", scratch)
    role = f"{scratch.alias}_app"
    execute(scratch, f"CREATE ROLE {role}; GRANT ALL ON SCHEMA public TO {role}")
    try:
        scratch.connection.close()
        scratch.connection.settings_dict["OPTIONS"]["assume_role"] = role
        fill(scratch)
        before = state(scratch)
        assert f"ALTER TABLE public.people OWNER TO {role}" in before
        made = backup(scratch.connection, room, revision="old")
        change(scratch)
        restore(scratch.connection, made.path, room, revision_now="new")
        assert state(scratch) == before
    finally:
        execute(scratch, f"RESET ROLE; DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


def test_a_dump_of_a_newer_program_is_refused(filled: Scratch, made: Backup, room: Path) -> None:
    only("postgresql", filled)
    rewrite(made, written_by="pg_dump 99.1")
    with pytest.raises(BackupForeign, match="apt install postgresql-client-99"):
        restore(filled.connection, made.path, room, revision_now="old")


def test_schemas_must_be_those_of_the_search_path(filled: Scratch, made: Backup, room: Path) -> None:
    only("postgresql", filled)
    rewrite(made, schemas=["elsewhere"])
    with pytest.raises(BackupForeign, match="holds the schemas elsewhere"):
        restore(filled.connection, made.path, room, revision_now="old")


def test_settings_of_a_newer_server_are_left_out_of_the_head_only() -> None:
    head = b"--\n\nSET statement_timeout = 0;\nSET transaction_timeout = 0;\n\\restrict abc\n"
    body = b"CREATE TABLE x ();\nCOPY x FROM stdin;\nSET transaction_timeout = 0;\n\\.\n"
    out = BytesIO()
    replacing._load(BytesIO(head + body), out, frozenset([b"statement_timeout"]))
    assert out.getvalue() == head.replace(b"SET transaction_timeout = 0;\n", b"") + body


# SQLite -----------------------------------------------------------------------------------------


def test_what_only_the_write_ahead_log_holds_is_kept_and_replaced(
    filled: Scratch, made: Backup, room: Path
) -> None:
    only("sqlite", filled)
    live = filled.connection.settings_dict["NAME"]
    before = state(filled)
    with closing(sqlite3.connect(live)) as other:
        other.execute("PRAGMA wal_autocheckpoint = 0")
        other.execute("UPDATE people SET name = 'only in the log' WHERE id = 1")
        other.commit()
        assert Path(f"{live}-wal").stat().st_size > 0
        replaced = restore(filled.connection, made.path, room, revision_now="new")
    assert state(filled) == before
    assert b"only in the log" in replaced.path.read_bytes()
    assert json.loads(replaced.sidecar.read_text())["vendor"] == "sqlite"
    with closing(sqlite3.connect(live)) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_reader_of_the_old_state_is_not_disturbed_nor_waited_for(
    filled: Scratch, made: Backup, room: Path
) -> None:
    only("sqlite", filled)
    change(filled)
    with closing(sqlite3.connect(filled.connection.settings_dict["NAME"], isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM people").fetchone() == (4,)
        started = time.monotonic()
        restore(filled.connection, made.path, room, revision_now="new")
        assert time.monotonic() - started < 10
        assert reader.execute("SELECT count(*) FROM people").fetchone() == (4,)
        reader.execute("COMMIT")
        assert reader.execute("SELECT count(*) FROM people").fetchone() == (2,)
