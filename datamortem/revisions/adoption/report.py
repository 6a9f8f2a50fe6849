"""What adoption found and did, for the operator and for the case file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from datamortem.revisions.adoption.claim import Claim
from datamortem.revisions.adoption.findings import Finding
from datamortem.revisions.adoption.fingerprint import Fingerprint
from datamortem.revisions.adoption.records import LATER_DEFAULTS, Recorded
from datamortem.revisions.backup import Backup
from datamortem.revisions.graph import Node, RevisionGraph
from datamortem.revisions.live import Difference, Level, Table


@dataclass
class Found:
    """What was found, before anything is done."""

    graph: RevisionGraph
    claim: Claim
    tables: dict[str, Table]
    rows: dict[str, int]
    large: set[str]
    #: What the claimed revisions would have made, and what the documented head.
    claimed: dict[str, Table]
    documented: dict[str, Table]
    #: Against the claimed revisions.
    differences: list[Difference]
    #: Against the documented head, of what is there.
    conversions: list[Difference]
    #: Our migrations that are to be recorded, and the parts that are missing of each.
    migrations: dict[Node, list[str]]
    findings: list[Finding]
    unknown_tables: list[str]
    sessions: list[str]

    @property
    def untrue(self) -> list[Difference]:
        """What the claim says and is not so."""
        return [
            difference
            for difference in self.differences
            if difference.level is Level.ERROR
            and not any((difference.table, column) in LATER_DEFAULTS for column in difference.columns)
        ]

    @property
    def kept(self) -> list[str]:
        """What nothing here knows, and stays."""
        unknown = [f"{d.table}: {d.what}" for d in self.conversions if d.level is Level.EXTRA]
        return [*unknown, *(f"table {name}, unknown here" for name in self.unknown_tables)]


@dataclass
class Done:
    """What was done."""

    found: Found
    started_at: datetime
    backup: Backup | None = None
    recorded: list[Recorded] = field(default_factory=list)
    hashes: int = 0
    bridged: list[tuple[Difference, tuple[str, ...]]] = field(default_factory=list)
    fingerprints: dict[str, Fingerprint] = field(default_factory=dict)
    #: In all, failed attempts to lock everything included.
    locked_seconds: float = 0.0
    committed_at: datetime | None = None

    def lines(self) -> Iterator[str]:
        """Yield what was done, for the operator."""
        yield from (f"  {recorded}" for recorded in self.recorded)
        yield f"  {self.hashes:,} password hashes made known to Django"
        yield f"  {len(self.bridged)} conversions, {sum(len(s) for _, s in self.bridged)} statements"
        rows = sum(fingerprint.rows for fingerprint in self.fingerprints.values())
        yield f"  {rows:,} rows of {len(self.fingerprints)} tables have the values they had"
        yield from (f"  kept: {kept}" for kept in self.found.kept)
        yield from (f"  to know: {finding}" for finding in self.found.findings)
        yield f"  the tables were kept from others for {self.locked_seconds:.1f} s in all"

    def as_data(self) -> dict[str, Any]:
        """Return it for a JSON file."""
        claim = self.found.claim
        return {
            "versions_before": claim.versions,
            "revisions": sorted(claim.revisions),
            "later_revisions": sorted(claim.later),
            "reasons": claim.reasons,
            "rows_found": self.found.rows,
            "untrue_claims": [str(difference) for difference in self.found.untrue],
            "findings": [str(finding) for finding in self.found.findings],
            "kept": self.found.kept,
            "sessions": self.found.sessions,
            "backup": str(self.backup.path) if self.backup else None,
            "migrations": [
                {"migration": ".".join(r.node), "revision": r.revision, "statements": r.statements}
                for r in self.recorded
            ],
            "password_hashes_prefixed": self.hashes,
            "converted": [{"table": d.table, "what": d.what, "statements": s} for d, s in self.bridged],
            "fingerprints": [asdict(f) for f in self.fingerprints.values()],
            "started_at": self.started_at,
            "committed_at": self.committed_at,
            "locked_seconds": round(self.locked_seconds, 3),
        }
