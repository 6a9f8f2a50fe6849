"""POST events/: many at once, twice, too many, hostile ones, and without space."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, connections

from accounts.models import IdempotentAnswer
from cases import runs, tasks
from cases.models import CustodyEntry, Event, TaskRun
from cases.tests.api.cast import V1, client_of, errors, staffed_case

pytestmark = pytest.mark.django_db

EVENTS = f"{V1}/cases/ir-2024-001/events/"


def _post(body: Any, *, client: Any = None, key: str = "") -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Idempotency-Key": key} if key else {}
    return (client or client_of("dana")).generic(
        "POST", EVENTS, content, content_type="application/json", headers=headers
    )


def _many(number: int, first: int = 0) -> list[dict[str, Any]]:
    return [{"message": f"event {n}", "n": n, "host": "web-1"} for n in range(first, first + number)]


class TestAnswer:
    """What is answered about the events of a call."""

    def test_ten_thousand_at_once_are_told_apart_one_by_one(self) -> None:
        staffed_case()
        events: list[Any] = _many(10_000)
        events[17] = {"message": 5}
        events[4321] = "text"
        events[9999] = events[0]
        answer = _post(events)
        assert answer.status_code == 202
        body = answer.json()
        assert (body["accepted"], body["duplicate"]) == (9997, 1)
        assert body["rejected"] == [
            {"index": 17, "errors": ["message: a text that is not empty is required."]},
            {"index": 4321, "errors": ["An event is a JSON object."]},
        ]
        assert Event.objects.count() == 9997
        assert list(Event.objects.order_by("pk").values_list("message", flat=True)[:2]) == [
            "event 0",
            "event 1",
        ]

    def test_the_run_that_is_named_can_be_followed_until_the_events_are_found(self) -> None:
        staffed_case()
        client = client_of("dana")
        run = _post(_many(3), client=client).json()["run"]
        assert _post(_many(3, first=3), client=client).json()["run"] == run
        address = f"{V1}/cases/ir-2024-001/runs/{run}/"
        assert client.get(address).json()["status"] == "queued"
        assert client.get(f"{EVENTS}count/").json() == {"total": 0}
        tasks.perform_run(run)
        told = client.get(address).json()
        assert (told["status"], told["counts"]["indexed"]) == ("succeeded", 6)
        assert client.get(f"{EVENTS}count/").json() == {"total": 6}

    def test_nothing_new_needs_no_run(self) -> None:
        staffed_case()
        _post(_many(2))
        for body in (_many(2), [], [5]):
            answer = _post(body)
            assert (answer.status_code, answer.json()["run"]) == (202, None)
        assert TaskRun.objects.count() == 1

    def test_every_kind_of_text_comes_back_as_it_was_posted(self) -> None:
        staffed_case()
        client = client_of("dana")
        texts = [
            "tab\tline\nreturn\r",
            "back\\slash \\N \\.",
            "nul \x00",
            "\ud800 alone",
            "é\U0001f600",
            "'\"$1%s",
        ]
        events = [
            {
                "message": text,
                "host": text,
                "user": text,
                "tags": [text],
                "timestamp": "2024-03-01T08:15:30+02:00",
                "score": 1.5,
                "attributes": {text: text, "big": 2**70},
            }
            for text in texts
        ]
        answer = _post(events, client=client)
        assert answer.json()["accepted"] == len(texts)
        assert tasks.perform_run(answer.json()["run"])
        found = client.get(f"{EVENTS}?limit=100").json()["results"]
        assert {event["message"] for event in found} == set(texts)
        for event in found:
            text = event["message"]
            assert (event["host"], event["user"], event["tags"], event["score"]) == (text, text, [text], 1.5)
            assert event["attributes"] == {text: text, "big": 2**70}
            assert event["timestamp"] == "2024-03-01T06:15:30.000000Z"


class TestTwice:
    """The same call again."""

    def test_the_same_key_and_body_answer_the_same_and_the_body_is_not_kept(self) -> None:
        staffed_case()
        client = client_of("dana")
        first, second = (_post(_many(500), client=client, key="a") for _ in range(2))
        assert (first.json()["accepted"], second.content) == (500, first.content)
        assert second["Idempotent-Replayed"] == "true"
        kept = IdempotentAnswer.objects.get()
        assert len(str(kept.body)) < 200
        assert Event.objects.count() == 500

    def test_the_order_of_names_and_the_spaces_between_them_make_no_other_body(self) -> None:
        staffed_case()
        client = client_of("dana")
        first = _post(b'[{"message": "x", "a": 1, "b": 1.0}]', client=client, key="a")
        second = _post(b'[{"b":1.0,"a":1,"message":"x"}]', client=client, key="a")
        assert (second.status_code, second.content) == (202, first.content)

    @pytest.mark.parametrize("other", [_many(499), [*_many(499), {"message": "\ud800", "n": 2**70}]])
    def test_another_body_under_the_key_is_a_409(self, other: Any) -> None:
        staffed_case()
        client = client_of("dana")
        assert _post(_many(500), client=client, key="a").status_code == 202
        again = _post(other, client=client, key="a")
        assert (again.status_code, errors(again)) == (409, [("idempotency_conflict", None)])
        assert Event.objects.count() == 500

    @pytest.mark.django_db(transaction=True)
    def test_two_calls_with_one_key_at_the_same_moment_act_once(self) -> None:
        staffed_case()
        client = client_of("dana")
        answers, start = [], threading.Barrier(4)

        def call() -> None:
            start.wait()
            try:
                answers.append(_post(_many(300), client=client, key="a"))
            finally:
                connections.close_all()

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [answer.status_code for answer in answers] == [202] * 4
        assert {answer.content for answer in answers} == {answers[0].content}
        assert answers[0].json()["accepted"] == Event.objects.count() == 300
        assert CustodyEntry.objects.filter(action="events.posted").count() == 1


class TestBackPressure:
    """More than the index keeps up with."""

    def test_too_many_that_wait_are_a_429_until_they_are_indexed(self, settings: Any) -> None:
        settings.POSTED_WAITING = 10
        staffed_case()
        client = client_of("dana")
        assert _post(_many(11), client=client).status_code == 202
        refused = _post(_many(1, first=50), client=client, key="a")
        assert (refused.status_code, errors(refused)) == (429, [("index_behind", None)])
        assert int(refused["Retry-After"]) > 0
        assert "none of them was kept" in refused.json()["errors"][0]["detail"]
        assert Event.objects.count() == 11
        run = runs.waiting().get()
        assert tasks.perform_run(run.pk)
        again = _post(_many(1, first=50), client=client, key="a")
        assert (again.status_code, again.json()["accepted"]) == (202, 1)

    def test_a_closed_case_is_said_to_be_closed_whatever_waits(self, settings: Any) -> None:
        settings.POSTED_WAITING = 1
        case = staffed_case()
        _post(_many(5))
        TaskRun.objects.update(status="cancelled")
        client_of("alice").post(f"{V1}/cases/{case.case_id}/close/")
        assert errors(_post(_many(1, first=9))) == [("case_closed", None)]


class TestHostile:
    """What makes no sense is refused with a reason, costs little and leaves nothing."""

    @pytest.mark.parametrize(
        ("body", "says"),
        [
            (b'[{"message": "a", "message": "b"}]', "stands twice"),
            (b'[{"message": "a", "attributes": {"\\u0061": 1, "a": 2}}]', "stands twice"),
            (b'[{"message": "a", "n": NaN}]', "NaN"),
            (b'[{"message": "a", "n": ' + b"9" * 5000 + b"}]", "no JSON"),
            (b'{"message": "a", "n": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "nests too deeply"),
            (b'[{"message": "\xff"}]', "no JSON"),
            (b'[{"message": "a"}', "no JSON"),
            (b'[{"message": "a"}] x', "no JSON"),
            (b"\xef\xbb\xbf[]", "no JSON"),
        ],
        ids=lambda value: value[:40] if isinstance(value, bytes) else value,
    )
    def test_a_body_that_is_not_strict_json_is_refused_as_a_whole(self, body: bytes, says: str) -> None:
        staffed_case()
        answer = _post(body)
        assert answer.status_code == 400
        assert says in answer.json()["errors"][0]["detail"]
        assert len(answer.content) < 1000
        assert not Event.objects.exists()

    @pytest.mark.parametrize(
        "event",
        [
            b'{"message": "a", "n": 1e400}',
            b'{"message": "a", "n": [[-1e400]]}',
            b'{"message": "a", "score": 1e400}',
            b'{"message": "a", "score": 1' + b"0" * 4000 + b"}",
            b'{"message": "a", "n": ' + b"[" * 32 + b"]" * 32 + b"}",
            b'{"message": ["a"]}',
            b'{"message": "a", "timestamp": "9999-12-31T23:59:60Z"}',
            b'{"message": "a", "timestamp": "1600-12-31T23:59:59Z"}',
            b'{"message": "a", "timestamp": {}}',
            b'{"message": "a", "timestamp": "\\u0662024-01-01T00:00:00Z"}',
            b'{"message": "a", "time_precision": []}',
            b'{"message": "a", "time_precision": {}}',
            b'{"message": "a", "tags": [null]}',
            b'{"message": "a", "tags": {"a": 1}}',
            b'{"message": "a", "host": 5}',
            b'{"message": "a", "user": "' + b"u" * 256 + b'"}',
            b'{"message": "a", "attributes": "x"}',
            b'{"message": "a", "\\u0000": 1, "attributes": {"\\u0000": 2}}',
        ],
        ids=lambda value: value[:40],
    )
    def test_a_bad_event_is_refused_alone(self, event: bytes) -> None:
        staffed_case()
        answer = _post(b'[{"message": "good"}, ' + event + b"]")
        assert answer.status_code == 202
        body = answer.json()
        assert (body["accepted"], body["duplicate"], [each["index"] for each in body["rejected"]]) == (
            1,
            0,
            [1],
        )
        assert body["rejected"][0]["errors"]
        assert len(answer.content) < 1000

    def test_too_many_events_or_bytes_leave_nothing(self, settings: Any) -> None:
        staffed_case()
        many = _post(_many(10_001))
        assert (many.status_code, errors(many)) == (413, [("too_large", None)])
        large = _post(b"[" + b" " * settings.DATA_UPLOAD_MAX_MEMORY_SIZE + b"]")
        assert (large.status_code, errors(large)) == (413, [("too_large", None)])
        lists = _post(b"[" + b"[]," * 1_000_000 + b"[]]")
        assert (lists.status_code, errors(lists)) == (413, [("too_large", None)])
        assert not Event.objects.exists()
        assert not TaskRun.objects.exists()


@contextmanager
def _full_disk() -> Iterator[None]:
    """Let the database grow no more."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM")  # no free pages inside
        cursor.execute("PRAGMA page_count")
        pages = cursor.fetchone()[0]
        cursor.execute(f"PRAGMA max_page_count = {pages}")
        try:
            yield
        finally:
            cursor.execute("PRAGMA max_page_count = 1073741823")
            cursor.fetchall()


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="A full disk is made by SQLite's own bound.")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("key", ["", "a-key"])
def test_a_full_disk_is_a_503_and_leaves_nothing_half(key: str) -> None:
    staffed_case()
    client = client_of("dana")
    body = [{"message": f"event {n}", "text": "x" * 2000} for n in range(2000)]
    with _full_disk():
        answer = _post(body, client=client, key=key)
        assert (answer.status_code, errors(answer)) == (503, [("database_unavailable", None)])
        assert int(answer["Retry-After"]) > 0
        assert not Event.objects.exists()
        assert not TaskRun.objects.exists()
        assert not CustodyEntry.objects.filter(action="events.posted").exists()
    again = _post(body, client=client, key=key)
    assert (again.status_code, again.json()["accepted"], Event.objects.count()) == (202, 2000, 2000)
