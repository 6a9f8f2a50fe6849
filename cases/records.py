"""What a parser yields: a record that was read, or the damage where one should have been.

Plain data. Nothing here knows Django, the index, or where the bytes came from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)

#: First and last instant an event may carry, in microseconds since 1970-01-01 UTC.
#: 1601 is where FILETIME begins (MS-DTYP 2.3.3); 9999 is the last year RFC 3339 can write.
FIRST_INSTANT: Final = (datetime(1601, 1, 1, tzinfo=UTC) - EPOCH) // MICROSECOND
LAST_INSTANT: Final = (datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC) - EPOCH) // MICROSECOND

#: How finely a source writes its times, from fine to coarse; "none" for an undated record.
PRECISIONS: Final = ("ns", "100ns", "us", "ms", "s", "min", "h", "day", "month", "year", "none")

#: A rejected record keeps at most this many of its bytes.
RAW_LIMIT: Final = 4096


class ParseError(Exception):
    """The file cannot be read at all by this parser; the message says what is wrong with it."""


@dataclass(slots=True)
class Record:
    """One event as the artefact tells it.

    `position` names the record inside its evidence for people and is unique there ("line 12",
    "record 4711"). `span` is the offset and length in bytes of the record in the decompressed
    content; None where the format has no such place.
    `timestamp` counts microseconds since 1970-01-01 UTC within FIRST_INSTANT and LAST_INSTANT;
    None for an undated record. `attributes` holds the artefact's own names and JSON values.
    """

    position: str
    message: str
    timestamp: int | None = None
    timestamp_desc: str = ""
    time_precision: str = "none"
    host: str | None = None
    user: str | None = None
    category: str | None = None
    type: str | None = None
    tags: list[str] = field(default_factory=list)
    score: float | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    span: tuple[int, int] | None = None


@dataclass(slots=True)
class Damage:
    """A place in the evidence where a record should be and could not be read.

    `reason` is for people and holds no content of the evidence beyond what names the fault;
    `raw` holds at most RAW_LIMIT bytes as found.
    """

    position: str
    reason: str
    raw: bytes = b""
    span: tuple[int, int] | None = None
