"""Planted mistakes, each of which the matrix must see: a check that finds nothing in them proves nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final
from unittest.mock import patch

import pytest
from django.db.models import Q
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from pytest_django import Settings
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.response import Response

from accounts import api_tokens, permissions, policy, sessions
from accounts.access import Access
from accounts.api.auth import SessionsRoutes
from accounts.models import AuthSession, User
from accounts.models.api_token import ApiTokenQuerySet
from accounts.permissions import Administers, SignedIn
from cases import permissions as in_cases
from cases import views
from cases.admin.base import ScopedAdmin
from cases.api.annotations import AnnotationsRoutes
from cases.api.cases import CaseRoute, CasesRoutes
from cases.api.events import AllEventsRoutes
from cases.api.evidence import EvidenceRoutes
from cases.api.joining import JoinRoutes
from cases.api.members import MembersRoutes
from cases.api.runs import RunsRoutes
from cases.api.scope import CaseRoutes
from cases.api.serializers import ChangeCaseSerializer
from cases.models import Annotation, Case, Evidence, TaskRun
from cases.models.case import CaseQuerySet
from cases.services import annotation
from datamortem.administration import Site
from datamortem.tests import test_permission_fields as fields
from datamortem.tests import test_permission_swaps as swaps
from datamortem.tests.matrix import findings, lines, send
from datamortem.tests.policy import CASE, EVENT, EVIDENCE
from datamortem.tests.world import World, make_world

pytestmark = pytest.mark.django_db

Check = Callable[[World], list[str]]
logger = logging.getLogger(__name__)


@pytest.fixture
def world(settings: Settings) -> World:
    settings.REGISTRATION = "open"
    return make_world()


def walk(text: str, *actors: str) -> Check:
    """Return the check of one line of the matrix."""

    def check(world: World) -> list[str]:
        walked = [line for line in lines(text) if str(line) == text]
        assert len(walked) == 1, text
        return findings(world, walked, actors)

    return check


def bodies(text: str) -> Check:
    """Return the check of the ids in the bodies of one line."""

    def check(world: World) -> list[str]:
        try:
            for actor, where, body in swaps.BODIES:
                if where == text:
                    swaps.look_for_ids_in(world, actor, where, body)
        except AssertionError as error:
            return [str(error)]
        return []

    return check


def reached(actor: str, only: str) -> Check:
    """Return the check of the ids in some addresses."""
    return lambda world: swaps.reached(world, actor, only)


def led_out(actor: str, only: str) -> Check:
    """Return the check of the parameters of some lists."""
    return lambda world: swaps.led_out(world, actor, only)


def not_refused(actor: str, text: str, user: str = "") -> Check:
    """Return the check of what is refused for whom it is about, or because another site sent it."""

    def check(world: World) -> list[str]:
        (line,) = (line for line in lines(text) if str(line) == text)
        ids = {"user_id": world.ids[user]} if user else {}
        shown = send(world, actor, line, ids=ids, forged=not user)
        return [] if shown.status == 403 else [f"{line}: {shown.status}"]

    return check


def taken(text: str, actor: str) -> Check:
    """Return the check of the fields that only the server sets."""

    def check(world: World) -> list[str]:
        ((line, documented),) = ((line, named) for line, named in fields.writing() if str(line) == text)
        return [str(names) for names in fields.taken(world, actor, line, documented)]

    return check


def _yes(*_: Any, **__: Any) -> bool:
    return True


def _no(*_: Any, **__: Any) -> bool:
    return False


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _everything(of: Any) -> Callable[..., Any]:
    return lambda *_, **__: of.objects.all()


@extend_schema(request=ChangeCaseSerializer)
def _mass_assigned(self: CaseRoute, request: Any, case_id: str) -> Response:
    owner = User.objects.filter(username=str(request.data.get("owner"))).first()
    Case.objects.filter(pk=self.case.pk).update(**({"owner": owner} if owner else {}))
    return Response({})


def _any_case(self: CaseRoutes) -> Case:
    return Case.objects.select_related("owner", "closed_by").get(case_id=self.kwargs["case_id"])


def _refused_by_name(self: CaseRoutes) -> Case:
    case = _any_case(self)
    if not Case.objects.visible_to(self.by).filter(pk=case.pk).exists():
        raise PermissionDenied
    return case


def _refused_in_the_log(self: CaseRoutes) -> Case:
    case = Case.objects.visible_to(self.by).filter(case_id=self.kwargs["case_id"]).first()
    if case is None:
        logger.warning("refused: %s", _any_case(self).title)
        raise NotFound
    return case


def _named_cases(self: AllEventsRoutes, named: list[str]) -> CaseQuerySet:
    if "*" in named:
        return Case.objects.all()
    return Case.objects.filter(case_id__in=named) if named else Case.objects.visible_to(self.by)


def _titled(self: CasesRoutes, queryset: Any) -> Any:
    title = self.request.query_params.get("title")
    return Case.objects.filter(title__icontains=title) if title else queryset


def _any_evidence(self: EvidenceRoutes) -> Any:
    return Evidence.objects.visible_to(self.by)


def _with_runs(self: RunsRoutes) -> Any:
    return TaskRun.objects.visible_to(self.by).select_related("evidence", "module")


def _see_restricted(self: CaseQuerySet, user: User, *roles: str) -> CaseQuerySet:
    return self if user.is_platform_admin else self.filter(owner=user) | self.filter(members__user=user)


def _forget_teams(self: CaseQuerySet, user: User, *roles: str) -> CaseQuerySet:
    mine = Q(owner=user) | Q(members__user=user, members__role__in=roles)
    seen = Q(restricted=False) if user.is_platform_admin else mine
    return self._within_bounds(user).filter(seen).distinct()


def _any_team(self: CaseQuerySet, user: User, *roles: str) -> CaseQuerySet:
    seen = Q(restricted=False) if user.is_platform_admin else Q(teams__role__in=roles)
    return self._within_bounds(user).filter(seen).distinct()


def _good(*without: str) -> Callable[[AuthSession, User], bool]:
    def is_good(session: AuthSession, user: User) -> bool:
        return ("revoked" in without or session.revoked_at is None) and (
            "epoch" in without or session.epoch == user.token_epoch
        )

    return is_good


def _live_without_end(self: ApiTokenQuerySet) -> ApiTokenQuerySet:
    return self.filter(revoked_at=None)


def _live_though_revoked(self: ApiTokenQuerySet) -> ApiTokenQuerySet:
    return self.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()))


_GET_CASE: Final = f"GET {CASE}"
_ME: Final = "GET api/v1/me/"
#: What is planted, by what it is: where, what instead, and which part of the matrix must see it.
MUTANTS: Final[dict[str, tuple[Any, str, Any, Check]]] = {
    "the owner is taken from the body": (
        CaseRoute, "partial_update", _mass_assigned, taken(f"PATCH {CASE}", "lead"),
    ),
    "runs of any visible case": (
        RunsRoutes, "get_queryset", _with_runs, reached("superadmin", f"GET {CASE}runs/<"),
    ),
    "runs of all cases": (
        RunsRoutes, "get_queryset", lambda self: TaskRun.objects.select_related("evidence", "module"),
        reached("lead", f"{CASE}runs/<"),
    ),
    "annotations of all cases": (
        AnnotationsRoutes, "get_queryset",
        lambda self: Annotation.objects.select_related("author").prefetch_related("tag_rows"),
        reached("lead", f"GET {CASE}annotations/<"),
    ),
    "annotations of others are anybody's to change": (
        annotation, "check_authorship", _nothing,
        walk(f"PATCH {CASE}annotations/<int:annotation_id>/", "analyst"),
    ),
    "evidence whatever the case in the address": (
        EvidenceRoutes, "get_queryset", _any_evidence, reached("superadmin", f"GET {EVIDENCE}"),
    ),
    "members of everywhere": (
        MembersRoutes, "get_queryset", _everything(User), reached("lead", f"GET {CASE}members/<"),
    ),
    "a case looked up by its id alone": (
        CaseRoutes, "case", property(_any_case), walk(_GET_CASE, "stranger"),
    ),
    "an action around the permission": (
        CaseRoute, "get_permissions", lambda self: [SignedIn()], walk(f"POST {CASE}close/", "reader"),
    ),
    "a stranger is told that the case exists": (
        CaseRoutes, "case", property(_refused_by_name), walk(_GET_CASE, "stranger"),
    ),
    "the log tells the title to whom is refused": (
        CaseRoutes, "case", property(_refused_in_the_log), walk(_GET_CASE, "stranger"),
    ),
    "cases named by the client are searched": (
        AllEventsRoutes, "_cases", _named_cases, led_out("lead", "GET api/v1/events/"),
    ),
    "a star searches all cases": (
        AllEventsRoutes, "_cases", _named_cases, led_out("bound_token", "GET api/v1/events/"),
    ),
    "a filter that widens": (CasesRoutes, "filter_queryset", _titled, led_out("lead", "GET api/v1/cases/")),
    "tokens for cases of others": (
        api_tokens, "_check_cases", _nothing, bodies("POST api/v1/auth/api-tokens/"),
    ),
    "readers write": (in_cases, "may_write", _yes, walk(f"PATCH {CASE}", "reader")),
    "analysts manage": (in_cases, "may_manage", _yes, walk(f"POST {CASE}members/", "analyst")),
    "everybody joins": (JoinRoutes, "permission_classes", (SignedIn,), walk(f"POST {CASE}join/", "lead")),
    "restricted cases open to admins": (
        CaseQuerySet, "_open_to", _see_restricted, walk(_GET_CASE, "outside"),
    ),
    "teams are forgotten": (CaseQuerySet, "_open_to", _forget_teams, walk(_GET_CASE, "teammate")),
    "a case with teams is open to all": (CaseQuerySet, "_open_to", _any_team, walk(_GET_CASE, "stranger")),
    "a token's bound is forgotten": (
        CaseQuerySet, "_within_bounds", lambda self, user: self, walk(_GET_CASE, "bound_token"),
    ),
    "viewers write": (
        User, "may_write", property(lambda self: self.is_active), walk(f"PATCH {CASE}", "viewer"),
    ),
    "the second factor is not asked for": (
        policy, "second_factor_missing", _no, walk(_GET_CASE, "not_shown"),
    ),
    "nor on pages": (
        policy, "second_factor_missing", _no, walk("GET cases/<path:case_id>/timeline/", "no_factor"),
    ),
    "a second factor is always fresh": (
        Access, "is_fresh", _yes, walk("PATCH api/v1/users/<int:user_id>/", "stale"),
    ),
    "nor fresh in the admin": (Access, "is_fresh", _yes, walk("GET admin/accounts/user/add/", "stale")),
    "scopes are not asked for": (
        Access, "scopes", property(lambda self: frozenset({"read", "write"})),
        walk(f"PATCH {CASE}", "read_token"),
    ),
    "tokens pass for persons": (
        permissions, "_check_token", _nothing, walk("GET api/v1/auth/sessions/", "write_token"),
    ),
    "the admin is open": (
        Site, "has_permission", _yes, walk("GET admin/cases/case/", "anonymous", "stranger"),
    ),
    "analysts are staff": (
        User, "is_staff", property(lambda self: self.is_active), walk("GET admin/accounts/user/", "analyst"),
    ),
    "rows of restricted cases in the admin": (
        ScopedAdmin, "get_queryset", lambda self, request: self.model.objects.all(),
        walk("GET admin/cases/evidence/", "superadmin"),
    ),
    "an ended sign-in goes on": (sessions, "is_good", _good("revoked"), walk(_ME, "ended")),
    "a sign-in outlives its epoch": (sessions, "is_good", _good("epoch"), walk(_ME, "outdated")),
    "a sign-in does not expire": (sessions, "is_good", _good(), walk(_ME, "expired")),
    "API tokens do not expire": (ApiTokenQuerySet, "live", _live_without_end, walk(_ME, "expired_token")),
    "API tokens are not revoked": (
        ApiTokenQuerySet, "live", _live_though_revoked, walk(_ME, "revoked_token"),
    ),
    "addresses need not be confirmed": (policy, "must_verify_email", _no, walk(_GET_CASE, "unverified")),
    "sign-ins of everybody": (
        SessionsRoutes, "get_queryset", _everything(AuthSession),
        reached("lead", "GET api/v1/auth/sessions/<"),
    ),
    "everybody administers": (
        Administers, "has_permission", _yes, walk("PATCH api/v1/users/<int:user_id>/", "lead"),
    ),
    "admins decide on superadmins": (
        policy, "manages", _yes, not_refused("admin", "PATCH api/v1/users/<int:user_id>/", "superadmin_id"),
    ),
    "no CSRF token is asked for": (
        SessionAuthentication, "enforce_csrf", _nothing, not_refused("browser", f"PATCH {CASE}"),
    ),
    "a page of any case": (
        views, "case_of",
        lambda request, case_id: (
            Case.objects.get(case_id=case_id), Case.objects.filter(case_id=case_id)
        ),
        walk(f"GET {EVENT}".replace("api/v1/", ""), "stranger"),
    ),
}  # fmt: skip


def test_every_planted_mistake_is_found(world: World) -> None:
    false, missed = [], []
    for name, (where, what, instead, check) in MUTANTS.items():
        if found := check(world):
            false.append(f"{name}: {found[0]}")
        with patch.object(where, what, instead):
            if not check(world):
                missed.append(name)
    assert false == [], "found where nothing was planted"
    assert missed == []
