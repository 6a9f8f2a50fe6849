"""kill -9 while events are posted and indexed: all of a call or nothing, each event once.

DATAMORTEM_KILLS sets how many are killed; without it two of each.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from accounts import tokens
from cases import services, tasks
from cases.engines import engine
from cases.index.tree import Everything
from cases.models import Case, CustodyEntry, Event, RunStatus, TaskRun
from cases.tests.cast import a_case, actions, alice
from cases.tests.worker_process import ROOT, children, running, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hostile_parsers")]

KILLS = int(os.environ.get("DATAMORTEM_KILLS", "2"))
EVENTS = 1000


def _some(first: int, number: int) -> list[dict[str, Any]]:
    return [
        {"message": f"event {n}", "n": n, "timestamp": "2024-03-01T08:15:30Z"}
        for n in range(first, first + number)
    ]


def _address_of_the_database() -> str:
    held = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{held['NAME']}"
    return f"postgres://{held['USER']}:{held['PASSWORD']}@{held['HOST']}:{held['PORT']}/{held['NAME']}"


@contextmanager
def _server() -> Iterator[int]:
    """Serve the site of this test by gunicorn; its port is free again after a kill."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "gunicorn",
            "datamortem.wsgi",
            "--bind",
            f"127.0.0.1:{port}",
            "--workers",
            "1",
        ],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "DATABASE_URL": _address_of_the_database(),
            "DATAMORTEM_HOME": str(settings.HOME),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(partial(_answers, port), seconds=60)
        yield port
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _again(port: int, token: str, number: int) -> int:
    """Repeat a call, and return how many events are kept by then, be it by the first or the second."""
    link = _send(port, token, number)
    answer = link.getresponse()
    body = json.loads(answer.read())
    link.close()
    assert (answer.status, body["accepted"], body["duplicate"]) == (202, EVENTS, 0)
    return EVENTS


def _send(port: int, token: str, number: int) -> http.client.HTTPConnection:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Idempotency-Key": f"call-{number}",
    }
    link.request(
        "POST", "/api/v1/cases/ir-2024-001/events/", json.dumps(_some(number * EVENTS, EVENTS)), headers
    )
    return link


def test_a_server_killed_in_the_middle_of_a_call_has_kept_all_of_it_or_nothing() -> None:
    case, chance = a_case(), random.Random(int.from_bytes(os.urandom(4)))
    token = tokens.issue(alice()).access
    kept = 0
    for number in range(KILLS + 1):
        with _server() as port:
            if number:
                kept += _again(port, token, number - 1)
                assert Event.objects.filter(case=case).count() == _recorded() == kept
            link = _send(port, token, number)
            time.sleep(chance.uniform(0, 0.5))
        link.close()
        found = Event.objects.filter(case=case).count()
        assert found in (kept, kept + EVENTS)
        assert _recorded() == found
        kept = found if number == KILLS else kept
    tasks.work(once=True)
    _assert_exact(case, kept)


def _recorded() -> int:
    entries = CustodyEntry.objects.filter(action="events.posted")
    return sum(entry.details["events"] for entry in entries)


def _assert_exact(case: Case, number: int) -> None:
    """Every event is found once, under the id of its row; no run is left."""
    found = Counter(
        document["event_id"] for document in engine().stream(case_ids=[case.case_id], query=Everything())
    )
    assert found == Counter(Event.objects.filter(case=case).values_list("event_id", flat=True))
    assert (len(found), set(found.values())) == (number, {1})
    assert not Event.objects.exclude(run__status=RunStatus.SUCCEEDED).exists()
    runs = TaskRun.objects.all()
    assert {run.status for run in runs} == {RunStatus.SUCCEEDED}
    assert all(run.records_read == run.indexed + run.duplicate and not run.rejected for run in runs)
    assert actions(case).count("run.succeeded") == len(runs)


def test_workers_killed_at_any_moment_index_each_posted_event_once() -> None:
    case, chance = a_case(), random.Random(int.from_bytes(os.urandom(4)))
    posted = 0
    for number in range(KILLS):
        for _ in range(chance.randint(1, 3)):
            posted += _post(case, posted)
        if number % 3 == 2 and not TaskRun.objects.unfinished().exists():
            services.run_again(evidence=TaskRun.objects.latest("pk").evidence, by=None)
        with running("worker", attempts=1000) as worker:
            wait_until(partial(_is_at_work, worker), seconds=60)
            posted += _post(case, posted)  # while it works
            time.sleep(chance.uniform(0, 0.8))
            if chance.random() < 0.3:
                for pid in children(worker.pid):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            worker.kill()
    with running("worker", attempts=1000) as worker:
        wait_until(lambda: not TaskRun.objects.unfinished().exists(), seconds=120)
        worker.terminate()
        worker.wait()
    assert Event.objects.count() == posted
    _assert_exact(case, posted)


def _post(case: Case, first: int) -> int:
    answer = services.post_events(case=case, by=None, events=_some(first, EVENTS))
    assert answer.accepted == EVENTS
    return EVENTS


def _is_at_work(worker: subprocess.Popen[str]) -> bool:
    assert worker.poll() is None, worker.stderr.read() if worker.stderr else ""
    return bool(children(worker.pid)) or not TaskRun.objects.unfinished().exists()
