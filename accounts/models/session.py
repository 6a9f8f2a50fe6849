"""Sign-ins: one row each, from the password to the end, whatever ends it."""

from __future__ import annotations

import uuid
from typing import Self

from django.conf import settings
from django.db import models
from django.utils import timezone


class SessionQuerySet(models.QuerySet["AuthSession"]):
    """Questions about sign-ins."""

    def live(self) -> Self:
        """Sign-ins that were neither ended nor have expired."""
        return self.filter(revoked_at=None, expires_at__gt=timezone.now())


class AuthSession(models.Model):
    """One sign-in: a family of refresh tokens, or a browser's session.

    `refresh_jti` is the id of the one refresh token that is good; `previous_jti` the one it
    replaced. Tokens themselves are never stored. `epoch` is the user's `token_epoch` at the time.
    """

    class Method(models.TextChoices):
        """What carries the sign-in."""

        API = "api"
        BROWSER = "browser"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="auth_sessions")
    method = models.CharField(max_length=16, choices=Method, default=Method.API)
    epoch = models.IntegerField()
    auth_time = models.DateTimeField(default=timezone.now)
    otp_time = models.DateTimeField(null=True, blank=True)
    refresh_jti = models.CharField(max_length=32, blank=True, default="")
    previous_jti = models.CharField(max_length=32, blank=True, default="")
    rotated_at = models.DateTimeField(default=timezone.now)
    created_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_reason = models.CharField(max_length=40, blank=True, default="")
    address = models.CharField(max_length=45, blank=True, default="")
    agent = models.CharField(max_length=200, blank=True, default="")

    objects = SessionQuerySet.as_manager()

    class Meta:
        db_table = "auth_sessions"
        ordering = ["-created_at"]
        verbose_name = "sign-in"
        indexes = [models.Index(fields=["expires_at"], name="auth_sessions_expire")]

    def __str__(self) -> str:
        return str(self.pk)


class SpentChallenge(models.Model):
    """A challenge between password and second factor that was used; who inserts the row has it."""

    jti = models.CharField(primary_key=True, max_length=32)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "spent_challenges"

    def __str__(self) -> str:
        return self.jti


class PasswordReset(models.Model):
    """A way to a new password that was mailed to somebody. Only the digest of its token is kept."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(db_index=True)
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "password_resets"

    def __str__(self) -> str:
        return f"reset of {self.user_id}"
