"""What passes between a worker and the child that reads: the job, the ledger, what was rejected.

Plain data without Django, so that the child needs neither settings nor database.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from cases.index import text
from cases.records import RAW_LIMIT, Damage

#: Where a child writes what it rejects, in its work directory.
REJECTS: Final = "rejected.jsonl"
_REASON_LIMIT: Final = 2000
_POSITION_LIMIT: Final = 255


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a run needs to know. `documents` says that `path` holds posted events."""

    case_id: str
    evidence_uid: str
    run: str
    path: str
    sha256: str
    name: str
    index: dict[str, Any]  # the fields of `index.connect.Address`
    work: str
    module: str = ""
    disabled: list[str] = field(default_factory=list)
    time_zone: str = "UTC"
    reference: str = ""
    host: str = ""
    clock_offset: int = 0  # microseconds
    options: dict[str, str] = field(default_factory=dict)
    append: bool = False
    documents: bool = False
    parsers: str = "cases.parsers"
    memory: int = 0
    output: int = 0
    cpu: int = 0


@dataclass(slots=True)
class Counts:
    """The ledger of a run; it balances when read = indexed + duplicate + rejected."""

    read: int = 0
    indexed: int = 0
    duplicate: int = 0
    rejected: int = 0
    undated: int = 0
    retries: int = 0
    progress: float = 0.0


@dataclass(frozen=True, slots=True)
class Reading:
    """How a run ended: its ledger, the parser, and what the investigator should know."""

    counts: Counts
    parser: str
    version: str
    notice: str

    def facts(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def reject_line(damage: Damage) -> bytes:
    """Return a rejected record as one line, every part bounded."""
    entry = {
        "position": damage.position[:_POSITION_LIMIT],
        "reason": damage.reason[:_REASON_LIMIT],
        "raw": base64.b64encode(damage.raw[:RAW_LIMIT]).decode("ascii"),
    }
    return text.dump(entry) + b"\n"


def read_rejects(work: Path) -> Iterator[dict[str, Any]]:
    """Yield what a run rejected: position, reason, and raw as bytes."""
    with (work / REJECTS).open("rb") as lines:
        for line in lines:
            entry = text.load(line)
            yield {**entry, "raw": base64.b64decode(entry["raw"])}
