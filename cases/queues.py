"""Which queue a run waits in, by the kind and size of its work.

A worker serves some of the queues, or all of them: what is small and urgent need not wait behind
what is large. Where a run waits is asked of the database, so that there is one rule for all.
"""

from __future__ import annotations

from typing import Final

from django.db.models import Case, CharField, Q, QuerySet, Value, When

from cases.leases import INDEX_POSTED
from cases.models import TaskRun

#: Posted events on their way into the index.
EVENTS: Final = "events"
#: Evidence, and posted events that are all read again.
READING: Final = "reading"
#: Evidence of LARGE_FROM bytes or more.
LARGE: Final = "large"
QUEUES: Final = (EVENTS, READING, LARGE)
LARGE_FROM: Final = 1024**3

_QUEUE: Final = Case(
    When(Q(task_name=INDEX_POSTED) & ~Q(options__has_key="all"), then=Value(EVENTS)),
    When(evidence__size__gte=LARGE_FROM, then=Value(LARGE)),
    default=Value(READING),
    output_field=CharField(),
)


def within(runs: QuerySet[TaskRun], queues: tuple[str, ...]) -> QuerySet[TaskRun]:
    """Return those of the runs that wait in one of the queues."""
    if set(queues) >= set(QUEUES):
        return runs
    return runs.alias(queue=_QUEUE).filter(queue__in=queues)


def by_queue(run_ids: list[int]) -> list[tuple[int, str]]:
    """Return each run of the table with its queue, oldest first."""
    found = TaskRun.objects.filter(pk__in=run_ids).order_by("pk").annotate(queue=_QUEUE)
    return list(found.values_list("pk", "queue"))
