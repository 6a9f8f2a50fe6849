"""A backup is whole or not there, says what it is, and is made while the database is in use."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import stat
import subprocess
import threading
from collections import namedtuple
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from django.db import connections, transaction
from pytest_django import Settings

from datamortem.revisions.backup import (
    BackupDamaged,
    BackupFailed,
    BackupForeign,
    NothingToBackUp,
    backup,
    is_durable,
    restore,
    verify,
)
from datamortem.revisions.backup.clients import clients_for, environment_for
from datamortem.tests.revisions.backups import execute, fill, run_python, state
from datamortem.tests.revisions.scratch import Scratch


@pytest.fixture
def filled(scratch: Scratch) -> Scratch:
    fill(scratch)
    return scratch


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A directory that is not there yet, with a name that asks for trouble."""
    return tmp_path / 'it\'s "50%" of\n#1? é; $(id) {rows}'


def complete(room: Path) -> list[Path]:
    """What looks like a backup."""
    return [path for path in room.iterdir() if path.suffix in (".dump", ".sqlite3")]


def only_postgresql(scratch: Scratch) -> None:
    if scratch.connection.vendor != "postgresql":
        pytest.skip("about PostgreSQL's programs")


# What it says -----------------------------------------------------------------------------------


def test_a_backup_says_what_it_is_and_only_its_owner_reads_it(filled: Scratch, room: Path) -> None:
    made = backup(filled.connection, room, revision="0d8c359bb4f1")
    sidecar = json.loads(made.sidecar.read_text())
    assert sidecar == {**sidecar, "product": "datamortem", "revision": "0d8c359bb4f1", "size": made.size}
    assert sidecar["vendor"] == filled.connection.vendor
    assert sidecar["recorded"] == ["cases.0001_create_all", "elsewhere.0001_initial"]
    people = "public.people" if sidecar["vendor"] == "postgresql" else '"people"'
    assert sidecar["rows"][people] == 2
    assert verify(made.path).sha256 == made.sha256
    assert stat.S_IMODE(room.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in room.iterdir()} == {0o600}
    assert sorted(room.iterdir()) == sorted([made.path, made.sidecar])
    assert f"python manage.py db restore {made.path}" in str(made)


def test_backups_of_one_second_and_odd_revisions_do_not_meet(filled: Scratch, room: Path) -> None:
    made = [backup(filled.connection, room, revision="../a/b+c") for _ in range(3)]
    assert len({backup.path for backup in made}) == 3
    assert {backup.path.parent for backup in made} == {room}
    assert all(verify(backup.path).revision == "../a/b+c" for backup in made)


def test_an_empty_database_can_be_backed_up(scratch: Scratch, room: Path) -> None:
    assert verify(backup(scratch.connection, room, revision="base").path).rows == {}


def test_a_database_in_memory_has_nothing_to_back_up(scratch: Scratch, room: Path) -> None:
    assert is_durable(scratch.connection)
    if scratch.connection.vendor != "sqlite":
        pytest.skip("only SQLite keeps databases in memory")
    memory = scratch.connection.copy()
    memory.settings_dict = {**memory.settings_dict, "NAME": ":memory:"}
    assert not is_durable(memory)
    with pytest.raises(NothingToBackUp):
        backup(memory, room, revision="x")


def test_inside_a_transaction_it_is_refused(filled: Scratch, room: Path) -> None:
    with transaction.atomic(using=filled.alias), pytest.raises(BackupFailed, match="inside a transaction"):
        backup(filled.connection, room, revision="x")
    assert not room.exists()


# While others write -----------------------------------------------------------------------------


def test_it_is_one_moment_of_a_database_that_others_write_to(filled: Scratch, room: Path) -> None:
    """Two tables that always have equally many rows have so in the backup, too."""
    with filled.connection.cursor() as cursor:
        cursor.execute("CREATE TABLE left_side (id integer)")
        cursor.execute("CREATE TABLE right_side (id integer)")
    stop = threading.Event()
    written = threading.Event()

    def write() -> None:
        own = connections[filled.alias].copy()
        with closing(own):
            while not stop.is_set():
                with own.cursor() as cursor:
                    cursor.execute("BEGIN")
                    cursor.execute("INSERT INTO left_side VALUES (1)")
                    cursor.execute("INSERT INTO right_side VALUES (1)")
                    cursor.execute("COMMIT")
                written.set()

    writer = threading.Thread(target=write)
    writer.start()
    written.wait(20)
    try:
        made = [backup(filled.connection, room, revision="x") for _ in range(2)]
    finally:
        stop.set()
        writer.join()
    for each in made:
        rows = {
            name.strip('"').removeprefix("public."): count for name, count in verify(each.path).rows.items()
        }
        assert rows["left_side"] == rows["right_side"] > 0
    restore(filled.connection, made[0].path, room, revision_now="x")  # which counts the rows once more


