"""`/readyz` names each part that is down, tells nothing else, and waits for none."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections
from django.test import Client
from django.utils import timezone

from cases.engines import engine
from cases.index.engine import Health
from cases.models import Case, Erasure, Event, Evidence, TaskRun
from cases.tasks.life import sign_of_life
from datamortem import health
from datamortem.common.freshness import Asked

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    """Let no answer of another test be good here."""
    for part in health.PARTS.values():
        part.forget()
    yield
    for part in health.PARTS.values():
        part.forget()


def readyz() -> tuple[int, dict[str, Any]]:
    for part in health.PARTS.values():
        part.forget()
    answer = Client().get("/readyz")
    return answer.status_code, answer.json()


def test_being_alive_needs_nothing() -> None:
    answer = Client().get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_each_part_has_its_state(settings: Any) -> None:
    status, body = readyz()
    assert (status, body["status"]) == (200, "ok")
    assert body["database"] == {"ok": True, "state": "ok", "engine": connection.vendor}
    assert (body["index"]["ok"], body["index"]["state"]) == (True, "ok")
    assert body["index"]["engine"]
    assert body["worker"] == {"ok": False, "state": "down", "workers": 0}
    assert body["lag"]["ok"] is True


def test_a_store_that_cannot_be_used_is_named_without_its_place(settings: Any, tmp_path: Path) -> None:
    store = readyz()[1]["store"]
    assert (store["ok"], store["kind"], store["free_bytes"] > 0) == (True, "folder", True)
    settings.EVIDENCE_ROOT = tmp_path / "file" / "evidence"
    (tmp_path / "file").write_text("no directory")
    status, body = readyz()
    assert (status, body["store"]) == (200, {"ok": False, "state": "down", "kind": "folder"})
    assert str(tmp_path) not in str(body)


def test_a_worker_that_lives_is_seen() -> None:
    with sign_of_life():
        assert readyz()[1]["worker"]["workers"] == 1


def test_an_index_that_is_down_is_a_503_that_names_it_and_tells_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    facts = {"engine": "opensearch", "directory": "/secret/path", "hosts": "https://user:secret@host"}
    monkeypatch.setattr(type(engine()), "health", lambda self: Health(False, "/secret/path is gone", facts))
    status, body = readyz()
    assert (status, body["status"]) == (503, "unavailable")
    assert body["index"] == {"ok": False, "state": "down", "engine": "opensearch"}
    assert body["database"]["ok"] is True
    assert "secret" not in str(body)
    assert Client().get("/readyz")["Retry-After"] == "10"


def test_a_database_that_is_down_is_a_503_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*args: Any, **kwargs: Any) -> None:
        raise DatabaseError("password")

    monkeypatch.setattr(type(connections["default"]), "cursor", down)
    answer = Client().get("/readyz")
    body = answer.json()
    assert answer.status_code == 503
    assert (body["database"]["ok"], body["lag"]["ok"]) == (False, False)
    assert "password" not in answer.content.decode()


def test_a_broker_that_is_away_is_named_without_its_address_and_the_rest_goes_on(settings: Any) -> None:
    assert readyz()[1]["broker"] == {"ok": True, "state": "ok", "kind": "builtin"}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    settings.TASKS = f"redis://:hidden-word@127.0.0.1:{port}/0"
    status, body = readyz()
    assert (status, body["status"]) == (200, "ok")
    assert body["broker"]["ok"] is False
    body["broker"] = health.PARTS["broker"].answer(by=time.monotonic() + 10)
    assert body["broker"] == {"ok": False, "state": "down", "kind": "redis"}
    assert "hidden-word" not in str(body)
    assert str(port) not in str(body)


def test_parts_that_hang_are_down_within_two_seconds_and_are_not_asked_again_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, let_go = [], threading.Event()

    def hang(self: object) -> Health:
        asked.append(1)
        let_go.wait(20)
        return Health(True, "at last")

    monkeypatch.setattr(type(engine()), "health", hang)
    started = time.monotonic()
    try:
        assert readyz()[0] == 503
        assert Client().get("/readyz").json()["index"] == {"ok": False, "state": "down"}
    finally:
        let_go.set()
    assert time.monotonic() - started < 2 * health.PATIENCE + 1
    assert len(asked) == 1
    assert health.PARTS["index"].answer(by=time.monotonic() + 5) == {"ok": True, "state": "ok"}


def test_many_who_ask_at_once_cost_one_question() -> None:
    asked = []

    def question() -> int:
        asked.append(1)
        time.sleep(0.2)
        return 7

    part, found = Asked(question, fresh=60), []
    threads = [
        threading.Thread(target=lambda: found.append(part.answer(by=time.monotonic() + 5))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found, len(asked)) == ([7] * 8, 1)


@pytest.mark.django_db(transaction=True)
def test_what_waits_is_told_with_its_age() -> None:
    case = Case.objects.create(case_id="late", title="Late")
    minute = timezone.now() - timedelta(seconds=61)
    found = Evidence.objects.create(case=case, evidence_uid="ev-1", original_name="a.log")
    TaskRun.objects.create(task_name="read_evidence", evidence=found, created_at_utc=minute)
    TaskRun.objects.create(task_name="of an older system", evidence=found, created_at_utc=minute)
    TaskRun.objects.create(task_name="read_evidence", evidence=found, status="running", lease_until=minute)
    TaskRun.objects.create(task_name="index_posted", evidence=found, options={"events": 2})
    failed = TaskRun.objects.create(task_name="index_posted", evidence=found, status="failed")
    done = TaskRun.objects.create(task_name="index_posted", evidence=found, status="succeeded")
    Event.objects.create(case=case, ts="x", source="s", message="m", event_id="0", run=failed)
    Event.objects.create(case=case, ts="x", source="s", message="m", event_id="1", run=done)
    Event.objects.create(case=case, ts="x", source="s", message="m", event_id="in", indexed_at=minute)
    Event.objects.create(case=case, ts="x", source="s", message="of an older system")
    Erasure.objects.create(case_id="late", requested_at=minute)
    Erasure.objects.create(case_id="late", requested_at=minute, erased_at=minute)
    told = readyz()[1]["lag"]
    ages = [told.pop(name) for name in ("oldest_run_seconds", "oldest_erasure_seconds")]
    assert all(61 <= age < 90 for age in ages)
    assert told == {
        "ok": True,
        "state": "ok",
        "waiting_runs": 2,
        "lapsed_runs": 1,
        "waiting_events": 3,
        "erasures": 1,
    }
