"""Accounts as administrators make and change them: on record, also what was refused.

Nobody reaches above their own role (`policy.manages`, `policy.may_give`), nobody changes what they
are themselves, and one active superadmin always stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction
from django.db.models import Q

from accounts import audit, mail, passwords, policy, registration, second_factor, sessions
from accounts.models import Role, User
from datamortem.common.errors import Conflict, DomainError, Forbidden, Invalid
from datamortem.common.storable import storable

_CHANGEABLE: Final = ("email", "username", "full_name", "role", "is_active")
#: What ends every sign-in and token when it changes.
_ENDS: Final = frozenset({"email", "role", "is_active"})
_LONGEST_NAME: Final = 200


class NotManaged(Forbidden):
    """The account, or the role, is not below whoever wants to change or give it."""

    code = "not_managed"


class OwnAccount(Forbidden):
    """People do not change their own role, nor shut themselves out."""

    code = "own_account"


class LastSuperadmin(Conflict):
    """One active superadmin always stays."""

    code = "last_superadmin"


class Taken(Conflict):
    """Another account has this address or name."""

    code = "taken"


def create(
    *,
    by: User | None,
    email: str,
    username: str,
    full_name: str = "",
    role: str = Role.ANALYST,
    password: str | None = None,
) -> User:
    """Return a new account, vouched for by who made it.

    Without a password its owner gets a mail by which they set one. Raises Taken, NotManaged,
    WeakPassword and Invalid.
    """
    facts = _checked({"email": email, "username": username, "full_name": full_name, "role": role})
    user = User(is_superuser=role == Role.SUPERADMIN, **facts)
    with _recorded("user.created", by, user):
        _check_gives(by, role)
        if password is not None:
            passwords.check(password, user)
        user.set_password(password)  # before the transaction: a hash takes its time
        with transaction.atomic():
            _check_free(user, facts)
            _save(user)
            details = {"username": user.username, "role": role, "password": "given" if password else "mailed"}
            audit.record("user.created", by=by, target=user.email, details=details)
            if password is None:
                mail.post("reset_password", user.email, user.locale)
    return user


def change(*, user: User, by: User | None, **changes: Any) -> User:
    """Change address, username, name, role or activity, and return the account as it is then.

    With their role, activity or address, somebody's sign-ins and API tokens end at once. Raises
    NotManaged, OwnAccount, LastSuperadmin, Taken and Invalid.
    """
    with _recorded("user.changed", by, user), transaction.atomic():
        _check_changeable(changes)
        superadmins = _locked_superadmins() if {"role", "is_active"} & set(changes) else set()
        user = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        check_manages(by, user)
        facts = _news(user, _checked(_news(user, changes)))
        if not facts:
            return user
        _check_own(by, user, facts)
        if "role" in facts:
            _check_gives(by, facts["role"])
        before = {name: getattr(user, name) for name in facts}
        for name, value in facts.items():
            setattr(user, name, value)
        followers = _followers(user, facts)
        if superadmins == {user.pk} and not policy.is_superadmin(user):
            raise LastSuperadmin("This is the last active superadmin: make another one first.")
        _check_free(user, facts)
        _save(user, update_fields=[*facts, *followers])
        audit.record("user.changed", by=by, target=user.email, details={"before": before, "after": facts})
        if _ENDS & set(facts):
            sessions.end_all(user, reason="account changed", by=by)
    return user


def set_password(*, user: User, password: str, by: User | None) -> None:
    """Give somebody a new password; all they were signed in by ends.

    Raises NotManaged and WeakPassword.
    """
    with _recorded("password.set", by, user):
        check_manages(by, user)
        passwords.check(password, user)
        encoded = make_password(password)  # before the transaction: a hash takes its time
        with transaction.atomic():
            user = User.objects.select_for_update(no_key=True).get(pk=user.pk)
            check_manages(by, user)
            User.objects.filter(pk=user.pk).update(password=encoded)
            audit.record("password.set", by=by, target=user.email)
            sessions.end_all(user, reason="password set by an administrator", by=by)
            mail.post("password_changed", user.email, user.locale)


def end_sessions(*, user: User, by: User | None) -> None:
    """End every sign-in and API token of somebody. Raises NotManaged."""
    with _recorded("signin.ended", by, user), transaction.atomic():
        check_manages(by, user)
        sessions.end_all(user, reason="ended by an administrator", by=by)


def reset_second_factor(*, user: User, by: User | None) -> None:
    """Take a lost second factor from an account. Raises NotManaged and OwnAccount."""
    with _recorded("otp.reset", by, user), transaction.atomic():
        check_manages(by, user)
        if by is not None and by.pk == user.pk:
            raise OwnAccount("Your own second factor is switched off with a code of it.")
        second_factor.reset(user, by=by)


def refused(action: str, refusal: DomainError, *, by: User | None, target: str) -> None:
    """Record what was refused because of who asks, or of the state of things.

    The functions here do so themselves; who calls them within a transaction that the refusal
    undoes does it once more after that.
    """
    if not isinstance(refusal, Invalid):
        details = {"reason": refusal.code}
        audit.record(action, by=by, outcome="refused", target=target, details=details)


def _locked_superadmins() -> set[int]:
    """Return who the active superadmins are, held to the end of the transaction.

    Two at once cannot make each other the last: the second one waits, and then sees what is left.
    """
    held = User.objects.select_for_update(no_key=True).filter(
        Q(role=Role.SUPERADMIN) | Q(is_superuser=True), is_active=True
    )
    return set(held.order_by("pk").values_list("pk", flat=True))


def check_manages(by: User | None, user: User) -> None:
    """Raise NotManaged unless `by` decides on the account; an operator, who is None here, does."""
    if by is not None and not policy.manages(by, user):
        raise NotManaged("Only a superadmin decides on administrators.")


def _check_gives(by: User | None, role: str) -> None:
    if by is not None and not policy.may_give(by, role):
        raise NotManaged("Only a superadmin makes administrators.", field="role")


def _check_own(by: User | None, user: User, facts: dict[str, Any]) -> None:
    if by is not None and by.pk == user.pk and {"role", "is_active"} & set(facts):
        raise OwnAccount("Nobody changes their own role or activity: another administrator does.")


def _check_changeable(changes: dict[str, Any]) -> None:
    if unknown := set(changes) - set(_CHANGEABLE):
        raise Invalid(f"This cannot be changed: {', '.join(sorted(unknown))}.", field=min(unknown))


def _checked(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts as they are stored. Raises Invalid."""
    found = dict(facts)
    if "email" in found:
        found["email"] = registration.checked_email(found["email"])
    if "username" in found:
        found["username"] = registration.checked_username(found["username"])
    if "full_name" in found:
        found["full_name"] = storable(" ".join((found["full_name"] or "").split()))[:_LONGEST_NAME]
    if found.get("role", Role.VIEWER) not in Role.values:
        raise Invalid(f"A role is one of {', '.join(Role.values)}.", field="role")
    return found


