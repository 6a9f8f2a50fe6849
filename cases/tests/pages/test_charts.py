"""The histogram as a drawing: bars in their places, each with the range it stands for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cases.charts import HEIGHT, WIDTH, draw, last_of
from cases.index.document import parse_time
from cases.index.engine import Histogram
from cases.records import FIRST_INSTANT, LAST_INSTANT


def _at(text: str) -> int:
    return parse_time(text)


@pytest.mark.parametrize(
    ("interval", "start", "last"),
    [
        ("second", "2024-03-01T08:00:00Z", "2024-03-01T08:00:00.999999Z"),
        ("minute", "2024-03-01T08:00:00Z", "2024-03-01T08:00:59.999999Z"),
        ("hour", "2024-03-01T08:00:00Z", "2024-03-01T08:59:59.999999Z"),
        ("day", "2024-02-29T00:00:00Z", "2024-02-29T23:59:59.999999Z"),
        ("week", "2024-02-26T00:00:00Z", "2024-03-03T23:59:59.999999Z"),
        ("month", "2024-02-01T00:00:00Z", "2024-02-29T23:59:59.999999Z"),
        ("month", "2023-12-01T00:00:00Z", "2023-12-31T23:59:59.999999Z"),
        ("year", "2024-01-01T00:00:00Z", "2024-12-31T23:59:59.999999Z"),
        ("year", "9999-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"),
        ("month", "9999-12-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_an_interval_ends_a_microsecond_before_the_next(interval: str, start: str, last: str) -> None:
    assert last_of(_at(start), interval) == _at(last)


def test_bars_stand_in_their_time_and_are_as_high_as_their_count() -> None:
    hour = 3_600_000_000
    first = _at("2024-03-01T00:00:00Z")
    chart = draw(Histogram("hour", [(first, 10), (first + 9 * hour, 40)], undated=3))
    one, two = chart.bars
    assert (one.x, two.x) == (0, WIDTH * 9 / 10)
    assert (one.height, two.height) == (HEIGHT / 4, HEIGHT)
    assert (two.start, two.end) == ("2024-03-01T09:00:00.000000Z", "2024-03-01T09:59:59.999999Z")
    assert one.label == "2024-03-01 00:00 UTC, one hour: 10 events"
    assert (chart.peak, chart.undated) == (40, 3)
    assert (chart.ticks[0], chart.ticks[-1]) == ("2024-03-01 00:00", "2024-03-01 10:00")


def test_one_event_beside_a_million_is_still_seen() -> None:
    first = _at("2024-03-01T00:00:00Z")
    chart = draw(Histogram("day", [(first, 1_000_000), (first + 86_400_000_000, 1)], undated=0))
    assert chart.bars[1].height >= 3
    assert chart.bars[1].label.endswith("one day: 1 event")


def test_the_whole_of_representable_time_is_drawn_inside_the_picture() -> None:
    last_year = int((datetime(9999, 1, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    chart = draw(Histogram("year", [(FIRST_INSTANT, 1), (last_year * 1_000_000, 2)], undated=0))
    for bar in chart.bars:
        assert bar.x >= 0
        assert bar.x + bar.reach <= WIDTH
        assert bar.x <= bar.left
        assert bar.left + bar.width <= WIDTH
    assert chart.bars[0].label.startswith("1601 UTC")
    assert _at(chart.bars[1].end) == LAST_INSTANT


def test_without_dated_events_there_is_no_bar() -> None:
    chart = draw(Histogram("second", [], undated=7))
    assert (chart.bars, chart.ticks, chart.undated) == ([], [], 7)
