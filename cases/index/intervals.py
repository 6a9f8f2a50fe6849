"""The intervals of a histogram: where each begins, and which is fine enough."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from cases.index.engine import INTERVALS
from cases.records import EPOCH, MICROSECOND

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND
#: Microseconds of the intervals that are all of one length.
FIXED: Final = {
    "second": SECOND,
    "minute": 60 * SECOND,
    "hour": 3600 * SECOND,
    "day": DAY,
    "week": 7 * DAY,
}
#: 1970-01-05 was the first Monday.
MONDAY: Final = 4 * DAY
#: Buckets that "auto" makes at most, and those that may be asked for.
AUTO_LIMIT: Final = 120
LIMIT: Final = 10_000


class TooManyBuckets(ValueError):
    """The interval is too fine for the time between the first and the last event."""

    def __init__(self, interval: str) -> None:
        super().__init__(f"More than {LIMIT:,} intervals of a {interval} have events: ask for a longer one.")


def finest(first: int, last: int) -> str:
    """Return the finest interval with at most AUTO_LIMIT buckets between two instants."""
    for interval in INTERVALS:
        if interval in FIXED:
            start = bucket_of(interval)
            fits = (start(last) - start(first)) // FIXED[interval] < AUTO_LIMIT
        else:
            months = _months(last) - _months(first)
            fits = (months if interval == "month" else months // 12) < AUTO_LIMIT
        if fits:
            return interval
    return INTERVALS[-1]


def bucket_of(interval: str) -> Callable[[int], int]:
    """Return what gives the start of an instant's bucket."""
    if interval in FIXED:
        step, offset = FIXED[interval], MONDAY if interval == "week" else 0
        return lambda instant: (instant - offset) // step * step + offset
    if interval == "month":
        return lambda instant: _start(_moment(instant).year, _moment(instant).month)
    return lambda instant: _start(_moment(instant).year, 1)


def bucket_after(interval: str) -> Callable[[int], int]:
    """Return what gives the end of the bucket that begins at an instant, where the next one begins.

    The year after 9999 begins where the calendar of Python ends.
    """
    if interval in FIXED:
        return lambda start: start + FIXED[interval]

    def after(start: int) -> int:
        moment = _moment(start)
        year, month = (moment.year, moment.month + 1) if interval == "month" else (moment.year + 1, 1)
        if month == 13:
            year, month = year + 1, 1
        return _start(year, month) if year < 10_000 else _start(9999, 12) + 31 * DAY

    return after


def _moment(instant: int) -> datetime:
    return EPOCH + instant * MICROSECOND


def _months(instant: int) -> int:
    moment = _moment(instant)
    return moment.year * 12 + moment.month - 1


def _start(year: int, month: int) -> int:
    return (datetime(year, month, 1, tzinfo=UTC) - EPOCH) // MICROSECOND
