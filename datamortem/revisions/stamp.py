"""Recording a revision without touching a table."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

from datamortem.revisions.errors import RevisionError
from datamortem.revisions.executor import whole_transaction
from datamortem.revisions.graph import Node, RevisionGraph


class DependentsRecorded(RevisionError):
    """Migrations outside the revisions are recorded that depend on what would be taken back."""


def stamp(
    connection: BaseDatabaseWrapper,
    graph: RevisionGraph,
    names: frozenset[str],
    *,
    include_dependents: bool = False,
) -> tuple[list[Node], list[Node]]:
    """Record exactly these revisions, in one transaction; return what was added and taken back.

    The newest revision stands for all migrations of all apps, as `upgrade` to it applies them all.
    The caller holds the migration lock. Raises DependentsRecorded.
    """
    recorded = graph.loader.applied_migrations or {}
    wanted = set(graph.nodes) if names == graph.revisions.keys() else graph.nodes_for(names)
    own = {node for node in graph.of_node if node in recorded and node not in wanted}
    later = {n for node in own for n in graph.migrations.backwards_plan(node) if n in recorded} - own
    if later and not include_dependents:
        listed = ", ".join(".".join(node) for node in graph.nodes if node in later)
        raise DependentsRecorded(
            f"Recorded, and depending on what would be taken back: {listed}. Nothing was changed. "
            "Repeat with --include-dependents to take them back too."
        )
    added = [node for node in graph.nodes if node in wanted and node not in recorded]
    taken = [node for node in reversed(graph.nodes) if node in own | later]
    recorder = MigrationRecorder(connection)
    with whole_transaction(connection):
        recorder.ensure_schema()
        for node in taken:
            recorder.record_unapplied(*node)
        for node in added:
            recorder.record_applied(*node)
    return added, taken
