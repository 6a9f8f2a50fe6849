"""How many runs a worker has in flight, and of which queues: bounded by number and by memory."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field

from django.conf import settings

from cases.queues import EVENTS
from datamortem.common.errors import Invalid


class TooMuch(Invalid):
    """Not even one reading fits into the memory that the worker may have."""

    code = "too_much_memory"


@dataclass(slots=True)
class Lane:
    """Slots for runs of some queues, and what is in them."""

    queues: tuple[str, ...]
    slots: int
    busy: set[Future[None]] = field(default_factory=set)

    def free(self) -> int:
        """Return how many slots are free."""
        self.busy = {future for future in self.busy if not future.done()}
        return self.slots - len(self.busy)


def lanes(concurrency: int, queues: tuple[str, ...], memory: int) -> tuple[Lane, Lane]:
    """Return the lane of posted events alone, and the lane of everything.

    Posted events have one slot beside the others, so that they never wait behind evidence; a worker
    of one queue has none. `memory` (bytes, 0: no bound) is what all readings together may take, by
    RUN_MEMORY each. Raises TooMuch.
    """
    own = int(EVENTS in queues and len(queues) > 1)
    if memory:
        room = memory // settings.RUN_MEMORY
        if room < 1:
            raise TooMuch(
                f"One reading may take {settings.RUN_MEMORY / 1024**3:.1f} GB (RUN_MEMORY), this worker "
                f"{memory / 1024**3:.1f} GB (--memory, WORKER_MEMORY): raise the one or lower the other."
            )
        concurrency = min(concurrency, max(room - own, 1))
        own = min(own, room - concurrency)
    return Lane((EVENTS,), own), Lane(queues, concurrency)
