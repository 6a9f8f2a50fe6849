"""kill -9 at any moment, of whatever: exactly once in effect, with exact counts.

DATAMORTEM_KILLS sets how many are killed; without it up to 8, as many as 15 seconds allow.
`make test-kill` kills 200.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from cases import runs, services, store
from cases.engines import engine
from cases.models import Case, Evidence, RunStatus, TaskRun
from cases.tests.cast import a_case, actions, indexed, ledger, receive
from cases.tests.worker_process import children, running, start, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hostile_parsers")]

KILLS = int(os.environ.get("DATAMORTEM_KILLS", "8"))
SECONDS = 86_400 if "DATAMORTEM_KILLS" in os.environ else 15
ATTEMPTS = 1000
EVENTS = 3000


def _kill_worker(worker: subprocess.Popen[str]) -> None:
    worker.kill()


def _kill_child(worker: subprocess.Popen[str]) -> None:
    for pid in children(worker.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _kill_both(worker: subprocess.Popen[str]) -> None:
    _kill_child(worker)
    worker.kill()


def _assert_exact(case: Case, run: TaskRun, *, times: int = 1) -> None:
    """Read once in effect: the ledger is exact, and the index holds what the evidence says."""
    damages = EVENTS // 100
    assert ledger(run) == {
        "read": EVENTS + damages,
        "indexed": EVENTS,
        "duplicate": 0,
        "rejected": damages,
        "undated": EVENTS // 10,
    }
    assert run.status == RunStatus.SUCCEEDED
    assert run.rejected_records.count() == damages
    assert indexed(case) == sorted(f"line {number}" for number in range(1, EVENTS + 1))
    assert actions(case).count("run.succeeded") == times


def test_workers_and_reading_processes_killed_at_random_moments(settings) -> None:
    chance = random.Random(int.from_bytes(os.urandom(4)))
    case = a_case()
    run = receive(case, f"good {EVENTS}".encode()).run
    assert run is not None
    rounds, end = 1, time.monotonic() + SECONDS
    for _ in _until(end):
        with running("worker", attempts=ATTEMPTS) as worker:
            wait_until(partial(_reads_or_has_read, worker, run), seconds=30)
            time.sleep(chance.uniform(0, 0.9))
            chance.choice([_kill_worker, _kill_child, _kill_both])(worker)
        if _has_ended(run):
            _assert_exact(case, run, times=rounds)
            run = services.run_again(evidence=run.evidence, by=None)
            rounds += 1
    with running("worker", attempts=ATTEMPTS) as worker:
        wait_until(partial(_has_ended, run), seconds=30)
        worker.terminate()
        worker.wait()
    _assert_exact(case, run, times=rounds)
    runs.sweep()
    assert list((settings.WORK_ROOT / "runs").glob("*")) == []


def test_workers_killed_between_the_sealing_and_the_publishing(settings) -> None:
    """What is durable and invisible yet is made visible once, by this attempt or the next."""
    chance = random.Random(int.from_bytes(os.urandom(4)))
    case = a_case()
    run = receive(case, f"good {EVENTS}".encode()).run
    assert run is not None
    if not settings.SEARCH_URL.startswith("embedded"):
        pytest.skip("only the embedded index shows on the disk when it is sealed")
    rounds, end = 1, time.monotonic() + SECONDS / 3
    for _ in _until(end):
        known = set(settings.INDEX_ROOT.rglob("sealed.json"))
        with running("worker", attempts=ATTEMPTS) as worker:
            wait_until(partial(_sealed_beside, settings.INDEX_ROOT, known), seconds=30)
            time.sleep(chance.uniform(0, 0.01))
            chance.choice([_kill_worker, _kill_child, _kill_both])(worker)
        if _has_ended(run):
            _assert_exact(case, run, times=rounds)
            run = services.run_again(evidence=run.evidence, by=None)
            rounds += 1
    with running("worker", attempts=ATTEMPTS) as worker:
        wait_until(partial(_has_ended, run), seconds=30)
        worker.terminate()
        worker.wait()
    _assert_exact(case, run, times=rounds)
    assert engine().sweep(case_id=case.case_id, keep=[run.evidence_id]) == []


def _sealed_beside(index: Path, known: set[Path]) -> set[Path]:
    return set(index.rglob("sealed.json")) - known


def _until(end: float) -> Iterator[int]:
    for number in range(KILLS):
        if time.monotonic() > end:
            return
        yield number


def _reads_or_has_read(worker: subprocess.Popen[str], run: TaskRun) -> bool:
    assert worker.poll() is None, worker.stderr.read() if worker.stderr else ""
    return bool(children(worker.pid)) or _has_ended(run)


def _has_ended(run: TaskRun) -> bool:
    run.refresh_from_db()
    return not run.is_unfinished


def test_an_ingest_killed_at_random_moments_is_finished_by_the_next(settings, tmp_path: Path) -> None:
    chance = random.Random(int.from_bytes(os.urandom(4)))
    content = tmp_path / "good.log"
    content.write_bytes(f"good {EVENTS}".encode())
    big = tmp_path / "big.bin"
    big.write_bytes(b"breaking 5" + b"\n" + b"\0" * 60_000_000)
    for _ in _until(time.monotonic() + SECONDS / 3):
        process = start("ingest", "ir-1", content, big, "--create", attempts=ATTEMPTS)
        time.sleep(chance.uniform(0.6, 2.2))
        process.kill()
        process.communicate()
    with running("ingest", "ir-1", content, big, "--create", attempts=ATTEMPTS) as last:
        _, err = last.communicate(timeout=60)
    assert last.returncode == 0, err
    case = Case.objects.get()
    assert Evidence.objects.count() == 2
    done = {run.parser: run for run in TaskRun.objects.filter(status=RunStatus.SUCCEEDED)}
    assert ledger(done["good"])["indexed"] == EVENTS
    assert ledger(done["breaking"])["indexed"] == 5
    assert len(indexed(case)) == len(set(indexed(case))) + 4 == EVENTS + 5  # lines 1 to 4 are in both
    assert not TaskRun.objects.unfinished().exists()
    for evidence in Evidence.objects.all():
        assert store.matches(evidence.local_path, evidence.sha256)
    _assert_drafts_are_swept(settings)


def _assert_drafts_are_swept(settings) -> None:
    drafts = list((settings.EVIDENCE_ROOT / "incoming").iterdir())
    long_ago = time.time() - 3600
    for draft in drafts:
        os.utime(draft, (long_ago, long_ago))
    assert store.sweep() == len(drafts)


def test_a_worker_killed_in_the_middle_is_followed_by_another_within_its_lease() -> None:
    case = a_case()
    run = receive(case, b"slow 1500").run
    assert run is not None
    with running("worker") as worker:
        wait_until(lambda: children(worker.pid))
        worker.kill()
    killed = time.monotonic()
    assert runs.claim(run.pk, worker="another") is None  # its lease holds
    with running("worker"):
        wait_until(lambda: _has_ended(run))
    assert time.monotonic() - killed < 2 + 10
    assert (run.status, run.attempt, len(indexed(case))) == (RunStatus.SUCCEEDED, 2, 1500)
