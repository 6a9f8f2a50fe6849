"""Verbs that move a database through the history: upgrade, downgrade, stamp."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from django.core.management.base import CommandError
from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.exceptions import IrreversibleError

from datamortem.common.errors import DomainError
from datamortem.revisions import history, live
from datamortem.revisions import stamp as stamping
from datamortem.revisions.backup import Backup
from datamortem.revisions.consent import Consent
from datamortem.revisions.errors import NoSuchStep
from datamortem.revisions.executor import run_plan
from datamortem.revisions.graph import Node, Plan, RevisionGraph
from datamortem.revisions.guard import refuse_old_system
from datamortem.revisions.lock import migration_lock
from datamortem.revisions.output import Talk, note
from datamortem.revisions.progress import StepPrinter

_NOTHING: Final = "Nothing was changed."


@contextmanager
def changing(
    connection: BaseDatabaseWrapper, doing: str, lock_wait: float, *, only_look: bool = False
) -> Iterator[RevisionGraph]:
    """Hold the lock, and yield the history as it is under it."""
    if only_look:
        refuse_old_system(connection)
        yield RevisionGraph(connection)
        return
    with migration_lock(connection, wait=lock_wait, doing=f"db {doing}"):
        refuse_old_system(connection)
        yield RevisionGraph(connection)


def upgrade(
    connection: BaseDatabaseWrapper,
    talk: Talk,
    *,
    revision: str,
    lock_wait: float,
    plan: bool,
    yes: bool,
    backup_dir: Path,
) -> None:
    """Apply what is missing up to a revision; up to the head, all of other apps too."""
    with changing(connection, "upgrade", lock_wait, only_look=plan) as graph:
        names = _target_of_upgrade(graph, revision)
        everything = names == graph.revisions.keys()
        todo = graph.upgrade_plan(names, everything=everything)
        if not todo:
            if everything and not plan:
                run_plan(connection, [], verbosity=0)  # what follows the last migration, if a kill cut it off
            talk.say(f"Nothing to apply: the database stands at {standing(graph)}.")
            return
        _show_plan(graph, talk, "Applying", todo, whole=plan)
        consent = Consent(connection, backup_dir, yes, talk)
        if plan:
            consent.announce(todo)
        else:
            execute(connection, talk, todo, consent(todo))


def _target_of_upgrade(graph: RevisionGraph, revision: str) -> frozenset[str]:
    if re.fullmatch(r"-\d+", revision):
        raise NoSuchStep(f"{revision} goes back: python manage.py db downgrade {revision}. {_NOTHING}")
    if revision.startswith("+"):
        return graph.moved(graph.status().applied, steps_of(revision[1:]))
    return graph.resolve(revision)


def downgrade(
    connection: BaseDatabaseWrapper,
    talk: Talk,
    *,
    revision: str | None,
    steps: str | None,
    lock_wait: float,
    plan: bool,
    yes: bool,
    backup_dir: Path,
) -> None:
    """Undo the last revisions, or all that are not part of a revision and what is before it."""
    if (revision is None) == (steps is None):
        raise CommandError(
            f"Say how far: -N for the last N revisions, or the revision to return to. {_NOTHING}"
        )
    if revision is not None and re.fullmatch(r"\d{1,3}", revision):
        raise NoSuchStep(f"{revision} is too short for an id; steps are counted as -{revision}. {_NOTHING}")
    if revision is not None and re.fullmatch(r"-\d+|\+.*", revision):
        steps, revision = revision.removeprefix("-"), None
    with changing(connection, "downgrade", lock_wait, only_look=plan) as graph:
        if revision is None:
            undone = [each.id for each in graph.last_applied(steps_of(str(steps)))]
        else:
            undone = _later_than(graph, revision)
        todo, others = graph.downgrade_plan(undone)
        if not todo:
            talk.say(f"Nothing to undo: the database stands at {standing(graph)}.")
            return
        _show_plan(graph, talk, "Undoing", todo, whole=True)
        if others:
            talk.say("With them goes what depends on them:", *_names(others))
        consent = Consent(connection, backup_dir, yes, talk)
        if plan:
            consent.announce(todo)
        else:
            execute(connection, talk, todo, consent(todo))


def _later_than(graph: RevisionGraph, revision: str) -> list[str]:
    """Return what is applied and no part of a revision and what is before it, newest first."""
    kept, touched = graph.resolve(revision), graph.status().touched
    if absent := graph.tips(kept - touched):
        names = ", ".join(each.id for each in absent)
        raise NoSuchStep(
            f"{names} is not applied, so no way back leads to it. {_NOTHING} "
            f"To go forward: python manage.py db upgrade {names.split(', ')[0]}"
        )
    return [each.id for each in reversed(graph.order) if each.id in touched - kept]


def stamp(
    connection: BaseDatabaseWrapper,
    talk: Talk,
    *,
    revision: str,
    include_dependents: bool,
    lock_wait: float,
) -> None:
    """Record a revision, whatever the tables are, and say where they differ from it."""
    with changing(connection, "stamp", lock_wait) as graph:
        names = graph.resolve(revision)
        added, taken = stamping.stamp(connection, graph, names, include_dependents=include_dependents)
        talk.say(*(f"  + {'.'.join(node)}" for node in added), *(f"  - {'.'.join(node)}" for node in taken))
        reached = standing(RevisionGraph(connection))
        talk.say(f"Recorded {reached}: +{len(added)} -{len(taken)} migrations. No table was touched.")
        untrue = [found for found in live.drift(connection) if found.level is not live.Level.EXTRA]
        if untrue:
            note(
                f"WARNING: the tables are not what is recorded now, in {len(untrue)} ways:\n"
                + "\n".join(f"  {found}" for found in untrue)
                + "\nThe next migration may fail or damage them. What to do: python manage.py db check"
            )


def steps_of(text: str) -> int:
    """Return a number of steps. Raises NoSuchStep."""
    if not re.fullmatch(r"[0-9]{1,6}", text) or not int(text):
        raise NoSuchStep(f"{text!r} is no number of steps: expected 1, 2, 3 … {_NOTHING}")
    return int(text)


def standing(graph: RevisionGraph) -> str:
    """Return where the database of a graph stands."""
    return ", ".join(history.name(revision) for revision in graph.current()) or "<base>"


# Doing it -------------------------------------------------------------------------------------


def _show_plan(graph: RevisionGraph, talk: Talk, verb: str, plan: Plan, *, whole: bool) -> None:
    """Say which revisions a plan moves, and how many migrations of other apps; `whole` names them all."""
    nodes = [(migration.app_label, migration.name) for migration, _ in plan]
    moved = dict.fromkeys(graph.of_node[node] for node in nodes if node in graph.of_node)
    talk.say(f"{verb} {len(moved)} revision{'' if len(moved) == 1 else 's'}:")
    for name in moved:
        talk.say(f"  {name}  {graph.revisions[name].title}")
        if whole:
            talk.say(*(f"      {'.'.join(node)}" for node in nodes if graph.of_node.get(node) == name))
    others = [node for node in nodes if node not in graph.of_node]
    if others and verb == "Applying":
        talk.say(f"And what is no part of a revision: {len(others)} migrations" + (":" if whole else "."))
        talk.say(*_names(others if whole else []))


def _names(nodes: Iterable[Node]) -> list[str]:
    return [f"  {'.'.join(node)}" for node in nodes]


def execute(connection: BaseDatabaseWrapper, talk: Talk, plan: Plan, backup: Backup | None) -> None:
    """Execute a plan and say where the database stands then. The caller holds the lock.

    Raises CommandError that says the same where a migration fails.
    """
    progress = StepPrinter(talk.out, talk.style)
    ended = False
    try:
        run_plan(connection, plan, progress=progress, verbosity=0)
        ended = True
    except (DatabaseError, DomainError, IrreversibleError) as error:
        ended = True
        raise CommandError(_what_failed(connection, progress, str(error), backup)) from error
    finally:
        if not ended:  # a mistake in a migration, or Ctrl-C: Python says what, and this where
            note("\n" + _what_failed(connection, progress, "", backup))
    talk.say(f"The database stands at {standing(RevisionGraph(connection))}.")


def _what_failed(
    connection: BaseDatabaseWrapper, progress: StepPrinter, why: str, backup: Backup | None
) -> str:
    running = progress.running
    parts = [f"{running} failed: {why.strip()}" if running else why.strip()]
    if running and running.atomic:
        parts.append("It was rolled back.")
    elif running:
        parts.append("It is not atomic, so parts of it may be done; see: python manage.py db check")
    parts.append(f"The database stands at {_standing_now(connection)}.")
    parts.append("Mend the cause, then run the same command again: it goes on from there.")
    if backup:
        parts.append(f"Or return to the backup: python manage.py db restore {backup.path}")
    return "\n".join(filter(None, parts))


def _standing_now(connection: BaseDatabaseWrapper) -> str:
    try:
        connection.close()  # whatever it was in the middle of
        return standing(RevisionGraph(connection))
    except DatabaseError as error:
        return f"a revision that cannot be asked for now ({' '.join(str(error).split())})"
