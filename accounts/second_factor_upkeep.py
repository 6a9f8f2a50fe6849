"""How the second factors of all accounts stand, and what is sealed under a new key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db.models import Q

from accounts import audit, policy
from accounts.models import OutgoingMail, User
from accounts.models.second_factor import key_of
from accounts.sealing import MARK, CannotUnseal, reseal, unseal
from accounts.second_factor import is_clear, seal_all


@dataclass(frozen=True, slots=True)
class Standing:
    """The second factor of one account; `faults` say what is wrong and what mends it."""

    user: User
    enabled: bool
    begun: bool
    missing: bool
    recovery_codes: int
    last_used_at: datetime | None
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rotation:
    """How many values lie under the newest key now, and which could not be read."""

    sealed: int
    unreadable: tuple[str, ...]


def standings(email: str | None = None) -> Iterator[Standing]:
    """Yield how each account stands that has a second factor, began one or must have one.

    With an address: that account alone, whatever it has. Raises User.DoesNotExist.
    """
    concerned = (
        Q(otp_enabled=True)
        | Q(otp_secret__gt="")
        | Q(totp_devices__isnull=False)
        | Q(role__in=settings.SECOND_FACTOR_ROLES)
        | Q(is_superuser=True)
    )
    if email is not None:
        concerned = Q(pk=User.objects.get_by_natural_key(email).pk)
    found = User.objects.filter(concerned).distinct().order_by("email")
    for user in found.prefetch_related("totp_devices", "recovery_devices__codes"):
        yield _standing(user)


def rotate() -> Rotation:
    """Seal everything anew with the first of FIELD_KEYS: secrets, those in clear too, and waiting mail.

    What changes meanwhile is under that key anyway, and stays.
    """
    sealed, unreadable = 0, list[str]()
    seal_all()
    for model, column in ((User, "otp_secret"), (OutgoingMail, "sealed")):
        for row in list(model._default_manager.filter(**{f"{column}__startswith": MARK}).order_by("pk")):
            held: str = getattr(row, column)
            try:
                fresh = reseal(held)
            except CannotUnseal:
                unreadable.append(str(row))
                continue
            same = model._default_manager.filter(pk=row.pk, **{column: held})
            sealed += same.update(**{column: fresh})
    audit.record("otp.rotated", details={"sealed": sealed, "unreadable": len(unreadable)})
    return Rotation(sealed, tuple(unreadable))


def _standing(user: User) -> Standing:
    devices = list(user.totp_devices.all())
    confirmed = any(device.confirmed for device in devices)
    sheets = list(user.recovery_devices.all())
    used = [device.last_used_at for device in (*devices, *sheets) if device.last_used_at]
    return Standing(
        user=user,
        enabled=user.otp_enabled,
        begun=not user.otp_enabled and bool(devices),
        missing=user.is_active and policy.needs_second_factor(user) and not user.otp_enabled,
        recovery_codes=sum(len(sheet.codes.all()) for sheet in sheets),
        last_used_at=max(used, default=None),
        faults=tuple(_faults(user, confirmed=confirmed)),
    )


def _faults(user: User, *, confirmed: bool) -> Iterator[str]:
    secret = user.otp_secret or ""
    if is_clear(secret):
        yield "the secret lies in clear: manage.py second_factor seal"
        return  # which also makes the device that goes with it
    if user.otp_enabled and not confirmed:
        yield "switched on, without a confirmed device: reset it"
    if confirmed and not user.otp_enabled:
        yield "a confirmed device, and switched off: reset it"
    if secret.startswith(MARK):
        if not _is_readable(secret):
            yield "the secret cannot be unsealed: give FIELD_KEYS its key again, or reset it"
    elif user.otp_enabled:
        yield "no usable secret: reset it"


def _is_readable(secret: str) -> bool:
    try:
        return bool(key_of(unseal(secret)))
    except (CannotUnseal, ValueError):
        return False
