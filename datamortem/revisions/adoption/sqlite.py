"""How a SQLite database is held while it is taken over: others read on, writers wait once, and not long.

Everything that takes long is read before the lock. SQLite tells whether anybody else has written
since (`data_version`); if so, it is read again, and after a few times adoption gives up.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions.adoption.findings import quoted
from datamortem.revisions.errors import Blocked
from datamortem.revisions.executor import whole_transaction

#: Rows from which a table is not read under the lock.
LARGE: Final = 200_000
#: How long a process that is writing is waited for, in seconds.
WAIT: Final = 30.0
_PAUSE: Final = 0.2
_WRITING: Final = (
    sqlite3.SQLITE_INSERT,
    sqlite3.SQLITE_UPDATE,
    sqlite3.SQLITE_DELETE,
    sqlite3.SQLITE_DROP_TABLE,
)


@contextmanager
def as_it_is(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Open the file without what is set for work, since changing its journal changes the file."""
    options = connection.settings_dict["OPTIONS"]
    if connection.vendor != "sqlite" or connection.connection is not None:
        yield
        return
    connection.settings_dict["OPTIONS"] = {n: o for n, o in options.items() if n != "init_command"}
    try:
        connect(connection)
        yield
    finally:
        connection.close()
        connection.settings_dict["OPTIONS"] = options


def connect(connection: BaseDatabaseWrapper, wait: float = WAIT) -> None:
    """Open the database, once whoever is writing lets it. Raises Blocked. Nothing on PostgreSQL."""
    if connection.vendor != "sqlite":
        return
    deadline = time.monotonic() + wait
    while True:
        try:
            connection.ensure_connection()
        except OperationalError as error:
            if "locked" in str(error) and time.monotonic() < deadline:
                time.sleep(_PAUSE)  # SQLite itself does not wait to change the journal of a file
                continue
            raise _refused(connection, error, wait) from error
        return


def _refused(connection: BaseDatabaseWrapper, error: Exception, wait: float) -> Blocked:
    path = Path(connection.settings_dict["NAME"])
    if "locked" in str(error):
        return Blocked(
            f"Another process is using {path} and did not let go of it for {wait:g} s. Nothing was changed. "
            "Stop the old system, then try again."
        )
    return Blocked(
        f"{path} cannot be opened for writing: {error}. Nothing was changed. The file and its directory must "
        "belong to whoever runs this."
    )


def data_version(connection: BaseDatabaseWrapper) -> int:
    """Return a number that changes when another connection has committed something."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA data_version")
        return int(cursor.fetchone()[0])


@contextmanager
def write_lock(connection: BaseDatabaseWrapper) -> Iterator[set[str]]:
    """One transaction in which nobody else writes; gives the names of tables whose rows it writes.

    Django's editor checks the foreign keys of the whole database whenever it is done, which takes
    seconds where millions of rows are; here that is for the caller, once. Raises Blocked.
    """
    raw: Any = connection.connection
    touched: set[str] = set()

    def note(action: int, name: str | None, *_: str | None) -> int:
        if action in _WRITING and name:
            touched.add(name)
        return sqlite3.SQLITE_OK

    with connection.cursor() as cursor:
        cursor.execute("PRAGMA synchronous = FULL")  # what is said to be done has reached the disk
    inside = False
    connection.check_constraints = lambda table_names=None: None  # type: ignore[method-assign]
    raw.set_authorizer(note)
    try:
        with whole_transaction(connection):
            inside = True
            with resting_triggers(connection):
                yield touched
    except OperationalError as error:
        if inside:
            raise
        raise _refused(connection, error, WAIT) from error
    finally:
        raw.set_authorizer(None)
        del connection.check_constraints


@contextmanager
def resting_triggers(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Let no trigger act on what adoption writes. Inside a transaction, at whose end they are as before."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY rowid")
        triggers = cursor.fetchall()
        for name, _ in triggers:
            cursor.execute(f"DROP TRIGGER {quoted(name)}")
        yield
        for _, sql in triggers:
            cursor.execute(sql)
