"""Which documented revisions a database of the old system claims to have, or can be seen to have.

The claim is never trusted: it says which migrations are to be recorded, and each of those is
completed where it is not really there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from django.db.backends.base.base import BaseDatabaseWrapper

from datamortem.revisions.errors import RevisionError
from datamortem.revisions.graph import RevisionGraph
from datamortem.revisions.guard import FENCE, OLD_TABLES, old_versions
from datamortem.revisions.live import Table
from datamortem.revisions.loss import columns_of

#: The head that both systems have; what the old one added later is kept, and is no revision here.
DOCUMENTED_HEAD: Final = "0d8c359bb4f1"
#: Later revisions of the old system -> those before them.
LATER: Final[Mapping[str, tuple[str, ...]]] = {
    "0879ed3e0c27": (DOCUMENTED_HEAD,),
    "a1b2c3d4e5f6": (DOCUMENTED_HEAD,),
    "408e07f64f51": ("0879ed3e0c27", "a1b2c3d4e5f6"),
    "431f727a1611": ("408e07f64f51",),
}


class ClaimUnknown(RevisionError):
    """`alembic_version` names a revision that the old system is not known to have had."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The documented revisions to record, and where they were read."""

    #: What `alembic_version` holds; None if there is no such table.
    versions: list[str] | None
    #: Documented revisions, with all before them.
    revisions: frozenset[str]
    #: Later revisions of the old system.
    later: frozenset[str] = frozenset()
    #: How the revisions were found, in sentences.
    reasons: list[str] = field(default_factory=list)


def read_claim(
    connection: BaseDatabaseWrapper, graph: RevisionGraph, live: Mapping[str, Table], override: str = ""
) -> Claim:
    """Return the claim; `override` is what `--from` names, several heads separated by commas.

    Raises ClaimUnknown, and UnknownRevision for an override.
    """
    versions = old_versions(connection)
    if override:
        return _claimed(graph, versions, _overridden(graph, override), f"--from {override}")
    named = [version for version in versions or [] if version != FENCE]
    if named:
        return _claimed(graph, versions, named, "alembic_version")
    found, reasons = inferred(graph, live)
    where = "alembic_version is empty" if versions is not None else "there is no alembic_version"
    return Claim(versions, found, reasons=[f"{where}: inferred from the tables", *reasons])


def _overridden(graph: RevisionGraph, override: str) -> list[str]:
    named: list[str] = []
    for part in override.split(","):
        later = [known for known in LATER if part and known.startswith(part)]
        named += later if len(later) == 1 else [r.id for r in graph.tips(graph.resolve(part))]
    return named


def _claimed(graph: RevisionGraph, versions: list[str] | None, named: list[str], source: str) -> Claim:
    documented = graph.closure([DOCUMENTED_HEAD])
    later: set[str] = set()
    heads: set[str] = set()
    waiting = list(named)
    while waiting:
        version = waiting.pop()
        if version in LATER:
            later.add(version)
            waiting += LATER[version]
        elif version in documented:
            heads.add(version)
        else:
            known = ", ".join([*(r.id for r in graph.order if r.id in documented), *LATER])
            raise ClaimUnknown(
                f"{source} names {version!r}, which the old system is not known to have had. Nothing was "
                f"changed. Known: {known}. Name what the database really has: "
                "python manage.py adopt --from REV (or --from base)"
            )
    said = f"{source} says {', '.join(named) or 'base'}"
    return Claim(versions, graph.closure(heads), frozenset(later), [said])


def inferred(graph: RevisionGraph, live: Mapping[str, Table]) -> tuple[frozenset[str], list[str]]:
    """Return the documented revisions whose tables and columns are all there, and the reasons."""
    documented = graph.closure([DOCUMENTED_HEAD])
    found: set[str] = set()
    reasons: list[str] = []
    for revision in graph.order:
        if revision.id not in documented or not revision.parents <= found:
            continue
        wanted = {column for column in columns_of(graph, revision) if column[0] in OLD_TABLES}
        missing = sorted(c for c in wanted if c[0] not in live or c[1] not in live[c[0]].columns)
        if missing:
            reasons.append(f"{revision.id} is not there: {_listed(missing)} is missing")
            continue
        found.add(revision.id)
        if wanted:
            reasons.append(f"{revision.id} is there: {_listed(sorted(wanted))}")
    return frozenset(found), reasons


def _listed(columns: list[tuple[str, str]]) -> str:
    shown = ", ".join(".".join(column) for column in columns[:3])
    return f"{shown} and {len(columns) - 3} more" if len(columns) > 3 else shown
