"""The times of plaso's events, as psort writes them in JSON.

`timestamp` counts microseconds whatever its size; `date_time` (dfDateTime) says what the artefact
itself held: how fine, and whether there was a time at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cases.parsers.civil import within_range
from cases.parsers.clock import Reading
from cases.parsers.times import Instant

#: dfDateTime's classes that are not fine to the microsecond.
_PRECISIONS: Final = {
    "APFSTime": "ns", "CocoaTime": "s", "DelphiDateTime": "ms", "DotNetDateTime": "100ns", "FATDateTime": "s",
    "FATTimestamp": "s", "Filetime": "100ns", "GolangTime": "ns", "HFSTime": "s", "JavaTime": "ms",
    "OLEAutomationDate": "ms", "PosixTime": "s", "PosixTimeInMilliseconds": "ms",
    "PosixTimeInNanoseconds": "ns", "RFC2579DateTime": "ms", "Systemtime": "ms", "TimeElements": "s",
    "TimeElementsInMilliseconds": "ms", "UUIDTime": "100ns",
}  # fmt: skip


def is_event(fields: Mapping[str, Any]) -> bool:
    """Whether psort wrote this object."""
    return fields.get("__container_type__") == "event" or fields.get("__type__") == "AttributeContainer"


def read_event_time(fields: Mapping[str, Any]) -> Reading | None:
    """Return the time of an event that psort wrote; None if it stands elsewhere than it should."""
    counted, told = fields.get("timestamp"), fields.get("date_time")
    if not isinstance(counted, int) or isinstance(counted, bool):
        return None
    told = told if isinstance(told, dict) else {}
    kind = told.get("__class_name__")
    if kind in ("SemanticTime", "InvalidTime", "Never", "NotSet"):
        said = told.get("string")
        return None, "timestamp", (f"no time: {said[:64]}" if isinstance(said, str) else "no time",)
    try:
        timestamp = within_range(counted)
    except ValueError as error:
        return None, "timestamp", (f"timestamp: {error}",)
    notes = ("plaso read it as a local time",) if told.get("is_local_time") is True else ()
    return Instant(timestamp, _PRECISIONS.get(str(kind), "us")), "timestamp", notes
