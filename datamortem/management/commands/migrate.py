"""`manage.py migrate`: Django's, one process at a time, and never on a database of the old system."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import migrate as stock
from django.db import connections

from datamortem.common.errors import DomainError
from datamortem.revisions import arguments
from datamortem.revisions.consent import Consent
from datamortem.revisions.executor import Executor
from datamortem.revisions.graph import Plan
from datamortem.revisions.guard import refuse_old_system
from datamortem.revisions.lock import migration_lock
from datamortem.revisions.output import talk_of

_stock: Any = stock


class Command(stock.Command):
    """Takes the migration lock, refuses what is not adopted, and asks before values are destroyed."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Add to Django's arguments those of our own."""
        super().add_arguments(parser)
        arguments.lock_wait(parser)
        arguments.consent(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate as Django does, under the lock."""
        connection = connections[options["database"]]
        talk = talk_of(self, interactive=options["interactive"])
        consent = Consent(connection, options["backup_dir"], options["yes"], talk)
        try:
            with migration_lock(connection, wait=options["lock_wait"], doing="migrate"):
                refuse_old_system(connection)
                with _executor(consent):
                    super().handle(*args, **options)
        except DomainError as refusal:
            raise CommandError(refusal.detail) from refusal
        talk.out.flush()


@contextmanager
def _executor(before: Callable[[Plan], object]) -> Iterator[None]:
    """Let Django's command work with ours, which it names and cannot be given."""
    usual = _stock.MigrationExecutor
    _stock.MigrationExecutor = partial(Executor, before=before)
    try:
        yield
    finally:
        _stock.MigrationExecutor = usual
