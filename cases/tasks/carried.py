"""The worker of Celery: it hears of runs by messages, and shares all else with the built-in one.

A message is a hint and nothing more: what it names is claimed in the table, or it is passed over.
Work happens in threads that each supervise a child process.
"""

from __future__ import annotations

import logging
import threading
import time
import warnings
from contextlib import ExitStack
from typing import Any, Final

from celery import bootsteps, signals
from celery.concurrency.thread import TaskPool
from celery.platforms import SecurityWarning
from celery.worker import state
from celery.worker.control import inspect_command
from django.conf import settings
from django.db import InterfaceError, OperationalError, connections

from cases import carrier, runs
from cases.queues import QUEUES, within
from cases.tasks.builtin import Poller
from cases.tasks.housekeeping import Housekeeper
from cases.tasks.lanes import Lane, lanes
from cases.tasks.life import sign_of_life, worker_name
from datamortem.celery import MESSAGE, WHO, app

logger = logging.getLogger(__name__)

# It warns of pickle being read as root; messages are JSON, and evidence is read by child processes.
warnings.simplefilter("ignore", SecurityWarning)

_LARGEST_ID: Final = 2**31 - 1
_POLL: Final = 0.3


class Hands:
    """What a Celery worker of this process has in hand."""

    def __init__(self, room: tuple[Lane, Lane]) -> None:
        self.stop = threading.Event()
        self.queues = room[1].queues
        self.begun = 0
        self.busy = 0
        self._changed = threading.Condition()
        self._slots = room[1].slots
        self._poller = Poller(room[:1], self.stop)
        self._handed_back: set[int] = set()
        self._stack = ExitStack()
        self.keeper = Housekeeper()

    def open(self) -> None:
        """Begin to keep house and to look for posted events."""
        self._stack.enter_context(sign_of_life())
        self._stack.enter_context(self.keeper)
        if self._poller.room:
            thread = threading.Thread(target=self._poll, name="posted events")
            thread.start()
            self._stack.callback(thread.join)

    def _poll(self) -> None:
        """Look for posted events, in a thread with a database connection of its own."""
        try:
            self._poller.work()
        finally:
            connections.close_all()

    def close(self) -> None:
        """Hand back what is being read, and tell other workers of it."""
        self.stop.set()
        with self._changed:
            self._changed.wait_for(lambda: not self.busy)
        self._stack.close()
        carrier.announce(sorted(self._handed_back))
        connections.close_all()

    @property
    def all_begun(self) -> int:
        """How many runs were begun."""
        return self.begun + self._poller.begun

    def is_idle(self) -> bool:
        """Whether nothing is in hand, nothing waits, and the house is kept."""
        if self.busy or self._poller.is_busy() or not self.keeper.is_settled():
            return False
        return not within(runs.waiting(), self.queues).exists()

    def look_at(self, run_id: int) -> None:
        """Do a run if it is to be had and the worker is not about to end."""
        with self._changed:
            self._changed.wait_for(lambda: self.busy < self._slots or self.stop.is_set())
            self.busy += 1
        try:
            if not self.stop.is_set() and perform(run_id, self.stop):
                with self._changed:
                    self.begun += 1
                self._pass_on(run_id)
        except (OperationalError, InterfaceError):
            logger.warning("The database does not answer; the run is sent again when it does.")
        finally:
            connections.close_all()
            with self._changed:
                self.busy -= 1
                self._changed.notify_all()

    def _pass_on(self, run_id: int) -> None:
        """Send what can be begun now that this run has ended, or was handed back."""
        next_ones = list(runs.waiting().filter(evidence__task_runs=run_id).values_list("pk", flat=True))
        if self.stop.is_set():  # this worker would hear of it itself
            self._handed_back.update(next_ones)
        else:
            carrier.announce(next_ones)


def perform(run_id: int, stop: threading.Event) -> bool:
    """Claim a run and do it; False, with a line in the log, when it is not to be had."""
    held = runs.claim(run_id, worker=worker_name())
    if held is None:
        logger.info("Run %d is not to be had: it has ended, or another worker has it.", run_id)
        return False
    runs.perform(held, stop=stop)
    return True


@app.task(name=MESSAGE, ignore_result=True, typing=False)
def look_at(*args: object, **kwargs: object) -> None:
    """Look at the run that a message names. What names none is passed over."""
    run_id = args[0] if len(args) == 1 and not kwargs else None
    if type(run_id) is not int or not 0 < run_id <= _LARGEST_ID:
        logger.warning("A message that names no run was passed over.")
        return
    _here.hands.look_at(run_id)


class _Here:
    """The one Celery worker of this process."""

    hands: Hands


_here = _Here()


class Work(bootsteps.StartStopStep):
    """Opens the hands after the pool of threads is there, and closes them after the last message."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        if not carrier.has_broker():
            raise SystemExit(
                "TASKS=builtin needs no Celery: start `manage.py worker`, or set TASKS=redis://…"
            )
        if not issubclass(parent.pool_cls, TaskPool):
            raise SystemExit("Work happens in child processes: leave out --pool, or use --pool threads.")
        queues = tuple(name for name in QUEUES if name in parent.app.amqp.queues.consume_from)
        self._hands = Hands(
            lanes(parent.concurrency, queues, options.get("memory") or settings.WORKER_MEMORY)
        )

    def start(self, parent: Any) -> None:
        """Begin beside the messages."""
        _here.hands = self._hands
        self._hands.open()

    def stop(self, parent: Any) -> None:
        """End what is beside the messages; none comes any more."""
        self._hands.close()


app.steps["worker"].add(Work)


@signals.setup_logging.connect
def _keep_logging(**_: Any) -> None:
    """Leave logging as the settings have it: one JSON object a line."""


@inspect_command(name=WHO)
def _who(_: Any) -> dict[str, str]:
    """Say which worker this is."""
    return {"worker": worker_name()}


def work(*, concurrency: int, queues: tuple[str, ...], memory: int, once: bool) -> int:
    """Do runs that messages name until told to stop; return how many were begun.

    `once` ends when nothing waits. Must be called by the main thread: it takes SIGTERM and SIGINT.
    """
    room = lanes(concurrency, queues, memory)
    worker = app.Worker(
        hostname=f"datamortem@{worker_name()}",
        concurrency=room[1].slots,
        queues=",".join(queues),
        memory=memory,
        quiet=True,
    )
    if once:
        threading.Thread(target=_end_when_idle, daemon=True).start()
    worker.start()
    return _here.hands.all_begun


def _end_when_idle() -> None:
    """Have the worker stop, as by SIGTERM, as soon as there is nothing to do."""
    while not _is_idle():
        time.sleep(_POLL)
    state.should_stop = 0


def _is_idle() -> bool:
    try:
        return hasattr(_here, "hands") and _here.hands.is_idle()
    except (OperationalError, InterfaceError):
        return False
    finally:
        connections.close_all()  # nobody waits for this thread at the end
