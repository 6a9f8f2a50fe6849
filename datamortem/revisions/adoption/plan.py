"""What adoption would do, to read before it is done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from datamortem.revisions.adoption.findings import blocking
from datamortem.revisions.adoption.records import LATER_DEFAULTS
from datamortem.revisions.adoption.report import Found
from datamortem.revisions.live import Level, Table

#: How many missing parts of a migration are named.
_SHOWN: Final = 6


def lines(found: Found, directory: Path) -> Iterator[str]:
    """Yield the plan, line by line."""
    yield "What is there"
    yield from _there(found)
    yield "What would be done"
    yield f"  backup to {directory}"
    for node, missing in found.migrations.items():
        name = f"{'.'.join(node)} ({found.graph.of_node.get(node) or 'baseline'})"
        yield f"  {name}: {_completed(missing) if missing else 'record'}"
    yield from _conversions(found)
    yield "  users: put bcrypt$ before the password hashes"
    yield "  alembic_version: keep what it says, and fence it, so that the old system stops"
    yield "  then every value is read again and compared"
    yield "What would be kept"
    yield from (f"  {kept}" for kept in found.kept or ["nothing that is unknown here"])
    noted = [finding for finding in found.findings if not finding.blocking]
    if noted:
        yield "What to know"
        yield from (f"  {finding}" for finding in noted)
    if found.sessions:
        yield "Connected now (stop the old system first)"
        yield from (f"  {session}" for session in found.sessions)
    yield "Locks"
    yield from _locks(found)
    stopping = blocking(found.findings)
    if stopping:
        yield "In the way (adoption would be refused)"
        yield from (f"  {finding}" for finding in stopping)
    else:
        yield "Nothing was written. To do it: python manage.py adopt --yes"


def _there(found: Found) -> Iterator[str]:
    claim = found.claim
    yield from (f"  {reason}" for reason in claim.reasons)
    yield f"  taken as: {', '.join(r.id for r in found.graph.tips(claim.revisions)) or 'base'}"
    if claim.later:
        later = ", ".join(sorted(claim.later))
        yield f"  later revisions of the old system, whose tables and columns are kept: {later}"
    yield from (f"  {name}: {count:,} rows" for name, count in sorted(found.rows.items()))
    if found.untrue:
        yield "  not as claimed (it would be completed, or adoption refused):"
        yield from (f"    {difference.table}: {difference.what}" for difference in found.untrue)


def _completed(missing: list[str]) -> str:
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    return f"complete {', '.join(missing[:_SHOWN])}{more}, then record"


def _conversions(found: Found) -> Iterator[str]:
    for (table, column), default in LATER_DEFAULTS.items():
        if found.tables.get(table, Table(table)).columns.get(column):
            yield f"  {table}: {column} belongs to a later version and gets its default {default}"
    for difference in found.conversions:
        if difference.level is Level.BRIDGE:
            count = len(difference.statements)
            how = f" ({count} statement{'s' if count != 1 else ''})" if count else ""
            yield f"  {difference.table}: {difference.what}{how}"


def _locks(found: Found) -> Iterator[str]:
    # Measured, see docs/benchmarks.md: the large tables are counted twice, the others read twice.
    large = sum(found.rows[name] for name in found.large)
    small = sum(found.rows.values()) - large
    seconds = 2 + 0.4 * large / 1_000_000 + 5 * small / 1_000_000
    yield f"  nobody else can read or write these tables for about {seconds:.0f} s"
    if found.large:
        names = ", ".join(sorted(found.large))
        yield f"  no locks: {names} are read before and after, and get their indexes, while others work on"
