"""Scripts that analysts share, in the documented tables."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone


class CustomScript(models.Model):
    """A script that reads evidence; it runs only after approval."""

    name = models.CharField(unique=True)
    description = models.TextField(null=True, blank=True)
    language = models.CharField(default="python")
    python_version = models.CharField(default="3.11")
    requirements = models.TextField(null=True, blank=True)
    source_code = models.TextField()
    created_at_utc = models.DateTimeField(default=timezone.now)
    # Who wrote a script that read evidence stays known.
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="custom_scripts"
    )
    is_approved = models.BooleanField(default=False, db_index=True)
    published_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "custom_scripts"

    def __str__(self) -> str:
        return self.name


class UserScript(models.Model):
    """A script that a user has installed."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    script = models.ForeignKey(CustomScript, on_delete=models.CASCADE, related_name="assignments")
    installed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "user_scripts"

    def __str__(self) -> str:
        return f"{self.script_id} of {self.user_id}"
