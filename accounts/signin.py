"""Signing in: password first, then the second factor where one is due.

Attempts are counted before the password is looked at, and a right one is taken off again: of
sixty wrong ones at once exactly as many reach the hasher as may. Nobody can lock an account for
long: the bounds end by themselves, and the one that counts over all addresses leaves out those
the account was used from before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NoReturn

from django.contrib.auth import authenticate
from django.db import IntegrityError, transaction
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed

from accounts import audit, policy, second_factor, throttles, tokens
from accounts.models import AuthSession, SpentChallenge, User
from accounts.sealing import address_digest
from datamortem.common.errors import DomainError, TooMany
from datamortem.common.requests import network_of, origin

#: Wrong passwords: of one account from one address, of one account, from one address.
PAIR_LIMIT: Final = (5, 60)
ACCOUNT_LIMIT: Final = (30, 600)
ADDRESS_LIMIT: Final = (60, 60)
#: Wrong codes of one account, whose password somebody knows.
CODE_LIMIT: Final = (10, 300)
#: For how long an address counts as one the account is used from.
_KNOWN: Final = timedelta(days=60)


class WrongCredentials(AuthenticationFailed):
    """No active account has this address and password; which of the two is wrong is not said."""

    default_detail = "No active account has this address and password."
    default_code = "invalid_credentials"


class AddressUnverified(AuthenticationFailed):
    """The password is right, and the address was never confirmed."""

    default_detail = "Confirm your e-mail address first: ask for another mail if it got lost."
    default_code = "email_unverified"


class WrongCode(AuthenticationFailed):
    """The code of the second factor is wrong, was used, or came too soon after wrong ones."""

    default_detail = "This code is not right, or was used already: wait for the next one."
    default_code = "invalid_code"


@dataclass(frozen=True, slots=True)
class Proven:
    """Somebody who has shown all that is due."""

    user: User
    second_factor: bool


@dataclass(frozen=True, slots=True)
class Due:
    """Somebody whose password was right, and who owes a code."""

    challenge: str
    methods: tuple[str, ...] = ("totp", "recovery")


def sign_in(email: str, password: str, otp: str = "") -> Proven | Due:
    """Check address and password, and the code if one is given with them.

    Raises AuthenticationFailed, TooMany. An unknown address costs the time of hashing a password.
    """
    _count(email)
    user = authenticate(username=email, password=password)
    if not isinstance(user, User):
        _refuse(email)
    _give_back(email)
    if policy.must_verify_email(user):
        audit.record("signin.password", by=user, outcome="refused", details={"reason": "address unverified"})
        raise AddressUnverified
    if not user.otp_enabled:
        _signed_in(user, "password")
        return Proven(user, second_factor=False)
    if otp:
        return Proven(user, second_factor=_check_code(user, otp))
    audit.record("signin.password", by=user, details={"due": "second factor"})
    return Due(tokens.challenge_for(user))


def answer(challenge: str, code: str) -> Proven:
    """Check the code for a challenge, which is good once. Raises AuthenticationFailed, TooMany."""
    user, jti, ends = tokens.open_challenge(challenge)
    if SpentChallenge.objects.filter(jti=jti).exists():
        raise tokens.InvalidToken
    _check_code(user, code, jti=jti, ends=ends)
    return Proven(user, second_factor=True)


def _check_code(user: User, code: str, *, jti: str = "", ends: datetime | None = None) -> bool:
    limit, seconds = CODE_LIMIT
    # Wrong codes of an app leave the way open to the recovery codes.
    ident = f"{user.pk} {second_factor.kind_of(code)}"
    try:
        throttles.hit("code", ident, limit=limit, seconds=seconds)
        method = second_factor.verify(user, code)
    except DomainError as refusal:
        audit.record("signin.second_factor", by=user, outcome="refused", details={"reason": refusal.code})
        raise
    if method is None:
        audit.record("signin.second_factor", by=user, outcome="refused")
        raise WrongCode
    throttles.give_back("code", ident)
    if ends is not None:
        try:
            with transaction.atomic():
                SpentChallenge.objects.create(jti=jti, expires_at=ends)
        except IntegrityError as error:
            raise tokens.InvalidToken from error
    _signed_in(user, method)
    return True


def _signed_in(user: User, method: str) -> None:
    User.objects.filter(pk=user.pk).update(last_login=timezone.now())
    action = "signin.password" if method == "password" else "signin.second_factor"
    audit.record(action, by=user, details={"method": method})


def _refuse(email: str) -> NoReturn:
    """Record and raise. Whoever types a password for an address leaves no password here."""
    known = User.objects.filter(email__iexact=email).first() if "\x00" not in email else None
    details = {} if known else {"address_digest": address_digest(email)}
    audit.record("signin.password", outcome="refused", target=known.email if known else "", details=details)
    raise WrongCredentials


def _counters(email: str) -> tuple[tuple[str, str, tuple[int, int]], ...]:
    name, address = email.strip().lower()[:320], origin.get().network
    return (
        ("login-pair", f"{name}|{address}", PAIR_LIMIT),
        ("login-address", address, ADDRESS_LIMIT),
        ("login-account", name, ACCOUNT_LIMIT),
    )


def _count(email: str) -> None:
    """Count an attempt. Raises TooMany."""
    for name, ident, (limit, seconds) in _counters(email):
        try:
            throttles.hit(name, ident, limit=limit, seconds=seconds)
        except TooMany:
            if name != "login-account" or not _is_known_here(email):
                audit.record("signin.password", outcome="refused", details={"reason": "too many attempts"})
                raise


def _give_back(email: str) -> None:
    for name, ident, _ in _counters(email):
        throttles.give_back(name, ident)


def _is_known_here(email: str) -> bool:
    """Whether the account was signed in from here not long ago."""
    here, since = origin.get().network, timezone.now() - _KNOWN
    used = AuthSession.objects.filter(user__email__iexact=email, created_at__gt=since).exclude(address="")
    addresses = used.order_by("address").values_list("address", flat=True).distinct()
    return bool(here) and here in {network_of(address) for address in addresses}
