"""How far this installation is behind: what waits, for how long, and what nobody works on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Min
from django.utils import timezone

from cases import staging
from cases.leases import INDEX_POSTED, READ
from cases.models import Erasure, RunStatus, TaskRun


@dataclass(frozen=True, slots=True)
class Lag:
    """What waits. Ages in whole seconds, 0 where nothing waits.

    `lapsed_runs` are being done by a worker that fell silent, `waiting_events` are posted events
    that no search finds yet, `erasures` texts that were deleted and have not left the disk.
    """

    waiting_runs: int
    oldest_run_seconds: int
    lapsed_runs: int
    waiting_events: int
    erasures: int
    oldest_erasure_seconds: int


def lag() -> Lag:
    """Ask the database; each question goes by an index, and most by what runs say of themselves."""
    now = timezone.now()
    ours = TaskRun.objects.filter(task_name__in=[READ, INDEX_POSTED])
    runs = ours.filter(status=RunStatus.QUEUED).aggregate(number=Count("pk"), oldest=Min("created_at_utc"))
    due = Erasure.objects.filter(erased_at=None).aggregate(number=Count("pk"), oldest=Min("requested_at"))
    return Lag(
        waiting_runs=runs["number"],
        oldest_run_seconds=_age(runs["oldest"], now),
        lapsed_runs=ours.filter(status=RunStatus.RUNNING, lease_until__lt=now).count(),
        waiting_events=staging.waiting_everywhere(),
        erasures=due["number"],
        oldest_erasure_seconds=_age(due["oldest"], now),
    )


def _age(since: datetime | None, now: datetime) -> int:
    return max(0, int((now - since).total_seconds())) if since else 0
