"""`manage.py adopt`: take over a database of the old, Alembic-managed dataMortem in place."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connections
from django.utils.timezone import now

from datamortem.common.errors import DomainError
from datamortem.revisions import arguments
from datamortem.revisions.adoption import finishing, sqlite, takeover
from datamortem.revisions.adoption.plan import lines
from datamortem.revisions.adoption.postgresql import own_settings
from datamortem.revisions.lock import migration_lock
from datamortem.revisions.output import Talk, talk_of

_EPILOG: Final = """\
  manage.py adopt                     say what is there and what would be done; nothing is written
  manage.py adopt --yes               take a backup, then take the database over
  manage.py adopt --from 8f6e0f2be8d2 do not believe alembic_version (or --from base)

Stop the old system first. Afterwards: manage.py db upgrade, then manage.py db check
"""

_NEXT: Final = (
    "Next:",
    "  stop what is left of the old system; it stops by itself when it is started anew",
    "  python manage.py db upgrade",
    "  python manage.py db check",
)


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
        arguments.backup_dir(parser)
        parser.add_argument("--report", type=Path, metavar="FILE", help="write what was done as JSON")
        arguments.lock_wait(parser)

    def handle(self, *args: Any, database: str, yes: bool, override: str, **options: Any) -> None:
        """Plan, or take over and finish."""
        connection = connections[database]
        talk = talk_of(self)
        try:
            if yes:
                sqlite.connect(connection)
                self._take_over(connection, talk, override, **options)
            else:
                with (
                    _explained(connection, "Nothing was changed."),
                    sqlite.as_it_is(connection),
                    own_settings(connection),
                ):
                    self._plan(connection, talk, override, options["backup_dir"])
        except DomainError as refusal:
            raise CommandError(refusal.detail) from refusal

    def _plan(self, connection: Any, talk: Talk, override: str, directory: Path) -> None:
        if finishing.is_unfinished(connection):
            talk.say("Taken over, but not finished. Go on: python manage.py adopt --yes")
            return
        talk.say(*lines(takeover.look(connection, override), directory))
        talk.out.refuse_loss()

    def _take_over(
        self,
        connection: Any,
        talk: Talk,
        override: str,
        *,
        backup_dir: Path,
        report: Path | None,
        lock_wait: float,
        **_: Any,
    ) -> None:
        if report:
            _refuse_unwritable(report)
        with migration_lock(connection, wait=lock_wait, doing="adopt"), own_settings(connection):
            done = None
            with _explained(connection, "Everything was rolled back; nothing was changed."):
                if not finishing.is_unfinished(connection):
                    done = takeover.take_over(
                        connection, override=override, directory=backup_dir, say=talk.say
                    )
            if done:
                talk.say("Taken over:", *done.lines())
                _write(report, done.as_data(), talk)
            with _explained(connection, "The database is taken over. Go on: python manage.py adopt --yes"):
                finishing.finish(connection, talk.say)
        data = done.as_data() if done else {}
        _write(report, {**data, "finished_at": now()}, talk)
        talk.say(talk.style.SUCCESS("The database is taken over, and every value is what it was."), *_NEXT)


@contextmanager
def _explained(connection: Any, after: str) -> Iterator[None]:
    """Say what an error of the database means for it."""
    try:
        yield
    except DatabaseError as error:
        if not connection.is_usable():
            after = "The connection was lost. What holds now is said by: python manage.py adopt"
        raise CommandError(f"{str(error).strip()}\n{after}") from error


def _refuse_unwritable(report: Path) -> None:
    try:
        report.touch()
    except OSError as error:
        raise CommandError(
            f"The report cannot be written to {report}: {error.strerror}. Nothing was changed."
        ) from error


def _write(report: Path | None, data: dict[str, Any], talk: Talk) -> None:
    """Write the report; what was done is not undone because the disk is full."""
    if report is None:
        return
    try:
        report.write_text(json.dumps(data, indent=2, default=str, ensure_ascii=False), encoding="utf-8")
    except OSError as error:
        talk.say(f"The report could not be written to {report}: {error.strerror}.")
