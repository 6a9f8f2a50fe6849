"""Celery as the carrier: what is sent, what is done with it, and what the loss of the broker does not."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from kombu.connection import Connection
from pytest_django import Settings

from accounts.models import RequestCounter
from cases import carrier, runs, services, tasks
from cases.models import RunStatus, TaskRun
from cases.tasks import carried, housekeeping, life
from cases.tasks.office import Office
from cases.tests.broker import Broker, a_broker, needs_redis
from cases.tests.cast import a_case, actions, alice, indexed, ledger, receive
from cases.tests.worker_process import call, running, wait_until
from datamortem import celery

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("hostile_parsers"),
    needs_redis,
]


@pytest.fixture
def broker(settings: Settings) -> Iterator[Broker]:
    """A broker that carries the runs of this test."""
    with a_broker() as found:
        settings.TASKS = found.url
        yield found


def _is(run: TaskRun | None, status: str) -> bool:
    assert run is not None
    run.refresh_from_db()
    return run.status == status


def _lines(err: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in err.splitlines()]


def _send(
    broker: Broker, *args: object, name: str = celery.MESSAGE, queue: str = "reading", **options
) -> None:
    with celery.connection(broker.url) as connection:
        celery.app.send_task(name, args, queue=queue, connection=connection, retry=False, **options)


def test_a_message_holds_the_id_of_its_run_alone_and_waits_in_the_queue_of_its_kind(broker: Broker) -> None:
    case = a_case()
    small, large = receive(case, b"good 5").run, receive(case, b"good 6").run
    posted = services.post_events(case=case, by=alice(), events=[{"message": "posted"}]).run
    assert small is not None
    assert large is not None
    assert posted is not None
    assert [broker.waiting(queue) for queue in ("events", "reading", "large")] == [1, 2, 0]
    large.evidence.size = 2 * 1024**3
    large.evidence.save()
    carrier.announce([large.pk])
    assert [broker.waiting(queue) for queue in ("events", "reading", "large")] == [1, 2, 1]
    with celery.connection(broker.url) as connection, connection.SimpleQueue("large") as queue:
        message = queue.get(timeout=5)
        message.ack()
    assert message.content_type == "application/json"
    assert message.headers["task"] == celery.MESSAGE
    assert json.loads(message.body)[:2] == [[large.pk], {}]
    assert json.loads(message.body)[2] == dict.fromkeys(("callbacks", "errbacks", "chain", "chord"))


def test_nothing_is_sent_of_what_is_rolled_back_and_nothing_without_a_broker(
    broker: Broker, settings: Settings
) -> None:
    case = a_case()
    with transaction.atomic():
        receive(case, b"good 5")
        transaction.set_rollback(True)
    assert broker.waiting("reading") == 0
    settings.TASKS = "builtin"
    run = receive(case, b"good 6").run
    assert run is not None
    assert carrier.announce([run.pk]) == 0
    assert broker.waiting("reading") == 0


def test_what_waited_before_the_switch_is_taken_up_by_the_other_carrier_both_ways(
    broker: Broker, settings: Settings
) -> None:
    case = a_case()
    settings.TASKS = "builtin"
    before = [receive(case, f"good {number}00".encode()).run for number in (1, 2)]
    settings.TASKS = broker.url
    before.append(receive(case, b"good 300").run)
    posted = services.post_events(case=case, by=alice(), events=[{"message": "posted"}]).run
    done = call("worker", "--once")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "4 runs begun."
    assert all(_is(run, RunStatus.SUCCEEDED) for run in [*before, posted])
    assert actions(case).count("run.succeeded") == 4
    after = receive(case, b"good 400").run
    settings.TASKS = "builtin"
    assert tasks.work(once=True) == 1
    assert _is(after, RunStatus.SUCCEEDED)
    assert len(indexed(case)) == 1001


def test_a_message_that_comes_twice_or_names_no_run_of_ours_changes_nothing(broker: Broker) -> None:
    case = a_case()
    old = receive(case, b"good 7").run
    TaskRun.objects.filter(pk=old.pk if old else 0).update(task_name="app.tasks.old")
    done = receive(case, b"good 8").run
    run = receive(case, b"good 100").run
    assert old is not None
    assert done is not None
    assert run is not None
    assert tasks.perform_run(done.pk)
    broker.client.flushall()
    for _ in range(3):
        _send(broker, run.pk)
    for number in (old.pk, done.pk, 987_654, 0, -1, 2**31, 2**70, True, 1.5, "1", None, [run.pk], {"a": 1}):
        _send(broker, number)
    _send(broker)
    _send(broker, run.pk, run.pk)
    _send(broker, run.pk, name="app.tasks.old")
    _send(broker, run.pk, serializer="pickle")
    broker.client.rpush("datamortem:reading", b'{"body": "e30=", "headers": {}, "properties": {}}')
    with running("worker") as worker:
        wait_until(lambda: broker.waiting("reading") == 0)
        wait_until(lambda: _is(run, RunStatus.SUCCEEDED))
        last = receive(case, b"good 200").run
        wait_until(lambda: _is(last, RunStatus.SUCCEEDED))
        worker.terminate()
        _, err = worker.communicate(timeout=30)
    assert worker.returncode == 0
    said = [str(line["message"]) for line in _lines(err)]
    assert said.count("A message that names no run was passed over.") == 12
    assert any("unregistered task" in text for text in said)
    assert _is(old, RunStatus.QUEUED)
    assert actions(case).count("run.succeeded") == 3
    assert len(indexed(case)) == 308
    done.refresh_from_db()
    assert (done.attempt, run.attempt, last.attempt if last else 0) == (1, 1, 1)


def test_a_broker_that_is_away_or_forgets_delays_a_run_and_loses_none(broker: Broker, caplog) -> None:
    case = a_case()
    broker.stop()
    first = receive(case, b"good 100").run  # the request succeeds
    assert _is(first, RunStatus.QUEUED)
    assert "The broker does not answer" in caplog.text
    with running("worker") as worker:
        wait_until(lambda: tasks.worker_state().workers == 1)  # it waits for its broker
        broker.start()
        wait_until(lambda: _is(first, RunStatus.SUCCEEDED))
        second = receive(case, b"good 200").run
        broker.client.flushall()
        wait_until(lambda: _is(second, RunStatus.SUCCEEDED))
        broker.stop()  # while the worker waits for messages
        third = receive(case, b"good 300").run
        broker.start()
        wait_until(lambda: _is(third, RunStatus.SUCCEEDED))
        worker.terminate()
        worker.communicate(timeout=30)
    assert worker.returncode == 0
    assert len(indexed(case)) == 600
    assert actions(case).count("run.succeeded") == 3


def test_sending_again_fills_up_what_the_broker_lost_and_no_more(broker: Broker) -> None:
    case = a_case()
    for number in range(1, 6):
        receive(case, f"good {number}".encode())
    assert housekeeping.send_again() == 0
    broker.client.lpop("datamortem:reading", 2)
    assert housekeeping.send_again() == 2
    assert housekeeping.send_again() == 0
    broker.client.flushall()
    assert housekeeping.send_again() == 5
    assert broker.waiting("reading") == 5
    carrier._silence.begin("another broker")
    TaskRun.objects.update(status=RunStatus.CANCELLED)
    assert housekeeping.send_again() == 0


def test_what_is_being_read_goes_back_and_the_next_worker_takes_it(broker: Broker) -> None:
    case = a_case()
    run = receive(case, b"slow 1000").run
    with running("worker") as first:
        wait_until(lambda: _is(run, RunStatus.RUNNING))
        first.send_signal(signal.SIGINT)
        out, _ = first.communicate(timeout=30)
    assert first.returncode == 0
    assert out.splitlines()[-1] == "1 runs begun."
    assert _is(run, RunStatus.QUEUED)
    assert run is not None
    assert (run.attempt, run.worker, indexed(case)) == (0, "", [])
    assert broker.waiting("reading") >= 1
    assert call("worker", "--once").returncode == 0
    assert _is(run, RunStatus.SUCCEEDED)
    assert ledger(run)["indexed"] == 1000


def test_runs_of_one_evidence_follow_each_other_at_once(broker: Broker) -> None:
    case = a_case()
    first = receive(case, b"slow 1000").run
    assert first is not None
    others = [runs.queue(first.evidence, task_name=runs.READ) for _ in range(3)]
    assert _keeps_house_elsewhere()  # so that nobody sends again
    with running("worker", "--concurrency", "4") as worker:
        wait_until(lambda: _is(others[-1], RunStatus.SUCCEEDED))
        worker.terminate()
        worker.communicate(timeout=30)
    done = list(TaskRun.objects.order_by("started_at_utc"))
    assert [run.attempt for run in done] == [1, 1, 1, 1]
    for one, next_one in pairwise(done):
        assert one.ended_at_utc is not None
        assert next_one.started_at_utc is not None
        assert one.ended_at_utc <= next_one.started_at_utc
    assert len(indexed(case)) == 1000


def _keeps_house_elsewhere() -> bool:
    held = Office().hold()
    RequestCounter.objects.update(expires_at=timezone.now() + timedelta(hours=1))
    return held


def test_celery_s_own_command_starts_the_same_worker(broker: Broker) -> None:
    case = a_case()
    run = receive(case, b"good 100").run
    with running("celery", "-A", "datamortem", "worker", "--concurrency", "1", "-Q", "reading") as worker:
        wait_until(lambda: _is(run, RunStatus.SUCCEEDED))
        posted = services.post_events(case=case, by=alice(), events=[{"message": "posted"}]).run
        slow = receive(case, b"slow 60000").run
        wait_until(lambda: _is(slow, RunStatus.RUNNING))
        worker.terminate()
        worker.communicate(timeout=30)
    assert worker.returncode == 0
    assert _is(slow, RunStatus.QUEUED)
    assert _is(posted, RunStatus.QUEUED)  # no queue of this worker


@pytest.mark.filterwarnings("ignore::celery.platforms.SecurityWarning")
def test_celery_s_own_command_refuses_what_cannot_work(broker: Broker, settings: Settings) -> None:
    assert celery.MESSAGE in celery.app.tasks
    assert carried.look_at.name == celery.MESSAGE
    with pytest.raises(SystemExit, match="use --pool threads"):
        celery.app.Worker(pool="solo", quiet=True)
    settings.TASKS = "builtin"
    with pytest.raises(SystemExit, match=r"start `manage\.py worker`"):
        celery.app.Worker(quiet=True)


def test_a_worker_does_posted_events_beside_evidence_and_is_known_elsewhere(
    broker: Broker, settings: Settings
) -> None:
    case, here = a_case(), settings.WORK_ROOT
    slow = receive(case, b"slow 60000").run
    other = receive(case, b"slow 60001").run
    with running("worker", "--concurrency", "1") as worker:
        wait_until(lambda: _is(slow, RunStatus.RUNNING))
        posted = services.post_events(case=case, by=alice(), events=[{"message": "posted"}]).run
        wait_until(lambda: _is(posted, RunStatus.SUCCEEDED))
        assert _is(other, RunStatus.QUEUED)
        settings.WORK_ROOT = here / "elsewhere"
        TaskRun.objects.update(lease_until=None)  # what it holds does not tell of it, its answer does
        wait_until(lambda: _asked_anew().workers == 1)
        assert tasks.worker_state() == tasks.WorkerState(True, 1, "1 elsewhere")
        settings.WORK_ROOT = here
        assert tasks.worker_state() == tasks.WorkerState(True, 1, "1 at work on this machine")
        worker.terminate()
        worker.communicate(timeout=30)
    broker.stop()
    assert _asked_anew() == tasks.WorkerState(
        False, 0, "no worker runs: start one with `manage.py worker`, the broker of TASKS does not answer"
    )


def _asked_anew() -> tasks.WorkerState:
    life._asked.until = 0
    return tasks.worker_state()


def test_a_broker_that_says_nothing_is_not_waited_for_long(settings: Settings, caplog) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        settings.TASKS = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        begun = time.monotonic()
        run = receive(a_case(), b"good 5").run
        assert time.monotonic() - begun < 9
        receive(a_case("ir-2"), b"good 6")
    assert caplog.text.count("The broker does not answer") == 1  # nobody asks it again so soon
    assert _is(run, RunStatus.QUEUED)


def test_a_broker_whose_certificate_nobody_knows_is_given_no_word(settings: Settings, tmp_path: Path) -> None:
    options: Any = celery.connection("rediss://localhost:1/0").ssl
    assert options["ssl_cert_reqs"].name == "CERT_REQUIRED"
    assert options["ssl_check_hostname"] is True
    options = celery.connection("amqps://localhost:1//").ssl
    assert options["cert_reqs"].name == "CERT_REQUIRED"
    assert options["server_hostname"] == "localhost"
    assert isinstance(celery.connection("redis://localhost:1/0"), Connection)
