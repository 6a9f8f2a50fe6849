"""Evidence: what came in, and its hash. Its bytes never change."""

from __future__ import annotations

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import User
from cases.models.case import Case

#: The kind of the one evidence of a case that stands for events posted without a file.
POSTED = "posted"


class EvidenceQuerySet(models.QuerySet["Evidence"]):
    """Which evidence somebody may see."""

    def visible_to(self, user: User) -> Self:
        """Evidence of the cases the user sees."""
        return self.filter(case__in=Case.objects.visible_to(user))


class Evidence(models.Model):
    """A file as it arrived. `local_path` is the key of its bytes in the evidence store.

    `modified_at` is the file's own time of last change where it was known: the latest instant
    its content can speak of. `sealed_at` is when hash and size were taken and read back.
    """

    evidence_uid = models.CharField(unique=True)
    case = models.ForeignKey(
        Case, to_field="case_id", db_column="case_id", on_delete=models.CASCADE, related_name="evidences"
    )
    local_path = models.CharField(null=True, blank=True)
    added_at_utc = models.DateTimeField(default=timezone.now)
    sha256 = models.CharField(max_length=64, null=True, blank=True, db_index=True)
    size = models.BigIntegerField(null=True, blank=True)
    original_name = models.CharField(max_length=1024, blank=True, default="", db_default="")
    kind = models.CharField(max_length=64, blank=True, default="", db_default="")
    description = models.TextField(blank=True, default="", db_default="")
    host = models.CharField(max_length=255, blank=True, default="", db_default="")
    time_zone = models.CharField(max_length=64, default="UTC", db_default="UTC")
    clock_offset_seconds = models.FloatField(default=0, db_default=0)
    modified_at = models.DateTimeField(null=True, blank=True)
    sealed_at = models.DateTimeField(null=True, blank=True)
    added_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    objects = EvidenceQuerySet.as_manager()

    class Meta:
        db_table = "evidence"
        ordering = ["-pk"]
        verbose_name_plural = "evidence"
        constraints = [
            models.UniqueConstraint(fields=["case", "sha256"], name="same_bytes_once_in_a_case"),
            models.UniqueConstraint(
                fields=["case"], condition=Q(kind=POSTED), name="posted_events_are_one_evidence"
            ),
            models.CheckConstraint(
                condition=Q(sealed_at=None) | Q(sha256__isnull=False, size__gte=0), name="sealed_means_hashed"
            ),
        ]

    def __str__(self) -> str:
        return self.evidence_uid
