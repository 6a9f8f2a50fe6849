"""One run, done by whoever calls: at once, or as soon as it can be had."""

from __future__ import annotations

import threading
import time
from typing import Final

from django.db import connections

from cases import runs
from cases.models import TaskRun
from cases.tasks.life import worker_name

_POLL: Final = 0.4
_SWEEP_EVERY: Final = 5.0


def perform_run(run_id: int, *, stop: threading.Event | None = None) -> bool:
    """Claim a run and do it; False when somebody else has it or there is nothing to do."""
    held = runs.claim(run_id, worker=worker_name())
    if held is None:
        return False
    runs.perform(held, stop=stop)
    return True


def see_through(run_id: int, stop: threading.Event) -> TaskRun:
    """See a run to its end, or to `stop`: do it, or wait for the worker that does."""
    swept = time.monotonic()
    try:
        while True:
            if not stop.is_set():
                perform_run(run_id, stop=stop)
            run = TaskRun.objects.get(pk=run_id)
            if not run.is_unfinished or stop.is_set():
                return run
            if time.monotonic() - swept > _SWEEP_EVERY:
                runs.sweep()
                swept = time.monotonic()
            stop.wait(_POLL)
    finally:
        connections.close_all()
