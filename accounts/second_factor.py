"""The second factor of an account: enrol, show, renew, take away.

`users.otp_enabled` is true exactly when the account has a confirmed TotpDevice. Both are written
here alone, together, while the user's row is locked. Wrong codes are counted and recorded: what
takes a code refuses to run within a transaction, because a refusal would undo that.
"""

from __future__ import annotations

import secrets
from base64 import b32encode
from binascii import Error as NotBase32
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import Final, Literal

import django_otp
from django.db import transaction
from django.utils import timezone

from accounts import audit, mail, policy, sessions, throttles
from accounts.enrolment import Enrolment, enrolment
from accounts.models import AuthSession, RecoveryCode, RecoveryDevice, TotpDevice, User
from accounts.models.second_factor import is_totp, key_of
from accounts.sealing import MARK, CannotUnseal, seal
from datamortem.common.errors import Conflict, DomainError, Forbidden, Invalid, TooMany

#: Bits of a new key: as many as SHA-1 has (RFC 4226 section 4, R6).
_KEY_BITS: Final = 160
#: Recovery codes on a sheet, characters of one, and which: none that is read as another.
CODES: Final = 10
_LENGTH: Final = 10
_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"
#: Codes that may be tried on one account, and in how many seconds.
TRIES: Final = (10, 300)

Method = Literal["totp", "recovery"]


class AlreadyEnabled(Conflict):
    """The account has a second factor."""

    code = "otp_already_enabled"


class NotEnabled(Conflict):
    """The account has no second factor."""

    code = "otp_not_enabled"


class NotBegun(Conflict):
    """There is no secret yet that a code could confirm."""

    code = "otp_not_begun"


class Unreadable(Conflict):
    """The key that the secret was sealed with is gone."""

    code = "otp_unreadable"


class Mandatory(Forbidden):
    """The role may not be used without a second factor."""

    code = "otp_mandatory"


class WrongCode(Invalid):
    """The code is wrong, or was used before."""

    code = "invalid_code"


class WrongPassword(Invalid):
    """The password is not that of the account."""

    code = "wrong_password"


