"""Calendar dates and clock times as instants: zones, clock changes, leap seconds, precision.

`times` reads the spellings; this file knows the calendar.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cases.records import EPOCH, FIRST_INSTANT, LAST_INSTANT, MICROSECOND

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

_EPOCH_ORDINAL: Final = EPOCH.toordinal()
_OFFSET: Final = re.compile(r"([+-])([0-9]{2}):?([0-9]{2})?(?::?([0-9]{2}))?")
_IANA: Final = re.compile(r"\[?([A-Za-z]+(?:/[A-Za-z0-9_+-]+){1,2})\]?")

#: Precision of a fraction of a second by its number of digits; more than eight are nanoseconds.
FINENESS: Final = ("s", "ms", "ms", "ms", "us", "us", "us", "100ns", "ns")

#: Hours east of Greenwich of zone abbreviations with one meaning: RFC 5322, section 4.3, and
#: those that the tz database uses for European zones alone. Others (IST, BST) mean several.
_ABBREVIATIONS: Final = {
    "Z": 0, "UTC": 0, "GMT": 0, "UT": 0, "Z UTC": 0, "WET": 0, "UCT": 0, "ZULU": 0,
    "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
    "CET": 1, "CEST": 2, "WEST": 1, "EET": 2, "EEST": 3,
}  # fmt: skip


_LEAP: Final = "leap second: written as the first second of the next minute"
#: How the note of a naive time begins.
ZONE_ASSUMED: Final = "time zone assumed"
#: The note of a time finer than events keep; its precision says so too.
CUT: Final = "cut to microseconds"


class Instant(NamedTuple):
    """A time as read: microseconds since 1970 UTC, how finely it was written, what was assumed."""

    timestamp: int
    precision: str
    notes: tuple[str, ...] = ()


def zone_named(name: str) -> ZoneInfo:
    """Return the zone of an IANA name. Raises ValueError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"no time zone is named {name[:64]!r}") from error


def within_range(timestamp: int) -> int:
    """Return an instant an event may carry as it is. Raises ValueError for any other."""
    if FIRST_INSTANT <= timestamp <= LAST_INSTANT:
        return timestamp
    raise ValueError("the time is outside 1601 to 9999")


def make_instant(
    day: int, clock: tuple[int, int, int], fraction: str | None, zone_text: str | None, zone: ZoneInfo
) -> Instant:
    """Return the instant of a day (see `day_start`), a clock and a fraction of a second.

    `zone_text` is the zone as written; without one the clock is that of `zone`, and the notes say
    so. Raises ValueError for a clock that cannot be, or an instant that no event may carry.
    """
    hour, minute, second = clock
    if hour > 23 or minute > 59 or second > 60:
        return _odd_clock(day, clock, fraction, zone_text, zone)
    local = day + hour * HOUR + minute * MINUTE + second * SECOND
    instant = settle(local, fraction, zone_text, zone)
    if second < 60:
        return instant
    return instant._replace(notes=(*instant.notes, _LEAP))


def settle(local: int, fraction: str | None, zone_text: str | None, zone: ZoneInfo) -> Instant:
    """Return the instant of a local clock in whole seconds, given in microseconds since 1970.

    For what goes with it see `make_instant`. Raises ValueError.
    """
    precision = "s"
    offset, notes = offset_at(zone_text, local, zone)
    if fraction:
        local += int(fraction) if len(fraction) == 6 else int(fraction[:6].ljust(6, "0"))
        precision = FINENESS[min(len(fraction), 8)]
        if fraction[6:].strip("0"):
            notes = (*notes, CUT)
    timestamp = local - offset
    if not FIRST_INSTANT <= timestamp <= LAST_INSTANT:
        within_range(timestamp)
    return Instant(timestamp, precision, notes)


def _odd_clock(
    day: int, clock: tuple[int, int, int], fraction: str | None, zone_text: str | None, zone: ZoneInfo
) -> Instant:
    """24:00:00 is the end of a day (ISO 8601-1, 4.3.8); anything else is no clock."""
    if clock == (24, 0, 0) and not (fraction or "").strip("0"):
        return make_instant(day + DAY, (0, 0, 0), fraction, zone_text, zone)
    raise ValueError("no clock shows this hour, minute or second")


@lru_cache(maxsize=4096)
def day_start(year: int, month: int, day: int) -> int:
    """Return midnight of a calendar day in microseconds since 1970. Raises ValueError."""
    return (date(year, month, day).toordinal() - _EPOCH_ORDINAL) * DAY


def offset_at(zone_text: str | None, local: int, zone: ZoneInfo) -> tuple[int, tuple[str, ...]]:
    """Return the offset from UTC in microseconds and what had to be assumed for it.

    `local` counts the microseconds of the local clock since 1970. Raises ValueError for an
    offset that cannot be.
    """
    return _fixed_offset(zone_text, zone) or _moving_offset(zone_text, local // MINUTE, zone)


@lru_cache(maxsize=4096)
def _fixed_offset(zone_text: str | None, zone: ZoneInfo) -> tuple[int, tuple[str, ...]] | None:
    """Return the offset where the date does not matter."""
    if not zone_text:
        return (0, (f"{ZONE_ASSUMED}: {zone.key}",)) if zone.key == "UTC" else None
    text = zone_text.strip().upper()
    match = _OFFSET.fullmatch(text)
    if match:
        sign, hours, minutes, seconds = match.groups()
        if int(hours) > 23 or int(minutes or 0) > 59 or int(seconds or 0) > 59:
            raise ValueError("no zone has this offset")
        size = int(hours) * HOUR + int(minutes or 0) * MINUTE + int(seconds or 0) * SECOND
        return (-size if sign == "-" else size), ()
    return (_ABBREVIATIONS[text] * HOUR, ()) if text in _ABBREVIATIONS else None


@lru_cache(maxsize=16384)
def _moving_offset(zone_text: str | None, local_minute: int, zone: ZoneInfo) -> tuple[int, tuple[str, ...]]:
    if not zone_text:
        offset, notes = _offset_of_zone(zone, local_minute)
        return offset, (f"{ZONE_ASSUMED}: {zone.key}", *notes)
    named = _IANA.fullmatch(zone_text.strip())
    if named:
        return _offset_of_zone(zone_named(named[1]), local_minute)
    offset, notes = _offset_of_zone(zone, local_minute)
    return offset, (f"time zone {zone_text.strip()[:16]} is not clear: {zone.key} assumed", *notes)


def _offset_of_zone(zone: ZoneInfo, local_minute: int) -> tuple[int, tuple[str, ...]]:
    try:
        local = datetime(1970, 1, 1, tzinfo=zone) + timedelta(minutes=local_minute)
    except OverflowError as error:
        raise ValueError("the time is outside 1601 to 9999") from error
    first, second = local.utcoffset(), local.replace(fold=1).utcoffset()
    if first is None or second is None:
        raise ValueError(f"the zone {zone.key} has no offset")
    if first == second:
        return first // MICROSECOND, ()
    # PEP 495: in a fold the first offset is the greater one, in a gap the smaller one.
    if first > second:
        note = "ambiguous, clocks were set back: the first of two taken"
    else:
        note = "in a gap, clocks were set forward: the offset before it taken"
    return first // MICROSECOND, (note,)
