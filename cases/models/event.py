"""Posted events: durable rows before, while and after they are indexed."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import User
from cases.models.analysis import RunStatus, TaskRun
from cases.models.case import Case


class EventQuerySet(models.QuerySet["Event"]):
    """Which posted events somebody may see, and which wait for the index."""

    def visible_to(self, user: User) -> Self:
        """Events of the cases the user sees."""
        return self.filter(case__in=Case.objects.visible_to(user))

    def searchable(self) -> Self:
        """Events that the index has."""
        return self.filter(Q(indexed_at__isnull=False) | Q(run__status=RunStatus.SUCCEEDED))


class Event(models.Model):
    """An event that came without a file. `raw` is the JSON as posted, `ts` its time as posted.

    The index has it once its run has succeeded; the row itself is not changed for that. In rows of
    earlier versions `indexed_at` says it.

    Events read from evidence files never pass through here: their truth is the file.
    """

    ts = models.CharField()
    source = models.CharField()
    message = models.TextField()
    host = models.CharField(null=True, blank=True)
    user = models.CharField(null=True, blank=True)
    tags = models.TextField(null=True, blank=True)
    score = models.IntegerField(null=True, blank=True)
    case = models.ForeignKey(
        Case, to_field="case_id", db_column="case_id", on_delete=models.CASCADE, related_name="events"
    )
    evidence_uid = models.CharField(null=True, blank=True, db_index=True)
    raw = models.TextField(null=True, blank=True)
    created_at_utc = models.DateTimeField(default=timezone.now)
    event_id = models.CharField(max_length=64, null=True, blank=True)
    indexed_at = models.DateTimeField(null=True, blank=True)
    run = models.ForeignKey(
        TaskRun, null=True, blank=True, on_delete=models.SET_NULL, related_name="posted_events"
    )

    objects = EventQuerySet.as_manager()

    class Meta:
        db_table = "events"
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["case", "event_id"], name="an_event_once_in_a_case"),
        ]

    def __str__(self) -> str:
        return f"posted event {self.pk}"