def test_a_migration_meanwhile_makes_the_revision_unsure(filled: Scratch, room: Path) -> None:
    def migrate(text: str) -> None:
        if text.startswith(("Copying", "Dumping")):
            with closing(filled.connection.copy()) as own, own.cursor() as cursor:
                cursor.execute("INSERT INTO django_migrations (app, name) VALUES ('cases', '0002')")

    if filled.connection.vendor == "postgresql":
        pytest.skip("its snapshot was taken before, and is of the old revision")
    with pytest.raises(BackupFailed, match="changed the schema"):
        backup(filled.connection, room, revision="x", progress=migrate)
    assert list(room.iterdir()) == []


# When it cannot be made -------------------------------------------------------------------------


def test_a_file_in_the_place_of_the_directory_stops_it(filled: Scratch, room: Path) -> None:
    room.write_text("mine")
    before = state(filled)
    with pytest.raises(BackupFailed, match="cannot be used for backups"):
        backup(filled.connection, room, revision="x")
    assert (room.read_text(), state(filled)) == ("mine", before)


@pytest.mark.skipif(os.geteuid() == 0, reason="permission bits do not stop root")
def test_a_read_only_directory_stops_it(filled: Scratch, room: Path) -> None:
    room.mkdir(mode=0o500)
    with pytest.raises(BackupFailed, match="writable"):
        backup(filled.connection, room, revision="x")


