"""Evidence that several processes read in pieces: one run, one ledger, whatever happens to any of them."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from cases import jobs, services, tasks
from cases.crew import Crew
from cases.engines import engine
from cases.index.tree import Everything
from cases.models import Case, RejectedRecord, RunStatus, TaskRun
from cases.places import Places
from cases.tests.cast import a_case, actions, alice, indexed, ledger, receive
from cases.tests.test_runs import _at_work, _is, kill, reading
from cases.tests.worker_process import wait_until


@pytest.fixture(autouse=True)
def _pieces(settings) -> None:
    settings.RUN_PARTS, settings.RUN_PART, settings.RUN_MEMORY = 2, 1, 2 * 1024**3


def _run(case: Case, content: bytes) -> TaskRun:
    run = receive(case, content).run
    assert run is not None
    return run


def _read(content: bytes, case_id: str = "ir-2024-001") -> tuple[Case, TaskRun]:
    case = a_case(case_id)
    run = _run(case, content)
    tasks.work(once=True)
    run.refresh_from_db()
    return case, run


def _facts(case: Case, run: TaskRun) -> tuple[Any, ...]:
    """Return all that a run leaves, without what names it."""
    documents = list(engine().stream(case_ids=[case.case_id], query=Everything()))
    own = ("case_id", "evidence_uid")
    events = [{name: value for name, value in each.items() if name not in own} for each in documents]
    rejected = list(
        RejectedRecord.objects.filter(run=run).order_by("pk").values_list("position", "reason", "raw")
    )
    return (
        run.status,
        run.error_message,
        ledger(run),
        [(*each[:2], bytes(each[2] or b"")) for each in rejected],
        events,
    )


@pytest.mark.django_db(transaction=True)
class TestSameWhateverTheNumber:
    """What one process reads and what several do is the same, to the last byte."""

    @pytest.fixture
    def content(self) -> bytes:
        lines: list[bytes] = []
        for number in range(3000):
            fields: dict[str, Any] = {
                "time": f"2024-03-01T{number % 24:02}:00:00Z",
                "message": f"event {number % 700} " + "e" * 250,
            }
            if number % 9 == 0:
                del fields["time"]
            lines.append(b"{broken" if number % 100 == 50 else json.dumps(fields).encode())
        return b"\n".join(lines)

    def test_lines_of_json(self, settings, content: bytes) -> None:
        found = []
        for parts in (1, 2, 3):
            settings.RUN_PARTS, settings.RUN_MEMORY = parts, parts * 1024**3
            found.append(_facts(*_read(content, f"ir-{parts}")))
        assert found[0] == found[1] == found[2]
        assert found[0][2]["rejected"] == 30
        assert found[0][2]["read"] == 3000

    def test_it_was_read_in_pieces_by_two(self, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
        hired: list[int] = []
        given: list[int] = []

        def count(crew: Crew, place: Any) -> None:
            hired.append(1)
            hire(crew, place)

        def note(crew: Crew, sizes: list[int]) -> None:
            given.append(len(sizes))
            cut(crew, sizes)

        hire, cut = Crew._hire, Crew._cut
        monkeypatch.setattr(Crew, "_hire", count)
        monkeypatch.setattr(Crew, "_cut", note)
        _, run = _read(content * 3)
        assert (len(hired), run.status) == (2, RunStatus.SUCCEEDED)
        assert given[0] > 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("hostile_parsers")
class TestAccidents:
    """What breaks in a piece breaks the run as it would in the whole."""

    def test_a_piece_that_ends_early_has_the_whole_read_as_one(self) -> None:
        case, run = _read(b"parted\n" + b"a\n" * 50 + b"*torn\n" + b"a\n" * 50)
        assert ledger(run) == {"read": 51, "indexed": 50, "duplicate": 0, "rejected": 1, "undated": 0}
        assert run.error_message == "Reading stopped after 50 records: it is torn off"
        assert RejectedRecord.objects.get().position == "after 50 records"
        assert len(indexed(case)) == 50

    def test_a_piece_that_ends_early_only_as_a_piece_costs_nothing_but_time(self) -> None:
        case, run = _read(b"parted\n" + b"*odd\n" * 30 + b"*torn piece\n" + b"a\n" * 49 + b"a")
        assert (run.status, run.error_message, run.attempt) == (RunStatus.SUCCEEDED, None, 1)
        assert ledger(run) == {"read": 81, "indexed": 51, "duplicate": 0, "rejected": 30, "undated": 0}
        assert run.rejected_records.count() == 30
        assert len(indexed(case)) == 51

    def test_a_piece_that_wants_more_than_its_share_is_read_with_all_of_it(
        self, settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(jobs, "_LEAST_MEMORY", 1)
        settings.RUN_MEMORY = 700 * 1024**2
        case, run = _read(b"parted\n" + b"a\n" * 30 + b"*memory\n" + b"a\n" * 29 + b"a")
        assert (run.status, run.attempt, len(indexed(case))) == (RunStatus.SUCCEEDED, 1, 61)

    def test_a_crash_in_a_piece_fails_the_run(self) -> None:
        case, run = _read(b"parted\n" + b"a\n" * 30 + b"*crash\n" + b"a\n" * 30)
        assert run.status == RunStatus.FAILED
        assert run.error_message == "The reading process ended: killed by signal SIGSEGV."
        assert indexed(case) == []

    def test_rejected_records_are_kept_in_the_order_of_the_evidence(self) -> None:
        _, run = _read(b"parted\n" + b"*odd\n*slow\n" * 150 + b"*odd")
        positions = list(run.rejected_records.order_by("pk").values_list("position", flat=True))
        assert positions == [f"line {number}" for number in range(1, 302, 2)]

    @pytest.mark.parametrize("which", [0, -1])
    def test_one_of_several_killed_has_the_run_done_again(self, which: int) -> None:
        case = a_case()
        run = _run(case, b"parted\n" + b"*slow\n" * 120 + b"a")
        with _at_work():
            pids = wait_until(lambda: len(reading()) == 2 and sorted(reading()))
            wait_until(lambda: _is(run, RunStatus.RUNNING))
            kill(pids[which])
            wait_until(lambda: _is(run, RunStatus.SUCCEEDED))
        assert run.attempt == 2
        assert (len(indexed(case)), len(set(indexed(case)))) == (121, 121)
        assert actions(case).count("run.succeeded") == 1

    def test_a_cancelled_run_ends_all_of_them(self, settings) -> None:
        case = a_case()
        run = _run(case, b"parted\n" + b"*slow\n" * 2000)
        with _at_work():
            wait_until(lambda: len(reading()) == 2)
            services.cancel_run(run=run, by=alice())
            wait_until(lambda: _is(run, RunStatus.CANCELLED), seconds=5)
            assert reading() == []
        assert (ledger(run)["indexed"], indexed(case)) == (0, [])
        assert list((settings.WORK_ROOT / "runs").glob("*")) == []

    def test_the_progress_is_one_and_only_grows(self) -> None:
        run = _run(a_case(), b"parted\n" + b"*slow\n" * 250 + b"a")
        seen: list[float] = []
        with _at_work():
            while not _is(run, RunStatus.SUCCEEDED):
                seen.append(run.progress)
                time.sleep(0.1)
        assert seen == sorted(seen)
        assert any(0.1 < part < 0.95 for part in seen)

    def test_a_run_that_comes_later_is_let_in(self, settings) -> None:
        """Two processes read at most two runs' pieces: the first gives one up between two pieces."""
        case = a_case()
        _run(case, b"parted 1\n" + b"*slow\n" * 250 + b"a")
        with _at_work():
            wait_until(lambda: len(reading()) == 2)
            other = _run(case, b"parted 2\n" + b"*slow\n" * 150 + b"a")
            wait_until(lambda: _is(other, RunStatus.RUNNING))
            shared = Places(settings.WORK_ROOT / "places", settings.RUN_PARTS)
            wait_until(lambda: not shared.are_wanted())
            assert _is_taken(shared)  # each of the two has one
            wait_until(lambda: not TaskRun.objects.unfinished().exists(), seconds=30)
        assert len(indexed(case)) == 251 + 151


