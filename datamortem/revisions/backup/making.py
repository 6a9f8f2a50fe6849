"""`backup`: what the database holds now, in a file that was read back before it got its name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions.backup import postgresql, sqlite
from datamortem.revisions.backup.contents import Contents
from datamortem.revisions.backup.errors import BackupFailed, NothingToBackUp
from datamortem.revisions.backup.files import claimed, made_ready, part_of, publish
from datamortem.revisions.backup.sidecar import FORMAT, PRODUCT, Sidecar, sha256_of, sidecar_of
from datamortem.revisions.lock import is_in_memory

Progress = Callable[[str], None]

_SUFFIXES: Final = {"postgresql": ".dump", "sqlite": ".sqlite3"}


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was made."""

    path: Path
    sidecar: Path
    #: In bytes.
    size: int
    sha256: str
    revision: str

    def __str__(self) -> str:
        """Say where it is and how to get back to it."""
        return (
            f"Backup of revision {self.revision}: {self.path} ({self.size} bytes, SHA-256 {self.sha256}). "
            f"To return to it: python manage.py db restore {self.path}"
        )


def is_durable(connection: BaseDatabaseWrapper) -> bool:
    """Whether the database outlives the process, so that a backup means something."""
    return not is_in_memory(connection)


def backup(
    connection: BaseDatabaseWrapper, directory: Path, *, revision: str, progress: Progress | None = None
) -> Backup:
    """Back up the database into the directory, while others go on using it.

    `revision` is what the file is called by; it does not choose anything. PostgreSQL: the schemas of
    the search path, without extensions, roles and large objects. Evidence files and the index are
    not in it. Raises BackupFailed, with nothing left behind, and NothingToBackUp.
    """
    if not is_durable(connection):
        raise NothingToBackUp("The database is in memory and ends with this process: no backup is possible.")
    if connection.in_atomic_block:
        raise BackupFailed("A backup inside a transaction would lack what the transaction did. End it first.")
    say = progress or (lambda text: None)
    directory = made_ready(Path(directory).absolute())
    now = datetime.now(UTC)
    with claimed(directory, revision, now, _SUFFIXES[connection.vendor]) as (path, file):
        part = part_of(path)
        try:
            if connection.vendor == "postgresql":
                contents = postgresql.dump(connection, part, file, say)
            else:
                contents = sqlite.copy_out(connection, part, say)
            os.fsync(file.fileno())
            sidecar = _sidecar(connection, part, contents, revision, now)
            publish(path, sidecar.text())
        except OSError as error:
            raise BackupFailed(_why_not_written(error, part, file.fileno())) from error
    return Backup(path, sidecar_of(path), sidecar.size, sidecar.sha256, revision)


def _sidecar(
    connection: BaseDatabaseWrapper, part: Path, contents: Contents, revision: str, now: datetime
) -> Sidecar:
    return Sidecar(
        product=PRODUCT,
        format=FORMAT,
        vendor=connection.vendor,
        database=str(connection.settings_dict["NAME"]),
        server_version=contents.server_version,
        written_by=contents.written_by,
        revision=revision,
        made_at=now.isoformat(),
        size=part.stat().st_size,
        sha256=sha256_of(part),
        rows=contents.rows,
        recorded=contents.recorded,
        schemas=contents.schemas,
        owners=contents.owners,
        grantees=contents.grantees,
    )


def _why_not_written(error: OSError, part: Path, handle: int) -> str:
    free = shutil.disk_usage(part.parent).free
    return (
        f"The backup {part} could not be written: {error.strerror or error}. "
        f"{os.fstat(handle).st_size} bytes were written, {free} are free there. "
        "It was removed and nothing was changed. Make room, or name another directory with BACKUP_URL."
    )