def enrol(user: User) -> Enrolment:
    """Return a new secret, which counts once a code confirms it. Raises AlreadyEnabled.

    Asked again, it is another one, and the one before is worth nothing.
    """
    secret = b32encode(secrets.token_bytes(_KEY_BITS // 8)).decode("ascii")
    with _recorded("otp.begun", user), transaction.atomic():
        held = _locked(user)
        if held.otp_enabled:
            raise AlreadyEnabled("The account has a second factor already: disable it first.")
        _set_up(held, secret, confirmed=False)
        audit.record("otp.begun", by=user)
    return enrolment(user.email, secret)


def confirm(user: User, code: str, *, keep: AuthSession | None) -> list[str]:
    """Enable the second factor by a code of the new secret, and return the recovery codes.

    All sign-ins but `keep` end. Raises AlreadyEnabled, NotBegun, WrongCode, TooMany, Unreadable.
    """
    with _recorded("otp.enrolled", user), _counted(user, code):
        with transaction.atomic(durable=True):
            held = _locked(user)
            if held.otp_enabled:
                raise AlreadyEnabled("The account has a second factor already.")
            device = TotpDevice.objects.filter(user=held, confirmed=False).first()
            if device is None:
                raise NotBegun("Ask for a secret first (auth/otp/enrol/).")
            right = _accepts(device, code)
            codes = _enable(held) if right else []
            if right:
                _signed_out_elsewhere(user, keep, reason="second factor enabled")
                audit.record("otp.enrolled", by=user)
        if not right:
            raise _wrong_code()
    user.otp_enabled = True
    return codes


def disable(user: User, password: str, code: str) -> None:
    """Take the second factor away; all sign-ins but the present one end.

    Raises Mandatory, NotEnabled, WrongPassword, WrongCode, TooMany, Unreadable.
    """
    with _recorded("otp.disabled", user), _counted(user, code):
        if policy.needs_second_factor(user):
            raise Mandatory("Your role may not be used without a second factor.")
        take_over(user)
        if not user.check_password(password):
            raise WrongPassword("This is not your password.", field="password")
        with transaction.atomic(durable=True):
            held = _locked(user)
            method = _shown(held, code)
            if method:
                _remove(held)
                keep = user.access.session if user.access else None
                _signed_out_elsewhere(user, keep, reason="second factor disabled")
                audit.record("otp.disabled", by=user, details={"method": method})
        if not method:
            raise _wrong_code()
    user.otp_enabled, user.otp_secret = False, None


def new_recovery_codes(user: User, code: str) -> list[str]:
    """Return a new sheet of recovery codes; the old one is worth nothing.

    Raises NotEnabled, WrongCode, TooMany, Unreadable.
    """
    with _recorded("otp.codes", user), _counted(user, code):
        take_over(user)
        with transaction.atomic(durable=True):
            held = _locked(user)
            method = _shown(held, code)
            codes = _new_sheet(held) if method else []
            if method:
                audit.record("otp.codes", by=user, details={"method": method})
        if not method:
            raise _wrong_code()
    return codes


def step_up(user: User, code: str) -> Method:
    """Show the second factor in the sign-in that `user.access` is, and return by which method.

    Raises NotEnabled, WrongCode, TooMany, Unreadable.
    """
    session = user.access.session if user.access else None
    if session is None:
        raise Forbidden("A second factor is shown in a sign-in.")
    with _recorded("otp.shown", user), _counted(user, code):
        method = verify(user, code)
        if method is None:
            raise _wrong_code()
        sessions.step_up(session)
        audit.record("otp.shown", by=user, details={"method": method})
    return method


def verify(user: User, code: str) -> Method | None:
    """Return by which method a code is good, and None if it is not; the code is spent.

    Records nothing and counts wrong codes by the device alone: that is left to who asks. Raises
    NotEnabled, Unreadable, and TooMany while the device waits after wrong codes.
    """
    take_over(user)
    with transaction.atomic(durable=True):
        return _shown(user, code)


def reset(user: User, by: User | None) -> bool:
    """Take the second factor of somebody else away, who lost it, and end their sign-ins.

    Return whether there was any. Without `by` the origin of the work at hand says who acts.
    """
    with transaction.atomic():
        held = _locked(user)
        had = held.otp_enabled or bool(held.otp_secret)
        had = bool(_remove(held)) or had
        sessions.end_all(user, reason="second factor reset", by=by, tokens=False)
        audit.record("otp.reset", by=by, target=user.email, details={"had_one": had})
        mail.post("second_factor_reset", user.email, user.locale)
    user.otp_enabled, user.otp_secret = False, None
    return had


def take_over(user: User) -> bool:
    """Seal the secret of an account of the old system, and make the device that goes with it.

    Return whether that was to be done. A secret that is no Base32 is left as it is: nothing
    could show codes for it.
    """
    if not is_clear(user.otp_secret):
        return False
    with transaction.atomic():
        held = _locked(user)
        found = is_clear(held.otp_secret) and held.otp_secret
        if found:
            _set_up(held, found, confirmed=held.otp_enabled)
            audit.record("otp.taken_over", target=held.email, details={"enabled": held.otp_enabled})
    user.otp_secret = held.otp_secret
    return bool(found)


def seal_all() -> int:
    """Take over every account of the old system that is left, and return how many there were."""
    left = User.objects.filter(otp_secret__gt="").exclude(otp_secret__startswith=MARK)
    return sum(take_over(user) for user in left.order_by("pk"))


def is_clear(secret: str | None) -> bool:
    """Whether a stored secret is one that anybody who reads the database can use."""
    if not secret or secret.startswith(MARK):
        return False
    try:
        return bool(key_of(secret))
    except ValueError:
        return False


def _locked(user: User) -> User:
    """Return the user as the database has it, while nobody else changes their second factor."""
    return User.objects.select_for_update(no_key=True).get(pk=user.pk)


def _set_up(held: User, secret: str, *, confirmed: bool) -> None:
    state = {"name": "authenticator app", "confirmed": confirmed, "last_t": -1, "drift": 0}
    TotpDevice.objects.update_or_create(user=held, defaults={**state, "throttling_failure_count": 0})
    held.otp_secret = seal(secret)
    held.save(update_fields=["otp_secret"])


def _enable(held: User) -> list[str]:
    TotpDevice.objects.filter(user=held).update(confirmed=True)
    held.otp_enabled = True
    held.save(update_fields=["otp_enabled"])
    return _new_sheet(held)


def _remove(held: User) -> int:
    """Remove devices, codes and secret; return how many rows went."""
    devices = [
        *TotpDevice.objects.select_for_update().filter(user=held),
        *RecoveryDevice.objects.select_for_update().filter(user=held),
    ]
    gone: int = sum(device.delete()[0] for device in devices)
    held.otp_enabled, held.otp_secret = False, None
    held.save(update_fields=["otp_enabled", "otp_secret"])
    return gone


def _new_sheet(held: User) -> list[str]:
    """Return new recovery codes in place of all others; their device is locked first."""
    device, _ = RecoveryDevice.objects.update_or_create(user=held, defaults={"name": "recovery codes"})
    device.codes.all().delete()
    codes = ["".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH)) for _ in range(CODES)]
    RecoveryCode.objects.bulk_create(
        RecoveryCode(device=device, digest=device.digest_of(code)) for code in codes
    )
    return [f"{code[: _LENGTH // 2]}-{code[_LENGTH // 2 :]}" for code in codes]


