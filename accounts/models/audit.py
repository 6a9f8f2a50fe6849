"""Who did what on the platform: added to and never edited."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NoReturn

from django.db import models
from django.utils import timezone


class AppendOnly(Exception):
    """Somebody tried to edit or remove what was recorded."""

    def __init__(self, *args: object) -> None:
        super().__init__("The audit record is added to, never edited; only what is too old goes.")


class AuditQuerySet(models.QuerySet["AuditEntry"]):
    """Reads entries, and refuses to edit or remove them."""

    def update(self, **kwargs: Any) -> NoReturn:
        """Refuse. Raises AppendOnly."""
        raise AppendOnly

    def delete(self) -> NoReturn:
        """Refuse. Raises AppendOnly."""
        raise AppendOnly

    def remove_before(self, moment: datetime) -> int:
        """Remove the entries before a moment and return how many; `audit.prune` alone calls this."""
        removed, _ = models.QuerySet.delete(self.filter(at__lt=moment).order_by())
        return removed


class AuditEntry(models.Model):
    """One act, or one attempt. Actor, session and token are kept as values: the entry outlives them."""

    class Outcome(models.TextChoices):
        """How it ended."""

        OK = "ok"
        REFUSED = "refused"

    at = models.DateTimeField(default=timezone.now, db_index=True)
    actor = models.CharField(max_length=255)
    user_id = models.IntegerField(null=True, blank=True, db_index=True)
    session_id = models.UUIDField(null=True, blank=True)
    token_id = models.IntegerField(null=True, blank=True)
    address = models.CharField(max_length=45, blank=True, default="")
    agent = models.CharField(max_length=200, blank=True, default="")
    request_id = models.CharField(max_length=64, blank=True, default="")
    action = models.CharField(max_length=64)
    outcome = models.CharField(max_length=16, choices=Outcome, default=Outcome.OK)
    target = models.CharField(max_length=255, blank=True, default="")
    case_id = models.CharField(max_length=255, blank=True, default="", db_index=True)
    details: models.JSONField[Any, Any] = models.JSONField(default=dict)

    objects = AuditQuerySet.as_manager()

    class Meta:
        db_table = "audit_entries"
        ordering = ["-pk"]
        verbose_name_plural = "audit entries"
        indexes = [models.Index(fields=["action", "at"], name="audit_by_action")]

    def __str__(self) -> str:
        return f"{self.action} by {self.actor}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Add the entry. Raises AppendOnly for one that is there already."""
        if not self._state.adding:
            raise AppendOnly
        super().save(*args, **{**kwargs, "force_insert": True})

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse. Raises AppendOnly."""
        raise AppendOnly
