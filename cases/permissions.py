"""Who may do what in a case: answers from the querysets, asked anew at each request.

A stranger never gets this far: the case of a view is one of `visible_to`, and 404 otherwise.
"""

from __future__ import annotations

from collections.abc import Collection

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts import policy
from accounts.models import User
from cases.models import Case


def may_write(user: User, case: Case) -> bool:
    """Whether the user may add to the case."""
    return Case.objects.writable_by(user).filter(pk=case.pk).exists()


def may_manage(user: User, case: Case) -> bool:
    """Whether the user decides on members and life of the case."""
    return Case.objects.managed_by(user).filter(pk=case.pk).exists()


def may_guard(user: User, case: Case) -> bool:
    """Whether the user decides if the case is restricted."""
    return Case.objects.guarded_by(user).filter(pk=case.pk).exists()


def visible_case_ids(user: User, case_ids: Collection[str]) -> set[str]:
    """Return those of the ids whose cases the user sees (settings.VISIBLE_CASES)."""
    return set(Case.objects.visible_to(user).filter(case_id__in=case_ids).values_list("case_id", flat=True))


def _user(request: Request) -> User | None:
    return request.user if isinstance(request.user, User) and request.user.is_active else None


def _case(view: APIView) -> Case:
    case: Case = view.case  # type: ignore[attr-defined]
    return case


class CanOpenCases(BasePermission):
    """Everybody lists what they may see; viewers open nothing."""

    message = "Viewers and tokens bound to cases cannot open cases."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Answer."""
        user = _user(request)
        return user is not None and (request.method in SAFE_METHODS or policy.may_open_cases(user))


class CanReadCase(BasePermission):
    """Members and admins read. Raises NotFound for everybody else."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Answer."""
        return _user(request) is not None and _case(view) is not None


class CanWriteCase(BasePermission):
    """Members read; analysts and leads also write."""

    message = "You may read this case, not write to it: ask its lead."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Answer."""
        case, user = _case(view), _user(request)
        return user is not None and (request.method in SAFE_METHODS or may_write(user, case))


class CanManageCase(BasePermission):
    """Members read; leads also change."""

    message = "Only a lead of this case or an administrator may do this."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Answer."""
        case, user = _case(view), _user(request)
        return user is not None and (request.method in SAFE_METHODS or may_manage(user, case))


class CanInvite(CanManageCase):
    """Leads alone see who is invited, and invite."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Answer."""
        case, user = _case(view), _user(request)
        return user is not None and may_manage(user, case)


class CanGuardCase(BasePermission):
    """Leads restrict their case and open it again, and so do administrators who have joined it."""

    message = "Only a lead of this case, or an administrator who is one of its people, may do this."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Answer."""
        case, user = _case(view), _user(request)
        return user is not None and may_guard(user, case)


class SeesAllCases(BasePermission):
    """Only administrators of the platform."""

    message = "Only an administrator may do this."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Answer."""
        user = _user(request)
        return user is not None and policy.sees_all_cases(user)


class CanJoinCase(SeesAllCases):
    """Only administrators join. Raises NotFound for whom the case is not there."""

    message = "Only an administrator joins a case; others ask one of its leads."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Answer."""
        return _case(view) is not None and super().has_permission(request, view)


class CanManageTeams(BasePermission):
    """Everybody sees their teams; administrators make and change them."""

    message = "Only an administrator changes teams."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Answer."""
        user = _user(request)
        return user is not None and (request.method in SAFE_METHODS or policy.manages_teams(user))
