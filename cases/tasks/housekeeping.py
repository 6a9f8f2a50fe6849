"""What workers do beside runs, in one of them at a time.

Runs that fell silent are ended or sent again, mail that waits goes out, what has expired goes, and
what the layers above have asked for (settings.CHORES) is done. Each is done in a thread of its own,
so that a mail server that says nothing holds up nothing else; and each may be done twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections, connections
from django.utils.module_loading import import_string

from accounts import mail, upkeep
from cases import carrier, runs
from cases.queues import QUEUES, within
from cases.tasks.office import TERM, Office

logger = logging.getLogger(__name__)

_TICK: Final = 0.4
_SWEEP_EVERY: Final = 5.0
_UPKEEP_EVERY: Final = 3600.0
#: Waiting runs that are looked at for one sending.
_SENT_AT_ONCE: Final = 1000


@dataclass(slots=True)
class Chore:
    """Something to do every so many seconds, or as soon as it is `wanted`."""

    name: str
    do: Callable[[], object]
    every: float
    wanted: Callable[[], bool] | None = None
    begun: float | None = None
    current: Future[object] | None = None

    def is_due(self) -> bool:
        """Whether it is to be done now."""
        if self.current is not None and not self.current.done():
            return False
        if self.begun is not None and time.monotonic() - self.begun < self.every:
            return False
        return self.wanted is None or self.wanted()

    def is_settled(self) -> bool:
        """Whether it was done, or there is nothing to do."""
        if self.current is not None and not self.current.done():
            return False
        return self.begun is not None if self.wanted is None else not self.wanted()

    def end(self) -> None:
        """Tell of an error of the last time."""
        if self.current is not None and self.current.done():
            if error := self.current.exception():
                logger.error("Housekeeping (%s) failed; it is tried again.", self.name, exc_info=error)
            self.current = None


class Housekeeper:
    """Keeps house while its context is open, whenever no other worker does."""

    def __init__(self) -> None:
        self._gone = threading.Event()
        self._office = Office()
        self._renewed: float | None = None
        self._holds = False
        self._settled = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)
        self._chores = [
            Chore("sweep", runs.sweep, _SWEEP_EVERY),
            Chore("messages", send_again, _SWEEP_EVERY),
            Chore("mail", self._deliver, _TICK, wanted=mail.due().exists),
            Chore("upkeep", upkeep.keep_up, _UPKEEP_EVERY),
            *(Chore(path, import_string(path), every) for path, every in settings.CHORES.items()),
        ]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gone.set()
        self._thread.join()

    def is_settled(self) -> bool:
        """Whether everything was looked at once and nothing is left to do, or another worker sees to it."""
        return self._settled.is_set()

    def _run(self) -> None:
        try:
            with ThreadPoolExecutor(len(self._chores), "chore") as pool:
                while not self._gone.wait(0 if self._renewed is None else _TICK):
                    self._turn(pool)
            self._leave()
        finally:
            connections.close_all()

    def _turn(self, pool: ThreadPoolExecutor) -> None:
        try:
            self._take_office()
            settled = self._holds or self._office.is_kept()
            for chore in self._chores if self._holds else []:
                chore.end()
                if chore.is_due():
                    chore.begun, chore.current = time.monotonic(), pool.submit(_do, chore.do)
                settled = chore.is_settled() and settled
        except (DatabaseError, InterfaceError):
            logger.warning("The database does not answer; housekeeping tries again.")
            self._holds = settled = False
        close_old_connections()
        if settled:
            self._settled.set()
        else:
            self._settled.clear()

    def _take_office(self) -> None:
        now = time.monotonic()
        if self._renewed is None or now - self._renewed >= (TERM / 3 if self._holds else TERM / 6):
            self._renewed = now
            self._holds = self._office.hold()

    def _leave(self) -> None:
        try:
            self._office.leave()
        except (DatabaseError, InterfaceError):
            logger.warning("The database does not answer; another worker keeps house in some seconds.")

    def _deliver(self) -> int:
        return mail.deliver_due(stop=self._gone)


def _do(chore: Callable[[], object]) -> object:
    """Do a chore in a thread, with a database connection of its own."""
    try:
        return chore()
    finally:
        connections.close_all()


def send_again() -> int:
    """Send the ids of runs that wait and that the broker seems not to have; return how many.

    It has lost some when it holds fewer messages than runs wait. Those that wait longest are sent;
    messages that are there twice are found out by whoever reads them second.
    """
    if not carrier.has_broker():
        return 0
    sent = 0
    for queue in QUEUES:
        waiting = within(runs.waiting(), (queue,))
        ids = list(waiting.values_list("pk", flat=True)[:_SENT_AT_ONCE])
        held = carrier.depth(queue) if ids else None
        if held is not None:
            sent += carrier.announce(ids[: max(len(ids) - held, 0)])
    return sent
