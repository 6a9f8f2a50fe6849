"""Why there is no backup, or why it cannot be put back. Nothing was changed where one is raised."""

from __future__ import annotations

from datamortem.revisions.errors import RevisionError


class NothingToBackUp(RevisionError):
    """A database in memory ends with the process: there is nothing durable to keep."""


class BackupFailed(RevisionError):
    """The backup could not be made; what was written of it is removed."""


class BackupDamaged(RevisionError):
    """The file, or its sidecar, is not what was written."""


class BackupForeign(RevisionError):
    """The file is no backup that this installation can take: another product, vendor or version."""


class RestoreFailed(RevisionError):
    """The backup could not be put back; the database is as it was before."""
