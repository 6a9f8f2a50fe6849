"""The doors through which runs reach a worker: look at run N, or look for any.

The built-in worker polls the table. It needs no broker, and what it is doing is in the rows: a
worker that dies is found by its lapsed leases. Mail that waits goes out beside the runs.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections, connections

from accounts import mail, upkeep
from cases import runs
from cases.models import TaskRun

logger = logging.getLogger(__name__)

_POLL: Final = 0.4
_SWEEP_EVERY: Final = 5.0
_UPKEEP_EVERY: Final = 3600.0
_BEAT_EVERY: Final = 2.0
#: A worker that has said nothing for so many seconds is taken for gone.
_SILENCE: Final = 15.0


@dataclass(frozen=True, slots=True)
class WorkerState:
    """Whether any worker is at work, and what to tell the operator."""

    alive: bool
    workers: int
    detail: str


def worker_name() -> str:
    """Return a name for this process that the logs of a machine can be searched for."""
    return f"{socket.gethostname()}:{os.getpid()}"


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


def work(*, concurrency: int = 1, once: bool = False, stop: threading.Event | None = None) -> int:
    """Do runs, oldest first, until `stop`; return how many were begun.

    `once` ends when nothing waits. On `stop` what is being read goes back to the queue.
    """
    worker = _Worker(concurrency, stop or threading.Event())
    with (
        _sign_of_life(),
        ThreadPoolExecutor(concurrency, "run") as pool,
        ThreadPoolExecutor(1, "mail") as postman,
    ):
        return worker.loop(pool, postman, once=once)


class _Worker:
    """The loop of one worker process; each slot supervises one child."""

    def __init__(self, concurrency: int, stop: threading.Event) -> None:
        self.concurrency = concurrency
        self.stop = stop
        self.busy: set[Future[None]] = set()
        self.mailing: Future[int] | None = None
        self.begun = 0
        self.swept = 0.0
        self.kept_up: float | None = None

    def loop(self, pool: ThreadPoolExecutor, postman: ThreadPoolExecutor, *, once: bool) -> int:
        """Begin runs until told to stop; return how many."""
        while not self.stop.is_set():
            self.busy = {future for future in self.busy if not future.done()}
            try:
                began = self._fill(pool)
                mailing = self._send_mail(postman)
            except (OperationalError, InterfaceError):
                logger.warning("The database does not answer; the worker tries again.")
                began = mailing = False
            close_old_connections()
            if once and not began and not mailing and not self.busy:
                break
            if not began:
                self._rest()
        return self.begun

    def _rest(self) -> None:
        """Pause until a slot may be free or something new may wait."""
        if self.busy:
            wait(self.busy, timeout=_POLL, return_when=FIRST_COMPLETED)
        else:
            self.stop.wait(_POLL)

    def _send_mail(self, postman: ThreadPoolExecutor) -> bool:
        """Have the mail sent that is due, beside the runs; say whether any is on its way."""
        if self.mailing is not None and not self.mailing.done():
            return True
        if self.mailing is not None and (error := self.mailing.exception()):
            logger.error("A mail could not be made; it is tried again.", exc_info=error)
        self.mailing = postman.submit(_deliver, self.stop) if mail.due().exists() else None
        return self.mailing is not None

    def _fill(self, pool: ThreadPoolExecutor) -> bool:
        """Begin what there is a free slot for; say whether anything began."""
        if time.monotonic() - self.swept >= _SWEEP_EVERY:
            runs.sweep()
            self.swept = time.monotonic()
        if self.kept_up is None or time.monotonic() - self.kept_up >= _UPKEEP_EVERY:
            upkeep.keep_up()
            self.kept_up = time.monotonic()
        free = self.concurrency - len(self.busy)
        if free <= 0:
            return False
        begun = self.begun
        for run_id in list(runs.waiting().values_list("pk", flat=True)[: 4 * free]):
            if self.begun - begun == free:
                break
            if held := runs.claim(run_id, worker=worker_name()):
                self.busy.add(pool.submit(_perform, held, self.stop))
                self.begun += 1
        return self.begun > begun


def _perform(held: runs.Claim, stop: threading.Event) -> None:
    """Do a run in a thread of the pool, with a database connection of its own."""
    try:
        runs.perform(held, stop=stop)
    finally:
        connections.close_all()


def _deliver(stop: threading.Event) -> int:
    """Send mail in a thread, with a database connection of its own."""
    try:
        return mail.deliver_due(stop=stop)
    finally:
        connections.close_all()


@contextmanager
def _sign_of_life() -> Iterator[None]:
    """Keep a file fresh while this worker lives."""
    place: Path = settings.WORK_ROOT / "workers" / f"{uuid.uuid4().hex}.json"
    for directory in (settings.WORK_ROOT, place.parent):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in _silent(place.parent):
        old.unlink(missing_ok=True)
    place.write_text(json.dumps({"worker": worker_name()}), "utf-8")
    gone = threading.Event()
    thread = threading.Thread(target=_keep_fresh, args=(place, gone), daemon=True)
    thread.start()
    try:
        yield
    finally:
        gone.set()
        thread.join()
        place.unlink(missing_ok=True)


def _keep_fresh(place: Path, gone: threading.Event) -> None:
    while not gone.wait(_BEAT_EVERY):
        place.touch()


def _silent(directory: Path) -> list[Path]:
    return [place for place in directory.glob("*.json") if not _is_fresh(place)]


def _is_fresh(place: Path) -> bool:
    try:
        return time.time() - place.stat().st_mtime < _SILENCE
    except FileNotFoundError:
        return False


def worker_state() -> WorkerState:
    """Say whether a worker of this installation is alive."""
    fresh = [place for place in (settings.WORK_ROOT / "workers").glob("*.json") if _is_fresh(place)]
    if fresh:
        return WorkerState(True, len(fresh), f"{len(fresh)} at work")
    return WorkerState(False, 0, "no worker runs: start one with `manage.py worker`")
