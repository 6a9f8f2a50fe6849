"""The life of a run, with real reading processes: how it ends, and what is left when it does."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection, connections
from django.utils import timezone

from cases import leases, runs, services, store, tasks
from cases.engines import engine
from cases.index.engine import IndexUnavailable
from cases.models import AnalysisModule, Case, Evidence, RejectedRecord, RunStatus, TaskRun
from cases.services.run import RunUnfinished
from cases.tests.cast import a_case, actions, alice, indexed, ledger, receive
from cases.tests.worker_process import children, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hostile_parsers")]


def _run(case: Case, content: bytes) -> TaskRun:
    run = receive(case, content).run
    assert run is not None
    return run


def _lapse(run: TaskRun) -> None:
    """Have the worker of a run be silent for too long."""
    TaskRun.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


@contextmanager
def _at_work() -> Iterator[threading.Event]:
    """Have a worker at work in a thread; the event stops it."""
    stop = threading.Event()

    def work() -> None:
        try:
            tasks.work(concurrency=2, stop=stop)
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join()


def _is(run: TaskRun, status: str) -> bool:
    run.refresh_from_db()
    return run.status == status


def _reads(run: TaskRun) -> bool:
    run.refresh_from_db()
    return run.status == RunStatus.RUNNING and run.records_read > 0


def _left_in_work(settings) -> list[Path]:
    return list((settings.WORK_ROOT / "runs").glob("*"))


class TestSuccess:
    """What a reading leaves."""

    def test_every_record_is_indexed_or_kept_with_its_reason(self, settings) -> None:
        case = a_case()
        run = _run(case, b"good 250")
        assert tasks.work(once=True) == 1
        assert ledger(run) == {"read": 252, "indexed": 250, "duplicate": 0, "rejected": 2, "undated": 25}
        assert (run.status, run.progress, run.parser, run.parser_version) == ("succeeded", 1, "good", "1")
        assert (run.attempt, run.lease_until, run.error_message) == (1, None, None)
        assert len(indexed(case)) == len(set(indexed(case))) == 250
        rejected = RejectedRecord.objects.get(run=run, position="after line 100")
        assert rejected.reason == "a \u2400 fault \\ud800"
        assert bytes(rejected.raw) == (b"\x00\xff" * 4000)[:4096]
        assert Evidence.objects.get().kind == "good"
        assert actions(case) == ["case.opened", "evidence.received", "run.succeeded"]
        assert _left_in_work(settings) == []

    def test_reading_again_replaces_the_events_under_the_same_ids(self) -> None:
        case = a_case()
        run = _run(case, b"good 120")
        tasks.work(once=True)
        first = indexed(case)
        again = services.run_again(evidence=run.evidence, by=alice())
        tasks.work(once=True)
        assert ledger(again)["indexed"] == 120
        assert indexed(case) == first

    def test_what_was_read_before_a_place_that_cannot_be_passed_is_kept_and_said(self) -> None:
        case = a_case()
        run = _run(case, b"breaking 30")
        tasks.work(once=True)
        assert ledger(run) == {"read": 31, "indexed": 30, "duplicate": 0, "rejected": 1, "undated": 0}
        assert run.error_message == "Reading stopped after 30 records: the rest is torn off"
        assert RejectedRecord.objects.get().position == "after 30 records"

    def test_posted_events_become_searchable_and_later_ones_join_them(self) -> None:
        case = a_case()
        services.post_events(case=case, by=alice(), events=[{"message": "one"}, {"message": "two"}])
        tasks.work(once=True)
        assert len(indexed(case)) == 2
        services.post_events(case=case, by=alice(), events=[{"message": "two"}, {"message": "three"}])
        tasks.work(once=True)
        assert len(indexed(case)) == 3
        last = TaskRun.objects.latest("pk")
        assert ledger(last) == {"read": 1, "indexed": 1, "duplicate": 0, "rejected": 0, "undated": 1}


class TestFailure:
    """A run that fails says why, and nothing of it is visible."""

    def test_a_failed_run_can_be_retried_as_a_new_one(self) -> None:
        case = a_case()
        run = _run(case, b"nobody reads this")
        tasks.work(once=True)
        assert _is(run, RunStatus.FAILED)
        assert run.error_message == "No parser reads this content."
        again = services.retry_run(run=run, by=alice())
        assert tasks.work(once=True) == 1
        assert _is(again, RunStatus.FAILED)
        assert actions(case)[-3:] == ["run.failed", "run.queued", "run.failed"]

    def test_a_reading_that_takes_too_long_is_ended(self, settings) -> None:
        settings.RUN_SECONDS = 1
        case = a_case()
        run = _run(case, b"slow 60000")
        tasks.work(once=True)
        assert _is(run, RunStatus.FAILED)
        assert run.error_message == "The reading took longer than 1 seconds (RUN_SECONDS)."
        assert indexed(case) == []

    def test_a_disabled_module_reads_nothing(self) -> None:
        AnalysisModule.objects.create(name="good", enabled=False)
        run = _run(a_case(), b"good 1")
        tasks.work(once=True)
        assert _is(run, RunStatus.FAILED)
        assert run.error_message == "The module good, which reads this, is disabled."

    def test_a_module_that_this_version_lacks_is_named(self) -> None:
        run = _run(a_case(), b"good 1")
        TaskRun.objects.update(module=AnalysisModule.objects.create(name="magic"))
        tasks.work(once=True)
        assert _is(run, RunStatus.FAILED)
        assert run.error_message == "This version has no module called magic."

    @pytest.mark.parametrize("damage", ["changed", "gone"])
    def test_other_bytes_than_those_that_came_in_are_never_read(self, damage: str) -> None:
        case = a_case()
        run = _run(case, b"good 10")
        path = store.path(run.evidence.local_path)
        path.chmod(0o600)
        if damage == "changed":
            path.write_bytes(b"good 99")
        else:
            path.unlink()
        tasks.work(once=True)
        assert _is(run, RunStatus.FAILED)
        assert "stored bytes" in (run.error_message or "")
        assert (run.records_read, indexed(case)) == (0, [])
        assert Evidence.objects.get().sealed_at is None
        assert actions(case)[-2:] == ["run.failed", "evidence.mismatch"]

    def test_a_failed_reading_leaves_the_events_of_the_one_before(self, settings) -> None:
        case = a_case()
        run = _run(case, b"good 40")
        tasks.work(once=True)
        AnalysisModule.objects.create(name="good", enabled=False)
        again = services.run_again(evidence=run.evidence, by=alice())
        tasks.work(once=True)
        assert _is(again, RunStatus.FAILED)
        assert len(indexed(case)) == 40


class TestCancel:
    """Ending a run before its end."""

    def test_a_waiting_run_ends_at_once_and_is_never_begun(self) -> None:
        case = a_case()
        run = _run(case, b"good 10")
        services.cancel_run(run=run, by=alice())
        assert tasks.work(once=True) == 0
        assert _is(run, RunStatus.CANCELLED)
        assert run.ended_at_utc is not None

    def test_a_working_run_ends_soon_and_leaves_nothing(self, settings) -> None:
        case = a_case()
        run = _run(case, b"slow 60000")
        with _at_work():
            wait_until(lambda: _is(run, RunStatus.RUNNING))
            services.cancel_run(run=run, by=alice())
            wait_until(lambda: _is(run, RunStatus.CANCELLED), seconds=5)
        assert ledger(run)["indexed"] == 0
        assert (run.lease_until, indexed(case), _left_in_work(settings)) == (None, [], [])
        assert actions(case)[-1] == "run.cancelled"

    def test_a_run_that_is_handed_back_after_somebody_cancelled_it_is_cancelled(self) -> None:
        run = _run(a_case(), b"good 1")
        held = runs.claim(run.pk, worker="one")
        assert held is not None
        assert runs.cancel(run)
        leases.hand_back(held)
        assert _is(run, RunStatus.CANCELLED)

    def test_the_wish_outlives_the_worker(self) -> None:
        run = _run(a_case(), b"good 1")
        assert runs.claim(run.pk, worker="one") is not None
        runs.cancel(run)
        _lapse(run)
        assert tasks.work(once=True) == 0
        assert _is(run, RunStatus.CANCELLED)


class TestLease:
    """Who lost a run writes nothing any more."""

    def test_a_run_is_claimed_by_one(self) -> None:
        run = _run(a_case(), b"good 1")
        assert runs.claim(run.pk, worker="one") is not None
        assert runs.claim(run.pk, worker="two") is None
        assert runs.claim(10**6, worker="two") is None

    def test_one_evidence_is_read_once_at_a_time(self) -> None:
        run = _run(a_case(), b"good 1")
        other = runs.queue(run.evidence, task_name=runs.READ)
        held = runs.claim(run.pk, worker="one")
        assert held is not None
        assert runs.claim(other.pk, worker="two") is None
        runs.perform(held)
        assert runs.claim(other.pk, worker="two") is not None

    def test_the_tasks_of_the_old_system_are_left_alone(self) -> None:
        run = _run(a_case(), b"good 1")
        TaskRun.objects.update(task_name="run_plaso")
        assert tasks.work(once=True) == 0
        assert _is(run, RunStatus.QUEUED)

    def test_the_old_worker_can_write_nothing(self) -> None:
        case = a_case()
        run = _run(case, b"good 130")
        old = runs.claim(run.pk, worker="old")
        _lapse(run)
        new = runs.claim(run.pk, worker="new")
        assert old is not None
        assert new is not None
        assert new.fence > old.fence
        with pytest.raises(leases.LeaseLost):
            leases.beat(old)
        runs.perform(old)
        leases.hand_back(old)
        assert not leases.let_go(old)
        assert _is(run, RunStatus.RUNNING)
        assert (run.worker, run.records_read, indexed(case)) == ("new", 0, [])
        runs.perform(new)
        assert _is(run, RunStatus.SUCCEEDED)
        assert len(indexed(case)) == 130
        runs.perform(old)
        assert (len(indexed(case)), run.rejected_records.count()) == (130, 1)

    def test_a_worker_that_loses_its_lease_while_it_reads_stops(self) -> None:
        case = a_case()
        run = _run(case, b"slow 60000")
        with _at_work() as stop:
            wait_until(lambda: _is(run, RunStatus.RUNNING))
            TaskRun.objects.filter(pk=run.pk).update(fence=99, worker="thief")
            stop.set()
        assert _is(run, RunStatus.RUNNING)
        assert (run.worker, indexed(case)) == ("thief", [])

    def test_a_run_that_lost_three_workers_fails(self) -> None:
        case = a_case()
        run = _run(case, b"good 1")
        for number in range(3):
            assert runs.claim(run.pk, worker=f"worker {number}") is not None
            runs.sweep()
            assert _is(run, RunStatus.RUNNING)
            _lapse(run)
        assert runs.claim(run.pk, worker="worker 4") is None
        runs.sweep()
        assert _is(run, RunStatus.FAILED)
        assert (run.error_message or "").startswith(
            "3 workers died while reading it, the last one was worker 2."
        )
        assert actions(case)[-1] == "run.failed"

    def test_a_worker_that_is_told_to_stop_gives_the_run_back_unharmed(self) -> None:
        case = a_case()
        run = _run(case, b"slow 60000")
        with _at_work() as stop:
            wait_until(lambda: _is(run, RunStatus.RUNNING))
            stop.set()
        assert _is(run, RunStatus.QUEUED)
        assert (run.attempt, run.lease_until, run.worker) == (0, None, "")
        assert indexed(case) == []


class TestAccidents:
    """What breaks in the middle."""

    def test_a_reading_process_that_was_killed_is_begun_again(self, settings) -> None:
        case = a_case()
        run = _run(case, b"slow 1500")
        with _at_work():
            (pid,) = wait_until(reading)
            wait_until(lambda: _is(run, RunStatus.RUNNING))
            kill(pid)
            wait_until(lambda: _is(run, RunStatus.SUCCEEDED))
        assert run.attempt == 2
        assert len(indexed(case)) == 1500

    def test_a_reading_process_that_is_killed_every_time_fails_the_run(self) -> None:
        run = _run(a_case(), b"slow 60000")
        with _at_work():
            killed: set[int] = set()
            while len(killed) < 3:
                pid = wait_until(lambda: next((pid for pid in reading() if pid not in killed), None))
                kill(pid)
                killed.add(pid)
            wait_until(lambda: _is(run, RunStatus.FAILED))
        assert "SIGKILL" in (run.error_message or "")
        assert run.attempt == 3

    def test_evidence_that_is_deleted_while_it_is_read_leaves_no_trace_in_the_index(self, settings) -> None:
        case = a_case()
        run = _run(case, b"slow 60000")
        with _at_work():
            wait_until(lambda: _is(run, RunStatus.RUNNING))
            wait_until(reading)
            services.delete_evidence(evidence=run.evidence, by=alice())
            wait_until(lambda: not reading())
        assert indexed(case) == []
        assert [path for path in settings.INDEX_ROOT.rglob("*") if run.evidence_id in path.name] == []

    def test_events_published_by_a_worker_that_died_before_it_said_so_are_counted_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        case = a_case()
        run = _run(case, b"good 70")
        _publish_and_die(run, monkeypatch)
        assert _is(run, RunStatus.RUNNING)
        _lapse(run)
        tasks.work(once=True)
        assert ledger(run) == {"read": 70, "indexed": 70, "duplicate": 0, "rejected": 0, "undated": 7}
        assert len(indexed(case)) == 70

    def test_events_published_by_a_worker_that_died_are_taken_back_when_the_run_is_cancelled(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        case = a_case()
        run = _run(case, b"good 70")
        _publish_and_die(run, monkeypatch)
        assert len(indexed(case)) == 70
        services.cancel_run(run=run, by=alice())
        _lapse(run)
        runs.sweep()
        assert _is(run, RunStatus.CANCELLED)
        assert indexed(case) == []

    def test_an_index_that_cannot_publish_has_the_run_done_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failures = [IndexUnavailable("The index does not answer.")]

        def publish(*args: Any, **facts: Any) -> None:
            if failures:
                raise failures.pop()
            whole(*args, **facts)

        kind = type(engine())
        whole = kind.publish
        monkeypatch.setattr(kind, "publish", publish)
        case = a_case()
        run = _run(case, b"good 70")
        assert tasks.work(once=True) >= 1
        assert _is(run, RunStatus.SUCCEEDED)
        assert (run.attempt, len(indexed(case)), actions(case).count("run.succeeded")) == (2, 70, 1)

    def test_an_index_that_never_publishes_fails_the_run_with_the_reason(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def publish(*args: Any, **facts: Any) -> None:
            raise IndexUnavailable("The index does not answer.")

        monkeypatch.setattr(type(engine()), "publish", publish)
        case = a_case()
        run = _run(case, b"good 70")
        tasks.work(once=True)
        assert _is(run, RunStatus.FAILED)
        assert run.error_message == "The events could not be made visible: The index does not answer."
        assert (run.attempt, indexed(case), run.rejected_records.count()) == (3, [], 0)

    def test_a_lost_database_connection_is_made_anew(self) -> None:
        if connection.vendor != "postgresql":
            pytest.skip("SQLite has no connections to lose")
        case = a_case()
        run = _run(case, b"slow 4000")
        with _at_work():
            wait_until(lambda: _reads(run))
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            wait_until(lambda: _is(run, RunStatus.SUCCEEDED))
        assert run.attempt == 1
        assert len(indexed(case)) == 4000

    def test_the_sweep_leaves_what_it_does_not_know(self, settings) -> None:
        for name in ("runs/a-b", "runs/7-1"):
            (settings.WORK_ROOT / name).mkdir(parents=True)
        (settings.EVIDENCE_ROOT / "incoming" / "folder").mkdir(parents=True)
        runs.sweep()
        assert [path.name for path in _left_in_work(settings)] == ["a-b"]

    def test_a_retry_while_the_evidence_is_being_read_is_refused(self) -> None:
        run = _run(a_case(), b"nobody reads this")
        tasks.work(once=True)
        services.retry_run(run=run, by=alice())
        with pytest.raises(RunUnfinished):
            services.retry_run(run=run, by=alice())


def reading() -> list[int]:
    """Return the reading processes of this test."""
    return children(os.getpid())


def kill(pid: int) -> None:
    """End a process as the system does when memory runs out."""
    os.kill(pid, signal.SIGKILL)


def _publish_and_die(run: TaskRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the events published, and the database gone before the run can say so."""

    def publish(*args: Any, **facts: Any) -> None:
        whole(*args, **facts)
        raise OperationalError("the server closed the connection")

    kind = type(engine())
    whole = kind.publish
    with monkeypatch.context() as patch:
        patch.setattr(kind, "publish", publish)
        assert tasks.perform_run(run.pk)
