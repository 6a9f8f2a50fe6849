"""Workers as processes: what they take, how they stop, and that two of them get along."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone
from pytest_django import Settings

from accounts import mail
from accounts.models import OutgoingMail, RequestCounter, TotpDevice, User
from cases import runs, services, tasks
from cases.models import Evidence, RunStatus, TaskRun
from cases.models.evidence import POSTED
from cases.queues import QUEUES
from cases.tasks.lanes import lanes
from cases.tasks.office import Office
from cases.tests.cast import a_case, actions, alice, indexed, ledger, receive
from cases.tests.worker_process import call, children, running, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hostile_parsers")]


def _is(run: TaskRun | None, status: str) -> bool:
    assert run is not None
    run.refresh_from_db()
    return run.status == status


def _is_read_by(run: TaskRun | None, pid: int) -> bool:
    return _is(run, RunStatus.RUNNING) and run is not None and run.worker.endswith(f":{pid}")


def test_a_worker_does_everything_that_waits_and_ends() -> None:
    case = a_case()
    for number in range(1, 4):
        receive(case, f"good {number}00".encode())
    services.post_events(case=case, by=alice(), events=[{"message": "posted"}])
    done = call("worker", "--once")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "4 runs begun."
    assert set(TaskRun.objects.values_list("status", flat=True)) == {RunStatus.SUCCEEDED}
    assert len(indexed(case)) == 601
    assert actions(case).count("run.succeeded") == 4


def test_a_worker_sends_the_mail_that_waits_before_it_ends(tmp_path: Path, settings: Settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = str(tmp_path / "mail")
    for number in range(25):  # more than one round
        mail.post("password_changed", f"u{number}@example.org", "")
    done = call("worker", "--once")
    assert (done.returncode, done.stderr) == (0, "")
    sent = "".join(place.read_text() for place in (tmp_path / "mail").iterdir())
    assert sent.count("\nSubject: Your password was changed\n") == 25
    assert OutgoingMail.objects.filter(sent_at=None).count() == 0


def test_a_mail_server_that_is_away_stops_no_run(settings: Settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9  # nobody listens
    mail.post("password_changed", "a@example.org", "")
    run = receive(a_case(), b"good 5").run
    done = call("worker", "--once")
    assert done.returncode == 0
    assert "The mail server does not take mail" in done.stderr
    assert _is(run, RunStatus.SUCCEEDED)
    row = OutgoingMail.objects.get()
    assert (row.attempts, row.sent_at, row.failed_at) == (1, None, None)


def test_a_mail_of_a_worker_that_was_killed_is_sent_by_the_next(tmp_path: Path, settings: Settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection and says nothing
        settings.EMAIL_HOST, settings.EMAIL_PORT = silent.getsockname()
        mail.post("password_changed", "a@example.org", "")
        with running("worker") as worker:
            wait_until(lambda: OutgoingMail.objects.get().attempts == 1)
            worker.kill()
    row = OutgoingMail.objects.get()
    assert row.lease_until is not None
    OutgoingMail.objects.update(lease_until=row.created_at)
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = str(tmp_path / "mail")
    assert call("worker", "--once").returncode == 0
    assert OutgoingMail.objects.get().sent_at is not None


def test_a_worker_takes_what_comes_while_it_waits_and_stops_when_told() -> None:
    case = a_case()
    with running("worker", "--concurrency", "1") as worker:
        wait_until(lambda: tasks.worker_state().alive)
        run = receive(case, b"good 5").run
        wait_until(lambda: _is(run, RunStatus.SUCCEEDED))
        worker.send_signal(signal.SIGTERM)
        out, err = worker.communicate(timeout=30)
    assert (worker.returncode, err) == (0, "")
    assert out.splitlines()[-1] == "1 runs begun."
    assert not tasks.worker_state().alive


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_being_read_goes_back_when_the_worker_is_told_to_stop(number: signal.Signals) -> None:
    case = a_case()
    run = receive(case, b"slow 60000").run
    with running("worker") as worker:
        wait_until(lambda: _is(run, RunStatus.RUNNING))
        worker.send_signal(number)
        worker.communicate(timeout=30)
    assert worker.returncode == 0
    assert _is(run, RunStatus.QUEUED)
    assert run is not None
    assert (run.attempt, run.worker, indexed(case)) == (0, "", [])
    assert children(worker.pid) == []


def test_two_workers_share_the_work_and_do_nothing_twice() -> None:
    case = a_case()
    sent = [receive(case, f"slow {number}".encode()).run for number in range(200, 212)]
    with running("worker", "--once") as one, running("worker", "--once") as two:
        said = [worker.communicate(timeout=60)[0] for worker in (one, two)]
    assert sum(int(text.splitlines()[-1].split()[0]) for text in said) == 12
    for run, size in zip(sent, range(200, 212), strict=True):
        assert run is not None
        assert ledger(run) == {"read": size, "indexed": size, "duplicate": 0, "rejected": 0, "undated": 0}
        assert run.attempt == 1
    names = {run.worker for run in TaskRun.objects.all()}
    assert len({name.partition(":")[0] for name in names}) == 2  # also where process numbers are the same
    assert len(indexed(case)) == sum(range(200, 212))
    assert actions(case).count("run.succeeded") == 12


def test_a_run_that_loses_its_worker_three_times_fails_and_others_go_on() -> None:
    case = a_case()
    run = receive(case, b"slow 60000").run
    other = receive(case, b"good 20").run
    for _ in range(3):
        with running("worker", "--concurrency", "1") as worker:
            wait_until(partial(_is_read_by, run, worker.pid))
            worker.kill()
    with running("worker"):
        wait_until(lambda: _is(run, RunStatus.FAILED))
        wait_until(lambda: _is(other, RunStatus.SUCCEEDED))
    assert run is not None
    assert "3 workers died while reading it" in (run.error_message or "")
    assert len(indexed(case)) == 20


def test_a_worker_whose_sign_of_life_is_old_is_taken_for_gone(settings: Settings) -> None:
    sign = settings.WORK_ROOT / "workers" / "x.json"
    sign.parent.mkdir(parents=True)
    sign.write_text("{}")
    assert tasks.worker_state() == tasks.WorkerState(True, 1, "1 at work on this machine")
    long_ago = time.time() - 60
    os.utime(sign, (long_ago, long_ago))
    assert tasks.worker_state() == tasks.WorkerState(
        False, 0, "no worker runs: start one with `manage.py worker`"
    )


def test_workers_of_other_machines_are_known_by_what_they_hold() -> None:
    office = Office()
    assert office.hold()
    assert tasks.worker_state() == tasks.WorkerState(True, 1, "one keeps house elsewhere")
    run = receive(a_case(), b"good 5").run
    assert run is not None
    assert runs.claim(run.pk, worker="other-1:7")
    assert tasks.worker_state() == tasks.WorkerState(True, 1, "1 elsewhere")
    office.leave()
    TaskRun.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert not tasks.worker_state().alive


def test_one_worker_keeps_house_and_the_next_takes_over_when_it_dies_or_leaves() -> None:
    offices = [Office() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        held = list(pool.map(_holds, offices))
    assert held.count(True) == 1
    holder = offices[held.index(True)]
    other = offices[held.index(False)]
    assert not other.is_kept()  # it may be dead
    assert holder.hold()
    assert other.is_kept()
    assert not other.hold()
    RequestCounter.objects.update(expires_at=timezone.now())  # it has died
    assert other.hold()
    assert not holder.hold()
    other.leave()
    assert holder.hold()


def _holds(office: Office) -> bool:
    try:
        return office.hold()
    finally:
        connections.close_all()


_done: list[str] = []


def note() -> None:
    """A chore of a layer above."""
    _done.append("noted")


def fail() -> None:
    """A chore that cannot be done."""
    raise ValueError("not today")


def test_chores_of_the_layers_above_are_done_and_one_that_fails_stops_no_other(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CHORES = {f"{__name__}.fail": 60.0, f"{__name__}.note": 60.0}
    mail.post("password_changed", "a@example.org", "")
    _done.clear()
    tasks.work(once=True)
    assert _done == ["noted"]
    assert OutgoingMail.objects.get().sent_at is not None
    assert "(cases.tests.test_tasks.fail) failed" in caplog.text


@pytest.mark.parametrize(
    ("concurrency", "queues", "readings", "slots"),
    [
        (2, QUEUES, 0, (1, 2)),
        (2, QUEUES, 8, (1, 2)),
        (2, QUEUES, 2, (1, 1)),
        (8, QUEUES, 4, (1, 3)),
        (8, QUEUES, 1, (0, 1)),
        (2, ("events",), 0, (0, 2)),
        (4, ("reading", "large"), 3, (0, 3)),
    ],
)
def test_a_worker_has_no_more_in_flight_than_its_memory_allows(
    settings: Settings, concurrency: int, queues: tuple[str, ...], readings: int, slots: tuple[int, int]
) -> None:
    found = lanes(concurrency, queues, readings * settings.RUN_MEMORY + readings)
    assert tuple(lane.slots for lane in found) == slots


def test_a_worker_begins_what_fits_into_its_memory_and_posted_events_beside_evidence(
    settings: Settings,
) -> None:
    case = a_case()
    slow = [receive(case, f"slow {number}".encode()).run for number in range(60000, 60003)]
    settings.WORKER_MEMORY = 2 * settings.RUN_MEMORY
    with running("worker", "--concurrency", "4") as worker:
        wait_until(lambda: _is(slow[0], RunStatus.RUNNING))
        posted = services.post_events(case=case, by=alice(), events=[{"message": "posted"}]).run
        wait_until(lambda: _is(posted, RunStatus.SUCCEEDED))
        assert TaskRun.objects.filter(status=RunStatus.RUNNING).count() == 1
        worker.terminate()
        worker.communicate(timeout=30)


def test_a_worker_serves_the_queues_it_is_given() -> None:
    case = a_case()
    run = receive(case, b"good 5").run
    large = receive(case, b"good 6").run
    Evidence.objects.filter(task_runs=large).update(size=2 * 1024**3)
    services.post_events(case=case, by=alice(), events=[{"message": "posted"}])
    assert tasks.work(once=True, queues=("events",)) == 1
    assert _is(run, RunStatus.QUEUED)
    assert tasks.work(once=True, queues=("reading",)) == 1
    assert _is(run, RunStatus.SUCCEEDED)
    assert _is(large, RunStatus.QUEUED)
    Evidence.objects.filter(task_runs=large).update(size=6)
    services.run_again(evidence=Evidence.objects.get(case=case, kind=POSTED), by=None)
    assert tasks.work(once=True, queues=("events", "large")) == 0  # posted events, all read again
    assert tasks.work(once=True) == 2


def test_log_lines_of_a_run_say_which_and_by_whom() -> None:
    run = receive(a_case(), b"buggy").run
    done = call("worker", "--once")
    assert run is not None
    assert _is(run, RunStatus.FAILED)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert lines
    for line in lines:
        assert (line["run_id"], line["attempt"], line["worker"]) == (run.pk, 1, run.worker)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--concurrency", "0", "from 1 to 64"),
        ("--concurrency", "65", "from 1 to 64"),
        ("--queues", "cron", "events, reading, large"),
        ("--queues", ",", "events, reading, large"),
        ("--memory", "lots", "such as 16G"),
        ("--memory", "1M", "RUN_MEMORY"),
    ],
)
def test_nonsensical_options_are_refused(option: str, value: str, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        call_command("worker", "--once", option, value)


def test_a_worker_that_starts_seals_what_the_old_system_left_in_clear_and_removes_what_expired() -> None:
    old = User.objects.create_user(
        "old@example.org", "old", "x", otp_enabled=True, otp_secret="JBSWY3DPEHPK3PXP"
    )
    yesterday = timezone.now() - timedelta(days=1)
    RequestCounter.objects.create(key="login:x", n=5, expires_at=yesterday)
    Session.objects.create(session_key="gone", session_data="", expire_date=yesterday)
    tasks.work(once=True)
    old.refresh_from_db()
    assert (old.otp_secret or "").startswith("v1:")
    assert TotpDevice.objects.get(user=old).confirmed
    assert not RequestCounter.objects.exists()
    assert not Session.objects.exists()
