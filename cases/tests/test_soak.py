"""Many runs on several workers that are killed at random, on each carrier: exact in the end.

DATAMORTEM_RUNS and DATAMORTEM_KILLS say how many; `make test-soak` takes 200 and 50 on each database.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections import Counter
from contextlib import ExitStack
from functools import partial

import pytest
from pytest_django import Settings

from cases import runs, services
from cases.engines import engine
from cases.index.tree import Everything
from cases.models import Case, CustodyEntry, RejectedRecord, RunStatus, TaskRun
from cases.tests.broker import a_broker, needs_redis
from cases.tests.cast import a_case, actions, alice, ledger, receive
from cases.tests.worker_process import running, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hostile_parsers")]

RUNS = int(os.environ.get("DATAMORTEM_RUNS", "6"))
KILLS = int(os.environ.get("DATAMORTEM_KILLS", "50")) if "DATAMORTEM_RUNS" in os.environ else 1
WORKERS = 3 if RUNS > 50 else 2
LONGEST = 2000 if RUNS > 50 else 500
#: So many workers may be lost over one run: the kills are ours.
ATTEMPTS = 1000
PATIENCE = 60 + 12.0 * KILLS + 2.0 * RUNS


def test_every_run_ends_once_in_effect_on_the_built_in_carrier(settings: Settings) -> None:
    _soak(settings)


@needs_redis
def test_every_run_ends_once_in_effect_on_celery(settings: Settings) -> None:
    with a_broker() as broker:
        settings.TASKS = broker.url
        _soak(settings)


def _soak(settings: Settings) -> None:
    chance = random.Random(int.from_bytes(os.urandom(4)))
    case, posted = a_case(), 0
    sizes: dict[int, int] = {}
    failing: set[int] = set()
    for number in range(RUNS):
        size = chance.randint(100, LONGEST)
        run = receive(case, f"steady {size} {number}".encode()).run
        assert run is not None
        sizes[run.pk] = size
        if number % 20 == 3:
            bad = receive(case, f"segfault {number}".encode()).run
            assert bad is not None
            failing.add(bad.pk)
    with ExitStack() as stack:
        workers = [_begin(stack) for _ in range(WORKERS)]
        for number in range(KILLS):
            wait_until(partial(_have_ended, RUNS * number // (KILLS + 1)), seconds=PATIENCE)
            posted += _post(case, number)
            worker = wait_until(lambda: _busy(workers, chance), seconds=PATIENCE)
            time.sleep(chance.uniform(0, 0.6))
            worker.kill()
            worker.communicate()
            workers[workers.index(worker)] = _begin(stack)
        wait_until(lambda: not TaskRun.objects.unfinished().exists(), seconds=PATIENCE)
        for worker in workers:
            worker.terminate()
            _, err = worker.communicate(timeout=30)
            assert worker.returncode == 0, err
    _assert_exact(case, sizes, failing, posted)
    runs.sweep()
    assert list((settings.WORK_ROOT / "runs").glob("*")) == []


def _begin(stack: ExitStack) -> subprocess.Popen[str]:
    return stack.enter_context(running("worker", attempts=ATTEMPTS))


def _have_ended(number: int) -> bool:
    return TaskRun.objects.filter(status__in=[RunStatus.SUCCEEDED, RunStatus.FAILED]).count() >= number


def _busy(workers: list[subprocess.Popen[str]], chance: random.Random) -> subprocess.Popen[str] | None:
    """Return one of the workers that have a run in hand; any when nothing is left to do."""
    if not TaskRun.objects.unfinished().exists():
        return chance.choice(workers)
    held = TaskRun.objects.filter(status=RunStatus.RUNNING).values_list("worker", flat=True)
    numbers = {int(name.rpartition(":")[2]) for name in held}
    found = [worker for worker in workers if worker.pid in numbers]
    return chance.choice(found) if found else None


def _post(case: Case, number: int) -> int:
    events = [{"message": f"posted {number} {count}"} for count in range(10)]
    return services.post_events(case=case, by=alice(), events=events).accepted


def _assert_exact(case: Case, sizes: dict[int, int], failing: set[int], posted: int) -> None:
    for run_id, size in sizes.items():
        run = TaskRun.objects.get(pk=run_id)
        damages = size // 100
        assert run.status == RunStatus.SUCCEEDED
        assert ledger(run) == {
            "read": size + damages,
            "indexed": size,
            "duplicate": 0,
            "rejected": damages,
            "undated": size // 10,
        }
    assert set(TaskRun.objects.filter(pk__in=failing).values_list("status", flat=True)) <= {RunStatus.FAILED}
    assert RejectedRecord.objects.count() == sum(size // 100 for size in sizes.values())
    by_run = Counter(
        CustodyEntry.objects.filter(action="run.succeeded").values_list("details__run", flat=True)
    )
    succeeded = TaskRun.objects.filter(status=RunStatus.SUCCEEDED).values_list("pk", flat=True)
    assert by_run == Counter(succeeded)
    assert set(sizes) <= set(succeeded)
    found = Counter(
        (event["evidence_uid"], event["event_id"])
        for event in engine().stream(case_ids=[case.case_id], query=Everything())
    )
    assert set(found.values()) == {1}
    assert len(found) == sum(sizes.values()) + posted
    assert "run.failed" in actions(case) or not failing  # whose chain is intact
