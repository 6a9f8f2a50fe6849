"""What bounds and switches: counters of attempts, feature flags, quotas."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone


class RequestCounter(models.Model):
    """How often something was tried since the first time, until `expires_at`."""

    key = models.CharField(primary_key=True, max_length=100)
    n = models.IntegerField(default=0)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "request_counters"

    def __str__(self) -> str:
        return self.key


class FeatureFlag(models.Model):
    """A part of the platform that was switched; without a row it is on."""

    key = models.CharField(max_length=64, unique=True)
    enabled = models.BooleanField(default=True)
    description = models.TextField(blank=True, default="")
    updated_at = models.DateTimeField(default=timezone.now)
    updated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        db_table = "platform_flags"  # "feature_flags" is a table of the old system's later versions
        ordering = ["key"]

    def __str__(self) -> str:
        return self.key


class UserQuota(models.Model):
    """What one user may use, where it differs from the settings. Null: as the settings say; 0: no bound."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="quota")
    storage = models.BigIntegerField(null=True, blank=True)
    running_jobs = models.IntegerField(null=True, blank=True)

    class Meta:
        db_table = "user_quotas"

    def __str__(self) -> str:
        return f"quota of {self.user_id}"
