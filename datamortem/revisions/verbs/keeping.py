"""Verbs for the whole database as a file: backup, restore."""

from __future__ import annotations

from pathlib import Path

from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions.backup import backup as make_backup
from datamortem.revisions.backup import restore as put_back
from datamortem.revisions.backup import verify
from datamortem.revisions.consent import label, require_yes
from datamortem.revisions.graph import RevisionGraph
from datamortem.revisions.guard import table_names
from datamortem.revisions.lock import migration_lock
from datamortem.revisions.output import Talk
from datamortem.revisions.verbs.walking import standing


def backup(connection: BaseDatabaseWrapper, talk: Talk, *, backup_dir: Path) -> None:
    """Back the database up while it is in use."""
    revision = label(RevisionGraph(connection))
    made = make_backup(connection, backup_dir, revision=revision, progress=talk.say)
    talk.say(str(made))


def restore(
    connection: BaseDatabaseWrapper,
    talk: Talk,
    *,
    file: Path,
    force: bool,
    yes: bool,
    backup_dir: Path,
    lock_wait: float,
) -> None:
    """Replace the database by a backup; what was there is backed up first. An empty one needs no yes."""
    sidecar = verify(file)
    with migration_lock(connection, wait=lock_wait, doing="db restore"):
        if table_names(connection):
            talk.say(
                f"This replaces everything in the database by the backup of revision {sidecar.revision}, "
                f"made at {sidecar.made_at}."
            )
            require_yes(talk, agreed=yes)
        put_back(
            connection,
            file,
            backup_dir,
            revision_now=label(RevisionGraph(connection)),
            force=force,
            progress=talk.say,
        )
        talk.say(f"Restored. The database stands at {standing(RevisionGraph(connection))}.")
