"""Who works on a run, and until when: the fence that keeps a lost worker from writing.

The clocks of all machines with workers must agree to within a few seconds (NTP).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.utils import timezone

from cases.models import Evidence, RunStatus, TaskRun

#: The tasks a worker of ours knows; rows that an older system left in the table are not touched.
READ: Final = "read_evidence"
INDEX_POSTED: Final = "index_posted"

#: So many workers may be lost over one run before it is given up.
MAX_ATTEMPTS: Final = 3

#: The ledger of a run that ended without success.
NOTHING_VISIBLE: Final = {"indexed": 0, "duplicate": 0, "rejected": 0, "undated": 0}


class LeaseLost(Exception):
    """Somebody else has the run now, or it is gone; nothing more may be written."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's hold on a run; good while the row carries this fence."""

    run_id: int
    fence: int
    worker: str
    attempt: int = 0

    @property
    def name(self) -> str:
        """A name that no other attempt has."""
        return f"{self.run_id}-{self.fence}"

    def row(self) -> QuerySet[TaskRun]:
        """Return the run as long as the claim is good, else nothing."""
        return TaskRun.objects.filter(pk=self.run_id, fence=self.fence, status=RunStatus.RUNNING)


def waiting() -> QuerySet[TaskRun]:
    """Return runs that can be claimed now, oldest first.

    One reading of an evidence at a time: two would write the same shard of the index.
    """
    now = timezone.now()
    others = TaskRun.objects.filter(
        evidence=OuterRef("evidence"), status=RunStatus.RUNNING, lease_until__gte=now
    ).exclude(pk=OuterRef("pk"))
    return (
        TaskRun.objects.claimable(now)
        .filter(~Exists(others), task_name__in=[READ, INDEX_POSTED])
        .filter(cancel_requested=False, attempt__lt=MAX_ATTEMPTS)
        .order_by("pk")
    )


def claim(run_id: int, *, worker: str) -> Claim | None:
    """Take a run that waits, or whose worker fell silent; None if it is not to be had."""
    now = timezone.now()
    with transaction.atomic():
        run = TaskRun.objects.filter(pk=run_id).values("evidence_id").first()
        if run is None:
            return None
        # Held so that two runs of one evidence are not claimed in the same moment.
        Evidence.objects.select_for_update(no_key=True).filter(evidence_uid=run["evidence_id"]).first()
        taken = (
            waiting()
            .filter(pk=run_id)
            .order_by()
            .update(
                status=RunStatus.RUNNING,
                fence=F("fence") + 1,
                attempt=F("attempt") + 1,
                worker=worker[:255],
                lease_until=now + timedelta(seconds=settings.RUN_LEASE),
                started_at_utc=now,
                ended_at_utc=None,
                progress=0,
                progress_message="Starting",
                error_message=None,
            )
        )
        if not taken:
            return None
        fence, attempt = TaskRun.objects.values_list("fence", "attempt").get(pk=run_id)
    return Claim(run_id=run_id, fence=fence, worker=worker, attempt=attempt)


def beat(held: Claim, **facts: Any) -> bool:
    """Extend the lease and write what is known; return whether a cancellation is asked for.

    Raises LeaseLost.
    """
    lease_until = timezone.now() + timedelta(seconds=settings.RUN_LEASE)
    if not held.row().update(lease_until=lease_until, **facts):
        raise LeaseLost
    return TaskRun.objects.filter(pk=held.run_id, cancel_requested=True).exists()


def hand_back(held: Claim) -> None:
    """Let another worker take the run at once, as if this attempt had not been.

    A run whose end somebody has asked for meanwhile ends as cancelled instead.
    """
    with transaction.atomic():
        run = held.row().select_for_update(no_key=True).first()
        if run is None:
            return
        if run.cancel_requested:
            facts = {"status": RunStatus.CANCELLED, "ended_at_utc": timezone.now(), **NOTHING_VISIBLE}
            held.row().update(lease_until=None, progress_message="Cancelled", **facts)
            return
        held.row().update(
            status=RunStatus.QUEUED,
            attempt=F("attempt") - 1,
            lease_until=None,
            worker="",
            progress=0,
            progress_message="Waiting to be read again",
        )


def let_go(held: Claim) -> bool:
    """End the lease at once, so that the run is read again; False if this was its last attempt."""
    row = held.row().filter(attempt__lt=MAX_ATTEMPTS)
    return bool(row.update(lease_until=timezone.now() - timedelta(seconds=1)))