def test_a_file_that_grows_beyond_its_limit_is_removed_and_told(filled: Scratch, room: Path) -> None:
    done = run_python(
        filled,
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n"
        f"    backup.backup(connection, Path({str(room)!r}), revision='x')\n"
        "except backup.BackupFailed as refusal:\n"
        "    print(refusal)\n",
    )
    assert "could not be written" in done.stdout, done.stderr
    assert "are free there" in done.stdout
    assert list(room.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 64 KiB, for whoever may mount one."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root mounts file systems, and not everywhere")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_fills_up_while_writing_is_told_with_figures(
    filled: Scratch, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = (
        "CREATE TABLE many AS SELECT md5(i::text) || md5((i + 1)::text) AS t FROM generate_series(1, 5000) i"
        if filled.connection.vendor == "postgresql"
        else "CREATE TABLE many AS SELECT randomblob(200000) AS t"
    )
    execute(filled, many)
    if filled.connection.vendor == "sqlite":  # as if another filled the disk after the look
        monkeypatch.setattr(
            "datamortem.revisions.backup.sqlite._refuse_small_disk", lambda source, part: None
        )
    with pytest.raises(BackupFailed, match=r"could not be written.*are free there.*nothing was changed"):
        backup(filled.connection, small_disk / "backups", revision="x")
    assert list((small_disk / "backups").iterdir()) == []


def test_a_full_disk_is_refused_before_writing(
    filled: Scratch, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if filled.connection.vendor != "sqlite":
        pytest.skip("the size of a dump is not known beforehand")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(100, 90, 10))
    with pytest.raises(BackupFailed, match=r"needs [0-9]+ bytes, 10 are free"):
        backup(filled.connection, room, revision="x")
    assert list(room.iterdir()) == []


def test_a_damaged_database_is_not_called_backed_up(filled: Scratch, room: Path) -> None:
    if filled.connection.vendor != "sqlite":
        pytest.skip("the file is the server's")
    filled.connection.close()
    live = Path(filled.connection.settings_dict["NAME"])
    with live.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(BackupFailed):
        backup(filled.connection, room, revision="x")
    assert list(room.iterdir()) == []


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("progress=die_at(('Copying', 'Dumping'))", marks=pytest.mark.schema),
        pytest.param("progress=die_at('Reading')", marks=pytest.mark.schema),
        "progress=None",
    ],
)
def test_a_killed_backup_leaves_nothing_that_looks_whole(filled: Scratch, room: Path, moment: str) -> None:
    """Killed before writing, after writing, and between the two names."""
    late = (
        "from datamortem.revisions.backup import files\n"
        "files._make_last = lambda place: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    code = f"{late}backup.backup(connection, Path({str(room)!r}), revision='x', {moment})"
    done = run_python(filled, code)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert complete(room) == []
    assert list(room.iterdir()) != []
    made = backup(filled.connection, room, revision="y")
    assert complete(room) == [made.path]
    assert not list(room.glob("*.part*"))
    verify(made.path)


def test_a_backup_being_made_is_not_swept_away_by_another(filled: Scratch, room: Path) -> None:
    inner = []

    def another(text: str) -> None:
        if text.startswith(("Copying", "Dumping")):
            with closing(filled.connection.copy()) as own:
                inner.append(backup(own, room, revision="inner"))

    outer = backup(filled.connection, room, revision="outer", progress=another)
    assert sorted(complete(room)) == sorted([outer.path, inner[0].path])
    assert verify(outer.path).revision == "outer"


# What is wrong with a file ----------------------------------------------------------------------


def test_any_changed_byte_is_noticed(filled: Scratch, room: Path) -> None:
    made = backup(filled.connection, room, revision="x")
    original = made.path.read_bytes()
    for position in random.Random(4).sample(range(len(original)), 20):
        changed = bytearray(original)
        changed[position] ^= 1
        made.path.write_bytes(changed)
        with pytest.raises(BackupDamaged, match="SHA-256"):
            verify(made.path)
    made.path.write_bytes(original[:-1])
    with pytest.raises(BackupDamaged, match=f"has {made.size - 1} bytes"):
        verify(made.path)
    made.path.unlink()
    with pytest.raises(BackupDamaged, match="no file"):
        verify(made.path)


def test_the_sidecar_must_be_there_and_make_sense(filled: Scratch, room: Path) -> None:
    made = backup(filled.connection, room, revision="x")
    held = json.loads(made.sidecar.read_text())
    for text, refusal in [
        ("", BackupDamaged),
        ("[]", BackupForeign),
        ("[" * 100_000, BackupDamaged),
        ("\x00\xff", BackupDamaged),
        (json.dumps({**held, "product": "another"}), BackupForeign),
        (json.dumps({**held, "format": 2}), BackupForeign),
        (json.dumps({**held, "rows": {"people": "2"}}), BackupDamaged),
        (json.dumps({**held, "size": True}), BackupDamaged),
        (json.dumps({**held, "sha256": "abc"}), BackupDamaged),
        (json.dumps({**held, "sha256": "0" * 64}), BackupDamaged),
        (json.dumps({name: held[name] for name in held if name != "recorded"}), BackupDamaged),
    ]:
        made.sidecar.write_text(text)
        with pytest.raises(refusal):
            verify(made.path)
    made.sidecar.unlink()
    with pytest.raises(BackupDamaged, match="no sidecar"):
        verify(made.path)


# PostgreSQL's programs --------------------------------------------------------------------------


def test_the_password_and_options_go_by_the_environment_only(scratch: Scratch) -> None:
    only_postgresql(scratch)
    own = scratch.connection.copy()
    own.settings_dict = {
        **own.settings_dict,
        "PASSWORD": "s3cret",
        "OPTIONS": {"sslmode": "prefer", "passfile": "/x", "options": "-c search_path=public"},
    }
    environment = environment_for(own)
    assert environment["PGPASSWORD"] == "s3cret"
    assert environment["PGSSLMODE"] == "prefer"
    assert environment["PGPASSFILE"] == "/x"
    assert environment["PGOPTIONS"] == "-c search_path=public"
    assert environment["PGDATABASE"] == scratch.alias
    clients = replace(clients_for(scratch.connection), environment=environment)
    assert "s3cret" not in " ".join(clients.command("pg_dump", "--format=custom"))


@pytest.mark.parametrize("version", [None, "14.2", "9.6"])
def test_programs_older_than_the_server_are_refused_before_starting(
    filled: Scratch, room: Path, tmp_path: Path, settings: Settings, version: str | None
) -> None:
    only_postgresql(filled)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("pg_dump", "pg_restore", "psql") if version else ():
        (programs / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        (programs / name).chmod(0o700)
    settings.PG_BIN = str(programs)
    with pytest.raises(BackupFailed, match="apt install postgresql-client-") as refused:
        backup(filled.connection, room, revision="x")
    assert (f"version {version.split('.')[0]}" if version else "Found none") in str(refused.value)
    assert list(room.iterdir()) == []


def test_a_table_that_somebody_alters_is_waited_for_and_named(
    filled: Scratch, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_postgresql(filled)
    monkeypatch.setattr("datamortem.revisions.backup.postgresql._LOCK_WAIT", 300)
    with closing(filled.connection.copy()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("LOCK TABLE people IN ACCESS EXCLUSIVE MODE")
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
        with pytest.raises(BackupFailed, match=rf"pg_terminate_backend\({pid}\)"):
            backup(filled.connection, room, revision="x")
    assert list(room.iterdir()) == []
