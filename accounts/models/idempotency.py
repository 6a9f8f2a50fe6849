"""Answers kept under `Idempotency-Key`."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from accounts.models.user import User


class IdempotentAnswer(models.Model):
    """What a POST under an Idempotency-Key answered, to be answered again to its repetition."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    status = models.IntegerField(null=True, blank=True)
    body = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        db_table = "idempotent_answers"
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="a_key_once_for_a_user")]

    def __str__(self) -> str:
        return self.key