class TestPlaces:
    """Who may read, across threads and processes."""

    def test_no_more_are_given_than_there_are_and_a_closed_one_is_free_again(self, tmp_path: Path) -> None:
        shared = Places(tmp_path / "places", 2)
        first, second = shared.take(), shared.take()
        assert first is not None
        assert second is not None
        with second:
            assert shared.take() is None
            first.close()
            assert not _is_taken(shared)
        assert not _is_taken(shared)

    def test_a_wish_is_seen_by_all_until_it_is_withdrawn(self, tmp_path: Path) -> None:
        shared = Places(tmp_path / "places", 1)
        assert not shared.are_wanted()
        first, second = shared.want(), shared.want()
        assert Places(tmp_path / "places", 1).are_wanted()
        first.close()
        assert shared.are_wanted()
        second.close()
        assert not shared.are_wanted()

    def test_a_process_that_is_killed_leaves_its_place(self, tmp_path: Path) -> None:
        shared = Places(tmp_path / "places", 1)
        pid = os.fork()
        if not pid:
            kept = shared.take()
            time.sleep(60 if kept else 0)
            os._exit(0)
        wait_until(lambda: _is_taken(shared))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert not _is_taken(shared)


def _is_taken(shared: Places) -> bool:
    """Say whether no place is left."""
    place = shared.take()
    if place is not None:
        place.close()
    return place is None
