"""Mail that waits for the worker."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class OutgoingMail(models.Model):
    """A mail to be made and sent. `sealed` holds what it speaks of, and goes when it is sent.

    Tokens are made when it is sent, so that none ever lies here.
    """

    kind = models.CharField(max_length=40)
    recipient = models.CharField(max_length=320)
    locale = models.CharField(max_length=16, blank=True, default="")
    sealed = models.TextField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField(default=timezone.now)
    attempts = models.IntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True, default="")

    class Meta:
        db_table = "outgoing_mail"
        ordering = ["pk"]
        indexes = [
            models.Index(
                fields=["due_at"],
                name="mail_that_waits",
                condition=models.Q(sent_at=None, failed_at=None),
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"