def _news(user: User, facts: dict[str, Any]) -> dict[str, Any]:
    """Return what would change. The old system kept addresses as typed: case alone is no news."""
    news = {name: value for name, value in facts.items() if (getattr(user, name) or "") != (value or "")}
    if news.get("email", "").lower() == user.email.lower():
        news.pop("email", None)
    return news


def _followers(user: User, facts: dict[str, Any]) -> list[str]:
    """Set what follows from a change, and return the names of it.

    Whoever gives an account another address vouches for it, and a mail to the old one confirms
    nothing any more.
    """
    names = []
    if "role" in facts:
        user.is_superuser = user.role == Role.SUPERADMIN
        names.append("is_superuser")
    if "email" in facts:
        user.email_verified = False
        user.email_verification_token = user.email_verification_sent_at = None
        names += ["email_verified", "email_verification_token", "email_verification_sent_at"]
    return names


def _check_free(user: User, facts: dict[str, Any]) -> None:
    others = User.objects.exclude(pk=user.pk)
    if "email" in facts and others.filter(email__iexact=user.email).exists():
        raise Taken("Another user has this address.", field="email")
    if "username" in facts and others.filter(username__iexact=user.username).exists():
        raise Taken("Another user has this name.", field="username")


def _save(user: User, update_fields: list[str] | None = None) -> None:
    try:
        with transaction.atomic():
            user.save(update_fields=update_fields)
    except IntegrityError as error:
        raise Taken("Another user has this address or name.", field="email") from error


@contextmanager
def _recorded(action: str, by: User | None, user: User) -> Iterator[None]:
    """Record a refusal, outside of what it undoes."""
    try:
        yield
    except DomainError as refusal:
        refused(action, refusal, by=by, target=user.email)
        raise
