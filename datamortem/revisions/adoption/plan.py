"""What adoption would do, to read before it is done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions.adoption.takeover import Found
from datamortem.revisions.graph import RevisionGraph
from datamortem.revisions.live import Level


def lines(connection: BaseDatabaseWrapper, found: Found, directory: Path) -> Iterator[str]:
    """Yield the plan, line by line."""
    graph = RevisionGraph(connection)
    tips = ", ".join(r.id for r in graph.tips(found.claim.revisions)) or "base"
    yield "What is there"
    yield from (f"  {reason}" for reason in found.claim.reasons)
    yield f"  taken as: {tips}"
    if found.claim.later:
        yield f"  later revisions of the old system, whose tables and columns are kept: {', '.join(sorted(found.claim.later))}"
    yield from (f"  {name}: {count:,} rows" for name, count in sorted(found.rows.items()))
    missing = [d for d in found.differences if d.level is Level.ERROR]
    if missing:
        yield "What the claim says and is not so (it would be completed, or adoption refused)"
        yield from (f"  {d.table}: {d.what}" for d in missing)
    yield "What would be done"
    yield f"  backup to {directory}"
    yield "  record the migrations of these revisions, and complete what they lack"
    bridged = [d for d in found.differences if d.level is Level.BRIDGE]
    yield from (f"  {d.table}: {d.what}" for d in bridged)
    yield "  users: put bcrypt$ before the password hashes"
    yield "  alembic_version: keep what it says, and fence it, so that the old system stops"
    yield "What would be kept"
    yield from (f"  {d.table}: {d.what}" for d in found.differences if d.level is Level.EXTRA)
    yield from (f"  table {name}, unknown here" for name in found.unknown_tables)
    stopping = [finding for finding in found.findings if finding.blocking]
    noted = [finding for finding in found.findings if not finding.blocking]
    if noted:
        yield "What to know"
        yield from (f"  {finding}" for finding in noted)
    if found.sessions:
        yield "Connected now (stop the old system first)"
        yield from (f"  {session}" for session in found.sessions)
    yield f"Locks: {_locks(found)}"
    if stopping:
        yield "In the way (adoption would be refused)"
        yield from (f"  {finding}" for finding in stopping)
    else:
        yield "Nothing was written. To do it: python manage.py adopt --yes"


def _locks(found: Found) -> str:
    # Measured: about 0.4 s for every million rows of a large table, and 3 s for the rest.
    rows = sum(found.rows[name] for name in found.large)
    seconds = 3 + 0.4 * rows / 1_000_000
    note = (
        f"; {', '.join(sorted(found.large))} are read before and after, without locks" if found.large else ""
    )
    return f"the tables are kept from others for about {seconds:.0f} s{note}"
