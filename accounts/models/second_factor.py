"""Second factors as devices of django-otp.

Codes are checked through `django_otp.verify_token()` alone, which locks the row of the device:
without the lock, one code is accepted several times at once.
"""

from __future__ import annotations

from base64 import b32decode
from time import time
from typing import Any, ClassVar, Final

from django.conf import settings
from django.db import models
from django_otp.models import Device, ThrottlingMixin, TimestampMixin
from django_otp.oath import TOTP

from accounts.sealing import keyed_digest, unseal

#: Seconds a code lives, its length, and how many codes before and after the present one count.
PERIOD: Final = 30
DIGITS: Final = 6
TOLERANCE: Final = 1
#: A clock that is off by more than this many periods is not followed further.
_FURTHEST: Final = 20


def key_of(secret: str) -> bytes:
    """Return the key that a text in Base32 spells, in any case, padded or not. Raises ValueError."""
    bare = secret.replace(" ", "").rstrip("=")
    return b32decode(bare + "=" * (-len(bare) % 8), casefold=True)


def is_totp(code: str) -> bool:
    """Whether a code has the shape of those that an app shows."""
    return len(code) == DIGITS and code.isascii() and code.isdecimal()


class Throttled(ThrottlingMixin):  # type: ignore[misc]  # the library has no types
    """Two wrong codes cost nothing; after each further one the wait doubles, up to 34 minutes.

    So a thousand guesses in an hour come down to twelve, and nobody is kept out for ever.
    """

    FREE: Final = 2
    MOST: Final = 12

    throttling_failure_count: int

    class Meta:
        abstract = True

    def get_throttle_factor(self) -> int:
        """Return the seconds that the doubling begins with."""
        return 1

    def verify_is_allowed(self) -> tuple[bool, dict[str, Any] | None]:
        """Return whether a code would be looked at now, and if not, until when."""
        if self.throttling_failure_count <= self.FREE:
            return True, None
        answer: tuple[bool, dict[str, Any] | None] = super().verify_is_allowed()
        return answer

    def throttle_increment(self, commit: bool = True) -> None:
        """Count a wrong code."""
        super().throttle_increment(commit=False)
        self.throttling_failure_count = min(self.throttling_failure_count, self.MOST)
        if commit:
            self.save()

    def _accepted(self) -> bool:
        """Note a right code, with whatever else changed of the device."""
        self.throttle_reset(commit=False)
        self.set_last_used_timestamp(commit=False)
        self.save()
        return True

    def _refused(self) -> bool:
        self.throttle_increment()
        return False


class TotpDevice(TimestampMixin, Throttled, Device):  # type: ignore[misc]
    """An app that shows a new code every 30 seconds (RFC 6238).

    Its key is not here: it lies sealed in `users.otp_secret`. `last_t` is the period of the last
    accepted code, `drift` by how many periods the app's clock is ahead of ours.
    """

    _default_manager: ClassVar[models.Manager[TotpDevice]]  # the library has no types
    # Named, because a device of the library has the same name.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="totp_devices")
    last_t = models.BigIntegerField(default=-1)
    drift = models.SmallIntegerField(default=0)

    class Meta:
        db_table = "totp_devices"
        constraints = [models.UniqueConstraint(fields=["user"], name="one_totp_device_a_user")]

    @property
    def bin_key(self) -> bytes:
        """The key. Raises CannotUnseal."""
        return key_of(unseal(self.user.otp_secret or ""))

    def verify_token(self, token: str) -> bool:
        """Accept a code of now or its neighbours, later than any accepted before. Raises CannotUnseal."""
        if not self.verify_is_allowed()[0]:
            return False
        clock = TOTP(self.bin_key, PERIOD, 0, DIGITS, self.drift)
        clock.time = time()
        if not is_totp(token) or not clock.verify(int(token), TOLERANCE, self.last_t + 1):
            return self._refused()
        self.last_t = clock.t()
        if abs(clock.drift) <= _FURTHEST:
            self.drift = clock.drift
        return self._accepted()


class RecoveryDevice(TimestampMixin, Throttled, Device):  # type: ignore[misc]
    """A sheet of codes, each good once."""

    _default_manager: ClassVar[models.Manager[RecoveryDevice]]
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="recovery_devices"
    )

    class Meta:
        db_table = "recovery_devices"
        constraints = [models.UniqueConstraint(fields=["user"], name="one_recovery_sheet_a_user")]

    def verify_token(self, token: str) -> bool:
        """Accept a code of the sheet, which is gone then."""
        if not self.verify_is_allowed()[0]:
            return False
        if not token.isascii():
            return self._refused()
        used, _ = self.codes.filter(digest=self.digest_of(token)).delete()
        return self._accepted() if used else self._refused()

    def digest_of(self, code: str) -> str:
        """Return what is kept of a code; it counts on this account alone."""
        return keyed_digest(f"{self.user_id}:{code}", purpose="recovery code")


class RecoveryCode(models.Model):
    """A code that was not used yet, by its keyed digest."""

    device = models.ForeignKey(RecoveryDevice, on_delete=models.CASCADE, related_name="codes")
    digest = models.CharField(max_length=64)

    class Meta:
        db_table = "recovery_codes"
        constraints = [models.UniqueConstraint(fields=["device", "digest"], name="a_recovery_code_once")]

    def __str__(self) -> str:
        return f"recovery code {self.pk}"
