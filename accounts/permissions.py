"""What every route asks of who comes: nothing is open that a view does not open.

A view may say `open_without_second_factor` (enrolment, sign-out), `persons_only` (no API tokens)
and `dangerous` (names of actions, or methods in lower case, that want a second factor shown within
the last five minutes, where the account has one).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts import policy
from accounts.access import WRITE
from accounts.models import User

if TYPE_CHECKING:  # the module of views reads the default permission, which is here
    from rest_framework.views import APIView


class SignedIn(BasePermission):
    """Lets in whoever is signed in, as far as the view asks. Raises PermissionDenied with a code."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Answer; False makes it a 401."""
        user = request.user
        if not isinstance(user, User) or not user.is_active:
            return False
        is_dangerous = _action(request, view) in getattr(view, "dangerous", ())
        if user.access is not None and user.access.token is not None:
            _check_token(user, request, persons_only=is_dangerous or getattr(view, "persons_only", False))
        if policy.must_verify_email(user):
            _refuse("email_unverified", "Confirm your e-mail address first.")
        if policy.second_factor_missing(user) and not getattr(view, "open_without_second_factor", False):
            there = "Show your second factor" if user.otp_enabled else "Set up a second factor"
            _refuse("otp_required", f"{there} first: this account may not be used without one.")
        if is_dangerous and user.otp_enabled and not (user.access and user.access.is_fresh()):
            _refuse("otp_stale", "Show your second factor again (auth/otp/verify/), then repeat this.")
        return True


def _action(request: Request, view: APIView) -> str:
    return getattr(view, "action", None) or (request.method or "").lower()


def _check_token(user: User, request: Request, *, persons_only: bool) -> None:
    if persons_only:
        _refuse("token_not_enough", "This needs a person: sign in instead of using an API token.")
    if request.method not in SAFE_METHODS and user.access and WRITE not in user.access.scopes:
        _refuse("token_scope", "This API token may only read.")


def _refuse(code: str, detail: str) -> NoReturn:
    raise PermissionDenied(detail, code)


class Administers(BasePermission):
    """Lets in admins and superadmins of the platform."""

    message = "Only administrators may do this."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Answer."""
        return isinstance(request.user, User) and request.user.is_platform_admin


class GovernsPlatform(BasePermission):
    """Lets in superadmins."""

    message = "Only a superadmin may do this."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Answer."""
        return isinstance(request.user, User) and policy.is_superadmin(request.user)
