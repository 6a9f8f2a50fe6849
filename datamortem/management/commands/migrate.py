"""`manage.py migrate`: Django's, one process at a time, and never on a database of the old system."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import migrate as stock
from django.db import connections

from datamortem.common.errors import DomainError
from datamortem.revisions.executor import Executor
from datamortem.revisions.guard import refuse_old_system
from datamortem.revisions.lock import WAIT, migration_lock


class Command(stock.Command):
    """Takes the migration lock, refuses what is not adopted, and asks before values are destroyed."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Add to Django's arguments those of our own."""
        super().add_arguments(parser)
        parser.add_argument(
            "--lock-wait",
            type=float,
            default=WAIT,
            metavar="SECONDS",
            help=f"how long to wait for another process that changes the schema ({WAIT:g})",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate as Django does, under the lock."""
        connection = connections[options["database"]]
        try:
            with migration_lock(connection, wait=options.get("lock_wait", WAIT), doing="migrate"):
                refuse_old_system(connection)
                super().handle(*args, **options)
        except DomainError as refusal:
            raise CommandError(refusal.detail) from refusal


# Django's command names its executor; it has no other way to be given one.
stock.MigrationExecutor = Executor  # type: ignore[attr-defined]
