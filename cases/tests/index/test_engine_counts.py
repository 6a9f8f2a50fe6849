"""What every engine promises about histograms, terms and fields."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cases.index.engine import Engine, FieldInfo
from cases.index.query import parse
from cases.index.text import value_text
from cases.records import EPOCH, MICROSECOND
from cases.tests.index.engines import ALL, DAY, ENGINES, an_engine, event, fill, found
from cases.tests.index.odd import START


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    return an_engine(request.param, tmp_path / "index")


def instant(text: str) -> int:
    return (datetime.fromisoformat(text).replace(tzinfo=UTC) - EPOCH) // MICROSECOND


class TestHistogram:
    TIMES = (
        "1601-01-01T00:00:00.000001",
        "1969-12-31T23:59:59.999999",
        "1970-01-01T00:00:00",
        "2023-12-31T23:59:59.999999",
        "2024-01-01T00:00:00",
        "2024-02-29T12:00:00",
        "2024-03-03T23:59:59",
        "2024-03-04T00:00:00",
        "2024-03-04T00:00:00.000001",
        "2300-06-15T10:20:30.654321",
        "9999-12-31T23:59:59.999999",
    )

    @pytest.mark.parametrize(
        ("interval", "start"),
        [
            ("second", lambda moment: moment.replace(microsecond=0)),
            ("minute", lambda moment: moment.replace(second=0, microsecond=0)),
            ("hour", lambda moment: moment.replace(minute=0, second=0, microsecond=0)),
            ("day", lambda moment: moment.replace(hour=0, minute=0, second=0, microsecond=0)),
            ("month", lambda moment: datetime(moment.year, moment.month, 1, tzinfo=UTC)),
            ("year", lambda moment: datetime(moment.year, 1, 1, tzinfo=UTC)),
        ],
    )
    def test_every_interval_counts_every_event(self, engine: Engine, interval: str, start: Any) -> None:
        times = [instant(text) for text in self.TIMES]
        fill(engine, [*(event(n, time) for n, time in enumerate(times)), event(99, None)])
        expected: dict[int, int] = {}
        for time in times:
            begin = (start(EPOCH + time * MICROSECOND) - EPOCH) // MICROSECOND
            expected[begin] = expected.get(begin, 0) + 1
        found = engine.histogram(case_ids=["case"], query=ALL, interval=interval)
        assert found.interval == interval
        assert found.buckets == sorted(expected.items())
        assert found.undated == 1

    def test_weeks_begin_on_monday(self, engine: Engine) -> None:
        fill(engine, [event(n, instant(text)) for n, text in enumerate(self.TIMES[5:9])])
        found = engine.histogram(case_ids=["case"], query=ALL, interval="week")
        assert found.buckets == [(instant("2024-02-26"), 2), (instant("2024-03-04"), 2)]

    @pytest.mark.parametrize(
        ("span", "interval"),
        [
            (0, "second"),
            (119_000_000, "second"),
            (120_000_000, "minute"),
            (100 * 60_000_000, "minute"),
            (3 * DAY, "hour"),
            (30 * DAY, "day"),
            (300 * DAY, "week"),
            (2000 * DAY, "month"),
            (40_000 * DAY, "year"),
        ],
    )
    def test_auto_takes_the_finest_with_at_most_120_buckets(
        self, engine: Engine, span: int, interval: str
    ) -> None:
        begin = instant("2001-01-01")
        fill(engine, [event(n, begin + span * n // 400) for n in range(401)])
        found = engine.histogram(case_ids=["case"], query=ALL)
        assert found.interval == interval
        assert len(found.buckets) <= 120
        assert sum(count for _, count in found.buckets) == 401

    def test_auto_goes_by_what_matches(self, engine: Engine) -> None:
        fill(engine, [event(1, START), event(2, START + 1), event(3, START + 3000 * DAY, host="far")])
        assert engine.histogram(case_ids=["case"], query=parse("NOT host:far")).interval == "second"
        assert engine.histogram(case_ids=["case"], query=ALL).interval == "month"

    def test_too_many_buckets_are_refused(self, engine: Engine) -> None:
        fill(engine, [event(n, START + n * 60_000_000) for n in range(10_001)])
        with pytest.raises(ValueError, match="10,000"):
            engine.histogram(case_ids=["case"], query=ALL, interval="minute")
        assert len(engine.histogram(case_ids=["case"], query=ALL, interval="hour").buckets) == 167
        with pytest.raises(ValueError, match="interval"):
            engine.histogram(case_ids=["case"], query=ALL, interval="decade")

    def test_nothing_found_is_an_empty_histogram(self, engine: Engine) -> None:
        found = engine.histogram(case_ids=["case"], query=ALL)
        assert (found.buckets, found.undated) == ([], 0)
        assert found.interval != "auto"


class TestTermsAndFields:
    def test_terms_count_events_by_spelling(self, engine: Engine) -> None:
        users = ["alice", "alice", "Alice", "bob", None]
        fill(
            engine,
            [
                event(number, user=user, attributes={"Port": [80, 80, "080"] if number else 443})
                for number, user in enumerate(users)
            ],
        )
        found = engine.terms(case_ids=["case"], query=ALL, field="user", size=2)
        assert found.buckets == [("alice", 2), ("Alice", 1)]
        assert (found.other, found.missing) == (1, 1)
        ports = engine.terms(case_ids=["case"], query=ALL, field="attributes.Port", size=10)
        assert ports.buckets == [("080", 4), ("80", 4), ("443", 1)]
        assert (ports.other, ports.missing) == (0, 0)

    def test_terms_of_many_values_are_exact(self, engine: Engine) -> None:
        for shard in range(2):
            documents = [
                event(10_000 * shard + n, attributes={"v": f"value {n % 4000} {'long ' * 20}"})
                for n in range(6000)
            ]
            fill(engine, documents, shard=f"ev-{shard}")
        found = engine.terms(case_ids=["case"], query=ALL, field="attributes.v", size=3)
        first = sorted(f"value {n} {'long ' * 20}" for n in range(2000))[:3]
        assert found.buckets == [(value, 4) for value in first]
        assert found.other == 12_000 - 12

    def test_numbers_and_texts_of_one_spelling_are_one_value_whatever_part_they_lie_in(
        self, engine: Engine
    ) -> None:
        huge = value_text(1e22)
        values = [
            1e22,
            huge,
            huge.upper(),
            "0.50",
            0.5,
            "0.50",
            7,
            "7",
            True,
            "true",
            "007",
            "x" * 48,
            "x" * 49,
        ]
        fill(engine, [event(n, attributes={"v": value}) for n, value in enumerate(values)])
        fill(
            engine, [event(100 + n, attributes={"v": value}) for n, value in enumerate(values)], shard="ev-2"
        )
        found = engine.terms(case_ids=["case"], query=ALL, field="attributes.v", size=20)
        spelled = {huge: 4, huge.upper(): 2, "0.50": 4, "0.5": 2, "7": 4, "true": 4, "007": 2}
        spelled |= {"x" * 48: 2, "x" * 49: 2}
        assert dict(found.buckets) == spelled
        tested = engine.terms(
            case_ids=["case"], query=parse("/message.*/"), field="attributes.v", size=20
        )  # an expression over the message: documents decide
        assert tested.buckets == found.buckets

    def test_terms_of_the_message_are_refused(self, engine: Engine) -> None:
        with pytest.raises(ValueError, match="message"):
            engine.terms(case_ids=["case"], query=ALL, field="message", size=3)

    def test_fields_tell_type_and_number_of_events(self, engine: Engine) -> None:
        fill(
            engine,
            [
                event(1, host="a", attributes={"n": 1, "t": "x", "m": 1, "a.b": True, "none": None}),
                event(2, None, score=1.5, attributes={"n": 2.5, "m": "x", "l": ["x", 1], "a": {"b": False}}),
            ],
        )
        fill(engine, [event(3, attributes={"n": "text"})], shard="ev-2")
        found = {(info.name, info.attribute): info for info in engine.fields(case_ids=["case"])}
        assert found["n", True] == FieldInfo("n", "mixed", 3, attribute=True)
        assert found["t", True] == FieldInfo("t", "text", 1, attribute=True)
        assert found["m", True] == FieldInfo("m", "mixed", 2, attribute=True)
        assert found["l", True] == FieldInfo("l", "mixed", 1, attribute=True)
        assert found["a.b", True] == FieldInfo("a.b", "boolean", 2, attribute=True)
        assert found["host", False] == FieldInfo("host", "text", 1, attribute=False)
        assert found["score", False] == FieldInfo("score", "number", 1, attribute=False)
        assert found["message", False].events == 3
        assert ("none", True) not in found
        assert ("user", False) not in found
        names = [info.name for info in engine.fields(case_ids=["case"])]
        assert names == sorted(names)

    def test_five_thousand_different_attributes_are_all_found(self, engine: Engine) -> None:
        fill(engine, [event(n, attributes={f"field {n}": n, "all": "x"}) for n in range(5000)])
        fields = {info.name: info.events for info in engine.fields(case_ids=["case"])}
        assert all(fields[f"field {n}"] == 1 for n in range(5000))
        assert fields["all"] == 5000
        for number in (0, 1999, 2000, 4999):
            assert found(engine, parse(f'_exists_:"field {number}"')) == [f"message {number}"]
            assert found(engine, parse(f'attributes."field {number}":{number}')) == [f"message {number}"]
            assert found(engine, parse(f'attributes."field {number}":[{number} TO {number}]')) == [
                f"message {number}"
            ]
        assert engine.count(case_ids=["case"], query=parse("_exists_:all")) == 5000
