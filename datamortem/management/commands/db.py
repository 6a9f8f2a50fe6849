"""`manage.py db VERB`: the history of the schema, for its operator."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, connections
from django.db.migrations.exceptions import (
    BadMigrationError,
    CircularDependencyError,
    InconsistentMigrationHistory,
    NodeNotFoundError,
)

from datamortem.common.errors import DomainError
from datamortem.revisions import arguments
from datamortem.revisions.output import talk_of
from datamortem.revisions.verbs import authoring, checking, keeping, reading, walking

_NAMES: Final = """\
Revisions are named by their id, a unique beginning of it, the name of a migration (cases.0006),
or as head, heads and base; REV+1 and REV-2 count from there.
"""

_OVERVIEW: Final = f"""\
manage.py db VERB: the history of the schema. Each verb explains itself: manage.py db VERB --help

Look    current      where this database stands
        history      all revisions, with what is applied here
        heads        the newest revisions
        branches     where the history forks, and where the forks join
        show REV     what one revision does
        check        compare models, migrations and the real database
Walk    upgrade      go to the newest revision, or to another
        downgrade    go back (asks before values are destroyed, and takes a backup)
        stamp REV    record a revision without touching any table
        sql          write the statements of a walk instead
Write   revision     write what changed in the models as a new revision
        merge        join several heads
Keep    backup       write the whole database into a file
        restore FILE replace the database by a backup

{_NAMES}"""

_CURRENT: Final = """\
  manage.py db current                    the revision, and (head) if it is the newest
  manage.py db current --check-heads      exit 1 unless everything is applied: the last step of a deployment
  manage.py db current --json             {"current": [ids], "heads": [ids], "at_head": true|false,
                                          "partial": {id: {"applied": n, "of": n}}, "unknown": [migrations],
                                          "old_system": null, or what alembic_version claims}
"""
_HISTORY: Final = """\
  manage.py db history                    a drawing on a terminal, else one line each
  manage.py db history --plain | less     PARENT -> ID (tags), title; as alembic history prints it
  manage.py db history --json             a list, newest first, of {"id", "title", "parents", "children",
                                          "migrations", "head", "branch_point", "merge",
                                          "applied": true|false|"partial"|null (not known)}
"""
_SHOW: Final = f"""\
  manage.py db show 7c6a                  a unique beginning of the id
  manage.py db show cases.0004            the revision that a migration is part of

{_NAMES}"""
_CHECK: Final = """\
Exits 1 if anything is to be mended. Tables and columns that Django does not know are kept, and are no fault.

  manage.py db check                      each difference, with what to do
  manage.py db check --json               a list of {"level", "where", "what", "remedy"}
"""
_UPGRADE: Final = f"""\
  manage.py db upgrade                    everything, of all apps
  manage.py db upgrade --plan             only show what that would be
  manage.py db upgrade +1                 one revision further
  manage.py db upgrade 0d8c359bb4f1       up to that revision, and what it needs

{_NAMES}"""
_DOWNGRADE: Final = f"""\
  manage.py db downgrade -1               the revision that was applied last
  manage.py db downgrade -3 --plan        what three steps back would undo and destroy
  manage.py db downgrade 8f6e --yes       all that is no part of 8f6e0f2be8d2 and what is before it
  manage.py db downgrade base             everything

What would be destroyed is counted and listed first. It is done only after a yes, and after a backup.

{_NAMES}"""
_STAMP: Final = f"""\
For a database whose tables are right and whose records are not. Where the tables differ from what is
recorded then, that is said; a migration that fails later is the price of a stamp that lies.

  manage.py db stamp head                 as if everything were applied
  manage.py db stamp 8f6e0f2be8d2         as if nothing after it were applied

{_NAMES}"""
_SQL: Final = f"""\
Needs no database. Each migration is one transaction, and stops on a database that stands elsewhere.

  manage.py db sql > all.sql              from an empty database to the newest revision
  manage.py db sql 0d8c:head > up.sql     from one revision to another
  manage.py db sql head:0d8c > down.sql   and back

{_NAMES}"""
_REVISION: Final = """\
  manage.py db revision -m "Add a phone number"    what changed in the models, in all apps, as one revision
  manage.py db revision -m "Fill it" --empty       one without operations, to be written by hand
"""
_MERGE: Final = """\
  manage.py db merge -m "Merge heads"              join all of them
  manage.py db merge -m "Merge heads" 7b4f 2a6d    join these
"""
_BACKUP: Final = """\
The database may be in use. Evidence files and the search index are not in it.

  manage.py db backup                     into the usual directory (BACKUP_URL)
  manage.py db backup --backup-dir /mnt   into another
"""
_RESTORE: Final = """\
All or nothing: the file is verified first, what it replaces is backed up, and a failure changes nothing.

  manage.py db restore var/backups/datamortem-20250102T030405Z-0d8c359bb4f1.dump
