"""One migrator a database: however it is named, whoever made the lock file, whatever the disk does.

Several real processes: test_concurrency.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from urllib.parse import quote

import pytest
from django.core.management import CommandError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions.errors import LockHeld
from datamortem.revisions.lock import migration_lock
from datamortem.tests.revisions.operator import db, migrate
from datamortem.tests.revisions.scratch import Scratch


def only(scratch: Scratch, vendor: str) -> None:
    if scratch.connection.vendor != vendor:
        pytest.skip(f"about {vendor}")


@contextmanager
def named(scratch: Scratch, name: str) -> Iterator[BaseDatabaseWrapper]:
    """Open the same database by another name."""
    alias = f"{scratch.alias}_again"
    connections.settings[alias] = {**deepcopy(scratch.connection.settings_dict), "NAME": name}
    try:
        yield connections[alias]
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]


def refusal(connection: BaseDatabaseWrapper) -> str:
    """Return why the lock cannot be had now, nothing if it can."""
    try:
        with migration_lock(connection, wait=0):
            return ""
    except LockHeld as refused:
        return refused.detail


def is_free(connection: BaseDatabaseWrapper) -> bool:
    return not refusal(connection)


def test_the_second_is_refused_and_told_who_holds_it_and_the_third_gets_it(scratch: Scratch) -> None:
    with migration_lock(scratch.connection, doing="a long change"):
        refused = refusal(scratch.connection)
    assert "a long change" in refused
    assert f"process {os.getpid()}" in refused or "server process" in refused
    assert " UTC" in refused
    assert "Waited 0 s; nothing was changed" in refused
    assert is_free(scratch.connection)


def test_it_is_free_after_an_error(scratch: Scratch) -> None:
    with pytest.raises(ZeroDivisionError), migration_lock(scratch.connection):
        _ = 1 / 0
    assert is_free(scratch.connection)


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        ("upgrade", ()),
        ("downgrade", ("-1",)),
        ("stamp", ("head",)),
        ("migrate", ()),
    ],
)
def test_whatever_changes_the_schema_or_its_record_takes_it(
    scratch: Scratch, verb: str, args: tuple[str, ...]
) -> None:
    arguments = [*args, "--lock-wait", "0"]
    with migration_lock(scratch.connection, doing="a long change"):
        with pytest.raises(CommandError, match="a long change"):
            migrate(scratch, *arguments) if verb == "migrate" else db(scratch, verb, *arguments)
        assert db(scratch, "current") == "<base>\n"


def test_what_only_looks_does_not_wait_for_it(scratch: Scratch) -> None:
    with migration_lock(scratch.connection):
        assert db(scratch, "current") == "<base>\n"
        assert "Applying" in db(scratch, "upgrade", "--plan", "--lock-wait", "0")


@pytest.mark.parametrize("wait", ["nan", "-1", "inf", "soon"])
def test_a_wait_that_makes_no_sense_is_refused(scratch: Scratch, wait: str) -> None:
    with pytest.raises(CommandError, match="no number of seconds"):
        migrate(scratch, "--lock-wait", wait)


# SQLite ---------------------------------------------------------------------------------------


def test_a_link_or_a_uri_to_the_database_is_the_same_database(scratch: Scratch) -> None:
    only(scratch, "sqlite")
    place = Path(scratch.connection.settings_dict["NAME"])
    link = place.with_name("link.sqlite3")
    link.symlink_to(place)
    uri = f"file:{quote(str(place))}?mode=rwc"
    with migration_lock(scratch.connection):
        for name in (str(link), uri):
            with named(scratch, name) as again:
                assert not is_free(again)
    assert [p.name for p in place.parent.glob("*.lock")] == [f"{place.name}.migrate.lock"]


def test_a_question_mark_in_the_path_is_part_of_it(scratch: Scratch) -> None:
    only(scratch, "sqlite")
    place = scratch.home / "what?mode=ro é.sqlite3"
    with named(scratch, str(place)) as odd, migration_lock(odd):
        assert not is_free(odd)
        assert is_free(scratch.connection)
    assert place.with_name(f"{place.name}.migrate.lock").exists()


def test_the_lock_file_stays_and_is_as_open_as_the_database(scratch: Scratch) -> None:
    only(scratch, "sqlite")
    place = Path(scratch.connection.settings_dict["NAME"])
    scratch.connection.ensure_connection()
    place.chmod(0o660)
    lock = place.with_name(f"{place.name}.migrate.lock")
    with migration_lock(scratch.connection, doing="a long change"):
        assert f"a long change, process {os.getpid()} on " in lock.read_text()
    assert lock.read_bytes() == b""
    assert stat.S_IMODE(lock.stat().st_mode) == 0o660


def test_a_lock_file_that_cannot_be_written_still_locks(scratch: Scratch) -> None:
    only(scratch, "sqlite")
    if os.getuid() == 0:
        pytest.skip("the administrator may write to every file")
    lock = Path(f"{scratch.connection.settings_dict['NAME']}.migrate.lock")
    lock.touch(mode=0o444)
    with migration_lock(scratch.connection):
        assert not is_free(scratch.connection)


def test_a_lock_file_that_cannot_be_opened_is_named(scratch: Scratch) -> None:
    only(scratch, "sqlite")
    Path(f"{scratch.connection.settings_dict['NAME']}.migrate.lock").mkdir()
    assert "migrate.lock cannot be opened: Is a directory" in refusal(scratch.connection)


# PostgreSQL -----------------------------------------------------------------------------------


def test_the_lock_survives_the_loss_of_the_migrating_session(scratch: Scratch) -> None:
    only(scratch, "postgresql")
    with migration_lock(scratch.connection):
        scratch.connection.ensure_connection()
        scratch.connection.close()
        assert not is_free(scratch.connection)
    assert is_free(scratch.connection)


def test_databases_of_one_server_do_not_wait_for_each_other(scratch: Scratch) -> None:
    only(scratch, "postgresql")
    with migration_lock(scratch.connection):
        assert is_free(connections["default"])


def test_the_holder_is_named_as_far_as_the_server_tells(scratch: Scratch) -> None:
    only(scratch, "postgresql")
    role = f"{scratch.alias}_poor"
    with connections["default"].cursor() as cursor:
        cursor.execute(f'CREATE ROLE "{role}" LOGIN')
    connections.settings[role] = {**deepcopy(scratch.connection.settings_dict), "USER": role, "PASSWORD": ""}
    try:
        with migration_lock(scratch.connection, doing="a long change"):
            refused = refusal(connections[role])
        assert re.search(r"\(datamortem a long change, server process \d+\)", refused)
    finally:
        connections[role].close()
        del connections[role]
        del connections.settings[role]
        with connections["default"].cursor() as cursor:
            cursor.execute(f'DROP ROLE "{role}"')
