"""Idempotency-Key: once in effect, whatever happens in between and beside."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

from accounts.models import IdempotentAnswer
from cases.models import Case, Event, Evidence, TaskRun
from cases.tests.api.cast import V1, a_file, client_of, errors, person, staffed_case

CASES = f"{V1}/cases/"


class TestKey:
    """One client after another."""

    pytestmark = pytest.mark.django_db

    def test_the_same_request_answers_the_same_and_does_nothing_twice(self) -> None:
        client, key = client_of("alice"), {"HTTP_IDEMPOTENCY_KEY": "k"}
        first = client.post(CASES, {"title": "x"}, format="json", **key)
        again = client.post(CASES, {"title": "x"}, format="json", **key)
        assert (again.status_code, again.json()) == (201, first.json())
        assert again["Idempotent-Replayed"] == "true"
        assert Case.objects.count() == 1

    def test_another_body_or_address_is_a_conflict(self) -> None:
        case, client, key = staffed_case(), client_of("alice"), {"HTTP_IDEMPOTENCY_KEY": "k"}
        assert client.post(CASES, {"title": "x"}, format="json", **key).status_code == 201
        events = f"{CASES}{case.case_id}/events/"
        for address, body in ((CASES, {"title": "y"}), (events, {"title": "x"})):
            other = client.post(address, body, format="json", **key)
            assert (other.status_code, errors(other)) == (409, [("idempotency_conflict", None)])

    def test_a_key_is_the_users_own(self) -> None:
        key = {"HTTP_IDEMPOTENCY_KEY": "k"}
        ids = {
            client_of(name).post(CASES, {}, format="json", **key).json()["case_id"]
            for name in ("alice", "charlie")
        }
        assert len(ids) == 2

    def test_a_refusal_may_be_mended_under_the_same_key(self) -> None:
        client, key = client_of("alice"), {"HTTP_IDEMPOTENCY_KEY": "k"}
        assert client.post(CASES, {"case_id": "a/b"}, format="json", **key).status_code == 400
        assert client.post(CASES, {"case_id": "ab"}, format="json", **key).status_code == 201

    def test_a_key_that_is_none_is_refused(self) -> None:
        client = client_of("alice")
        for key in ("", "x" * 256, "a b", "ä"):
            answer = client.post(CASES, {}, format="json", HTTP_IDEMPOTENCY_KEY=key)
            assert (answer.status_code, errors(answer)[0][1]) == (400, "Idempotency-Key")

    def test_an_answer_about_any_text_is_kept(self) -> None:
        case, client = staffed_case(), client_of("alice")
        address = f"{CASES}{case.case_id}/events/"
        for number, name in enumerate(("\x00", "\ud800")):
            body = json.dumps([{"message": "x", name: 1, "attributes": {name: 1}}])
            answers = [
                client.post(address, body, content_type="application/json", HTTP_IDEMPOTENCY_KEY=f"k{number}")
                for _ in range(2)
            ]
            assert [answer.status_code for answer in answers] == [202, 202]
            assert answers[0].content == answers[1].content
            assert "given twice" in answers[0].json()["rejected"][0]["errors"][0]

    def test_it_works_for_members_and_events(self) -> None:
        case, client = staffed_case(), client_of("alice")
        person("erin")
        for tail, body in (("members/", {"user": "erin"}), ("events/", [{"message": "x"}])):
            answers = [
                client.post(f"{CASES}{case.case_id}/{tail}", body, format="json", HTTP_IDEMPOTENCY_KEY=tail)
                for _ in range(2)
            ]
            assert answers[0].status_code == answers[1].status_code
            assert answers[0].json() == answers[1].json()
        assert Event.objects.count() == 1


def _four_at_once(post: Callable[[], Any]) -> list[Any]:
    """Return what four threads get that begin at the same moment."""
    answers: list[Any] = []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        try:
            answers.append(post())
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


@pytest.mark.django_db(transaction=True)
def test_the_same_upload_at_the_same_moment_answers_the_same() -> None:
    case, client = staffed_case(), client_of("alice")
    address = f"{CASES}{case.case_id}/evidence/"
    answers = _four_at_once(lambda: client.post(address, {"file": a_file()}, HTTP_IDEMPOTENCY_KEY="k"))
    assert [answer.status_code for answer in answers] == [201] * 4
    assert len({answer.content for answer in answers}) == 1
    assert (Evidence.objects.count(), TaskRun.objects.count()) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_the_same_key_at_the_same_moment_acts_once() -> None:
    client = client_of("alice")
    answers = _four_at_once(
        lambda: client.post(CASES, {"title": "x"}, format="json", HTTP_IDEMPOTENCY_KEY="k")
    )
    assert [answer.status_code for answer in answers] == [201] * 4
    assert len({answer.content for answer in answers}) == 1
    assert (Case.objects.count(), IdempotentAnswer.objects.count()) == (1, 1)
