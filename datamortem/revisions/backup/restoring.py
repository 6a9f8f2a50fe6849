"""`restore`: the state of a backup, and a backup of what it replaces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader

from datamortem.revisions.backup import replacing, sqlite
from datamortem.revisions.backup.errors import BackupForeign, NothingToBackUp, RestoreFailed
from datamortem.revisions.backup.making import Backup, backup, is_durable
from datamortem.revisions.backup.sidecar import Sidecar, verify


def restore(
    connection: BaseDatabaseWrapper,
    path: Path,
    directory: Path,
    *,
    revision_now: str,
    force: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Backup:
    """Replace everything in the database by a backup; return the backup of what was there.

    All or nothing. The database may be empty, or at any revision, which `revision_now` names. With
    `force`, a backup of a newer version of the code is taken too. PostgreSQL: owners and grants come
    back where their roles exist and may be given to, which `progress` is told. The caller holds the
    migration lock. Raises BackupDamaged, BackupForeign, BackupFailed and RestoreFailed.
    """
    if not is_durable(connection):
        raise NothingToBackUp(
            "The database is in memory and ends with this process: nothing can be restored."
        )
    if connection.in_atomic_block:
        raise RestoreFailed(
            "A restore is a transaction of its own and cannot be inside another. End it first."
        )
    say = progress or (lambda text: None)
    path = Path(path).absolute()
    sidecar = verify(path)
    _refuse_foreign(connection, path, sidecar, force)
    if connection.vendor == "postgresql":
        clients = replacing.check(connection, path, sidecar)
        replaced = _kept(connection, directory, revision_now, say)
        replacing.replace(connection, path, sidecar, clients, say)
    else:
        sqlite.check(path, sidecar)
        replaced = _kept(connection, directory, revision_now, say)
        sqlite.copy_in(connection, path, sidecar, say)
    return replaced


def _kept(
    connection: BaseDatabaseWrapper, directory: Path, revision: str, say: Callable[[str], None]
) -> Backup:
    """Back up what is about to be replaced, and say where, in case the restore does not end."""
    made = backup(connection, directory, revision=revision, progress=say)
    say(str(made))
    return made


def _refuse_foreign(connection: BaseDatabaseWrapper, path: Path, sidecar: Sidecar, force: bool) -> None:
    if sidecar.vendor != connection.vendor:
        raise BackupForeign(
            f"{path} is a backup of {sidecar.vendor}, this database is {connection.vendor}. "
            "Nothing was changed."
        )
    known = MigrationLoader(None).disk_migrations
    unknown = [
        name
        for name in sidecar.recorded
        if name.split(".")[0] in settings.REVISION_APPS and tuple(name.split(".", 1)) not in known
    ]
    if unknown and not force:
        raise BackupForeign(
            f"{path} was made by a version of dataMortem that this one does not know: it has the migrations "
            f"{', '.join(unknown)}. Nothing was changed. Install that version first, or restore with --force."
        )
