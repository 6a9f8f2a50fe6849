"""The routes of runs and modules."""

from __future__ import annotations

import base64
import json

import pytest

from cases import parsers
from cases.models import AnalysisModule, RejectedRecord, TaskRun
from cases.tests.api.cast import V1, client_of, errors, staffed_case
from cases.tests.cast import a_case, receive

pytestmark = pytest.mark.django_db

RUNS = f"{V1}/cases/ir-2024-001/runs/"


def _a_run(content: bytes = b"a") -> TaskRun:
    run = receive(staffed_case(), content).run
    assert run is not None
    return run


def test_a_run_shows_its_ledger() -> None:
    run = _a_run()
    TaskRun.objects.update(
        status="succeeded", records_read=10, indexed=7, duplicate=1, rejected=2, undated=3, progress=1,
        parser="jsonl", parser_version="1", progress_message="7 events",
    )  # fmt: skip
    body = client_of("bob").get(f"{RUNS}{run.pk}/").json()
    assert body["counts"] == {"read": 10, "indexed": 7, "duplicate": 1, "rejected": 2, "undated": 3}
    assert (body["id"], body["status"], body["progress"], body["module"]) == (
        run.pk,
        "succeeded",
        1.0,
        "jsonl",
    )
    assert (body["evidence_uid"], body["case_id"]) == (run.evidence_id, "ir-2024-001")
    assert {"progress_message", "error_message", "attempt", "started_at", "ended_at", "parser_version"} < set(
        body
    )


def test_runs_are_listed_newest_first_and_filtered() -> None:
    run = _a_run()
    receive(run.evidence.case, b"b")
    client = client_of("bob")
    assert [each["id"] for each in client.get(RUNS).json()["results"]] == [run.pk + 1, run.pk]
    assert [each["id"] for each in client.get(f"{RUNS}?evidence={run.evidence_id}").json()["results"]] == [
        run.pk
    ]
    assert client.get(f"{RUNS}?status=failed").json()["results"] == []
    assert client.get(f"{RUNS}?status=odd").status_code == 400


def test_cancel_ends_a_waiting_run_once() -> None:
    run = _a_run()
    assert client_of("bob").post(f"{RUNS}{run.pk}/cancel/").status_code == 403
    assert client_of("dana").post(f"{RUNS}{run.pk}/cancel/").json()["status"] == "cancelled"
    again = client_of("dana").post(f"{RUNS}{run.pk}/cancel/")
    assert (again.status_code, errors(again)) == (409, [("run_finished", None)])


def test_retry_is_a_new_run_and_a_key_makes_it_once() -> None:
    run = _a_run()
    client = client_of("dana")
    early = client.post(f"{RUNS}{run.pk}/retry/")
    assert (early.status_code, errors(early)) == (409, [("run_unfinished", None)])
    TaskRun.objects.update(status="failed")
    first = client.post(f"{RUNS}{run.pk}/retry/", HTTP_IDEMPOTENCY_KEY="once")
    again = client.post(f"{RUNS}{run.pk}/retry/", HTTP_IDEMPOTENCY_KEY="once")
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert TaskRun.objects.count() == 2
    assert TaskRun.objects.get(pk=run.pk).status == "failed"


def test_what_was_rejected_can_be_downloaded() -> None:
    run = _a_run()
    raw = b"\xff\x00 not JSON \x1b[31m"
    RejectedRecord.objects.create(run=run, position="line 3", reason="no JSON", raw=raw)
    answer = client_of("bob").get(f"{RUNS}{run.pk}/rejected/")
    assert answer["Content-Disposition"].startswith("attachment")
    lines = b"".join(answer.streaming_content).splitlines()
    entry = json.loads(lines[0])
    assert (entry["position"], entry["reason"]) == ("line 3", "no JSON")
    assert base64.b64decode(entry["raw_base64"]) == raw
    assert "not JSON" in entry["raw"]
    assert b"\x1b" not in lines[0]


def test_a_run_of_another_case_is_not_reached_through_mine() -> None:
    staffed_case()
    other = receive(a_case("ir-other"), b"x").run
    assert other is not None
    client = client_of("dana")
    for tail in ("", "rejected/"):
        assert client.get(f"{RUNS}{other.pk}/{tail}").status_code == 404
    for tail in ("cancel/", "retry/"):
        assert client.post(f"{RUNS}{other.pk}/{tail}").status_code == 404
    assert client.get(f"{RUNS}{'9' * 40}/").status_code == 404


def test_modules_are_the_parsers_of_this_version() -> None:
    shown = client_of("bob").get(f"{V1}/modules/").json()["results"]
    by_name = {parser.name: parser for parser in parsers.PARSERS}
    assert {module["name"] for module in shown} == set(by_name)
    for module in shown:
        parser = by_name[module["name"]]
        assert (module["version"], module["kinds"]) == (parser.version, list(parser.kinds))
        assert module["enabled"] is True
    AnalysisModule.objects.filter(name=shown[0]["name"]).update(enabled=False)
    assert client_of("bob").get(f"{V1}/modules/").json()["results"][0]["enabled"] is False
