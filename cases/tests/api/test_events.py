"""The routes of events: what is asked, what is posted, what goes out."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from cases import services, tasks
from cases.engines import IndexDown, engine
from cases.index.engine import IndexUnavailable
from cases.models import Event, TaskRun
from cases.tests.api.cast import V1, admin, client_of, errors, events, person, record, staffed_case
from cases.tests.cast import a_case, receive

pytestmark = pytest.mark.django_db

EVENTS = f"{V1}/cases/ir-2024-001/events/"


def _body(response: Any) -> bytes:
    return b"".join(response.streaming_content)


class TestSearch:
    """GET events/."""

    def test_an_event_has_the_documented_shape(self) -> None:
        evidence = events(
            staffed_case(),
            [record(0, "hello \ud800", host="WS-1", attributes={"EventID": 4624, "Big": 2**70}, tags=["t"])],
        )
        body = client_of("bob").get(EVENTS).json()
        assert set(body) == {"results", "next_cursor", "total", "took_ms"}
        assert (body["total"], body["next_cursor"]) == (1, None)
        event = body["results"][0]
        assert event == {
            "event_id": event["event_id"],
            "timestamp": "2024-03-01T00:00:00.000000Z",
            "timestamp_desc": "",
            "time_precision": "s",
            "message": "hello \ud800",
            "host": "WS-1",
            "user": None,
            "source": "jsonl",
            "category": None,
            "type": None,
            "tags": ["t"],
            "score": None,
            "case_id": "ir-2024-001",
            "evidence_uid": evidence.evidence_uid,
            "position": "line 1",
            "attributes": {"EventID": 4624, "Big": 2**70},
            "annotations": [],
        }
        one = client_of("bob").get(f"{EVENTS}{event['event_id']}/").json()
        assert one == event

    def test_pages_go_through_everything_once_in_either_order(self) -> None:
        events(staffed_case(), [record(number // 4) for number in range(0)] + [record(n) for n in range(25)])
        client = client_of("bob")
        for ordering, first in (("timestamp", "line 1"), ("-timestamp", "line 25")):
            seen: list[str] = []
            address: str | None = f"{EVENTS}?ordering={ordering}&limit=10"
            while address:
                body = client.get(address).json()
                seen += [event["position"] for event in body["results"]]
                cursor = body["next_cursor"]
                address = f"{EVENTS}?ordering={ordering}&limit=10&cursor={cursor}" if cursor else None
            assert (seen[0], len(seen), len(set(seen))) == (first, 25, 25)

    def test_the_newest_come_first_and_a_hundred_at_a_time(self) -> None:
        events(staffed_case(), [record(number) for number in range(120)])
        body = client_of("bob").get(EVENTS).json()
        assert (len(body["results"]), body["total"], body["results"][0]["position"]) == (100, 120, "line 120")

    @pytest.mark.parametrize(
        ("query", "code", "attr"),
        [
            ("q=((((", "invalid_query", "q"),
            ("q=[* TO", "invalid_query", "q"),
            ("q=*:*", "invalid_query", "q"),
            ("q=/(a+)+$(/", "invalid_query", "q"),
            ("limit=0", "invalid", "limit"),
            ("limit=-1", "invalid", "limit"),
            ("limit=1001", "invalid", "limit"),
            ("limit=ten", "invalid", "limit"),
            ("limit=", "invalid", "limit"),
            ("limit=0000000011" + "0" * 5000, "invalid", "limit"),
            ("ordering=message", "invalid", "ordering"),
            ("cursor=eyJ0aW1lIjowfQ", "invalid_cursor", "cursor"),
            ("from=yesterday", "invalid", "from"),
            ("to=2024-02-30", "invalid", "to"),
            ("from=2024-03-02&to=2024-03-01", "invalid", "from"),
            ("page_size=5", "unknown_parameter", "page_size"),
            ("format=json", "unknown_parameter", "format"),
            ("query=x", "unknown_parameter", "query"),
            ("q=a&q=b", "repeated_parameter", "q"),
        ],
    )
    def test_what_makes_no_sense_is_refused_and_never_dropped(self, query: str, code: str, attr: str) -> None:
        staffed_case()
        answer = client_of("bob").get(f"{EVENTS}?{query}")
        assert answer.status_code == 400
        assert errors(answer) == [(code, attr)]

    def test_a_fault_in_the_query_says_at_which_character(self) -> None:
        staffed_case()
        detail = client_of("bob").get(EVENTS, {"q": "host:a AND )"}).json()["errors"][0]["detail"]
        assert "12" in detail

    def test_a_query_of_a_megabyte_is_refused_quickly(self) -> None:
        staffed_case()
        for text in ("a" * 1_000_000, "(" * 100_000, "a OR " * 100_000, "NOT " * 100_000 + "a"):
            assert errors(client_of("bob").get(EVENTS, {"q": text})) == [("invalid_query", "q")]

    def test_evidence_and_source_may_be_repeated(self) -> None:
        case = staffed_case()
        first, second = events(case, [record(0)]), events(case, [record(1)], source="csv")
        client = client_of("bob")
        both = f"{EVENTS}?evidence={first.evidence_uid}&evidence={second.evidence_uid}"
        assert client.get(both).json()["total"] == 2
        assert client.get(f"{both}&source=csv").json()["total"] == 1

    def test_strangers_learn_nothing(self) -> None:
        events(staffed_case(), [record(0, "secret")])
        uid = client_of("bob").get(EVENTS).json()["results"][0]["event_id"]
        nowhere = client_of("charlie").get(f"{V1}/cases/nowhere/events/").content
        for tail in (
            "",
            "count/",
            "histogram/",
            "terms/?field=host",
            "fields/",
            "export/",
            f"{uid}/",
            f"{uid}/source/",
        ):
            answer = client_of("charlie").get(f"{EVENTS}{tail}")
            assert (answer.status_code, answer.content) == (404, nowhere)

    def test_an_event_of_another_case_is_not_reached_through_mine(self) -> None:
        staffed_case()
        events(a_case("ir-other"), [record(0, "secret")])
        uid = client_of("alice").get(f"{V1}/cases/ir-other/events/").json()["results"][0]["event_id"]
        for tail in (f"{uid}/", f"{uid}/source/", f"{uid[:-1]}/", f"{uid.upper()}/", "x/", "a%00b/"):
            assert client_of("alice").get(f"{EVENTS}{tail}").status_code == 404


class TestSeveralCases:
    """GET /events/."""

    def test_it_finds_in_all_that_somebody_sees_or_in_those_named(self) -> None:
        events(staffed_case(), [record(0)])
        events(a_case("ir-2"), [record(1), record(2)])
        events(services.open_case(by=person("charlie"), case_id="ir-3"), [record(3)])
        address = f"{V1}/events/"

        def total(user: Any, query: str = "") -> int:
            return int(client_of(user).get(f"{address}?{query}").json()["total"])

        assert (total("alice"), total("bob"), total("charlie"), total(admin())) == (3, 1, 1, 4)
        assert total("alice", "case=ir-2") == 2
        assert total("alice", "case=ir-2&case=ir-2024-001&limit=1") == 3
        assert total(person("nobody")) == 0

    def test_a_named_case_that_is_not_visible_is_a_404_like_none(self) -> None:
        events(staffed_case(), [record(0)])
        a_case("ir-2")
        client = client_of("bob")
        there = client.get(f"{V1}/events/?case=ir-2024-001&case=ir-2")
        nowhere = client.get(f"{V1}/events/?case=ir-2024-001&case=nothing")
        assert (
            there.status_code
            == nowhere.status_code
            == client.get(f"{V1}/events/?case=a%00").status_code
            == 404
        )
        assert there.content == nowhere.content


class TestCounts:
    """count/, histogram/, terms/, fields/."""

    def test_they_agree_with_each_other(self) -> None:
        rows = [
            record(number * 3600, host=f"h{number % 3}", attributes={"N": number}) for number in range(60)
        ]
        events(staffed_case(), [*rows, record(9, timestamp=None)])
        client = client_of("bob")
        assert client.get(f"{EVENTS}count/").json() == {"total": 61}
        assert client.get(f"{EVENTS}count/?q=host:h1").json() == {"total": 20}
        histogram = client.get(f"{EVENTS}histogram/?interval=day").json()
        assert set(histogram) == {"interval", "buckets", "undated"}
        assert histogram["buckets"][0] == {"start": "2024-03-01T00:00:00.000000Z", "count": 24}
        assert sum(bucket["count"] for bucket in histogram["buckets"]) + histogram["undated"] == 61
        terms = client.get(f"{EVENTS}terms/?field=host&size=2").json()
        assert terms == {
            "buckets": [{"value": "h0", "count": 20}, {"value": "h1", "count": 20}],
            "other": 20,
            "missing": 1,
        }
        seen = {field["name"]: field for field in client.get(f"{EVENTS}fields/").json()["results"]}
        assert any(name.endswith("N") and field["events"] == 60 for name, field in seen.items())

    @pytest.mark.parametrize(
        ("query", "attr"),
        [
            ("histogram/?interval=fortnight", "interval"),
            ("histogram/?limit=5", "limit"),
            ("terms/", "field"),
            ("terms/?field=message", "field"),
            ("terms/?field=host&size=0", "size"),
            ("terms/?field=host&size=9999999", "size"),
            ("count/?cursor=x", "cursor"),
            ("count/?q=((", "q"),
            ("fields/?q=x", "q"),
            ("export/?format=xml", "format"),
            ("export/?limit=3", "limit"),
            ("export/?q=((", "q"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, query: str, attr: str) -> None:
        staffed_case()
        answer = client_of("bob").get(f"{EVENTS}{query}")
        assert (answer.status_code, errors(answer)[0][1]) == (400, attr)

    def test_too_fine_an_interval_is_refused(self) -> None:
        events(staffed_case(), [record(number * 100) for number in range(10_050)])
        answer = client_of("bob").get(f"{EVENTS}histogram/?interval=second")
        assert (answer.status_code, errors(answer)) == (400, [("invalid", "interval")])


class TestPosting:
    """POST events/."""

    def test_one_or_a_list_is_kept_indexed_and_found(self) -> None:
        staffed_case()
        client = client_of("dana")
        answer = client.post(
            EVENTS, {"message": "one", "timestamp": "2024-03-01T08:15:30.1234567Z"}, format="json"
        )
        assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
        more = [
            {"message": "two", "EventID": 4625},
            {"message": ""},
            {"message": "one", "timestamp": "2024-03-01T08:15:30.1234567Z"},
        ]
        body = client.post(EVENTS, more, format="json").json()
        assert (body["accepted"], body["duplicate"], [each["index"] for each in body["rejected"]]) == (
            1,
            1,
            [1],
        )
        assert body["rejected"][0]["errors"]
        for run in TaskRun.objects.all():
            tasks.perform_run(run.pk)
        found = client_of("bob").get(f"{EVENTS}?ordering=timestamp").json()
        assert [event["message"] for event in found["results"]] == ["one", "two"]
        assert found["results"][0]["timestamp"] == "2024-03-01T08:15:30.123456Z"
        assert client.get(f"{EVENTS}count/", {"q": "EventID:4625"}).json() == {"total": 1}
        source = client.get(f"{EVENTS}{found['results'][1]['event_id']}/source/")
        assert json.loads(source.content)["attributes"] == {"EventID": 4625}

    def test_readers_and_strangers_post_nothing(self) -> None:
        staffed_case()
        for name, status in (("bob", 403), ("charlie", 404)):
            assert client_of(name).post(EVENTS, {"message": "x"}, format="json").status_code == status
        assert not Event.objects.exists()

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"", 202),
            (b"{", 400),
            (b'{"message": NaN}', 400),
            (b'{"message": Infinity}', 400),
            (b"\xff\xfe", 400),
            (b"[" * 100_000, 400),
            (b'{"a":' * 100_000, 400),
            (b"1" * 100_000, 400),
            (b'"text"', 202),
            (b"null", 202),
            (b"[null, 5, [], {}]", 202),
        ],
        ids=str,
    )
    def test_what_is_no_event_is_refused_on_its_own(self, body: bytes, status: int) -> None:
        staffed_case()
        answer = client_of("dana").generic("POST", EVENTS, body, content_type="application/json")
        assert answer.status_code == status
        if status == 202:
            assert answer.json()["accepted"] == 0
        assert not Event.objects.exists()

    def test_too_many_at_once_are_a_413(self, settings: Any) -> None:
        staffed_case()
        client = client_of("dana")
        many = client.post(EVENTS, [{"message": str(n)} for n in range(10_001)], format="json")
        assert (many.status_code, errors(many)) == (413, [("too_large", None)])
        settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
        large = client.post(EVENTS, [{"message": "x" * 1000}], format="json")
        assert (large.status_code, errors(large)) == (413, [("too_large", None)])

    def test_another_form_than_json_is_a_415(self) -> None:
        staffed_case()
        assert client_of("dana").post(EVENTS, {"message": "x"}).status_code == 415


class TestSource:
    """…/source/."""

    def test_a_line_comes_back_byte_by_byte_as_a_download(self) -> None:
        line = b'{"message": "<script>alert(1)</script>",  "datetime": "2024-03-01T00:00:00Z"}'
        run = receive(staffed_case(), line + b"\n", "a.jsonl").run
        assert run is not None
        tasks.perform_run(run.pk)
        client = client_of("bob")
        uid = client.get(EVENTS).json()["results"][0]["event_id"]
        answer = client.get(f"{EVENTS}{uid}/source/")
        assert answer.content.rstrip(b"\n") == line
        assert answer["Content-Type"] == "application/octet-stream"
        assert answer["Content-Disposition"].startswith("attachment")
        assert answer["Content-Security-Policy"] == "sandbox; default-src 'none'"
        digest = b64encode(hashlib.sha256(answer.content).digest()).decode()
        assert answer["Repr-Digest"] == f"sha-256=:{digest}:"


class TestExport:
    """export/."""

    def test_jsonl_holds_every_event_oldest_first(self) -> None:
        events(staffed_case(), [record(number) for number in range(1200)])
        answer = client_of("bob").get(f"{EVENTS}export/?q=event")
        assert answer.streaming
        assert answer["Content-Type"] == "application/x-ndjson"
        assert answer["Content-Disposition"] == 'attachment; filename="ir-2024-001-events.jsonl"'
        rows = [json.loads(line) for line in _body(answer).splitlines()]
        assert [row["position"] for row in rows] == [f"line {number}" for number in range(1, 1201)]
        searched = client_of("bob").get(f"{EVENTS}?ordering=timestamp&limit=1").json()["results"][0]
        assert rows[0] == searched
        newest = client_of("bob").get(f"{EVENTS}export/?ordering=-timestamp")
        assert json.loads(_body(newest).splitlines()[0])["position"] == "line 1200"

    def test_a_spreadsheet_executes_nothing(self) -> None:
        bad = [
            "=cmd|' /C calc'!A0",
            "+1",
            "-1",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "\n=1",
            " =1",
            "\uff1d1",
            '"=1',
            "a\x00b",
        ]
        rows = [
            record(n, text, host=text, tags=[text], attributes={text: text}) for n, text in enumerate(bad)
        ]
        events(staffed_case(), [*rows, record(99, "x \ud800", score=-1.5)])
        body = _body(client_of("bob").get(f"{EVENTS}export/?format=csv")).decode("utf-8")
        sheet = list(csv.DictReader(io.StringIO(body, newline="")))
        assert len(sheet) == len(bad) + 1
        for row in sheet[:-1]:
            for name, cell in row.items():
                assert not cell.lstrip(" \ufeff\x00").startswith(
                    ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d")
                ), name
        assert sheet[0]["message"] == "'=cmd|' /C calc'!A0"
        assert json.loads(sheet[0]["attributes"]) == {bad[0]: bad[0]}
        assert (sheet[-1]["score"], sheet[-1]["message"]) == ("-1.5", "x \\ud800")

    def test_nothing_found_is_an_empty_file(self) -> None:
        staffed_case()
        assert _body(client_of("bob").get(f"{EVENTS}export/")) == b""
        header = _body(client_of("bob").get(f"{EVENTS}export/?format=csv"))
        assert header.startswith(b"timestamp,")
        assert header.count(b"\n") == 1

    def test_an_index_that_fails_midway_breaks_the_stream(self, monkeypatch: pytest.MonkeyPatch) -> None:
        events(staffed_case(), [record(0), record(1)])
        stream = type(engine()).stream

        def breaking(*args: Any, **kwargs: Any) -> Iterator[Any]:
            yield next(iter(stream(*args, **kwargs)))
            raise IndexUnavailable("The disk is gone.")

        monkeypatch.setattr(type(engine()), "stream", breaking)
        answer = client_of("bob").get(f"{EVENTS}export/")
        assert answer.status_code == 200
        with pytest.raises(IndexDown):
            _body(answer)


class TestDown:
    """Without the index, events answer 503 with a reason and everything else goes on."""

    def test_every_question_is_a_503_with_a_reason(self, monkeypatch: pytest.MonkeyPatch) -> None:
        case = staffed_case()

        def down(*args: Any, **kwargs: Any) -> Any:
            raise IndexUnavailable("The disk is gone.")

        for name in ("search", "count", "histogram", "terms", "fields", "get", "stream", "drop", "delete"):
            monkeypatch.setattr(type(engine()), name, down)
        client = client_of("alice")
        for tail in (
            "",
            "count/",
            "histogram/",
            "terms/?field=host",
            "fields/",
            "export/",
            f"{'0' * 64}/",
            f"{'0' * 64}/source/",
        ):
            answer = client.get(f"{EVENTS}{tail}")
            assert (answer.status_code, errors(answer)) == (503, [("index_unavailable", None)]), tail
            assert int(answer["Retry-After"]) > 0
            assert answer.json()["type"] == "server_error"
        assert client.get(f"{V1}/cases/{case.case_id}/").status_code == 200
        assert client.post(EVENTS, {"message": "x"}, format="json").status_code == 202
        assert client.get(f"{V1}/cases/{case.case_id}/custody/").status_code == 200
        assert client.delete(f"{V1}/cases/{case.case_id}/?confirm={case.case_id}").status_code == 503
        assert client.get(f"{V1}/cases/{case.case_id}/").status_code == 200
