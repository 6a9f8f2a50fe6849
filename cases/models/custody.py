"""The record of who did what to a case: a chain of hashes, added to and never edited."""

from __future__ import annotations

from typing import Any, Self

from django.conf import settings
from django.db import models
from django.utils import timezone

from accounts.models import User
from cases.models.case import Case


class CustodyQuerySet(models.QuerySet["CustodyEntry"]):
    """Which entries somebody may read."""

    def visible_to(self, user: User) -> Self:
        """Entries of the cases the user sees; admins also see those of deleted cases."""
        if not user.is_platform_admin:
            return self.filter(case_id__in=Case.objects.visible_to(user).values("case_id"))
        found = self.exclude(case_id__in=Case.objects.barred_to(user).values("case_id"))
        return found if user.bound_cases is None else found.filter(case_id__in=user.bound_cases)


class CustodyEntry(models.Model):
    """One act. `hash` covers its content and the hash before it (see `cases.custody`).

    Case, evidence and actor are kept as text: the record outlives what it speaks of.
    """

    case_id = models.CharField(max_length=255)
    sequence = models.IntegerField()
    at = models.DateTimeField(default=timezone.now)
    actor = models.CharField(max_length=255)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    action = models.CharField(max_length=64)
    evidence_uid = models.CharField(max_length=255, blank=True, default="")
    details: models.JSONField[Any, Any] = models.JSONField(default=dict)
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    objects = CustodyQuerySet.as_manager()

    class Meta:
        db_table = "custody_entries"
        ordering = ["case_id", "sequence"]
        verbose_name_plural = "custody entries"
        constraints = [
            models.UniqueConstraint(fields=["case_id", "sequence"], name="custody_is_one_chain"),
        ]

    def __str__(self) -> str:
        return f"{self.case_id} #{self.sequence} {self.action}"
