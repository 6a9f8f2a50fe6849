"""Verbs that only look: current, history, heads, branches, show, sql."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandError
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions import guard, history, offline
from datamortem.revisions.errors import NotAdopted, SeveralHeads
from datamortem.revisions.graph import Revision, RevisionGraph, Status
from datamortem.revisions.output import Talk, note


def known(connection: BaseDatabaseWrapper) -> tuple[RevisionGraph, Status | None]:
    """Return the history, and what is applied if the database can be asked."""
    try:
        graph = RevisionGraph(connection)
    except OperationalError as error:
        note(f"What is applied is not known: {' '.join(str(error).split())}")
        return RevisionGraph(), None
    return graph, graph.status()


def current(
    connection: BaseDatabaseWrapper, talk: Talk, *, check_heads: bool, verbose: bool, as_json: bool
) -> None:
    """Show where the database stands. With `check_heads`, raises CommandError unless it is at the head."""
    graph = RevisionGraph(connection)
    status = graph.status()
    reasons = list(_not_at_head(connection, graph, status))
    if as_json:
        write_json(talk, _current_data(connection, graph, status, behind=bool(reasons)))
    else:
        talk.say(*_current_lines(connection, graph, status, verbose=verbose))
    if check_heads and reasons:
        raise CommandError("\n".join(reasons))


def _current_lines(
    connection: BaseDatabaseWrapper, graph: RevisionGraph, status: Status, *, verbose: bool
) -> Iterable[str]:
    refusal = _old_system(connection)
    if not status.touched and not refusal:
        yield "<base>"
    for revision in graph.tips(status.touched):
        done, of = status.partial.get(revision.id, (0, 0))
        yield history.name(revision) + (f" PARTIAL: {done} of {of} migrations applied" if of else "")
        if verbose:
            yield f"    {revision.title}"
            yield from migration_lines(revision)
    for name in sorted(status.partial.keys() - {revision.id for revision in graph.tips(status.touched)}):
        done, of = status.partial[name]
        yield f"Before that, {name} is PARTIAL: {done} of {of} migrations applied"
    if status.unknown:
        yield f"Recorded by a newer version, and unknown to this one: {_listed(status.unknown)}"
    if refusal:
        yield refusal


def _current_data(
    connection: BaseDatabaseWrapper, graph: RevisionGraph, status: Status, *, behind: bool
) -> dict[str, Any]:
    old = _old_system(connection) is not None
    return {
        "current": [revision.id for revision in graph.tips(status.touched)],
        "heads": [revision.id for revision in graph.heads],
        "at_head": not behind,
        "partial": {name: {"applied": n, "of": of} for name, (n, of) in status.partial.items()},
        "unknown": [".".join(node) for node in status.unknown],
        "old_system": (guard.old_versions(connection) or []) if old else None,
    }


def _not_at_head(connection: BaseDatabaseWrapper, graph: RevisionGraph, status: Status) -> Iterable[str]:
    """Yield why the database is not exactly at the head of this version."""
    if refusal := _old_system(connection):
        yield refusal
        return
    try:
        graph.refuse_several_heads()
    except SeveralHeads as several:
        yield several.detail
    missing = graph.upgrade_plan(graph.revisions, everything=True)
    if missing:
        names = ", ".join(str(migration) for migration, _ in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        yield f"The database is behind: {names}{more}. Bring it up: python manage.py db upgrade"
    if status.unknown:
        yield (
            f"The database is ahead of this version, which does not know {_listed(status.unknown)}. "
            "Install the version that made them."
        )


def _old_system(connection: BaseDatabaseWrapper) -> str | None:
    """Return what is to be said of a database that is not adopted."""
    try:
        guard.refuse_old_system(connection)
    except NotAdopted as refusal:
        return refusal.detail
    return None


def _listed(nodes: Iterable[tuple[str, str]]) -> str:
    return ", ".join(".".join(node) for node in nodes)


def show_history(
    connection: BaseDatabaseWrapper, talk: Talk, *, plain: bool, verbose: bool, as_json: bool
) -> None:
    """Show all revisions, newest first: drawn on a terminal, else as lines."""
    graph, status = known(connection)
    if as_json:
        write_json(talk, history.as_data(graph, status))
    elif plain or not talk.out.isatty():
        talk.say(*history.lines(graph, status, verbose=verbose))
    else:
        ascii_only = not talk.out.can_write(history.CHARACTERS)
        talk.say(*history.drawing(graph, status, ascii_only=ascii_only, verbose=verbose))


def heads(connection: BaseDatabaseWrapper, talk: Talk, *, verbose: bool, as_json: bool) -> None:
    """Show the newest revisions. The database is not asked."""
    graph = RevisionGraph()
    if as_json:
        write_json(talk, [revision.id for revision in graph.heads])
        return
    for revision in graph.heads:
        talk.say(f"{history.name(revision)}, {revision.title}")
        if verbose:
            talk.say(*migration_lines(revision))
    try:
        graph.refuse_several_heads()
    except SeveralHeads as several:
        talk.say(several.detail)


def branches(connection: BaseDatabaseWrapper, talk: Talk) -> None:
    """Show where the history forks and where forks join. The database is not asked."""
    graph = RevisionGraph()
    for revision in reversed(graph.order):
        if revision.is_branch_point:
            talk.say(f"{history.name(revision)}, {revision.title}")
            following = sorted(revision.children, key=lambda child: graph.revisions[child].order)
            talk.say(*(f"    -> {child}, {graph.revisions[child].title}" for child in following))
        elif revision.is_merge:
            talk.say(history.line(graph, revision))


def show(connection: BaseDatabaseWrapper, talk: Talk, *, revision: str) -> None:
    """Show what a revision does, and whether it is applied."""
    graph, status = known(connection)
    found = graph.tips(graph.resolve(revision))
    if not found:
        talk.say("<base>: the database before the first revision.")
    for one in found:
        talk.say(history.line(graph, one))
        if status:
            talk.say(f"    {history.applied_word(status, one)}")
        for node in one.nodes:
            talk.say(f"  {'.'.join(node)}")
            operations = graph.migrations.nodes[node].operations
            talk.say(*(f"    {' '.join(operation.describe().split())}" for operation in operations))


def sql(connection: BaseDatabaseWrapper, talk: Talk, *, walk: str | None) -> None:
    """Write the SQL of a walk. The database is not asked."""
    start, end = offline.named_range(RevisionGraph(), walk)
    for text in offline.statements(connection, start, end):
        talk.say(text)


def migration_lines(revision: Revision) -> list[str]:
    """Return the migrations of a revision, to be shown below it."""
    return [f"    {'.'.join(node)}" for node in revision.nodes]


def write_json(talk: Talk, data: Any) -> None:
    """Write data for programs."""
    talk.say(json.dumps(data, indent=2, ensure_ascii=True))
