"""Times as people write them in a search: a date, or RFC 3339."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from cases.records import EPOCH, MICROSECOND

_DAY: Final = 86_400_000_000
_TIME: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})"
    r"(?:[Tt ](\d{2}:\d{2}):(\d{2})(?:\.(\d+))?(?:[Zz]|([+-])(\d{2}):(\d{2}))(?!\d))?",
    re.ASCII,
)


def read_time(text: str) -> tuple[int, int]:
    """Return the first and last microsecond, counted from 1970 UTC, of what the text names.

    A date names its whole day in UTC; RFC 3339 names one instant, so both are the same.
    Digits finer than a microsecond are cut, as they are in documents. A leap second (":60") is
    the first second of the next minute. Raises ValueError with what to do.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text[:40]!r} is no time: write a date (2024-03-01) or RFC 3339 with Z or an offset"
            " (2024-03-01T08:15:30Z)."
        )
    date, clock, second, fraction, sign, hours, minutes = match.groups()
    leap = second == "60"
    written = f"{date}T{clock or '00:00'}:{'59' if leap else second or '00'}"
    try:
        moment = datetime.fromisoformat(written).replace(tzinfo=UTC)
    except ValueError as error:
        raise ValueError(f"{text[:40]!r} is no time: {error}.") from None
    first = (moment - EPOCH) // MICROSECOND
    if clock is None:
        return first, first + _DAY - 1
    first += 1_000_000 * leap + int((fraction or "")[:6].ljust(6, "0"))
    first -= _offset(text, sign, hours, minutes)
    return first, first


def _offset(text: str, sign: str | None, hours: str | None, minutes: str | None) -> int:
    """Microseconds that local time is ahead of UTC (RFC 3339 section 4.2)."""
    if sign is None or hours is None or minutes is None:
        return 0
    if int(hours) > 23 or int(minutes) > 59:
        raise ValueError(f"{text[:40]!r} is no time: an offset ends at 23:59.")
    ahead = (int(hours) * 60 + int(minutes)) * 60_000_000
    return -ahead if sign == "-" else ahead
