"""A record as the index keeps it: one fixed typed core and one bag of attributes.

The document is the event of API.md section 3 with times as integers: `timestamp` counts
microseconds since 1970-01-01 UTC, None when undated. `span` is added for the source view.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from cases.records import EPOCH, FIRST_INSTANT, LAST_INSTANT, MICROSECOND, Record

#: Raised whenever documents or fields change meaning; indexes of another version are rebuilt.
VERSION: Final = 1

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the records of one run come from; the same for all its documents."""

    case_id: str
    evidence_uid: str
    evidence_sha256: str
    parser: str
    host: str | None = None
    clock_offset: int = 0  # microseconds added to every time read


def event_id(*, evidence_sha256: str, parser: str, position: str) -> str:
    """Return the 64 hexadecimal characters that name an event, the same at every replay."""
    name = f"{evidence_sha256}\x00{parser}\x00{position}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(name).hexdigest()


def make_document(record: Record, origin: Origin) -> Document:
    """Return the record as a document; the host of the record wins over that of the evidence."""
    timestamp = record.timestamp
    if timestamp is not None and origin.clock_offset:
        timestamp = min(max(timestamp + origin.clock_offset, FIRST_INSTANT), LAST_INSTANT)
    return {
        "event_id": event_id(
            evidence_sha256=origin.evidence_sha256, parser=origin.parser, position=record.position
        ),
        "timestamp": timestamp,
        "timestamp_desc": record.timestamp_desc,
        "time_precision": record.time_precision,
        "message": record.message,
        "host": record.host or origin.host,
        "user": record.user,
        "source": origin.parser,
        "category": record.category,
        "type": record.type,
        "tags": record.tags,
        "score": record.score,
        "case_id": origin.case_id,
        "evidence_uid": origin.evidence_uid,
        "position": record.position,
        "attributes": record.attributes,
        "span": record.span,
    }


def format_time(timestamp: int | None) -> str | None:
    """Return RFC 3339 in UTC with microseconds and Z; None for an undated event."""
    if timestamp is None:
        return None
    moment = EPOCH + timestamp * MICROSECOND
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ").zfill(27)


def parse_time(text: str) -> int:
    """Return microseconds since 1970 UTC of an RFC 3339 text. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return (moment.astimezone(UTC) - EPOCH) // MICROSECOND


def public(document: Document) -> Document:
    """Return the event as the API shows it."""
    shown = {name: value for name, value in document.items() if name != "span"}
    shown["timestamp"] = format_time(document["timestamp"])
    return shown
