"""One migrator per database.

PostgreSQL: a session advisory lock on a connection of its own, which survives reconnects of the
migrating one and is freed by the server when the process dies. Session locks do not hold behind a
pooler in transaction mode: connect directly for migrations. SQLite: flock on a file beside the
database, freed by the kernel when the process dies. A database in memory is nobody else's.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions.errors import LockHeld

#: How long a second migrator waits for the first, in seconds.
WAIT: Final = 120.0
#: Advisory locks are numbers; this one spells "dmmigr".
ADVISORY_KEY: Final = 0x646D6D696772
_PAUSE: Final = 0.1

_HOLDERS: Final = """
    SELECT a.pid, a.application_name, coalesce(host(a.client_addr), 'local'), a.backend_start
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (l.classid::bigint << 32) | l.objid::bigint = %s
"""


@contextmanager
def migration_lock(
    connection: BaseDatabaseWrapper, *, wait: float = WAIT, doing: str = "migrate"
) -> Iterator[None]:
    """Hold the lock of this database; `doing` is what others are told. Raises LockHeld."""
    if connection.vendor == "postgresql":
        with _advisory_lock(connection, wait, doing):
            yield
    elif is_in_memory(connection):
        yield
    else:
        with _file_lock(Path(connection.settings_dict["NAME"]), wait, doing):
            yield


def is_in_memory(connection: BaseDatabaseWrapper) -> bool:
    """Whether the database is one of SQLite's that end with the connection."""
    return connection.vendor == "sqlite" and bool(connection.is_in_memory_db())  # type: ignore[attr-defined]


@contextmanager
def _advisory_lock(connection: BaseDatabaseWrapper, wait: float, doing: str) -> Iterator[None]:
    with closing(connection.copy(alias=f"{connection.alias}-lock")) as own, own.cursor() as cursor:
        cursor.execute("SELECT set_config('application_name', %s, false)", [f"datamortem {doing}"[:63]])

        def taken() -> bool:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [ADVISORY_KEY])
            return bool(cursor.fetchone()[0])

        def holder() -> str:
            cursor.execute(_HOLDERS, [ADVISORY_KEY])
            return "; ".join(
                f"{name or 'a session'}, server process {pid}, from {host}, since {since:%Y-%m-%d %H:%M:%S%z}"
                for pid, name, host, since in cursor.fetchall()
            )

        _wait_for(taken, holder, wait)
        yield  # closing the session frees the lock


@contextmanager
def _file_lock(database: Path, wait: float, doing: str) -> Iterator[None]:
    place = database.with_name(f"{database.name}.migrate.lock")
    try:
        file = place.open("a+", encoding="utf-8")
    except OSError as error:
        raise LockHeld(
            f"The lock file {place} cannot be made: {error.strerror}. The directory of a SQLite database "
            "must be writable for whoever changes its schema."
        ) from error
    with file:

        def taken() -> bool:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        def holder() -> str:
            file.seek(0)
            return file.read(500).strip()

        _wait_for(taken, holder, wait)
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        file.truncate(0)
        file.write(f"{doing}, process {os.getpid()} on {socket.gethostname()}, since {since} UTC")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _wait_for(taken: Callable[[], bool], holder: Callable[[], str], wait: float) -> None:
    deadline = time.monotonic() + wait
    told = False
    while not taken():
        if time.monotonic() >= deadline:
            raise LockHeld(
                f"Another process is changing the schema of this database ({holder() or 'just now'}). "
                f"Waited {wait:g} s; nothing was changed. Wait for it to end, then try again."
            )
        if not told and time.monotonic() > deadline - wait + 2:
            sys.stderr.write(f"Waiting for another process that changes the schema ({holder()}) …\n")
            told = True
        time.sleep(_PAUSE)
