"""What passes between a worker and the child that reads: the job, the ledger, what was rejected.

Plain data without Django, so that the child needs neither settings nor database.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from cases.index import text
from cases.parsers.base import Piece
from cases.records import RAW_LIMIT, Damage

_PIECES: Final = "pieces.jsonl"
_REJECTS: Final = "rejected-{:07d}.jsonl"
_REASON_LIMIT: Final = 2000
_POSITION_LIMIT: Final = 255


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a run needs to know. `documents` says that `path` holds posted events.

    `cut` is the size from which on the evidence is read in pieces, 0 for never, by up to `parts`
    processes; `part` is the number of this one. The first finds the pieces.
    """

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
    part: int = 0
    parts: int = 1
    cut: int = 0
    parsers: str = "cases.parsers"
    memory: int = 0
    output: int = 0
    cpu: int = 0


@dataclass(slots=True)
class Counts:
    """The ledger of one process of a run; it balances when read = indexed + duplicate + rejected.

    `progress` is how far it is in the evidence, or in the piece of this number.
    """

    read: int = 0
    indexed: int = 0
    duplicate: int = 0
    rejected: int = 0
    undated: int = 0
    retries: int = 0
    piece: int = 0
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


def rejects_of(work: Path, piece: int) -> Path:
    """Return where a child writes what it rejects of a piece, or of the whole (0)."""
    return work / _REJECTS.format(piece)


def read_rejects(work: Path) -> Iterator[dict[str, Any]]:
    """Yield what a run rejected, in the order of the evidence: position, reason, and raw as bytes."""
    for place in sorted(work.glob("rejected-*.jsonl")):
        with place.open("rb") as lines:
            for line in lines:
                entry = text.load(line)
                yield {**entry, "raw": base64.b64decode(entry["raw"])}


def forget_reading(work: Path) -> None:
    """Remove what children wrote into a work directory, for the evidence to be read anew."""
    for place in (*work.glob("rejected-*.jsonl"), *work.glob(_PIECES)):
        place.unlink()


def write_pieces(work: Path, pieces: Iterable[Piece]) -> list[int]:
    """Write pieces for whoever hands them out; return the size of each in bytes."""
    sizes = []
    with (work / _PIECES).open("xb") as lines:
        for piece in pieces:
            lines.write(json.dumps(asdict(piece)).encode("ascii") + b"\n")
            sizes.append(piece.end - piece.start)
    return sizes


def read_pieces(work: Path) -> Iterator[dict[str, Any]]:
    """Yield the facts of pieces in their order."""
    with (work / _PIECES).open("rb") as lines:
        for line in lines:
            yield json.loads(line)


def piece_from(facts: dict[str, Any]) -> Piece:
    """Return the piece that JSON tells."""
    stored, content = facts["entry"]
    return Piece(**facts | {"entry": (stored, content)})
