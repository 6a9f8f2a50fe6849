"""What `manage.py doctor` says of index, broker and waiting work: each fault with its remedy."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from cases.engines import engine
from cases.index.engine import Health
from cases.models import Case, Erasure, Evidence, TaskRun
from cases.tasks.life import sign_of_life
from datamortem.management.commands import _services
from datamortem.management.commands._finding import Finding

pytestmark = pytest.mark.django_db


def one(findings: Iterator[Finding], name: str) -> Finding | None:
    return next((finding for finding in findings if finding.name == name), None)


def say(monkeypatch: pytest.MonkeyPatch, facts: dict[str, str], *, ok: bool = True) -> list[Finding]:
    """Return what is said of a server that says so of itself."""
    monkeypatch.setattr(type(engine()), "health", lambda self: Health(ok, "It speaks.", facts))
    return list(_services.of_index())


def test_the_index_that_answers_is_well_and_tells_its_engine() -> None:
    found = one(_services.of_index(), "Index")
    assert found
    assert (found.remedy, "engine" in found.detail) == ("", True)


def test_an_index_that_does_not_answer_is_a_problem_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = say(monkeypatch, {}, ok=False)
    assert found.is_problem
    assert "reindex --all" in found.remedy


@pytest.mark.parametrize(
    ("facts", "name", "is_problem"),
    [
        ({"action.auto_create_index": "true"}, "action.auto_create_index", False),
        ({"action.destructive_requires_name": "false"}, "action.destructive_requires_name", False),
        ({"disk_used_percent": "91"}, "disk", True),
    ],
)
def test_a_server_that_is_set_badly_or_nearly_full_is_said(
    monkeypatch: pytest.MonkeyPatch, facts: dict[str, str], name: str, is_problem: bool
) -> None:
    index, found = say(monkeypatch, facts)
    assert not index.remedy
    assert (found.name, found.is_problem) == (f"Search server, {name}", is_problem)
    assert found.remedy


def test_a_server_that_is_set_well_gets_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    well = {"action.auto_create_index": "-dm-*,+*", "action.destructive_requires_name": "true"}
    assert len(say(monkeypatch, {**well, "disk_used_percent": "40"})) == 1
    assert len(say(monkeypatch, {"action.auto_create_index": "false"})) == 1


def test_a_broker_that_is_away_is_named_by_its_host_without_its_password(settings: Any) -> None:
    (found,) = _services.of_broker()
    assert not found.remedy
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    settings.TASKS = f"redis://:hidden-word@127.0.0.1:{port}/0"
    (found,) = _services.of_broker()
    assert found.is_problem
    assert found.detail == "127.0.0.1 does not answer"
    assert "hidden-word" not in found.remedy


def test_runs_that_wait_without_a_worker_are_a_problem_and_long_with_one_a_note() -> None:
    case = Case.objects.create(case_id="late", title="Late")
    evidence = Evidence.objects.create(case=case, evidence_uid="ev-1", original_name="a.log")
    old = timezone.now() - timedelta(minutes=45)
    TaskRun.objects.create(task_name="read_evidence", evidence=evidence, created_at_utc=old)
    TaskRun.objects.create(task_name="index_posted", evidence=evidence, options={"events": 3})
    found = one(_services.of_work(), "Worker")
    assert found
    assert found.is_problem
    assert "2 runs wait" in found.detail
    waiting = one(_services.of_work(), "Posted events")
    assert waiting
    assert waiting.detail.startswith("3 ")
    with sign_of_life():
        assert not any(finding.is_problem for finding in _services.of_work())
        found = one(_services.of_work(), "Waiting runs")
    assert found
    assert "45 minutes" in found.detail


def test_a_deletion_that_is_late_on_the_disk_is_a_problem() -> None:
    due = Erasure.objects.create(case_id="gone")
    found = one(_services.of_work(), "Erasures")
    assert found
    assert (found.detail[:2], found.remedy) == ("1 ", "")
    Erasure.objects.filter(pk=due.pk).update(requested_at=timezone.now() - timedelta(hours=2))
    found = one(_services.of_work(), "Erasures")
    assert found
    assert found.is_problem
    assert "120 minutes" in found.detail