def _bare(code: str) -> str:
    """Return a code as it is compared: case, spaces and dashes do not matter."""
    return "".join(code.split()).replace("-", "").lower()


def kind_of(code: str) -> Method:
    """Return which device a code is for: its shape says so, and the other one is not asked."""
    return "totp" if is_totp(_bare(code)) else "recovery"


def _shown(user: User, code: str) -> Method | None:
    if not user.otp_enabled:
        raise NotEnabled("The account has no second factor.")
    kind = kind_of(code)
    model = TotpDevice if kind == "totp" else RecoveryDevice
    device = model._default_manager.filter(user=user, confirmed=True).first()
    return kind if device is not None and _accepts(device, code) else None


def _accepts(device: TotpDevice | RecoveryDevice, code: str) -> bool:
    """Whether the device accepts the code. Raises TooMany, Unreadable."""
    allowed, why = device.verify_is_allowed()
    if not allowed and why:
        wait = max(1, ceil((why["locked_until"] - timezone.now()).total_seconds()))
        raise TooMany(f"Too many wrong codes: try again in {wait} seconds.", retry_after=wait)
    try:
        return django_otp.verify_token(device.user, device.persistent_id, _bare(code)) is not None
    except (CannotUnseal, NotBase32) as error:
        raise Unreadable(
            "The key of this second factor cannot be read here: use a recovery code, or have it reset."
        ) from error


def _signed_out_elsewhere(user: User, keep: AuthSession | None, *, reason: str) -> None:
    sessions.end_all(user, reason=reason, by=user, keep=keep, tokens=False)
    if keep is not None:
        sessions.step_up(keep)


def _wrong_code() -> WrongCode:
    return WrongCode("This code is wrong, or was used before: wait for the next one.", field="code")


@contextmanager
def _recorded(action: str, user: User) -> Iterator[None]:
    """Record a refusal, outside of what it undoes."""
    try:
        yield
    except DomainError as refusal:
        audit.record(action, by=user, outcome="refused", details={"reason": refusal.code})
        raise


@contextmanager
def _counted(user: User, code: str) -> Iterator[None]:
    """Count an attempt, and take a good one off again. Raises TooMany.

    Wrong codes of one kind do not stand in the way of the other.
    """
    limit, seconds = TRIES
    ident = f"{user.pk} {kind_of(code)}"
    throttles.hit("otp", ident, limit=limit, seconds=seconds)
    yield
    throttles.give_back("otp", ident)
