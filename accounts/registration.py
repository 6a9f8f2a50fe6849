"""Accounts that people make for themselves, and the proof that an address is theirs.

No answer tells whether an address is known: a known one takes the same steps in the database, and
its owner gets another mail. A name that somebody asked for is taken from then on, whether or not
an account came of it: otherwise asking for it again would tell.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.utils import timezone

from accounts import audit, flags, letters, mail, passwords, policy, throttles
from accounts.models import Role, User
from accounts.sealing import address_digest, digest
from datamortem.common.errors import Forbidden, Invalid, TooMany
from datamortem.common.requests import origin

#: How long a mailed token is good.
LIFE: Final = timedelta(hours=24)
#: Accounts asked for by one client, and mails to one address: how often, in how many seconds.
CLIENT_LIMIT: Final = (20, 3600)
ADDRESS_LIMIT: Final = (5, 3600)
#: How long a name stays taken that no account came of, in seconds.
_NAME_KEPT: Final = 30 * 24 * 3600
_LONGEST_EMAIL: Final = 254
_LONGEST_NAME: Final = 200
#: A name begins with a letter and holds no @: nobody passes for an address or a number.
_USERNAME: Final = re.compile(r"[^\W\d_][\w.+-]{1,63}")


class RegistrationOff(Forbidden):
    """Nobody makes an account of their own here."""

    code = "registration_off"


class ByInvitation(Forbidden):
    """Accounts are made by those who have an invitation."""

    code = "registration_by_invitation"


class UsernameTaken(Invalid):
    """Somebody else has, or asked for, this name."""

    code = "username_taken"


def require_open() -> None:
    """Raise RegistrationOff or ByInvitation unless anybody may make an account."""
    if settings.REGISTRATION == "off" or not flags.is_on(flags.REGISTRATION):
        raise RegistrationOff("An administrator makes the accounts here: ask one.")
    if settings.REGISTRATION == "invitation":
        raise ByInvitation("Accounts are made by invitation here: ask somebody who has one.")


def register(*, email: str, username: str, password: str, full_name: str = "", locale: str = "") -> None:
    """Make an account whose address must be confirmed, if the address has none yet.

    Raises RegistrationOff, ByInvitation, Invalid, WeakPassword, UsernameTaken, TooMany.
    """
    require_open()
    email, username = checked_email(email), checked_username(username)
    passwords.check(password, User(email=email, username=username, full_name=full_name))
    for name, ident, (limit, seconds) in (
        ("register-client", origin.get().network, CLIENT_LIMIT),
        ("register-address", email, ADDRESS_LIMIT),
    ):
        throttles.hit(name, ident, limit=limit, seconds=seconds)
    if User.objects.filter(username__iexact=username).exists():
        raise _taken()
    user = User(
        email=email,
        username=username,
        password=make_password(password),
        full_name=" ".join(full_name.split())[:_LONGEST_NAME],
        role=Role.ANALYST,
        locale=locale,
        email_verification_sent_at=timezone.now(),
    )
    _add(user)


@transaction.atomic
def _add(user: User) -> None:
    """Insert the account or, by the same statements, nothing; a mail goes out either way."""
    try:
        throttles.hit("register-name", user.username.casefold(), limit=1, seconds=_NAME_KEPT)
    except TooMany:
        raise _taken() from None
    known = User.objects.filter(email__iexact=user.email).order_by("pk").values_list("email", flat=True)
    stored = known.first()
    user.email = stored or user.email  # as it is stored, it cannot be inserted again
    User.objects.bulk_create([user], ignore_conflicts=True)
    mail.post("already_registered" if stored else "verify_address", user.email, user.locale)
    audit.record(
        "user.registered",
        outcome="refused" if stored else "ok",
        target=user.email,
        details={"username": user.username, "reason": "known address" if stored else ""},
    )


def resend(email: str, *, locale: str = "") -> None:
    """Have a new token mailed, if the address waits to be confirmed: the worker looks. Raises TooMany."""
    passwords.count_mail("resend", email)
    with transaction.atomic():
        mail.post("verify_address", email, locale)
        audit.record("email.verification_asked", details={"address_digest": address_digest(email)})


def letter_to_verify(recipient: str, locale: str, context: Mapping[str, Any]) -> letters.Letter | None:
    """Return the letter with a new token, which ends the one before; None where nothing is to confirm."""
    user = letters.account_of(recipient)
    if user is None or not policy.must_verify_email(user):
        return None
    token = secrets.token_urlsafe(32)
    waiting = User.objects.filter(pk=user.pk, email_verified=False, is_active=True)
    minted = waiting.update(email_verification_token=digest(token), email_verification_sent_at=timezone.now())
    return letters.Letter(user.email, user.locale or locale, token) if minted else None


def letter_to_known(recipient: str, locale: str, context: Mapping[str, Any]) -> letters.Letter | None:
    """Return the letter to somebody whose address was given for a new account; None if theirs is closed."""
    user = letters.account_of(recipient)
    return letters.Letter(user.email, user.locale or locale) if user else None


def verify(token: str) -> None:
    """Confirm an address by a mailed token, which is good once. Raises BadToken, TooMany."""
    limit, seconds = passwords.TOKEN_LIMIT
    throttles.hit("mail-token", origin.get().network, limit=limit, seconds=seconds)
    waiting = User.objects.filter(
        email_verification_token=digest(token),
        email_verification_sent_at__gt=timezone.now() - LIFE,
        is_active=True,
    )
    user = waiting.first()
    with transaction.atomic():
        # One statement on its own columns: of any number at once, one changes the row.
        if user and waiting.filter(pk=user.pk).update(email_verified=True, email_verification_token=None):
            audit.record("email.verified", by=user, target=user.email)
            return
    audit.record("email.verified", outcome="refused")
    raise passwords.BadToken("This link is not valid, or no longer: ask for a new one.", field="token")


def checked_email(email: str) -> str:
    """Return an address as it is stored. Raises Invalid."""
    address = email.strip().lower()
    try:
        validate_email(address)
    except ValidationError as error:
        raise Invalid("This is no e-mail address.", field="email") from error
    if len(address) > _LONGEST_EMAIL:
        raise Invalid(f"An e-mail address has up to {_LONGEST_EMAIL} characters.", field="email")
    return address


def checked_username(username: str) -> str:
    """Return a name as it is stored. Raises Invalid."""
    name = unicodedata.normalize("NFKC", username.strip())
    if not _USERNAME.fullmatch(name):
        raise Invalid(
            "A name has 2 to 64 letters, digits, and . _ + -, and begins with a letter.", field="username"
        )
    return name


def _taken() -> UsernameTaken:
    return UsernameTaken("This name is taken: choose another one.", field="username")
