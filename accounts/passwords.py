"""Passwords: which are good enough, and the two ways to a new one.

Whoever knows the old one changes it; whoever reads the account's mail gets a token that sets one,
once, within an hour. Either way everything that was signed in ends. A second factor stays: a reset
is no way around it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from accounts import audit, letters, mail, sessions, throttles
from accounts.models import AuthSession, PasswordReset, User
from accounts.sealing import address_digest, digest
from datamortem.common.errors import Invalid
from datamortem.common.requests import origin

#: Longer ones are refused before they are hashed.
LONGEST: Final = 1024
#: How long a mailed token is good.
LIFE: Final = timedelta(hours=1)
#: How often, in how many seconds: wrong old passwords of an account; mails to one address; mails
#: asked for by one client; tokens shown by one client.
WRONG_LIMIT: Final = (10, 300)
ADDRESS_LIMIT: Final = (5, 3600)
CLIENT_LIMIT: Final = (30, 3600)
TOKEN_LIMIT: Final = (60, 600)


class WeakPassword(Invalid):
    """The password is too short, too common, or too like the account."""

    code = "weak_password"


class WrongPassword(Invalid):
    """The old password is another one."""

    code = "wrong_password"


class BadToken(Invalid):
    """The token of a mail is not good, or no longer."""

    code = "invalid_token"


def check(password: str, user: User | None = None, *, field: str = "password") -> None:
    """Raise WeakPassword unless the password is good enough for the account. Any characters will do."""
    if len(password) > LONGEST:
        raise WeakPassword(f"A password has up to {LONGEST} characters.", field=field)
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise WeakPassword(" ".join(error.messages), field=field) from error


def change(user: User, old: str, new: str, *, keep: AuthSession | None) -> None:
    """Change a password; all sign-ins but `keep` and all API tokens end.

    Raises WrongPassword, WeakPassword, TooMany. A browser that goes on needs
    `update_session_auth_hash` after it.
    """
    _hit("password", user.pk, WRONG_LIMIT)
    if not user.check_password(old):
        audit.record("password.changed", by=user, outcome="refused", details={"reason": "wrong password"})
        raise WrongPassword("This is not your password.", field="old_password")
    throttles.give_back("password", user.pk)
    check(new, user, field="new_password")
    encoded = make_password(new)
    with transaction.atomic():
        # Of two changes at once one finds the old password; the other one no longer does.
        if not User.objects.filter(pk=user.pk, password=user.password).update(password=encoded):
            raise WrongPassword("The password was changed a moment ago.", field="old_password")
        user.password = encoded
        sessions.end_all(user, reason="password changed", by=user, keep=keep)
        audit.record("password.changed", by=user)
        mail.post("password_changed", user.email, user.locale)


def ask_reset(email: str, *, locale: str = "") -> None:
    """Have a token mailed, if the address is an account's: the worker looks. Raises TooMany.

    What happens here is the same for every address.
    """
    count_mail("reset", email)
    with transaction.atomic():
        mail.post("reset_password", email, locale)
        audit.record("password.reset_asked", details={"address_digest": address_digest(email)})


def letter_to_reset(recipient: str, locale: str, context: Mapping[str, Any]) -> letters.Letter | None:
    """Return the letter with a new token, which ends older ones; None for an address without account."""
    user = letters.account_of(recipient)
    if user is None:
        return None
    token, now = secrets.token_urlsafe(32), timezone.now()
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=user.pk)  # two mails at once: one token is good
        PasswordReset.objects.filter(user=user, used_at=None).update(used_at=now)
        PasswordReset.objects.create(user=user, digest=digest(token), created_at=now, expires_at=now + LIFE)
        audit.record("password.reset_mailed", target=user.email)
    return letters.Letter(user.email, user.locale or locale, token)


def set_by_reset(token: str, new: str) -> None:
    """Set a new password by a mailed token, which is good once; all sign-ins and API tokens end.

    The mail reached its reader, so the address counts as confirmed. Raises BadToken, WeakPassword,
    TooMany.
    """
    _hit("mail-token", origin.get().network, TOKEN_LIMIT)
    reset = PasswordReset.objects.select_related("user").filter(digest=digest(token)).first()
    if reset is None or not _is_good(reset):
        audit.record("password.reset", outcome="refused", target=reset.user.email if reset else "")
        raise BadToken("This link is not valid, or no longer: ask for a new one.", field="token")
    check(new, reset.user, field="new_password")
    _use(reset, make_password(new))


def _is_good(reset: PasswordReset) -> bool:
    return reset.used_at is None and reset.expires_at > timezone.now() and reset.user.is_active


@transaction.atomic
def _use(reset: PasswordReset, encoded: str) -> None:
    """Use the token up and set the password; of any number at once, one gets through."""
    now = timezone.now()
    user = User.objects.select_for_update(no_key=True).filter(pk=reset.user_id, is_active=True).first()
    unused = PasswordReset.objects.filter(pk=reset.pk, used_at=None, expires_at__gt=now)
    if user is None or not unused.update(used_at=now):
        raise BadToken("This link was used a moment ago: ask for a new one.", field="token")
    User.objects.filter(pk=user.pk).update(
        password=encoded, email_verified=True, email_verification_token=None
    )
    sessions.end_all(user, reason="password reset", by=user)
    audit.record("password.reset", by=user, target=user.email)
    mail.post("password_changed", user.email, user.locale)


def count_mail(name: str, email: str) -> None:
    """Count a mail that somebody asks for who is not signed in. Raises TooMany.

    The client first: who has had too many uses up nobody's address.
    """
    _hit(f"{name}-client", origin.get().network, CLIENT_LIMIT)
    _hit(f"{name}-address", email.lower(), ADDRESS_LIMIT)


def _hit(name: str, ident: object, bound: tuple[int, int]) -> None:
    limit, seconds = bound
    throttles.hit(name, ident, limit=limit, seconds=seconds)
