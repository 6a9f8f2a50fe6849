"""Verbs that write migrations: revision, merge. The database is not asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions.graph import RevisionGraph
from datamortem.revisions.output import Talk
from datamortem.revisions.writing import write_merge, write_revision


def revision(
    connection: BaseDatabaseWrapper,
    talk: Talk,
    *,
    message: str,
    empty: bool,
    app: str | None,
    dry_run: bool,
) -> None:
    """Write what changed in the models as one revision."""
    written = write_revision(message=message, empty=empty, app=app, dry_run=dry_run)
    if not written:
        talk.say("Nothing changed in the models; nothing was written. For one to fill by hand: --empty")
    _say(talk, written, dry_run=dry_run)


def merge(
    connection: BaseDatabaseWrapper, talk: Talk, *, message: str, heads: Sequence[str], dry_run: bool
) -> None:
    """Write the revision that joins heads."""
    graph = RevisionGraph()
    joined = [graph.find(name) for name in heads if name != "heads"]
    _say(talk, write_merge(message=message, heads=joined, dry_run=dry_run), dry_run=dry_run)


def _say(talk: Talk, written: list[Path], *, dry_run: bool) -> None:
    for path in written:
        shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        talk.say(f"{'Would write' if dry_run else 'Written:'} {shown}")
