"""Invitations by mail: seven days, once, for one address.

The token of an invitation is made when its mail goes out; only its digest is kept. What an
invitation opens beside an account is said by the app that asked for it.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Final, NoReturn

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts import flags, mail, passwords, throttles
from accounts.models import Invitation, Role, User
from accounts.registration import RegistrationOff, UsernameTaken, checked_email, checked_username
from accounts.sealing import digest
from datamortem.common.errors import Conflict, Invalid

#: How long an invitation stands.
LIFE: Final = timedelta(days=7)
#: How many invitations a user may send in an hour.
AN_HOUR: Final = 30


class NoInvitation(Invalid):
    """The token opens nothing, or no longer; why is not said."""

    code = "invalid_token"


class SignInFirst(Conflict):
    """The invited address has an account already."""

    code = "sign_in_first"


def refuse() -> NoReturn:
    """Raise NoInvitation: the same words whatever is wrong."""
    raise NoInvitation("This invitation is not valid, or no longer: ask for a new one.", field="token")


def invite(*, email: str, role: str, by: User, replaces: QuerySet[Invitation], case: str = "") -> Invitation:
    """Return a new invitation whose mail is on its way; those in `replaces` for the address are ended.

    Call it inside a transaction. `case` is the title that the mail names.
    """
    address = checked_email(email)
    revoke(replaces.filter(email=address))
    known = account_of(address)
    invitation = Invitation.objects.create(
        email=address,
        role=role,
        locale=(known.locale if known else "") or by.locale,
        invited_by=by,
        expires_at=timezone.now() + LIFE,
    )
    mail.post("invitation", address, invitation.locale, invitation=invitation.pk, case=case)
    return invitation


def count(by: User) -> None:
    """Count an invitation of a user. Raises TooMany."""
    throttles.hit("invitation", str(by.pk), limit=AN_HOUR, seconds=3600)


def mint(pk: int) -> str | None:
    """Return a new token of an invitation for its mail; None when it stands no more.

    A token minted before is good no longer: the newest mail counts.
    """
    token = secrets.token_urlsafe(32)
    minted = Invitation.objects.open().filter(pk=pk).update(digest=digest(token))
    return token if minted else None


def find(token: str) -> Invitation:
    """Return the open invitation of a token, with who sent it. Raises NoInvitation."""
    found = Invitation.objects.open().select_related("invited_by").filter(digest=digest(token)).first()
    return found or refuse()


def claim(invitation: Invitation) -> None:
    """Use an invitation up: of any number at once, one gets through. Raises NoInvitation.

    Asks of its own columns alone: PostgreSQL asks them again after having waited for the row.
    """
    now = timezone.now()
    standing = Invitation.objects.open().filter(pk=invitation.pk, digest=invitation.digest)
    if not standing.update(accepted_at=now):
        refuse()


def revoke(invitations: QuerySet[Invitation]) -> int:
    """End the open ones among the invitations; return how many."""
    open_ones = invitations.filter(accepted_at=None, revoked_at=None)
    return open_ones.update(revoked_at=timezone.now())


def account_of(address: str) -> User | None:
    """Return the account of an address, whatever its case."""
    return User.objects.filter(email__iexact=address).order_by("pk").first()


def check_may_bring(by: User) -> None:
    """Raise RegistrationOff where somebody may not invite people who have no account."""
    if by.is_platform_admin or (settings.REGISTRATION != "off" and flags.is_on(flags.REGISTRATION)):
        return
    raise RegistrationOff("Nobody has an account of this address: ask an administrator to invite them.")


def draft_account(invitation: Invitation, *, username: str, password: str, full_name: str) -> User:
    """Return the account an invitation makes, checked, its password hashed, and not stored yet.

    Its address counts as verified: the mail has proved it. Raises Invalid, SignInFirst.
    """
    if account_of(invitation.email):
        raise SignInFirst("This address has an account: sign in with it to accept the invitation.")
    name = checked_username(username)
    if User.objects.filter(username__iexact=name).exists():
        _refuse_username()
    user = User(
        email=invitation.email,
        username=name,
        full_name=full_name,
        role=invitation.role,
        is_superuser=invitation.role == Role.SUPERADMIN,
        locale=invitation.locale,
        email_verified=True,
    )
    passwords.check(password, user)
    user.set_password(password)
    return user


def store_account(user: User) -> None:
    """Store an account that was drafted. Raises Invalid or SignInFirst if another was quicker."""
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError as error:
        if account_of(user.email):
            raise SignInFirst("This address has an account by now: sign in with it.") from error
        _refuse_username()


def _refuse_username() -> NoReturn:
    raise UsernameTaken("This name is taken: choose another one.", field="username")
