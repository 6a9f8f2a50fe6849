"""How workers learn of a run: by a message that holds its id, where TASKS names a broker.

The row is what counts: a message that is lost, comes twice or cannot be sent changes nothing but
when the run begins. Workers of the built-in carrier look for themselves and need no message.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from django.conf import settings
from kombu import pools
from kombu.connection import Connection
from kombu.exceptions import KombuError
from kombu.messaging import Producer
from kombu.pidbox import Mailbox

from cases.queues import by_queue
from datamortem import celery

logger = logging.getLogger(__name__)

#: After a broker has not answered, nobody waits for it again for so many seconds.
_PAUSE: Final = 5.0
#: Runs asked for at once: SQLite bounds the number of parameters.
_AT_ONCE: Final = 500
#: Where Celery's workers listen for questions.
_mailbox: Final = Mailbox(
    "celery", type="fanout", accept=["json"], serializer="json", reply_queue_expires=10.0
)
_ONCE_MORE: Final = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}


class _Silence:
    """Remembers that the broker did not answer, for all threads of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}

    def holds(self, url: str) -> bool:
        """Whether the broker is not to be asked now."""
        with self._lock:
            return time.monotonic() < self._until.get(url, 0)

    def begin(self, url: str) -> None:
        """Ask it nothing for a while."""
        with self._lock:
            self._until[url] = time.monotonic() + _PAUSE


_silence = _Silence()


def has_broker() -> bool:
    """Whether messages carry runs to workers."""
    return bool(settings.TASKS != "builtin")


@lru_cache(maxsize=4)
def _broker(url: str) -> Connection:
    return celery.connection(url)


def _faults(broker: Connection) -> tuple[type[Exception], ...]:
    """Return the errors that mean that the broker does not answer."""
    return (*broker.connection_errors, *broker.channel_errors, KombuError, OSError)


def announce(run_ids: list[int]) -> int:
    """Send the ids of runs to the queues they wait in; return how many were sent.

    Never raises for a broker that is away: the rows are durable, and housekeeping sends again.
    """
    sent = 0
    if not has_broker() or not run_ids or _silence.holds(settings.TASKS):
        return sent
    broker = _broker(settings.TASKS)
    try:
        with pools.producers[broker].acquire(block=True, timeout=2) as producer:
            for start in range(0, len(run_ids), _AT_ONCE):
                for run_id, queue in by_queue(run_ids[start : start + _AT_ONCE]):
                    _send(producer, run_id, queue)
                    sent += 1
    except _faults(broker) as error:
        _silence.begin(settings.TASKS)
        logger.warning("The broker does not answer; runs are sent when it does: %s", type(error).__name__)
    return sent


def _send(producer: Producer, run_id: int, queue: str) -> None:
    celery.app.send_task(
        celery.MESSAGE,
        args=(run_id,),
        queue=queue,
        producer=producer,
        retry=True,
        retry_policy=_ONCE_MORE,
        ignore_result=True,
    )


def depth(queue: str) -> int | None:
    """Return how many messages wait in a queue of the broker; None when it does not answer."""
    if _silence.holds(settings.TASKS):
        return None
    broker = _broker(settings.TASKS)
    try:
        with pools.connections[broker].acquire(block=True, timeout=2) as held:
            return _count(held, queue)
    except _faults(broker) as error:
        _silence.begin(settings.TASKS)
        logger.warning("The broker does not answer: %s", type(error).__name__)
        return None


def _count(held: Connection, queue: str) -> int:
    """Make sure of the queue and return its size; asking alone fails where Redis keys have a prefix."""
    declared = held.default_channel.queue_declare(queue, durable=True, exclusive=False, auto_delete=False)
    return int(declared.message_count)


def ask(question: str, patience: float) -> frozenset[str] | None:
    """Return the names of the workers that answer within `patience` seconds; None without a broker."""
    if _silence.holds(settings.TASKS):
        return None
    broker = _broker(settings.TASKS)
    try:
        with pools.connections[broker].acquire(block=True, timeout=2) as held:
            answers = _mailbox(held).multi_call(question, timeout=patience)
    except _faults(broker) as error:
        _silence.begin(settings.TASKS)
        logger.warning("The broker does not answer: %s", type(error).__name__)
        return None
    return frozenset(_names(answers or []))


def _names(answers: list[Any]) -> Iterator[str]:
    """Yield what workers have said they are called; whoever reaches the broker may say anything."""
    for answer in answers:
        for said in answer.values() if isinstance(answer, dict) else ():
            name = said.get("worker") if isinstance(said, dict) else None
            if isinstance(name, str):
                yield name[:255]
