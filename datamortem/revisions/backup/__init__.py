"""Backups of the database: made while it is in use, checked after writing, and put back whole.

A backup is two files: `datamortem-<UTC time>-<revision>.dump` (PostgreSQL) or `.sqlite3`, and the
same name with `.json` added, the sidecar, which says what it is and holds its SHA-256. They hold
case data and password hashes: only their owner reads them. Evidence files and the search index
lie outside the database and are not in them.
"""

from datamortem.revisions.backup.errors import (
    BackupDamaged,
    BackupFailed,
    BackupForeign,
    NothingToBackUp,
    RestoreFailed,
)
from datamortem.revisions.backup.making import Backup, backup, is_durable
from datamortem.revisions.backup.restoring import restore
from datamortem.revisions.backup.sidecar import Sidecar, verify

__all__ = [
    "Backup",
    "BackupDamaged",
    "BackupFailed",
    "BackupForeign",
    "NothingToBackUp",
    "RestoreFailed",
    "Sidecar",
    "backup",
    "is_durable",
    "restore",
    "verify",
]
