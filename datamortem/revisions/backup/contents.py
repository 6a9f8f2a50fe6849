"""What a backup holds, as found while it was written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from datamortem.revisions.backup.errors import BackupFailed

RECORDED: Final = "SELECT app, name FROM django_migrations ORDER BY id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The facts for the sidecar; see there."""

    server_version: str
    written_by: str
    rows: dict[str, int]
    recorded: list[str]
    schemas: list[str] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)
    grantees: list[str] = field(default_factory=list)


def names(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Return recorded migrations as `app.name`."""
    return [f"{app}.{name}" for app, name in rows]


def refuse_moved_schema(before: list[str], within: list[str]) -> None:
    """Raise if migrations were recorded between the look before the backup and its contents."""
    if before != within:
        raise BackupFailed(
            "Somebody changed the schema while the backup was being made, so its revision is unsure. "
            "It was removed. Wait for the other migration to end, then try again."
        )
