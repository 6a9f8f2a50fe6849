"""One migrator per database.

PostgreSQL: a session advisory lock on a connection of its own, which survives reconnects of the
migrating one and is freed by the server when the process dies. Session locks do not hold behind a
pooler in transaction mode: connect directly for migrations. SQLite: flock on a file beside the
database, freed by the kernel when the process dies. The file stays: were it removed, one process
could hold the lock of the removed file and another that of a new one. A database in memory is
nobody else's.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions.errors import LockHeld
from datamortem.revisions.output import note

#: How long a second migrator waits for the first, in seconds.
WAIT: Final = 120.0
#: Advisory locks are numbers; this one spells "dmmigr".
ADVISORY_KEY: Final = 0x646D6D696772
#: Held by each transaction that changes the schema, until its commit: a server goes on with the commit
#: of a process that was killed, whose own lock is free by then.
TRANSACTION_KEY: Final = ADVISORY_KEY + 1
_PAUSE: Final = 0.1

_HOLDERS: Final = """
    SELECT a.pid, coalesce(nullif(a.application_name, ''), 'a session'),
           host(a.client_addr),
           to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
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
        with _file_lock(_file_of(connection), wait, doing):
            yield


def is_in_memory(connection: BaseDatabaseWrapper) -> bool:
    """Whether the database is one of SQLite's that end with the connection."""
    return connection.vendor == "sqlite" and bool(connection.is_in_memory_db())  # type: ignore[attr-defined]


def _file_of(connection: BaseDatabaseWrapper) -> Path:
    """Return the one real path of a SQLite database, however it is named: a link, a URI."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA database_list")
        return Path(next(file for _, name, file in cursor.fetchall() if name == "main")).resolve()


@contextmanager
def _advisory_lock(connection: BaseDatabaseWrapper, wait: float, doing: str) -> Iterator[None]:
    with closing(connection.copy(alias=f"{connection.alias}-lock")) as own, own.cursor() as cursor:
        cursor.execute("SELECT set_config('application_name', %s, false)", [f"datamortem {doing}"[:63]])
        cursor.execute("SET idle_session_timeout = 0")  # it does nothing but hold the lock

        def taken(key: int = ADVISORY_KEY) -> bool:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [key])
            return bool(cursor.fetchone()[0])

        def holder(key: int = ADVISORY_KEY) -> str:
            cursor.execute(_HOLDERS, [key])
            return "; ".join(
                f"{name}, server process {pid}"
                f"{f', from {host}' if host else ''}{f', since {since} UTC' if since else ''}"
                for pid, name, host, since in cursor.fetchall()
            )

        _wait_for(taken, holder, wait)
        _wait_for(partial(taken, TRANSACTION_KEY), partial(holder, TRANSACTION_KEY), wait)
        cursor.execute("SELECT pg_advisory_unlock(%s)", [TRANSACTION_KEY])
        yield  # closing the session frees the lock


def hold_until_commit(connection: BaseDatabaseWrapper) -> None:
    """Let the next migrator wait for the end of this transaction, even if this process dies (PostgreSQL)."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [TRANSACTION_KEY])


@contextmanager
def _file_lock(database: Path, wait: float, doing: str) -> Iterator[None]:
    place = database.with_name(f"{database.name}.migrate.lock")
    with os.fdopen(_opened(place, database), "rb+", buffering=0) as file:

        def taken() -> bool:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        def holder() -> str:
            return os.pread(file.fileno(), 500, 0).decode("utf-8", "replace").strip()

        _wait_for(taken, holder, wait)
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        _sign(file.fileno(), f"{doing}, process {os.getpid()} on {socket.gethostname()}, since {since} UTC")
        try:
            yield
        finally:
            _sign(file.fileno(), "")


def _opened(place: Path, database: Path) -> int:
    """Open the lock file for whoever may use the database: it has the same owner and permissions."""
    try:
        try:
            descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except PermissionError:  # another's file: it can be locked, if not signed
            return os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        with suppress(OSError):  # another's file: it is good as it is
            like = database.stat()
            os.fchmod(descriptor, like.st_mode & 0o666)
            os.fchown(descriptor, like.st_uid, like.st_gid)
    except OSError as error:
        raise LockHeld(
            f"The lock file {place} cannot be opened: {error.strerror}. Whoever changes the schema of a "
            "SQLite database must be able to write to its directory and to this file. Nothing was changed."
        ) from error
    return descriptor


def _sign(descriptor: int, text: str) -> None:
    """Say in the lock file who holds it; the lock holds without it, on a full disk too."""
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)


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
            note(f"Waiting for another process that changes the schema ({holder() or 'just now'}) …")
            told = True
        time.sleep(_PAUSE)
