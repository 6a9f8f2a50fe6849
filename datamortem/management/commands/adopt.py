"""`manage.py adopt`: take over a database of the old, Alembic-managed dataMortem in place."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connections

from datamortem.common.errors import DomainError
from datamortem.revisions.adoption import sqlite, takeover
from datamortem.revisions.adoption.plan import lines
from datamortem.revisions.lock import WAIT, migration_lock

_EPILOG: Final = """\
  manage.py adopt                     say what is there and what would be done; nothing is written
  manage.py adopt --yes               take a backup, then take the database over
  manage.py adopt --from 8f6e0f2be8d2 do not believe alembic_version (or --from base)

Stop the old system first. Afterwards: manage.py db upgrade, then manage.py db check
"""


class Command(BaseCommand):
    """Shows the plan, or carries it out."""

    help = "Take over a database of the old, Alembic-managed dataMortem in place, without losing a value."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what is believed, and whether it is to be done."""
        parser.epilog = _EPILOG
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.add_argument("--database", default="default", metavar="ALIAS", help="which of DATABASES")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--plan", action="store_true", help="only say what would be done (the default)")
        what.add_argument("--yes", action="store_true", help="do it")
        parser.add_argument(
            "--from",
            default="",
            dest="override",
            metavar="REV",
            help="the revision the database has, instead of what alembic_version says",
        )
        parser.add_argument("--backup-dir", type=Path, default=settings.BACKUP_ROOT, metavar="DIR")
        parser.add_argument("--report", type=Path, metavar="FILE", help="write what was done as JSON")
        parser.add_argument(
            "--lock-wait",
            type=float,
            default=WAIT,
            metavar="SECONDS",
            help=f"how long to wait for another process that changes the schema ({WAIT:g})",
        )

    def handle(self, *args: Any, database: str, yes: bool, override: str, **options: Any) -> None:
        """Plan, or take over and finish."""
        connection = connections[database]
        try:
            if yes:
                sqlite.connect(connection)
                self._take_over(connection, override, **options)
            else:
                with sqlite.as_it_is(connection):
                    self._plan(connection, override, options["backup_dir"])
        except DomainError as refusal:
            raise CommandError(refusal.detail) from refusal
        except DatabaseError as error:
            raise CommandError(f"{str(error).strip()}\nEverything was rolled back.") from error

    def _plan(self, connection: Any, override: str, directory: Path) -> None:
        if takeover.is_unfinished(connection):
            self.stdout.write("Taken over, but not finished. Go on: python manage.py adopt --yes")
            return
        for text in lines(connection, takeover.look(connection, override), directory):
            self.stdout.write(text)

    def _take_over(
        self,
        connection: Any,
        override: str,
        *,
        backup_dir: Path,
        report: Path | None,
        lock_wait: float,
        **_: Any,
    ) -> None:
        with migration_lock(connection, wait=lock_wait, doing="adopt"):
            if not takeover.is_unfinished(connection):
                done = takeover.take_over(
                    connection, override=override, directory=backup_dir, say=self.stdout.write
                )
                for text in done.lines():
                    self.stdout.write(text)
                if report:
                    report.write_text(json.dumps(done.as_data(), indent=2, default=str), encoding="utf-8")
            takeover.finish(connection, self.stdout.write)
        self.stdout.write(
            self.style.SUCCESS("The database is taken over.")
            + " Next: python manage.py db upgrade, then python manage.py db check"
        )
