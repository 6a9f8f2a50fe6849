"""Workers as processes: what they take, how they stop, and that two of them get along."""

from __future__ import annotations

import os
import signal
import socket
import time
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone
from pytest_django import Settings

from accounts import mail
from accounts.models import OutgoingMail, RequestCounter, TotpDevice, User
from cases import services, tasks
from cases.models import RunStatus, TaskRun
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
        out, err = worker.communicate(timeout=10)
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
        worker.communicate(timeout=10)
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
    assert len({run.worker for run in TaskRun.objects.all()}) == 2
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


def test_a_worker_whose_sign_of_life_is_old_is_taken_for_gone(settings) -> None:
    sign = settings.WORK_ROOT / "workers" / "x.json"
    sign.parent.mkdir(parents=True)
    sign.write_text("{}")
    assert tasks.worker_state().alive
    long_ago = time.time() - 60
    os.utime(sign, (long_ago, long_ago))
    assert tasks.worker_state() == tasks.WorkerState(
        False, 0, "no worker runs: start one with `manage.py worker`"
    )


@pytest.mark.parametrize("number", ["0", "65", "many"])
def test_a_nonsensical_concurrency_is_refused(number: str) -> None:
    done = call("worker", "--once", "--concurrency", number)
    assert done.returncode in (1, 2)
    assert "--concurrency" in done.stderr


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
