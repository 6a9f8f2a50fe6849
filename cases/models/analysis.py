"""Readings of evidence: which module, which attempt, what became of every record."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounts.models import User
from cases.models.case import Case
from cases.models.evidence import Evidence


class AnalysisModule(models.Model):
    """A parser as the registry shows it; rows follow the code, `enabled` is the operator's."""

    name = models.CharField()
    description = models.TextField(null=True, blank=True)
    tool = models.CharField(null=True, blank=True)
    enabled = models.BooleanField(default=True)
    version = models.CharField(max_length=32, blank=True, default="", db_default="")

    class Meta:
        db_table = "analysis_modules"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class RunStatus(models.TextChoices):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TaskRunQuerySet(models.QuerySet["TaskRun"]):
    """Questions about runs."""

    def visible_to(self, user: User) -> Self:
        """Runs of the cases the user sees."""
        return self.filter(evidence__case__in=Case.objects.visible_to(user))

    def unfinished(self) -> Self:
        """Runs that wait or work."""
        return self.filter(status__in=[RunStatus.QUEUED, RunStatus.RUNNING])

    def claimable(self, at: datetime) -> Self:
        """Runs nobody works on: queued, or their worker fell silent before `at`."""
        return self.filter(Q(status=RunStatus.QUEUED) | Q(status=RunStatus.RUNNING, lease_until__lt=at))


class TaskRun(models.Model):
    """One reading, from queued to its end. `cases.runs` alone changes its state.

    `fence` grows with every claim: a worker that lost its lease can write nothing any more.
    A finished run balances: records_read = indexed + duplicate + rejected.
    """

    task_name = models.CharField()
    evidence = models.ForeignKey(
        Evidence,
        to_field="evidence_uid",
        db_column="evidence_uid",
        on_delete=models.CASCADE,
        related_name="task_runs",
    )
    status = models.CharField(default=RunStatus.QUEUED)
    progress_message = models.CharField(null=True, blank=True)
    started_at_utc = models.DateTimeField(null=True, blank=True)
    ended_at_utc = models.DateTimeField(null=True, blank=True)
    output_path = models.CharField(null=True, blank=True)
    error_message = models.TextField(null=True, blank=True)
    celery_task_id = models.CharField(null=True, blank=True, db_index=True)
    module = models.ForeignKey(
        AnalysisModule, null=True, blank=True, on_delete=models.SET_NULL, related_name="runs"
    )
    script = models.ForeignKey(
        "scripts_marketplace.CustomScript",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="runs",
    )
    created_at_utc = models.DateTimeField(default=timezone.now)
    attempt = models.IntegerField(default=0, db_default=0)
    fence = models.IntegerField(default=0, db_default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    worker = models.CharField(max_length=255, blank=True, default="", db_default="")
    progress = models.FloatField(default=0, db_default=0)
    records_read = models.BigIntegerField(default=0, db_default=0)
    indexed = models.BigIntegerField(default=0, db_default=0)
    duplicate = models.BigIntegerField(default=0, db_default=0)
    rejected = models.BigIntegerField(default=0, db_default=0)
    undated = models.BigIntegerField(default=0, db_default=0)
    index_retries = models.BigIntegerField(default=0, db_default=0)
    cancel_requested = models.BooleanField(default=False, db_default=False)
    idempotency_key = models.CharField(max_length=255, null=True, blank=True, unique=True)
    parser = models.CharField(max_length=64, blank=True, default="", db_default="")
    parser_version = models.CharField(max_length=32, blank=True, default="", db_default="")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    options: models.JSONField[Any, Any] = models.JSONField(
        default=dict, db_default=models.Value({}, models.JSONField()), blank=True
    )

    objects = TaskRunQuerySet.as_manager()

    class Meta:
        db_table = "task_run"
        ordering = ["-pk"]
        verbose_name = "run"
        constraints = [
            models.CheckConstraint(
                condition=~Q(status=RunStatus.SUCCEEDED)
                | Q(records_read=F("indexed") + F("duplicate") + F("rejected")),
                name="finished_runs_balance",
            ),
        ]
        indexes = [models.Index(fields=["status", "lease_until"], name="task_run_claimable")]

    def __str__(self) -> str:
        return f"run {self.pk}"

    @property
    def is_unfinished(self) -> bool:
        """Whether the run waits or works."""
        return self.status in (RunStatus.QUEUED, RunStatus.RUNNING)


class RejectedRecord(models.Model):
    """A record that was read and could not be indexed, with where and why. `raw` is bounded."""

    run = models.ForeignKey(TaskRun, on_delete=models.CASCADE, related_name="rejected_records")
    position = models.CharField(max_length=255)
    reason = models.TextField()
    raw = models.BinaryField(default=b"")

    class Meta:
        db_table = "rejected_records"
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.position
