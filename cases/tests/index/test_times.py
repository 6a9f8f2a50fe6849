"""Times as people write them in a search."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.index.times import read_time
from cases.records import EPOCH, MICROSECOND

DAY = 86_400_000_000


def microseconds(*parts: int) -> int:
    return (datetime(*parts, tzinfo=UTC) - EPOCH) // MICROSECOND  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-03-01T08:15:30Z", (2024, 3, 1, 8, 15, 30)),
        ("2024-03-01t08:15:30z", (2024, 3, 1, 8, 15, 30)),
        ("2024-03-01 08:15:30Z", (2024, 3, 1, 8, 15, 30)),
        ("2024-03-01T08:15:30.5Z", (2024, 3, 1, 8, 15, 30, 500_000)),
        ("2024-03-01T08:15:30.123456Z", (2024, 3, 1, 8, 15, 30, 123_456)),
        ("2024-03-01T08:15:30.123456999Z", (2024, 3, 1, 8, 15, 30, 123_456)),  # cut, not rounded
        ("2024-03-01T00:15:30+01:00", (2024, 2, 29, 23, 15, 30)),
        ("2024-02-29T23:45:30-00:30", (2024, 3, 1, 0, 15, 30)),
        ("2024-03-01T08:15:30-00:00", (2024, 3, 1, 8, 15, 30)),
        ("2016-12-31T23:59:60Z", (2017, 1, 1)),
        ("1601-01-01T00:00:00Z", (1601, 1, 1)),
        ("9999-12-31T23:59:59.999999Z", (9999, 12, 31, 23, 59, 59, 999_999)),
    ],
)
def test_an_rfc_3339_time_names_one_microsecond(text: str, moment: tuple[int, ...]) -> None:
    assert read_time(text) == (microseconds(*moment), microseconds(*moment))


@pytest.mark.parametrize("date", [(2024, 2, 29), (1970, 1, 1), (1601, 1, 1), (9999, 12, 31)])
def test_a_date_names_its_whole_day(date: tuple[int, int, int]) -> None:
    first = microseconds(*date)
    assert read_time("{:04}-{:02}-{:02}".format(*date)) == (first, first + DAY - 1)


def test_an_offset_may_lead_beyond_the_years_of_the_calendar() -> None:
    assert read_time("0001-01-01T00:00:00+23:59")[0] == microseconds(1, 1, 1) - 86_340_000_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2024",
        "2024-03",
        "2024-3-1",
        "20240301",
        "2024-02-30",
        "2023-02-29",
        "0000-01-01",
        "2024-13-01",
        "01/03/2024",
        "2024-03-01T08:15:30",  # whose time zone?
        "2024-03-01T08:15Z",
        "2024-03-01T24:00:00Z",
        "2024-03-01T08:60:00Z",
        "2024-03-01T08:15:61Z",
        "2024-03-01T08:15:30.Z",
        "2024-03-01T08:15:30,5Z",
        "2024-03-01T08:15:30+0100",
        "2024-03-01T08:15:30+24:00",
        "2024-03-01T08:15:30+01:60",
        "2024-03-01T08:15:30ZZ",
        " 2024-03-01",
        "2024-03-01\n",
        "\u0662\u0660\u0662\u0664-03-01",
        "1709280930",
    ],
)
def test_anything_else_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="is no time: "):
        read_time(text)


def test_the_refusal_quotes_little_and_nothing_unprintable() -> None:
    with pytest.raises(ValueError, match="is no time: ") as caught:
        read_time("\x1b\ud800" + "x" * 10_000)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


@given(st.datetimes(timezones=st.timezones()), st.sampled_from(["microseconds", "seconds"]))
def test_what_python_writes_is_read_back(moment: datetime, precision: str) -> None:
    offset = moment.utcoffset()
    assert offset is not None
    if offset.total_seconds() % 60:  # local mean times of before 1900 are not RFC 3339
        return
    first, last = read_time(moment.isoformat(timespec=precision))
    assert first == last
    local = moment.replace(tzinfo=UTC, microsecond=moment.microsecond if precision == "microseconds" else 0)
    assert first == (local - EPOCH - offset) // MICROSECOND
