"""Second factors as devices of django-otp."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django_otp.models import Device, ThrottlingMixin, TimestampMixin


class TotpDevice(TimestampMixin, ThrottlingMixin, Device):
    """An app that shows a new code every 30 seconds (RFC 6238).

    Its key is not here: it lies sealed in `users.otp_secret`.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="totp_devices"
    )
    last_t = models.BigIntegerField(default=-1)
    drift = models.SmallIntegerField(default=0)

    class Meta(Device.Meta):
        db_table = "totp_devices"
        constraints = [models.UniqueConstraint(fields=["user"], name="one_totp_device_a_user")]


class RecoveryDevice(TimestampMixin, ThrottlingMixin, Device):
    """A sheet of codes, each good once."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="recovery_devices"
    )

    class Meta(Device.Meta):
        db_table = "recovery_devices"
        constraints = [models.UniqueConstraint(fields=["user"], name="one_recovery_sheet_a_user")]


class RecoveryCode(models.Model):
    """A code that was not used yet, by its keyed digest."""

    device = models.ForeignKey(RecoveryDevice, on_delete=models.CASCADE, related_name="codes")
    digest = models.CharField(max_length=64)

    class Meta:
        db_table = "recovery_codes"
        constraints = [models.UniqueConstraint(fields=["device", "digest"], name="a_recovery_code_once")]

    def __str__(self) -> str:
        return f"recovery code {self.pk}"
