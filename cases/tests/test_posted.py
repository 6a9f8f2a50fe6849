"""Posted events on their way: every row is indexed once, by the run that was named for it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from cases import leases, runs, services, staging, tasks
from cases.models import Case, CustodyEntry, Event, RunStatus, TaskRun
from cases.tests.cast import a_case, actions, alice, indexed, ledger


def _some(first: int, number: int, **facts: Any) -> list[dict[str, Any]]:
    return [{"message": f"event {n}", **facts} for n in range(first, first + number)]


def _post(case: Case, events: list[Any]) -> TaskRun:
    """Post events of which at least one is new, and return the run that was named for them."""
    run = services.post_events(case=case, by=alice(), events=events).run
    assert run is not None
    return run


def _positions(run: TaskRun) -> list[str]:
    return sorted(
        f"posted event {number}" for number in Event.objects.filter(run=run).values_list("pk", flat=True)
    )


def _work_off() -> int:
    """Do what waits, one run after the other, and return how many there were."""
    done = 0
    while run := runs.waiting().first():
        assert tasks.perform_run(run.pk)
        done += 1
    return done


def _fail(run: TaskRun) -> None:
    """Let a run fail as those do whose workers died too often."""
    lapsed = timezone.now() - timedelta(seconds=1)
    TaskRun.objects.filter(pk=run.pk).update(
        status=RunStatus.RUNNING, attempt=leases.MAX_ATTEMPTS, lease_until=lapsed
    )
    runs.sweep()
    run.refresh_from_db()
    assert run.status == RunStatus.FAILED


@pytest.mark.django_db
class TestRuns:
    """Which run takes which rows."""

    def test_calls_join_the_run_that_waits_and_never_one_that_has_begun(self) -> None:
        case = a_case()
        first = _post(case, _some(0, 2))
        assert _post(case, _some(2, 3)) == first
        held = runs.claim(first.pk, worker="w")
        assert held is not None
        second = _post(case, _some(5, 4))
        assert second != first
        runs.perform(held)
        assert ledger(first)["indexed"] == len(indexed(case)) == 5
        assert indexed(case) == _positions(first)
        assert tasks.perform_run(second.pk)
        assert ledger(second)["indexed"] == 4
        assert len(indexed(case)) == 9

    def test_when_the_run_of_an_answer_has_succeeded_its_events_are_found(self) -> None:
        case = a_case()
        named = [_post(case, _some(10 * n, 10)) for n in range(3)]
        later = _post(case, _some(100, 1))
        assert {run.pk for run in named} == {later.pk}
        assert tasks.perform_run(later.pk)
        later.refresh_from_db()
        assert (later.status, len(indexed(case))) == (RunStatus.SUCCEEDED, 31)

    def test_a_run_takes_no_more_than_it_may_and_the_next_is_queued(self, monkeypatch) -> None:
        monkeypatch.setattr(staging, "ROWS", 10)
        case = a_case()
        first, second = _post(case, _some(0, 6)), _post(case, _some(6, 6))
        assert first != second
        assert _post(case, _some(12, 4)) == second
        assert _post(case, _some(20, 25)) not in (first, second)  # one call is never split
        assert _work_off() == 3
        assert sorted(TaskRun.objects.values_list("indexed", flat=True)) == [6, 10, 25]
        assert len(indexed(case)) == 41

    def test_a_run_takes_no_more_bytes_than_it_may(self, monkeypatch) -> None:
        monkeypatch.setattr(staging, "BYTES", 3000)
        case = a_case()
        first = _post(case, _some(0, 2, text="x" * 1000))
        assert _post(case, _some(2, 2, text="x" * 1000)) != first

    def test_what_cancelled_and_failed_runs_left_is_indexed_by_the_next(self) -> None:
        case = a_case()
        cancelled = _post(case, _some(0, 3))
        services.cancel_run(run=cancelled, by=alice())
        failed = _post(case, _some(3, 4))
        _fail(failed)
        assert (_work_off(), indexed(case)) == (0, [])
        last = _post(case, _some(7, 1))
        assert _work_off() == 1
        assert ledger(last) == {"read": 8, "indexed": 8, "duplicate": 0, "rejected": 0, "undated": 8}
        assert indexed(case) == _positions(last)
        assert not Event.objects.exclude(run__status=RunStatus.SUCCEEDED).exists()

    def test_a_retry_indexes_what_was_left_and_goes_on_until_nothing_is(self, monkeypatch) -> None:
        case = a_case()
        failed = [_post(case, _some(0, 12))]
        _fail(failed[0])
        failed.append(_post(case, _some(12, 13)))
        _fail(failed[1])
        monkeypatch.setattr(staging, "ROWS", 10)
        again = services.retry_run(run=failed[1], by=alice())
        assert again.options == {}
        assert _work_off() == 3
        assert list(TaskRun.objects.order_by("pk").values_list("indexed", flat=True)) == [0, 0, 10, 10, 5]
        assert len(indexed(case)) == 25

    def test_rows_of_an_older_version_have_no_run_and_are_indexed(self) -> None:
        case = a_case()
        run = _post(case, _some(0, 5))
        Event.objects.update(run=None)
        TaskRun.objects.update(options={})
        assert tasks.perform_run(run.pk)
        assert (ledger(run)["indexed"], len(indexed(case))) == (5, 5)
        assert indexed(case) == _positions(run)

    def test_everything_is_read_again_beside_a_run_that_waits(self) -> None:
        case = a_case()
        _post(case, _some(0, 5))
        assert _work_off() == 1
        cancelled = _post(case, _some(5, 2))
        services.cancel_run(run=cancelled, by=alice())
        evidence = cancelled.evidence
        again = services.run_again(evidence=evidence, by=alice())
        held = runs.claim(again.pk, worker="w")
        assert held is not None
        meanwhile = _post(case, _some(7, 3))
        runs.perform(held)
        assert (ledger(again)["indexed"], len(indexed(case))) == (7, 7)
        assert tasks.perform_run(meanwhile.pk)
        assert ledger(meanwhile) == {"read": 3, "indexed": 3, "duplicate": 0, "rejected": 0, "undated": 3}
        assert len(set(indexed(case))) == len(indexed(case)) == 10
        assert not Event.objects.exclude(run__status=RunStatus.SUCCEEDED).exists()

    def test_a_call_joins_the_reading_of_everything_that_waits(self) -> None:
        case = a_case()
        first = _post(case, _some(0, 2))
        _work_off()
        again = services.run_again(evidence=first.evidence, by=alice())
        assert _post(case, _some(2, 2)) == again
        _work_off()
        assert (ledger(again)["indexed"], len(indexed(case))) == (4, 4)

    def test_lists_and_pages_of_rows_have_no_seams(self, monkeypatch) -> None:
        monkeypatch.setattr(staging, "_IDS_AT_ONCE", 7)
        monkeypatch.setattr(staging, "_ROWS_AT_ONCE", 3)
        case = a_case()
        run = _post(case, _some(0, 23))
        services.cancel_run(run=run, by=alice())
        run = _post(case, _some(23, 23))
        assert tasks.perform_run(run.pk)
        assert ledger(run)["indexed"] == len(set(indexed(case))) == 46
        assert indexed(case) == _positions(run)

    def test_events_of_the_old_system_are_not_indexed(self) -> None:
        case = a_case()
        Event.objects.create(case=case, ts="x", source="s", message="m")
        run = _post(case, _some(0, 1))
        _work_off()
        assert ledger(run)["indexed"] == 1

    def test_no_more_queries_for_more_events(self) -> None:
        case = a_case()
        _post(case, _some(0, 1))
        with CaptureQueriesContext(connection) as few:
            _post(case, _some(10, 1))
        with CaptureQueriesContext(connection) as many:
            _post(case, _some(100, 800))
        assert len(few) == len(many)


@pytest.mark.django_db
class TestBacklog:
    """How many rows wait, and what is done about it."""

    def test_rows_are_counted_wherever_they_wait(self) -> None:
        case, other = a_case(), a_case("ir-other")
        assert staging.backlog(case, limit=100) == staging.Backlog(0, 0, has_run=False)
        _fail(_post(case, _some(0, 3)))
        assert staging.backlog(case, limit=100) == staging.Backlog(3, 3, has_run=False)
        assert staging.backlog(case, limit=1).case == 2
        first = _post(case, _some(3, 4))
        held = runs.claim(first.pk, worker="w")
        assert held is not None
        _post(case, _some(7, 5))
        _post(other, _some(0, 6))
        assert staging.backlog(case, limit=100) == staging.Backlog(12, 18, has_run=True)
        runs.perform(held)
        assert (
            staging.backlog(case, limit=100).case == 5 + 3
        )  # what was left is told until the next is queued
        _work_off()
        assert staging.backlog(case, limit=100) == staging.Backlog(0, 0, has_run=False)

    def test_too_many_that_wait_are_refused_until_the_index_has_caught_up(self, settings) -> None:
        settings.POSTED_WAITING = 5
        case = a_case()
        services.check_backlog(case=case)
        _post(case, _some(0, 6))
        with pytest.raises(services.IndexBehind, match="6 posted events of this case wait"):
            services.check_backlog(case=case)
        services.check_backlog(case=a_case("ir-other"))
        _work_off()
        services.check_backlog(case=case)

    def test_there_is_a_bound_for_all_cases_together(self, settings) -> None:
        settings.POSTED_WAITING_ALL = 5
        _post(a_case(), _some(0, 3))
        _post(a_case("ir-2"), _some(0, 3))
        with pytest.raises(services.IndexBehind, match="POSTED_WAITING_ALL"):
            services.check_backlog(case=a_case("ir-3"))

    def test_a_case_whose_runs_have_failed_is_not_refused_for_ever(self, settings) -> None:
        settings.POSTED_WAITING = 5
        case = a_case()
        _fail(_post(case, _some(0, 9)))
        for _ in range(2):
            with pytest.raises(services.IndexBehind):
                services.check_backlog(case=case)
        assert TaskRun.objects.unfinished().count() == 1
        _work_off()
        services.check_backlog(case=case)
        assert len(indexed(case)) == 9


@contextmanager
def _beside(work: Any) -> Iterator[threading.Thread]:
    """Do work in another thread, with a connection of its own."""

    def run() -> None:
        try:
            work()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(timeout=30)
        assert not thread.is_alive()


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    """What happens while something else does."""

    def test_a_run_is_not_begun_before_the_rows_that_join_it_are_committed(self) -> None:
        case = a_case()
        run = _post(case, _some(0, 2))
        posted, go_on = threading.Event(), threading.Event()

        def slowly() -> None:
            with transaction.atomic():
                assert _post(case, _some(2, 3)) == run
                posted.set()
                go_on.wait(10)

        with _beside(slowly):
            assert posted.wait(10)
            with _beside(lambda: tasks.perform_run(run.pk)) as worker:
                worker.join(timeout=0.5)
                assert worker.is_alive()  # waits for the transaction
                go_on.set()
        assert (ledger(run)["indexed"], len(indexed(case))) == (5, 5)

    @pytest.mark.skipif("connection.vendor == 'sqlite'", reason="SQLite has one writer at a time.")
    def test_a_row_with_a_smaller_number_that_is_committed_later_is_not_skipped(self) -> None:
        case = a_case()
        evidence = _post(case, _some(0, 1)).evidence
        tasks.work(once=True)
        inserted, go_on = threading.Event(), threading.Event()
        late: list[int] = []

        def late_commit() -> None:
            with transaction.atomic():  # without the lock on the case, which would order the two
                run = runs.queue(evidence, task_name=runs.INDEX_POSTED, options=staging.first_options(case))
                staging.insert([_row(case, run, "late")])
                late.append(run.pk)
                inserted.set()
                go_on.wait(10)

        with _beside(late_commit):
            assert inserted.wait(10)
            with transaction.atomic():
                early = runs.queue(evidence, task_name=runs.INDEX_POSTED, options=staging.first_options(case))
                staging.insert([_row(case, early, "early")])
            assert tasks.perform_run(early.pk)
            assert len(indexed(case)) == 2
            go_on.set()
        numbers = dict(Event.objects.values_list("message", "pk"))
        assert numbers["late"] < numbers["early"]
        assert tasks.perform_run(late[0])
        assert ledger(TaskRun.objects.get(pk=late[0]))["indexed"] == 1
        assert len(indexed(case)) == 3
        assert not Event.objects.exclude(run__status=RunStatus.SUCCEEDED).exists()

    def test_the_same_events_from_four_sides_are_kept_once_and_counted_exactly(self) -> None:
        case, start = a_case(), threading.Barrier(4)
        alice()
        told: list[services.Posted] = []
        failed: list[Exception] = []

        def post(first: int) -> None:
            start.wait()
            try:
                told.extend(
                    services.post_events(case=case, by=None, events=_some(first + 50 * n, 100))
                    for n in range(4)
                )
            except Exception as error:  # noqa: BLE001 (shown below)
                failed.append(error)

        with (
            _beside(lambda: post(0)),
            _beside(lambda: post(10)),
            _beside(lambda: post(20)),
            _beside(lambda: post(0)),
        ):
            pass
        assert failed == []
        assert sum(one.accepted + one.duplicate for one in told) == 1600
        assert sum(one.accepted for one in told) == Event.objects.count() == 270
        entries = CustodyEntry.objects.filter(action="events.posted")
        assert sum(entry.details["events"] for entry in entries) == 270
        tasks.work(once=True)
        assert len(set(indexed(case))) == 270
        assert "events.posted" in actions(case)

    def test_a_worker_and_many_calls_beside_each_other_lose_and_double_nothing(self) -> None:
        case, stop = a_case(), threading.Event()
        told: list[services.Posted] = []
        with _beside(lambda: tasks.work(stop=stop)):
            told += [services.post_events(case=case, by=None, events=_some(40 * n, 50)) for n in range(12)]
            stop.wait(1)
            stop.set()
        tasks.work(once=True)
        assert sum(one.accepted for one in told) == Event.objects.count() == 490
        assert len(indexed(case)) == len(set(indexed(case))) == 490
        done = TaskRun.objects.all()
        assert {run.status for run in done} == {RunStatus.SUCCEEDED}
        assert sum(run.indexed for run in done) == 490


def _row(case: Case, run: TaskRun, message: str) -> tuple[Any, ...]:
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    name, raw = hashlib.sha256(message.encode()).hexdigest(), json.dumps({"message": message})
    return ("", "s", message, None, None, None, None, raw, name, case.case_id, run.evidence_id, now, run.pk)
