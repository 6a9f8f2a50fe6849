"""The histogram of a search as bars in the unit of a drawing: where each stands and what it means."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime
from typing import Final

from cases.index.document import format_time
from cases.index.engine import Histogram
from cases.records import EPOCH, LAST_INSTANT, MICROSECOND

WIDTH: Final = 1200
HEIGHT: Final = 120
#: A bar is at least this high and wide: one event beside a million is still seen.
_LEAST: Final = 3
_WIDEST: Final = 48
_TICKS: Final = 5

_SECOND: Final = 1_000_000
_LENGTHS: Final = {
    "second": _SECOND,
    "minute": 60 * _SECOND,
    "hour": 3600 * _SECOND,
    "day": 86_400 * _SECOND,
    "week": 7 * 86_400 * _SECOND,
}
_SHOWN: Final = {
    "second": "%Y-%m-%d %H:%M:%S",
    "minute": "%Y-%m-%d %H:%M",
    "hour": "%Y-%m-%d %H:%M",
    "day": "%Y-%m-%d",
    "week": "%Y-%m-%d",
    "month": "%Y-%m",
    "year": "%Y",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """The events of one interval; `start` and `end` are its first and last microsecond, RFC 3339.

    It may be pointed at from `x` on over `reach`; what is drawn is in the middle of that.
    """

    x: float
    reach: float
    left: float
    width: float
    y: float
    height: float
    start: str
    end: str
    count: int
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars from left to right, and the times that stand below them, evenly spread."""

    interval: str
    bars: list[Bar]
    ticks: list[str]
    peak: int
    undated: int
    width: int = WIDTH
    height: int = HEIGHT


def draw(histogram: Histogram) -> Chart:
    """Return the histogram as a drawing; without dated events it has no bars."""
    buckets, interval = histogram.buckets, histogram.interval
    if not buckets:
        return Chart(interval, [], [], 0, histogram.undated)
    first = buckets[0][0]
    span = last_of(buckets[-1][0], interval) + 1 - first
    peak = max(count for _, count in buckets)
    bars = [_bar(start, count, interval, first, span, peak) for start, count in buckets]
    steps = [first + span * step // (_TICKS - 1) for step in range(_TICKS)]
    ticks = [_shown(min(step, LAST_INSTANT), _coarser(interval, span)) for step in steps]
    return Chart(interval, bars, list(dict.fromkeys(ticks)), peak, histogram.undated)


def last_of(start: int, interval: str) -> int:
    """Return the last microsecond of the interval that begins at `start`."""
    if interval in _LENGTHS:
        return min(start + _LENGTHS[interval] - 1, LAST_INSTANT)
    begin = _moment(start)
    months = begin.year * 12 + begin.month - 1 + (12 if interval == "year" else 1)
    year, month = divmod(months, 12)
    if year > MAXYEAR:
        return LAST_INSTANT
    return (datetime(year, month + 1, 1, tzinfo=UTC) - EPOCH) // MICROSECOND - 1


def _bar(start: int, count: int, interval: str, first: int, span: int, peak: int) -> Bar:
    end = last_of(start, interval)
    height = max(HEIGHT * count / peak, _LEAST)
    reach = max(WIDTH * (end + 1 - start) / span, _LEAST)
    width = min(max(reach - 1, _LEAST), _WIDEST)
    x = min(WIDTH * (start - first) / span, WIDTH - reach)
    shown = _shown(start, interval)
    return Bar(
        x=round(x, 2),
        reach=round(reach, 2),
        left=round(x + (reach - width) / 2, 2),
        width=round(width, 2),
        y=round(HEIGHT - height, 2),
        height=round(height, 2),
        start=format_time(start) or "",
        end=format_time(end) or "",
        count=count,
        label=f"{shown} UTC, one {interval}: {count:,} {'event' if count == 1 else 'events'}",
    )


def _coarser(interval: str, span: int) -> str:
    """Return how finely the times below the bars are written: as the bars, or by day if that does."""
    return "day" if interval == "hour" and span > 5 * _LENGTHS["day"] else interval


def _shown(timestamp: int, interval: str) -> str:
    moment = _moment(timestamp)
    # strftime leaves out leading zeros of the year on some systems
    return moment.strftime(_SHOWN[interval].replace("%Y", f"{moment.year:04}"))


def _moment(timestamp: int) -> datetime:
    return EPOCH + timestamp * MICROSECOND
