"""Who may do what on the platform: the one module that says so (docs/authentication.md, Roles).

What may be done in a case is said by `Case.objects.visible_to`, `writable_by` and `managed_by`.
"""

from __future__ import annotations

from django.conf import settings

from accounts.models import Role, User

#: From least to most; a word the old system may have left counts as the least.
_RANK = {Role.VIEWER: 0, Role.ANALYST: 1, Role.ADMIN: 2, Role.SUPERADMIN: 3}


def rank(role: str) -> int:
    """Return how much a role may do, as a number to compare."""
    return _RANK.get(Role(role), 0) if role in Role.values else 0


def is_superadmin(user: User) -> bool:
    """Whether the user may do everything there is to do on the platform."""
    return user.is_active and (user.is_superuser or user.role == Role.SUPERADMIN)


def sees_all_cases(user: User) -> bool:
    """Whether cases open without membership, restricted ones aside."""
    return user.is_platform_admin


def may_open_cases(user: User) -> bool:
    """Whether the user may begin a case; a token bound to cases begins none."""
    return user.may_write and user.bound_cases is None


def manages_teams(user: User) -> bool:
    """Whether the user makes teams and says who is in them; a token bound to cases does not."""
    return user.is_platform_admin and user.may_write and user.bound_cases is None


def manages(user: User, other: User) -> bool:
    """Whether the user decides on another account: admins on analysts and viewers, superadmins on all."""
    if is_superadmin(user):
        return True
    return user.is_platform_admin and not other.is_superuser and rank(other.role) < rank(Role.ADMIN)


def may_give(user: User, role: str) -> bool:
    """Whether the user may make somebody this: nobody gives what is not below their own role."""
    if role not in Role.values:
        return False
    return is_superadmin(user) or (user.is_platform_admin and rank(role) < rank(Role.ADMIN))


def needs_second_factor(user: User) -> bool:
    """Whether the role may not be used without a second factor (SECOND_FACTOR_ROLES)."""
    role = Role.SUPERADMIN.value if user.is_superuser else user.role
    return role in settings.SECOND_FACTOR_ROLES


def second_factor_missing(user: User) -> bool:
    """Whether one is due, and was not shown by this access."""
    if not (user.otp_enabled or needs_second_factor(user)):
        return False
    return user.access is None or not user.access.has_second_factor


def must_verify_email(user: User) -> bool:
    """Whether the address must be confirmed first.

    Accounts that an operator or admin made were never sent a mail to confirm: they are vouched for.
    """
    return not user.email_verified and user.email_verification_sent_at is not None
