"""Times as artefacts write them, read as instants without guessing in silence.

`read_time` takes every spelling in use; what it had to assume stands in the notes, and what is
no time is a ValueError that says why. Nothing becomes "now" or "today".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal, InvalidOperation, localcontext
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from cases.parsers.civil import (
    CUT,
    DAY,
    FINENESS,
    SECOND,
    Instant,
    day_start,
    make_instant,
    settle,
    within_range,
    zone_named,
)
from cases.records import EPOCH, FIRST_INSTANT, MICROSECOND

__all__ = [
    "AMBIGUOUS",
    "UNITS",
    "Instant",
    "find_day_order",
    "latest_year",
    "read_format",
    "read_number",
    "read_time",
    "zone_named",
]

#: The note of a date that may be read in two ways and was read in one.
AMBIGUOUS: Final = "day and month are ambiguous: read as month, day"

#: Units a number may count in, as microseconds; FILETIME counts tenths of them from 1601.
UNITS: Final = {"s": Decimal(SECOND), "ms": Decimal(1000), "us": Decimal(1), "ns": Decimal("0.001")}
_FILETIME: Final = "filetime"
_UNIT_DIGITS: Final = {"s": 0, "ms": 3, "us": 6, "ns": 9}

#: No time is longer; a hostile one costs no more than this.
_LENGTH: Final = 96
_NAIVE_EPOCH: Final = EPOCH.replace(tzinfo=None)
#: Clocks of civil time differ by at most this much from UTC; a year is told with this patience.
_PATIENCE: Final = timedelta(hours=14)

_MONTHS: Final = {
    name: number
    for number, names in enumerate(
        ("jan january", "feb february", "mar march", "apr april", "may", "jun june", "jul july",
         "aug august", "sep sept september", "oct october", "nov november", "dec december"), 1)
    for name in names.split()
}  # fmt: skip

_ZONE: Final = (
    r"(?:\s*(Z UTC|Z|[+-][0-9]{2}(?::?[0-9]{2}){0,2}|(?!AM$|PM$)[A-Za-z]{2,5}|\[?[A-Za-z]+/[\w+/-]+\]?))?"
)
_CLOCK: Final = (
    r"([0-9]{1,2})(?::([0-9]{2}))(?::([0-9]{2})(?:[.,:]([0-9]{1,12}))?)?(?:\s*([AaPp])\.?[Mm]\.?(?![A-Za-z]))?"
    + _ZONE
)


def _spelling(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII | re.IGNORECASE)


#: RFC 3339 as nearly everything writes it; the fast path.
_COMMON: Final = re.compile(
    r"(\d{4}-\d\d-\d\d[T ][012]\d:[0-5]\d:[0-5]\d)(?:[.,](\d{1,12}))?(Z|[+-]\d\d:?\d\d| UTC|Z UTC)?", re.ASCII
)
_YEAR_FIRST: Final = _spelling(
    r"([0-9]{4})([-/.:])([0-9]{1,2})\2([0-9]{1,2})(?:(?:[T_]|,?\s+)" + _CLOCK + ")?"
)
_BASIC: Final = _spelling(
    r"([0-9]{4})([0-9]{2})([0-9]{2})(?:[T ]?([0-9]{2})([0-9]{2})(?:([0-9]{2})(?:[.,]([0-9]{1,12}))?)?"
    + _ZONE
    + ")?"
)
_HOUR_ONLY: Final = _spelling(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2})" + _ZONE)
_WEEK: Final = _spelling(r"([0-9]{4})-?W([0-9]{2})-?([1-7])(?:[T ]" + _CLOCK + ")?")
_ORDINAL: Final = _spelling(r"([0-9]{4})-([0-9]{3})(?:[T ]" + _CLOCK + ")?")
_NUMERIC: Final = _spelling(
    r"([0-9]{1,2})([-/.])([0-9]{1,2})\2([0-9]{4}|[0-9]{2})(?:(?:T|,?\s+|:)" + _CLOCK + ")?"
)
_DAY_MONTH: Final = _spelling(
    r"([0-9]{1,2})[-/. ]\s?([a-z]{3,9})\.?[-/, ]\s?([0-9]{4}|[0-9]{2})(?:(?:T|,?\s+|:)" + _CLOCK + ")?"
)
_MONTH_DAY: Final = _spelling(
    r"([a-z]{3,9})\.?\s+([0-9]{1,2})(?:,?\s+([0-9]{4}))?(?:,?\s+(?:@\s+|at\s+)?"
    + _CLOCK
    + r"(?:\s+([0-9]{4}))?)?"
)
_WEEKDAY: Final = _spelling(r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6}\.?,?\s+")
#: Behind an offset a zone in brackets (RFC 9557) or parentheses (RFC 5322) says nothing new.
_COMMENT: Final = re.compile(r"(?<=[Z0-9T])(?:\[!?[\w/+=-]+\]|\s*\([\w /+-]+\))$", re.ASCII)
_FROM_UTC: Final = re.compile(r"(?:UTC|GMT)([+-])([0-9]{1,2})(?::?([0-9]{2}))?$")
_YEAR_MONTH: Final = re.compile(r"([0-9]{4})(?:-([0-9]{2}))?")
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,4})?")
_CLOCK_ALONE: Final = _spelling(r"T?" + _CLOCK)
_CENTURY: Final = range(1900, 2100)
#: What artefacts write for "no time".
_NOTHING: Final = frozenset(
    ("", "-", "n/a", "na", "null", "none", "nil", "nan", "nat", "never", "not a time", "not set", "unknown")
)


def read_time(
    value: str | float | Decimal,
    *,
    zone: ZoneInfo,
    day_first: bool | None = None,
    reference: datetime | None = None,
    unit: str | None = None,
) -> Instant:
    """Return the instant of a time in any spelling that artefacts use.

    A clock without a zone is read in `zone`. `day_first` settles 02/03/2024; without it the
    order is month, day and the notes say so. `reference` gives a date without a year the
    latest year that does not pass it. `unit` is what a number counts ("s", "ms", "us", "ns",
    "filetime"); without it its size tells. Raises ValueError with the reason.
    """
    if not isinstance(value, str):
        return read_number(value, unit=unit)
    match = _COMMON.fullmatch(value)
    if match and (local := _whole_seconds(match[1])) is not None:
        return settle(local, match[2], match[3], zone)
    text = _plain(value)
    if unit and _NUMBER.fullmatch(text):
        return read_number(Decimal(text), unit=unit)
    for read in (_year_first, _compact, _digits):
        found = read(text, zone)
        if found is not None:
            return found
    return _spoken(_WEEKDAY.sub("", text, count=1), zone, day_first, reference)


@lru_cache(maxsize=4096)
def _whole_seconds(text: str) -> int | None:
    """Return a clock in microseconds since 1970; None for a date that needs a closer look."""
    try:
        passed = datetime.fromisoformat(text) - _NAIVE_EPOCH
    except ValueError:
        return None
    return passed.days * DAY + passed.seconds * SECOND


def _plain(value: str) -> str:
    """Return the text without what only comments on it. Raises ValueError if nothing is left."""
    text = value.strip()
    if len(text) > _LENGTH:
        raise ValueError(f"a text of {len(text)} characters is no time")
    if text.lower() in _NOTHING:
        raise ValueError("no time is given")
    text = _COMMENT.sub("", text)
    return _FROM_UTC.sub(lambda found: f"{found[1]}{int(found[2]):02}{found[3] or '00'}", text)


def _spoken(text: str, zone: ZoneInfo, day_first: bool | None, reference: datetime | None) -> Instant:
    """Read the spellings where the year does not come first."""
    if match := _NUMERIC.fullmatch(text):
        return _numeric(match, zone, day_first)
    if match := _DAY_MONTH.fullmatch(text):
        year, notes = _full_year(match[3])
        start = _day(year, _month(match[2]), int(match[1]))
        return _noted(_at(start, match.groups()[3:9], zone), notes)
    if match := _MONTH_DAY.fullmatch(text):
        month, day = _month(match[1]), int(match[2])
        written = match[3] or match[10]
        year = int(written) if written else latest_year(month, day, reference)
        found = _at(_day(year, month, day), match.groups()[3:9], zone)
        return found if written else _noted(found, (f"year assumed: {year}",))
    if _CLOCK_ALONE.fullmatch(text):
        raise ValueError("a clock time without a date")
    raise ValueError("no known spelling of a time")


def _year_first(text: str, zone: ZoneInfo) -> Instant | None:
    if match := _YEAR_FIRST.fullmatch(text):
        start = _day(int(match[1]), int(match[3]), int(match[4]))
        return _at(start, match.groups()[4:], zone)
    if match := _HOUR_ONLY.fullmatch(text):
        start = _day(int(match[1]), int(match[2]), int(match[3]))
        return make_instant(start, (int(match[4]), 0, 0), None, match[5], zone)._replace(precision="h")
    if match := _WEEK.fullmatch(text):
        start = _calendar(date.fromisocalendar(int(match[1]), int(match[2]), int(match[3])))
        return _at(start, match.groups()[3:], zone)
    if match := _ORDINAL.fullmatch(text):
        year, number = int(match[1]), int(match[2])
        found = date(max(year, 1), 1, 1) + timedelta(days=number - 1)
        if found.year != year:
            raise ValueError("the calendar has no such day")
        return _at(_calendar(found), match.groups()[2:], zone)
    return None


def _compact(text: str, zone: ZoneInfo) -> Instant | None:
    """Read 20240301T081530Z, 20240301 and 20240301081530, 2024-03 and 2024."""
    if match := _BASIC.fullmatch(text):
        year, month, day = int(match[1]), int(match[2]), int(match[3])
        if text.isdigit() and not (year in _CENTURY and len(text) in (8, 12, 14)):
            return None
        try:
            start = day_start(year, month, day)
        except ValueError:
            if text.isdigit():
                return None  # 99999999 is a number of seconds, no date
            raise ValueError("the calendar has no such day") from None
        if match[4] is None:
            return _at(start, (None,) * 6, zone)
        clock = (int(match[4]), int(match[5]), int(match[6] or 0))
        if text.isdigit() and clock > (23, 59, 60):
            return None
        found = make_instant(start, clock, match[7], match[8], zone)
        return found if match[6] else found._replace(precision="min")
    if (match := _YEAR_MONTH.fullmatch(text)) and (match[2] or int(match[1]) in _CENTURY):
        start = _day(int(match[1]), int(match[2] or 1), 1)
        return _at(start, (None,) * 6, zone)._replace(precision="month" if match[2] else "year")
    return None


def _digits(text: str, zone: ZoneInfo) -> Instant | None:
    """Read epoch numbers that were written as text."""
    return read_number(Decimal(text)) if _NUMBER.fullmatch(text) else None


def _numeric(match: re.Match[str], zone: ZoneInfo, day_first: bool | None) -> Instant:
    """Read 02/03/2024: the order is what can be, what was told, or month first with a note."""
    first, second = int(match[1]), int(match[3])
    year, notes = _full_year(match[4])
    if match[2] == "." and day_first is None:
        day_first = True  # with points the day comes first everywhere (CLDR)
    if first > 12 or second > 12:
        order = first > 12
        if day_first is not None and order != day_first:
            notes += ("its day and month stand the other way round than elsewhere",)
    elif day_first is None:
        order = False
        if first != second:
            notes += (AMBIGUOUS,)
    else:
        order = day_first
    month, day = (second, first) if order else (first, second)
    return _noted(_at(_day(year, month, day), match.groups()[4:], zone), notes)


def _at(start: int, clock: tuple[str | None, ...], zone: ZoneInfo) -> Instant:
    """Return the instant of a day and the groups of _CLOCK, of which all may be missing."""
    hour_text, minute, second, fraction, half, zone_text = clock
    if hour_text is None:
        return make_instant(start, (0, 0, 0), None, None, zone)._replace(precision="day")
    hour = int(hour_text)
    if half:
        if not 1 <= hour <= 12:
            raise ValueError("no clock shows this hour with AM or PM")
        hour = hour % 12 + (12 if half in "Pp" else 0)
    found = make_instant(start, (hour, int(minute or 0), int(second or 0)), fraction, zone_text, zone)
    return found if second else found._replace(precision="min")


def _day(year: int, month: int, day: int) -> int:
    try:
        return day_start(year, month, day)
    except ValueError:
        if not any((year, month, day)):
            raise ValueError("no time is given (a date of zeros)") from None
        raise ValueError("the calendar has no such day") from None


def _calendar(found: date) -> int:
    return _day(found.year, found.month, found.day)


def _month(name: str) -> int:
    try:
        return _MONTHS[name.lower()]
    except KeyError:
        raise ValueError("no month has this name") from None


def _full_year(text: str) -> tuple[int, tuple[str, ...]]:
    """Return the year of two or four digits; two are read as POSIX strptime does (69 is 1969)."""
    year = int(text)
    if len(text) == 4:
        return year, ()
    year += 1900 if year >= 69 else 2000
    return year, (f"century assumed: {year}",)


def _noted(instant: Instant, notes: tuple[str, ...]) -> Instant:
    return instant._replace(notes=instant.notes + notes) if notes else instant


def latest_year(month: int, day: int, reference: datetime | None) -> int:
    """Return the latest year that has this day not after the reference. Raises ValueError.

    A local clock may run ahead of UTC, so the day may pass the reference by 14 hours.
    """
    if reference is None:
        raise ValueError("the year is missing, and nothing tells it")
    latest = (reference.astimezone(UTC) - EPOCH + _PATIENCE) // MICROSECOND
    year = 1970 + int(latest // (365 * DAY)) + 1
    for candidate in range(year, year - 12, -1):  # 8 years may lie between two leap years
        try:
            if day_start(candidate, month, day) <= latest:
                return candidate
        except ValueError:
            continue
    raise ValueError("the calendar has no such day")


def read_number(value: float | Decimal, *, unit: str | None = None) -> Instant:
    """Return the instant of a count since 1970, or since 1601 for a FILETIME.

    Without a unit the size tells: seconds to the year 5138, then milliseconds, then
    microseconds; 18 digits are a FILETIME, 19 nanoseconds. Raises ValueError.
    """
    if isinstance(value, bool):
        raise ValueError("true or false is no time")
    try:
        number = value if isinstance(value, Decimal) else Decimal(repr(value))
    except InvalidOperation as error:
        raise ValueError("no number") from error
    if not number.is_finite() or number.adjusted() > 24:
        raise ValueError("the time is outside 1601 to 9999")
    unit = unit or _unit_of(number)
    with localcontext(prec=60):
        if unit == _FILETIME:
            if number == 0:
                raise ValueError("a FILETIME of zero: the time was never set")
            return Instant(within_range(int(number) // 10 + FIRST_INSTANT), "100ns")
        count = number * UNITS[unit]
        timestamp = within_range(int(count.to_integral_value(ROUND_FLOOR)))
        notes = (CUT,) if count != timestamp else ()
    exponent = number.as_tuple().exponent
    digits = _UNIT_DIGITS[unit] + max(-exponent if isinstance(exponent, int) else 0, 0)
    return Instant(timestamp, FINENESS[min(digits, 8)], notes)


def _unit_of(number: Decimal) -> str:
    """Tell what a number counts by its size.

    18 digits counted in nanoseconds would end in 2001, before anything wrote them; as FILETIME
    they reach from 1917 to 4769.
    """
    size = abs(number)
    if size < 10**11:
        return "s"
    if size < 10**14:
        return "ms"
    if size < 10**17:
        return "us"
    return _FILETIME if 10**17 <= number < 10**18 else "ns"


def read_format(text: str, spelling: str, *, zone: ZoneInfo) -> Instant:
    """Return the instant of a text in a spelling of `datetime.strptime`, or in a unit of UNITS.

    Raises ValueError.
    """
    if spelling in UNITS or spelling == _FILETIME:
        return read_time(text, zone=zone, unit=spelling)
    found = datetime.strptime(text, spelling)  # noqa: DTZ007 - the zone, if any, is looked at below
    offset = found.utcoffset()
    clock = (found.hour, found.minute, found.second)
    start = _day(found.year, found.month, found.day)
    fraction = f"{found.microsecond:06}" if "%f" in spelling else None
    instant = make_instant(start, clock, fraction, None if offset is None else "Z", zone)
    if offset is None:
        return instant
    return instant._replace(timestamp=within_range(instant.timestamp - offset // MICROSECOND))


def find_day_order(texts: Iterable[str]) -> bool | None:
    """Return whether the day comes first in dates like 02/03/2024, if any of the texts tells.

    Texts that contradict each other tell nothing.
    """
    seen: set[bool] = set()
    for text in texts:
        seen |= _day_orders(text)
        if len(seen) == 2:
            return None
    return seen.pop() if seen else None


def _day_orders(text: str) -> set[bool]:
    match = _NUMERIC.fullmatch(_WEEKDAY.sub("", text.strip()[:_LENGTH], count=1))
    tells = match and match[2] != "." and (int(match[1]) > 12) != (int(match[3]) > 12)
    return {int(match[1]) > 12} if match and tells else set()
