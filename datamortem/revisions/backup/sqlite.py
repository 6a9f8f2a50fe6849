"""SQLite's own backup, in both directions, while others read and write.

Out of a live database it is one snapshot. Into one it is one transaction: other connections see
all of it or nothing, and a process killed meanwhile leaves the old state.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions.backup.contents import RECORDED, Contents, names, refuse_moved_schema
from datamortem.revisions.backup.errors import BackupDamaged, BackupFailed, RestoreFailed
from datamortem.revisions.backup.sidecar import Sidecar

#: How long a restore waits for others to stop writing, in seconds.
WAIT: Final = 30.0
#: Pages that are restored between two words of progress.
_STEP: Final = 2000


def copy_out(connection: BaseDatabaseWrapper, part: Path, say: Callable[[str], None]) -> Contents:
    """Copy the live database into the empty file `part`, check the copy, and return what it holds."""
    connection.ensure_connection()  # which makes a file that was not there
    live = Path(connection.settings_dict["NAME"])
    try:
        with _opened(live, "rw") as source:
            _refuse_small_disk(source, part)
            before = _recorded(source)
            say(f"Copying {live} …")
            with _opened(part, "rw") as target:
                source.backup(target)
            with _opened(part, "rw") as target:
                target.execute("PRAGMA journal_mode=DELETE")  # one file, and nothing beside it
            say("Reading it back …")
            with _opened(part, "ro") as copy:
                if found := _damage(copy):
                    raise BackupFailed(
                        f"SQLite finds {live} damaged: {found}. Nothing was changed. To put an older backup "
                        f"in its place, move {live} and {live}-wal aside, then restore it."
                    )
                recorded, rows = _recorded(copy), _rows(copy)
            refuse_moved_schema(before, _recorded(source))
            refuse_moved_schema(before, recorded)
    except sqlite3.Error as error:
        free = shutil.disk_usage(part.parent).free
        raise BackupFailed(
            f"The backup {part} could not be written: {error}. {part.stat().st_size} of {_size(live)} bytes "
            f"were written, {free} are free there. It was removed and nothing was changed."
        ) from error
    version = sqlite3.sqlite_version
    return Contents(server_version=version, written_by=f"SQLite {version}", rows=rows, recorded=recorded)


def copy_in(
    connection: BaseDatabaseWrapper, path: Path, sidecar: Sidecar, say: Callable[[str], None]
) -> None:
    """Replace everything in the live database by a backup, in one transaction."""
    live = Path(connection.settings_dict["NAME"])
    try:
        with _opened(path, "ro&immutable=1") as source:
            refuse_other_rows(source, sidecar, path)
            with _opened(live, "rw") as target:
                target.execute("PRAGMA synchronous=FULL")
                target.execute("PRAGMA busy_timeout=0")  # the waiting is done between steps
                source.backup(target, pages=_STEP, progress=_bounded(live, say), sleep=0.05)
    except sqlite3.Error as error:
        raise RestoreFailed(
            f"{path} could not be put back into {live}: {error}. {live} is unchanged."
        ) from error
    connection.close()  # it may remember tables that are gone
    with _opened(live, "rw") as restored:
        if _rows(restored) != sidecar.rows:
            raise RestoreFailed(
                f"{path} was put back, but {live} does not hold the rows that its sidecar lists: somebody "
                "may have written meanwhile. Stop everything that uses the database, then restore again."
            )
        restored.execute("PRAGMA busy_timeout=0")  # whoever still reads the old state is not waited for
        restored.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def check(path: Path, sidecar: Sidecar) -> None:
    """Refuse a file that SQLite does not find whole, or that holds other rows than its sidecar says."""
    try:
        with _opened(path, "ro&immutable=1") as source:
            if found := _damage(source):
                raise BackupDamaged(f"SQLite finds {path} damaged: {found}. Nothing was changed.")
            refuse_other_rows(source, sidecar, path)
    except sqlite3.Error as error:
        raise BackupDamaged(f"{path} is no database of SQLite: {error}. Nothing was changed.") from error


def refuse_other_rows(source: sqlite3.Connection, sidecar: Sidecar, path: Path) -> None:
    """Raise BackupDamaged if the file does not hold the rows of its sidecar."""
    if _rows(source) != sidecar.rows:
        raise BackupDamaged(f"{path} does not hold the rows that its sidecar lists. Nothing was changed.")


def _bounded(live: Path, say: Callable[[str], None]) -> Callable[[int, int, int], None]:
    """Return what is called between steps: tells how far it is, and ends a wait that is too long."""
    deadline = time.monotonic() + WAIT

    def progress(status: int, remaining: int, total: int) -> None:
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            if time.monotonic() > deadline:
                raise RestoreFailed(
                    f"Somebody else is writing to {live}. Waited {WAIT:g} s; it is unchanged. Stop what uses "
                    "it (server, workers), then restore again."
                )
        elif total:
            say(f"Restored {total - remaining} of {total} pages")

    return progress


def _refuse_small_disk(source: sqlite3.Connection, part: Path) -> None:
    (pages,), (size,) = (source.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
    free = shutil.disk_usage(part.parent).free
    if free < pages * size:
        raise BackupFailed(
            f"The backup needs {pages * size} bytes, {free} are free in {part.parent}. Nothing was changed. "
            "Make room, or name another directory with BACKUP_URL."
        )


def _damage(database: sqlite3.Connection) -> str:
    """Return what SQLite finds wrong, empty if nothing."""
    found = [str(row[0]) for row in database.execute("PRAGMA integrity_check")]
    return "" if found == ["ok"] else "; ".join(found[:3])


def _rows(database: sqlite3.Connection) -> dict[str, int]:
    tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    quoted = ['"' + name.replace('"', '""') + '"' for (name,) in tables]
    return {q: database.execute(f"SELECT count(*) FROM {q}").fetchone()[0] for q in quoted}  # noqa: S608


def _recorded(database: sqlite3.Connection) -> list[str]:
    known = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'django_migrations'").fetchone()
    return names(database.execute(RECORDED).fetchall()) if known else []


def _size(path: Path) -> int:
    return path.stat().st_size


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """Open an existing file without transactions of Python's making."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    with closing(sqlite3.connect(uri, uri=True, timeout=WAIT, isolation_level=None)) as database:
        yield database
