"""The built-in worker: it polls the table, and needs no broker."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Final

from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections, connections

from cases import runs
from cases.queues import QUEUES, within
from cases.tasks.housekeeping import Housekeeper
from cases.tasks.lanes import Lane, lanes
from cases.tasks.life import sign_of_life, worker_name

logger = logging.getLogger(__name__)

_POLL: Final = 0.4


def work(
    *,
    concurrency: int = 1,
    queues: tuple[str, ...] = QUEUES,
    memory: int | None = None,
    once: bool = False,
    stop: threading.Event | None = None,
) -> int:
    """Do runs of the queues, oldest first, until `stop`; return how many were begun.

    `once` ends when nothing waits. On `stop` what is being read goes back to the queue. `memory`
    bounds what is in flight (bytes; None: as WORKER_MEMORY says). Raises TooMuch.
    """
    room = lanes(concurrency, queues, settings.WORKER_MEMORY if memory is None else memory)
    with sign_of_life(), Housekeeper() as keeper:
        return Poller(room, stop or threading.Event()).work(keeper.is_settled if once else None)


class Poller:
    """Looks for runs and does them, as many at once as its lanes have slots; each supervises a child."""

    def __init__(self, room: tuple[Lane, ...], stop: threading.Event) -> None:
        self.room = [lane for lane in room if lane.slots]
        self.stop = stop
        self.begun = 0

    def work(self, may_end: Callable[[], bool] | None = None) -> int:
        """Begin runs until told to stop, or until nothing waits and it may end; return how many."""
        with ThreadPoolExecutor(sum(lane.slots for lane in self.room), "run") as pool:
            while not self.stop.is_set():
                try:
                    began = sum(self._fill(lane, pool) for lane in self.room) > 0
                except (OperationalError, InterfaceError):
                    logger.warning("The database does not answer; the worker tries again.")
                    began = False
                close_old_connections()
                if not began and may_end is not None and not self.is_busy() and may_end():
                    break
                if not began:
                    self._rest()
        return self.begun

    def is_busy(self) -> bool:
        return any(lane.busy for lane in self.room)

    def _rest(self) -> None:
        """Pause until a slot may be free or something new may wait."""
        if busy := set().union(*(lane.busy for lane in self.room)):
            wait(busy, timeout=_POLL, return_when=FIRST_COMPLETED)
        else:
            self.stop.wait(_POLL)

    def _fill(self, lane: Lane, pool: ThreadPoolExecutor) -> bool:
        """Begin what there is a free slot for; say whether anything began."""
        free = lane.free()
        if free <= 0:
            return False
        begun = self.begun
        for run_id in list(within(runs.waiting(), lane.queues).values_list("pk", flat=True)[: 4 * free]):
            if self.begun - begun == free or self.stop.is_set():
                break
            if held := runs.claim(run_id, worker=worker_name()):
                lane.busy.add(pool.submit(_perform, held, self.stop))
                self.begun += 1
        return self.begun > begun


def _perform(held: runs.Claim, stop: threading.Event) -> None:
    """Do a run in a thread of the pool, with a database connection of its own."""
    try:
        runs.perform(held, stop=stop)
    finally:
        connections.close_all()