"""

_Verb = Callable[..., None]
_CHANGING: Final = (walking.upgrade, walking.downgrade, walking.stamp, keeping.restore)


class Command(BaseCommand):
    """Reads the arguments of a verb and calls it."""

    help = "Walk the schema history: see where the database stands, go forward, go back."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Take a verb and what it needs."""
        parser.usage = "manage.py db [--database ALIAS] VERB …"
        parser.epilog = _OVERVIEW
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        _database(parser, default="default")
        self._verbs = parser.add_subparsers(dest="verb", metavar="VERB", help="see below")
        self._looking()
        self._walking()
        self._writing()
        self._keeping()

    def _verb(self, name: str, act: _Verb, help: str, examples: str = "") -> CommandParser:
        parser: CommandParser = self._verbs.add_parser(
            name,
            description=help,
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.set_defaults(act=act)
        _database(parser, default=argparse.SUPPRESS)
        return parser

    def _looking(self) -> None:
        current = self._verb("current", reading.current, "Show where this database stands.", _CURRENT)
        current.add_argument("--check-heads", action="store_true", help="exit 1 unless everything is applied")
        history = self._verb("history", reading.show_history, "Show all revisions, newest first.", _HISTORY)
        history.add_argument("--plain", action="store_true", help="one line each, as when piped; no drawing")
        heads = self._verb("heads", reading.heads, "Show the newest revisions.")
        for parser in (current, history, heads):
            parser.add_argument("--verbose", action="store_true", help="with the migrations of each")
        self._verb("branches", reading.branches, "Show where the history forks, and where the forks join.")
        self._verb("show", reading.show, "Show what a revision does.", _SHOW).add_argument(
            "revision", metavar="REV"
        )
        check = self._verb(
            "check", checking.check, "Compare models, migrations and the real database.", _CHECK
        )
        for parser in (current, history, heads, check):
            parser.add_argument("--json", action="store_true", dest="as_json", help="for programs")

    def _walking(self) -> None:
        up = self._verb("upgrade", walking.upgrade, "Apply what is missing up to a revision.", _UPGRADE)
        up.add_argument("revision", nargs="?", default="head", metavar="REV", help="head if not given, or +N")
        down = self._verb(
            "downgrade",
            walking.downgrade,
            "Undo the last N revisions (-N), or all that come after REV.",
            _DOWNGRADE,
        )
        down.add_argument("revision", nargs="?", metavar="-N|REV")
        down.add_argument("--steps", metavar="N", help="the same as -N")
        for parser in (up, down):
            parser.add_argument("--plan", action="store_true", help="only show what would be done")
            arguments.consent(parser)
        stamp = self._verb("stamp", walking.stamp, "Record a revision without touching any table.", _STAMP)
        stamp.add_argument("revision", metavar="REV")
        stamp.add_argument(
            "--include-dependents",
            action="store_true",
            help="also take back the records of what depends on what is taken back",
        )
        for parser in (up, down, stamp):
            arguments.lock_wait(parser)
        self._verb("sql", reading.sql, "Write the SQL of a walk.", _SQL).add_argument(
            "walk", nargs="?", metavar="FROM:TO", help="base:head if not given"
        )

    def _writing(self) -> None:
        revision = self._verb(
            "revision", authoring.revision, "Write what changed in the models as a new revision.", _REVISION
        )
        merge = self._verb("merge", authoring.merge, "Write the revision that joins heads.", _MERGE)
        merge.add_argument("heads", nargs="*", metavar="HEAD", help="all if none are named")
        for parser in (revision, merge):
            parser.add_argument("-m", "--message", required=True, metavar="MSG", help="what it does")
            parser.add_argument("--dry-run", action="store_true", help="only say which files it would write")
        how = revision.add_mutually_exclusive_group()
        how.add_argument("--autogenerate", action="store_true", help="from the models (the default)")
        how.add_argument("--empty", action="store_true", help="without operations")
        revision.add_argument("--app", metavar="APP", help="where an empty one goes")

    def _keeping(self) -> None:
        backup = self._verb("backup", keeping.backup, "Write the whole database into a file.", _BACKUP)
        arguments.backup_dir(backup)
        restore = self._verb("restore", keeping.restore, "Replace the database by a backup.", _RESTORE)
        restore.add_argument("file", type=Path, metavar="FILE")
        restore.add_argument("--force", action="store_true", help="take a backup of a newer version too")
        arguments.consent(restore, "everything in the database is replaced")
        arguments.lock_wait(restore)

    def handle(self, *args: Any, **options: Any) -> None:
        """Do what the verb says; without one, say which there are."""
        talk = talk_of(self)
        act: _Verb | None = options.get("act")
        if act is None:
            talk.say(_OVERVIEW.rstrip())
            return
        try:
            act(connections[options["database"]], talk, **_own(options))
        except DomainError as refusal:
            raise CommandError(refusal.detail) from refusal
        except OperationalError as error:
            raise CommandError(f"The database cannot be used: {' '.join(str(error).split())}") from error
        except (
            BadMigrationError,
            CircularDependencyError,
            InconsistentMigrationHistory,
            NodeNotFoundError,
        ) as error:
            raise CommandError(f"The migrations do not fit together: {error}") from error
        if act in _CHANGING:
            talk.out.flush()  # what was done is done, whoever reads of it
        else:
            talk.out.refuse_loss()


def _database(parser: CommandParser, *, default: str) -> None:
    parser.add_argument(
        "--database",
        default=default,
        choices=tuple(connections),
        metavar="ALIAS",
        help="which of DATABASES",
    )


def _own(options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of the verb, without those of `db` itself and of every command."""
    return {name: value for name, value in options.items() if name not in _SHARED}


_SHARED: Final = {
    *("verb", "act", "database", "autogenerate"),
    *("verbosity", "settings", "pythonpath", "traceback", "no_color", "force_color", "skip_checks"),
    *("stdout", "stderr"),
}
