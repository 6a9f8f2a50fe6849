"""`/metrics` is there for whoever may read it, says what is so, and names nobody."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from accounts.models.mail import OutgoingMail
from accounts.tests.served import served
from cases import search
from cases.engines import IndexDown, engine
from cases.index.engine import IndexUnavailable
from cases.models import Case, Evidence, TaskRun
from datamortem import health, metrics
from datamortem.common import measures

pytestmark = pytest.mark.django_db

TOKEN = "a token of thirty-one characters"


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    """Let no answer of another test be good here, nor one of these elsewhere."""
    _forget()
    yield
    _forget()


def _forget() -> None:
    caches["metrics"].clear()
    for part in health.PARTS.values():
        part.forget()


def scraped(**headers: str) -> dict[str, float]:
    """Return every sample by its name and labels."""
    answer = Client().get("/metrics", headers=headers)
    assert answer.status_code == 200
    return {
        sample.name
        + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }


def status(**meta: Any) -> int:
    return Client().get("/metrics", **meta).status_code


def a_run(case: Case, number: int, **facts: Any) -> TaskRun:
    found = Evidence.objects.create(
        case=case, evidence_uid=f"ev-{number}", original_name=f"{number}.log", size=1000
    )
    return TaskRun.objects.create(evidence=found, **{"task_name": "read_evidence", **facts})


@pytest.mark.parametrize(
    "meta",
    [
        {"REMOTE_ADDR": "192.0.2.7"},
        {"REMOTE_ADDR": ""},
        {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"HTTP_X_FORWARDED_PROTO": "https"},
        {"HTTP_VIA": "1.1 proxy"},
        {"HTTP_HOST": "cases.example"},
    ],
)
def test_without_a_token_it_is_there_for_this_machine_alone(settings: Any, meta: dict[str, str]) -> None:
    settings.ALLOWED_HOSTS = ["testserver", "cases.example", "[::1]"]
    assert status(**meta) == 404
    assert status() == 200
    assert status(REMOTE_ADDR="::1", HTTP_HOST="[::1]:8000") == 200
    assert status(HTTP_AUTHORIZATION="Bearer ", REMOTE_ADDR="192.0.2.7") == 404


def test_a_token_opens_it_from_anywhere_and_nothing_else_does(settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN
    far = {"REMOTE_ADDR": "192.0.2.7"}
    assert status(**far, HTTP_AUTHORIZATION=f"Bearer {TOKEN}") == 200
    for given in ("", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer tökén"):
        assert status(**far, HTTP_AUTHORIZATION=given) == 404
        assert status(HTTP_AUTHORIZATION=given) == 404
    assert status() == 404


def test_nothing_can_be_changed_there() -> None:
    assert Client().post("/metrics").status_code == 405


def test_what_the_database_holds_is_counted() -> None:
    case = Case.objects.create(case_id="counted", title="Counted")
    old = timezone.now() - timedelta(seconds=90)
    a_run(case, 1, status="succeeded", records_read=10, indexed=7, duplicate=1, rejected=2, undated=3)
    a_run(case, 2, status="failed", index_retries=4)
    a_run(case, 3, task_name="index_posted", status="succeeded", records_read=5, indexed=5, index_retries=1)
    a_run(case, 4, status="running", lease_until=timezone.now() + timedelta(seconds=60))
    a_run(case, 5, created_at_utc=old)
    OutgoingMail.objects.create(kind="reset_password", recipient="a@example.org")
    OutgoingMail.objects.create(kind="reset_password", recipient="b@example.org", failed_at=old)
    said = scraped()
    assert said["datamortem_events_total outcome=indexed"] == 12
    assert said["datamortem_events_total outcome=duplicate"] == 1
    assert said["datamortem_events_total outcome=rejected"] == 2
    assert said["datamortem_events_total outcome=undated"] == 3
    assert said["datamortem_index_retries_total"] == 5
    assert said["datamortem_runs_ended_total kind=evidence status=succeeded"] == 1
    assert said["datamortem_runs_ended_total kind=evidence status=failed"] == 1
    assert said["datamortem_runs_ended_total kind=posted status=succeeded"] == 1
    assert said["datamortem_runs_running kind=evidence"] == 1
    assert said["datamortem_runs_running kind=posted"] == 0
    assert (said["datamortem_evidence_files"], said["datamortem_evidence_bytes"]) == (5, 5000)
    assert (said["datamortem_mails_waiting"], said["datamortem_mails_failed"]) == (1, 1)
    assert said["datamortem_up part=database"] == 1


def test_ended_runs_are_added_up_once_late_ones_count_and_nothing_becomes_less() -> None:
    case = Case.objects.create(case_id="counted", title="Counted")
    ends = {"status": "succeeded", "records_read": 1, "indexed": 1}
    old = {"created_at_utc": timezone.now() - timedelta(hours=1), **ends}
    for number in range(4):
        a_run(case, number, **old)
    waits = a_run(case, 10, **{**old, "status": "queued", "records_read": 0, "indexed": 0})
    for number in range(11, 14):
        a_run(case, number, **old)

    def found() -> tuple[int, int]:
        caches["metrics"].delete("stock")
        stock = metrics._stock()
        assert stock
        return stock.counts["indexed"], stock.upto

    assert found() == (7, waits.pk)
    TaskRun.objects.filter(pk=waits.pk).update(**ends)
    newest = a_run(case, 20, **ends)
    assert found() == (9, newest.pk)  # of the last minute: one with a smaller number may come yet
    TaskRun.objects.filter(pk=newest.pk).update(created_at_utc=old["created_at_utc"])
    assert found() == (9, newest.pk + 1)
    Case.objects.all().delete()
    assert found() == (9, newest.pk + 1)
    assert found() == (9, newest.pk + 1)


def test_a_scrape_costs_a_fixed_number_of_questions(django_assert_max_num_queries: Any) -> None:
    case = Case.objects.create(case_id="counted", title="Counted")
    for number in range(20):
        a_run(case, number, status="failed")
    with django_assert_max_num_queries(9):
        metrics._stock()
    with django_assert_max_num_queries(0):
        metrics._stock()


def test_a_database_that_is_down_takes_nothing_else_along(monkeypatch: pytest.MonkeyPatch) -> None:
    def down(base: object) -> None:
        raise DatabaseError("gone")

    monkeypatch.setattr(metrics, "_asked", down)
    monkeypatch.setattr(health.PARTS["database"], "question", lambda: health._state(False))
    said = scraped()
    assert said["datamortem_up part=database"] == 0
    assert "datamortem_evidence_files" not in said


def test_requests_are_counted_by_the_pattern_of_their_route() -> None:
    before = scraped()
    Client().get("/api/v1/cases/secret-case/runs/17/")
    Client().get("/wp-login.php")
    Client().generic("BREW", "/healthz")
    said = scraped()

    def more(route: str, method: str, code: int) -> float:
        name = f"datamortem_http_request_seconds_count method={method} route={route} status={code}"
        return said.get(name, 0) - before.get(name, 0)

    assert more("api/v1/cases/<case:case_id>/runs/<int:run_id>/", "GET", 401) == 1 or [
        name for name in said if "runs/<int" in name and "status=401" in name
    ]
    assert more("healthz", "other", 405) == 1
    assert not [name for name in said if "secret-case" in name or "wp-login" in name or "BREW" in name]


def test_queries_are_timed_and_their_failures_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    before = scraped()
    cases = Case.objects.all()
    search.count_events(search.frame(cases=cases, q="powershell"))

    def down(self: object, **kwargs: Any) -> int:
        raise IndexUnavailable("no")

    monkeypatch.setattr(type(engine()), "count", down)
    with pytest.raises(IndexDown):
        search.count_events(search.frame(cases=cases, q="powershell"))
    said = scraped()
    answered = "datamortem_query_seconds_count kind=count"
    failed = "datamortem_query_errors_total error=IndexUnavailable kind=count"
    assert said[answered] - before.get(answered, 0) == 1
    assert said[failed] - before.get(failed, 0) == 1


def test_a_slow_search_is_logged_by_a_hash_without_its_text(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(measures, "SLOW", -1.0)
    for _ in range(2):
        search.count_events(search.frame(cases=Case.objects.all(), q="user:alice"))
    search.count_events(search.frame(cases=Case.objects.all(), q="user:bob"))
    first, again, other = (vars(record) for record in caplog.records if record.name == "datamortem.slow")
    assert first["query_hash"] == again["query_hash"] != other["query_hash"]
    assert first["kind"] == "count"
    assert "alice" not in str(first)
    list(search.export(search.frame(cases=Case.objects.all())))
    assert len([record for record in caplog.records if record.name == "datamortem.slow"]) == 3


def test_no_label_names_a_case_a_person_a_query_or_a_file() -> None:
    case = Case.objects.create(case_id="op-secret", title="Secret")
    a_run(case, 1, status="failed")
    Client().get("/api/v1/cases/op-secret/events/", {"q": "user:alice"})
    Client().get("/cases/op-secret/timeline/")
    known = {"route", "method", "status", "le", "kind", "error", "part", "outcome"}
    answer = Client().get("/metrics").content.decode()
    assert "secret" not in answer
    assert "alice" not in answer
    assert "1.log" not in answer
    labels = {
        name
        for family in text_string_to_metric_families(answer)
        for sample in family.samples
        for name in sample.labels
    }
    assert labels <= known


_ADD = """
import sys
from prometheus_client import CollectorRegistry, Counter, Histogram
registry = CollectorRegistry()
Counter("seen", "", ["kind"], registry=registry).labels("a").inc(int(sys.argv[1]))
Histogram("took", "", registry=registry, buckets=(1, 2)).observe(float(sys.argv[1]))
"""


def test_the_sums_of_a_web_server_survive_its_workers(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real files, hooks and collector; workers are processes that count and end."""
    import os
    import runpy
    from types import SimpleNamespace

    from prometheus_client import CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    monkeypatch.setenv("DATAMORTEM_HOME", str(tmp_path))
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    left = tmp_path / "metrics" / f"{os.uname().nodename}.99999999"
    left.mkdir(parents=True)
    conf = runpy.run_path(str(health.__file__).replace("datamortem/health.py", "gunicorn.conf.py"))
    assert not left.exists()
    place = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])

    def sums() -> dict[str, float]:
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(place))  # type: ignore[no-untyped-call]
        return {
            sample.name: sample.value
            for family in registry.collect()
            for sample in family.samples
            if sample.name.endswith(("_total", "_count", "_sum"))
        }

    for number in (1, 2, 3):
        process = subprocess.Popen([sys.executable, "-c", _ADD, str(number)])
        assert process.wait() == 0
        before = sums()
        conf["child_exit"](None, SimpleNamespace(pid=process.pid))
        assert sums() == before
    assert sums() == {"seen_total": 6, "took_count": 3, "took_sum": 6}
    assert {file.name for file in place.iterdir()} == {"counter_ended.db", "histogram_ended.db"}
    conf["on_exit"](None)
    assert not place.exists()


@pytest.mark.django_db(transaction=True)
def test_whichever_process_is_asked_tells_of_all() -> None:
    """Two real processes of gunicorn; eight answers in a row come from both."""
    with served(workers=2) as site:
        for number in range(1, 9):
            assert site.ask("GET", "/healthz")[0] == 200
            said = site.text("/metrics")
            assert f'{{method="GET",route="healthz",status="200"}} {number + 1}.0' in said
            assert 'datamortem_up{part="database"} 1.0' in said
