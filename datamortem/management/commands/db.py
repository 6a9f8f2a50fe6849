"""`manage.py db VERB`: the history of the schema, for its operator."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.common.errors import DomainError
from datamortem.revisions import history, stamp
from datamortem.revisions.consent import Consent
from datamortem.revisions.errors import NoSuchStep, NotAdopted
from datamortem.revisions.executor import run_plan
from datamortem.revisions.graph import Plan, RevisionGraph, Status
from datamortem.revisions.guard import refuse_old_system
from datamortem.revisions.lock import WAIT, migration_lock
from datamortem.revisions.progress import StepPrinter

_OVERVIEW: Final = """\
Revisions are named by their id, by a unique beginning of it, by the name of a migration (cases.0006),
or as head, heads and base; REV+1 and REV-2 count from there.

  manage.py db current                 where this database stands
  manage.py db history                 the whole history, with what is applied here
  manage.py db upgrade                 go to the newest revision
  manage.py db downgrade -1            go one revision back (asks before values are destroyed)
"""


class Command(BaseCommand):
    """One method a verb."""

    help = "Walk the schema history: see where the database stands, go forward, go back."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Take a verb and what it needs."""
        parser.epilog = _OVERVIEW
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.add_argument("--database", default="default", metavar="ALIAS", help="which of DATABASES")
        verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)

        def verb(name: str, help: str, **kwargs: Any) -> CommandParser:
            sub: CommandParser = verbs.add_parser(name, help=help, description=help, **kwargs)
            return sub

        current = verb("current", "Show where this database stands.")
        current.add_argument("--check-heads", action="store_true", help="exit 1 unless it is the newest")
        for sub in (current, verb("heads", "Show the newest revisions."), self._history_arguments(verb)):
            sub.add_argument("--verbose", action="store_true", help="with the migrations of each")
            sub.add_argument("--json", action="store_true", dest="as_json", help="for programs")
        verb("branches", "Show where the history forks, and where the forks join.")
        verb("show", "Show one revision: its migrations, and whether it is applied here.").add_argument(
            "revision"
        )
        self._walking_arguments(verb)

    @staticmethod
    def _history_arguments(verb: Callable[..., CommandParser]) -> CommandParser:
        sub = verb("history", "Show all revisions, newest first.")
        sub.add_argument("--plain", action="store_true", help="one line each, as when piped; no drawing")
        return sub

    @staticmethod
    def _walking_arguments(verb: Callable[..., CommandParser]) -> None:
        up = verb("upgrade", "Apply what is missing up to a revision.")
        up.add_argument("revision", nargs="?", default="head", metavar="REV", help="head if not given; or +N")
        down = verb("downgrade", "Undo revisions: the last N (-N), or all that come after REV.")
        down.add_argument("revision", nargs="?", metavar="-N|REV")
        down.add_argument("--steps", metavar="N", help="the same as -N")
        marked = verb("stamp", "Record a revision without touching any table.")
        marked.add_argument("revision", metavar="REV")
        marked.add_argument(
            "--include-dependents",
            action="store_true",
            help="also take back the records of other apps that depend on what is taken back",
        )
        for sub in (up, down, marked):
            sub.add_argument(
                "--lock-wait",
                type=float,
                default=WAIT,
                metavar="SECONDS",
                help=f"how long to wait for another process that changes the schema ({WAIT:g})",
            )
        for sub in (up, down):
            sub.add_argument("--plan", action="store_true", help="only show what would be done")
            sub.add_argument("--yes", action="store_true", help="accept that what is listed is destroyed")
            sub.add_argument("--backup-dir", type=Path, default=settings.BACKUP_ROOT, metavar="DIR")

    def handle(self, *args: Any, verb: str, database: str, **options: Any) -> None:
        """Do what the verb says."""
        self.connection: BaseDatabaseWrapper = connections[database]
        try:
            getattr(self, f"_{verb}")(**options)
        except DomainError as refusal:
            raise CommandError(refusal.detail) from refusal
        except OperationalError as error:
            raise CommandError(f"The database cannot be used: {str(error).strip()}") from error

    # Reading ----------------------------------------------------------------------------------

    def _known(self) -> tuple[RevisionGraph, Status | None]:
        """Return the history, and what is applied if the database can be asked."""
        try:
            graph = RevisionGraph(self.connection)
            return graph, graph.status()
        except OperationalError as error:
            self.stderr.write(f"What is applied is not known: {str(error).strip()}")
            return RevisionGraph(), None

    def _current(self, check_heads: bool, verbose: bool, as_json: bool, **_: Any) -> None:
        graph = RevisionGraph(self.connection)
        status = graph.status()
        tips = graph.tips(status.touched)
        behind = status.applied != graph.revisions.keys()
        if as_json:
            heads = [r.id for r in graph.heads]
            unknown = [".".join(node) for node in status.unknown]
            self._write_json(
                {
                    "current": [r.id for r in tips],
                    "heads": heads,
                    "behind": behind,
                    "partial": status.partial,
                    "unknown": unknown,
                }
            )
        else:
            self._write_current(graph, status, verbose)
        if check_heads:
            refuse_old_system(self.connection)
            graph.refuse_several_heads()
            if behind:
                raise CommandError("The database is behind. Bring it up: python manage.py db upgrade")

    def _write_current(self, graph: RevisionGraph, status: Status, verbose: bool) -> None:
        for revision in graph.tips(status.touched):
            done, of = status.partial.get(revision.id, (0, 0))
            note = f" PARTIAL: {done} of {of} migrations applied" if of else ""
            self.stdout.write(history.name(revision) + note)
            if verbose:
                self.stdout.write("\n".join(f"    {'.'.join(node)}" for node in revision.nodes))
        if not status.touched:
            self.stdout.write("<base>")
        if status.unknown:
            names = ", ".join(".".join(node) for node in status.unknown)
            self.stdout.write(f"Recorded by a newer version, and unknown to this one: {names}")
        try:
            refuse_old_system(self.connection)
        except NotAdopted as refusal:
            self.stdout.write(refusal.detail)

    def _history(self, plain: bool, verbose: bool, as_json: bool, **_: Any) -> None:
        graph, status = self._known()
        if as_json:
            self._write_json(history.as_data(graph, status))
        elif plain or not self.stdout.isatty():
            self._write_all(history.lines(graph, status, verbose=verbose))
        else:
            encoding = getattr(sys.stdout, "encoding", None) or "ascii"
            ascii_only = not _can_write("●│├╯", encoding)
            self._write_all(history.drawing(graph, status, ascii_only=ascii_only, verbose=verbose))

    def _heads(self, verbose: bool, as_json: bool, **_: Any) -> None:
        graph = RevisionGraph()
        if as_json:
            self._write_json([r.id for r in graph.heads])
            return
        for revision in graph.heads:
            self.stdout.write(f"{history.name(revision)}, {revision.title}")
            if verbose:
                self._write_all(f"    {'.'.join(node)}" for node in revision.nodes)
        if len(graph.heads) > 1:
            self.stdout.write('Join them: python manage.py db merge -m "Merge heads"')

    def _branches(self, **_: Any) -> None:
        graph = RevisionGraph()
        for revision in reversed(graph.order):
            if revision.is_branch_point:
                self.stdout.write(f"{history.name(revision)}, {revision.title}")
                ordered = sorted(revision.children, key=lambda child: graph.revisions[child].order)
                self._write_all(f"    -> {child}, {graph.revisions[child].title}" for child in ordered)
            elif revision.is_merge:
                self.stdout.write(history.line(graph, revision))

    def _show(self, revision: str, **_: Any) -> None:
        graph, status = self._known()
        found = graph.find(revision)
        self.stdout.write(history.line(graph, found))
        if status:
            known = history.applied_word(status, found)
            self.stdout.write(f"    {known}")
        for node in found.nodes:
            migration = graph.migrations.nodes[node]
            self.stdout.write(f"  {'.'.join(node)}")
            self._write_all(f"    {operation.describe()}" for operation in migration.operations)

    # Walking ----------------------------------------------------------------------------------

    @contextmanager
    def _changing(self, lock_wait: float, doing: str) -> Iterator[RevisionGraph]:
        """Hold the lock, and yield the history as it is under it."""
        with migration_lock(self.connection, wait=lock_wait, doing=f"db {doing}"):
            refuse_old_system(self.connection)
            yield RevisionGraph(self.connection)

    def _upgrade(self, revision: str, lock_wait: float, **options: Any) -> None:
        with self._changing(lock_wait, "upgrade") as graph:
            if revision.startswith("+"):
                names = graph.moved(graph.status().applied, _steps(revision[1:]))
            else:
                if revision == "head":
                    graph.refuse_several_heads()
                names = graph.resolve(revision)
            everything = names == graph.revisions.keys()
            self._carry_out(graph, graph.upgrade_plan(names, everything=everything), **options)

    def _downgrade(self, revision: str | None, steps: str | None, lock_wait: float, **options: Any) -> None:
        if (revision is None) == (steps is None):
            raise CommandError("Say how far: -N for the last N revisions, or the revision to return to.")
        if steps is None and re.fullmatch(r"-\d+", str(revision)):
            steps = str(revision)[1:]
        with self._changing(lock_wait, "downgrade") as graph:
            touched = graph.status().touched
            if steps is not None:
                undone = [r.id for r in graph.last_applied(_steps(steps))]
            else:
                kept = graph.resolve(str(revision))
                undone = [r.id for r in reversed(graph.order) if r.id in touched - kept]
            plan, others = graph.downgrade_plan(undone)
            if undone:
                self.stdout.write(f"Undoing: {', '.join(undone)}")
            if others:
                self.stdout.write("With them goes what depends on them:")
                self._write_all(f"  {'.'.join(node)}" for node in others)
            self._carry_out(graph, plan, **options)

    def _carry_out(
        self, graph: RevisionGraph, plan: Plan, /, *, plan_only: bool = False, **options: Any
    ) -> None:
        plan_only = plan_only or options["plan"]
        if not plan:
            self.stdout.write(f"Nothing to do: the database stands at {_standing(graph)}.")
            return
        if options["plan"]:
            self._write_all(f"  {'undo' if back else 'apply'} {migration}" for migration, back in plan)
            return
        Consent(
            self.connection,
            options["backup_dir"],
            agreed=options["yes"],
            say=self.stdout.write,
            ask=input if sys.stdin.isatty() else None,
        )(plan)
        try:
            run_plan(self.connection, plan, progress=StepPrinter(self.stdout, self.style), verbosity=0)
        except (DatabaseError, DomainError) as error:
            reached = _standing(RevisionGraph(self.connection))
            raise CommandError(
                f"{str(error).strip()}\nThe migration that failed was rolled back. The database stands at "
                f"{reached}. Mend the cause, then run the same command again."
            ) from error
        self.stdout.write(f"The database stands at {_standing(RevisionGraph(self.connection))}.")

    def _stamp(self, revision: str, include_dependents: bool, lock_wait: float, **_: Any) -> None:
        with self._changing(lock_wait, "stamp") as graph:
            names = graph.resolve(revision)
            added, taken = stamp.stamp(self.connection, graph, names, include_dependents=include_dependents)
            self.stdout.write(
                f"Recorded {revision}: {len(added)} migrations added, {len(taken)} taken back. "
                "No table was touched."
            )

    # Writing ----------------------------------------------------------------------------------

    def _write_json(self, data: Any) -> None:
        self.stdout.write(json.dumps(data, indent=2))

    def _write_all(self, found: Iterator[str]) -> None:
        for text in found:
            self.stdout.write(text)


def _steps(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text) or not int(text):
        raise NoSuchStep(f"{text!r} is no number of steps: expected 1, 2, 3 … Nothing was changed.")
    return int(text)


def _standing(graph: RevisionGraph) -> str:
    return ", ".join(history.name(r) for r in graph.current()) or "<base>"


def _can_write(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
