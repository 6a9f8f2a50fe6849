"""Routes of who a case belongs to: its owner, its restriction, and the administrators who join."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import policy
from accounts.people import active_user
from accounts.permissions import SignedIn
from cases import services
from cases.api.scope import CaseRoutes, Routes, one
from cases.api.serializers import CaseSerializer
from cases.models import Case, CaseMember, CaseRole
from cases.permissions import CanGuardCase, CanJoinCase, CanManageCase, SeesAllCases
from datamortem.common.api import StrictSerializer


class PassOnSerializer(StrictSerializer):
    """Whom a case is to belong to: a username, an address or an id."""

    user = serializers.CharField(max_length=320)


class JoinSerializer(StrictSerializer):
    """Why an administrator joins, and as what."""

    reason = serializers.CharField(max_length=1000)
    role = serializers.ChoiceField(choices=CaseRole.choices, default=CaseRole.READER)


class RestrictedCaseSerializer(serializers.Serializer[Case]):
    """That there is such a case, and whom to ask about it."""

    case_id = serializers.CharField()
    owner = serializers.CharField(source="owner.username", default=None, allow_null=True)
    leads = serializers.SerializerMethodField()

    def get_leads(self, case: Any) -> list[str]:
        """Return the usernames of the leads who can act."""
        people = [case.owner, *(member.user for member in case.lead_members)]
        return [user.username for user in people if user is not None and services.can_lead(user)]


class BelongingRoutes(CaseRoutes):
    """Whom a case belongs to, and whether administrators see it."""

    serializer_class = CaseSerializer
    dangerous = frozenset({"restrict", "unrestrict"})

    def get_permissions(self) -> list[BasePermission]:
        """Let leads pass the case on; its restriction is a matter of its own people."""
        return [SignedIn(), CanManageCase() if self.action == "pass_on" else CanGuardCase()]

    @extend_schema(operation_id="cases_pass_on", request=PassOnSerializer, responses=CaseSerializer)
    def pass_on(self, request: Request, case_id: str) -> Response:
        """Make somebody the owner; who was it before stays as a lead."""
        given = PassOnSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        to = active_user(given.validated_data["user"])
        return Response(CaseSerializer(services.pass_on(case=self.case, to=to, by=self.by)).data)

    @extend_schema(operation_id="cases_restrict", request=None, responses=CaseSerializer)
    def restrict(self, request: Request, case_id: str) -> Response:
        """Close the case to administrators who have not joined it."""
        return Response(CaseSerializer(services.restrict_case(case=self.case, by=self.by)).data)

    @extend_schema(operation_id="cases_unrestrict", request=None, responses=CaseSerializer)
    def unrestrict(self, request: Request, case_id: str) -> Response:
        """Open the case to administrators again."""
        return Response(CaseSerializer(services.unrestrict_case(case=self.case, by=self.by)).data)


class JoinRoutes(CaseRoutes):
    """The one way by which an administrator comes to a restricted case."""

    serializer_class = CaseSerializer
    permission_classes = (SignedIn, CanJoinCase)
    dangerous = frozenset({"join"})

    @cached_property
    def case(self) -> Case:
        """The case, for administrators also one they do not see. Raises NotFound."""
        is_admin = policy.sees_all_cases(self.by)
        cases = Case.objects.all() if is_admin else Case.objects.visible_to(self.by)
        return one(cases, case_id=self.kwargs["case_id"])

    @extend_schema(operation_id="cases_join", request=JoinSerializer, responses=CaseSerializer)
    def join(self, request: Request, case_id: str) -> Response:
        """Become one of the people of a restricted case; its leads are told, with the reason on record."""
        given = JoinSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        services.join_case(case=self.case, by=self.by, **given.validated_data)
        joined = Case.objects.visible_to(self.by).select_related("owner", "closed_by")
        return Response(CaseSerializer(one(joined, pk=self.case.pk)).data)


class RestrictedCasesRoutes(Routes):
    """The restricted cases there are, for administrators who need to join one."""

    permission_classes = (SignedIn, SeesAllCases)
    persons_only = True
    queryset = Case.objects.none()  # names the model to the OpenAPI document
    serializer_class = RestrictedCaseSerializer
    filter_backends = ()
    orderings: ClassVar = {"case_id": "case_id"}
    default_ordering = "case_id"

    def get_queryset(self) -> QuerySet[Case]:
        """Return them with their leads."""
        leads = CaseMember.objects.filter(role=CaseRole.LEAD).select_related("user")
        found = Case.objects.filter(restricted=True).select_related("owner")
        return found.prefetch_related(Prefetch("members", leads, to_attr="lead_members"))

    @extend_schema(operation_id="restricted_cases_list")
    def list(self, request: Request) -> Response:
        """List them: id, owner and leads, and nothing else of the case."""
        answer: Response = self.listed(self.get_queryset())
        return answer
