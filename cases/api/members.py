"""Routes of who works on a case by name. The owner is one of the leads; `id` is the user's."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.idempotency import idempotent
from accounts.models import User
from accounts.people import active_user
from accounts.permissions import SignedIn
from cases import services
from cases.api.scope import CaseRoutes, one
from cases.api.serializers import AddMemberSerializer, ChangeMemberSerializer, MemberSerializer
from cases.models import CaseMember, CaseRole
from cases.permissions import CanManageCase


class MembersRoutes(CaseRoutes):
    """The members of a case."""

    permission_classes = (SignedIn, CanManageCase)
    queryset = User.objects.none()  # names the model to the OpenAPI document
    serializer_class = MemberSerializer
    filter_backends = ()
    orderings: ClassVar = {"username": "username"}
    default_ordering = "username"

    def get_queryset(self) -> QuerySet[User]:
        """Return users with their role here."""
        membership = CaseMember.objects.filter(case_ref=self.case, user=OuterRef("pk"))
        is_owner = Q(pk=self.case.owner_id)
        return (
            User.objects.filter(is_owner | Exists(membership))
            .alias(added=Subquery(membership.values("added_at")[:1]))
            .annotate(
                case_role=Coalesce(Subquery(membership.values("role")[:1]), Value(CaseRole.LEAD.value)),
                added_at=Coalesce(F("added"), Value(self.case.created_at_utc)),
            )
        )

    @extend_schema(operation_id="members_list")
    def list(self, request: Request, case_id: str) -> Response:
        """List the members, the owner among them."""
        page = self.paginate_queryset(self.get_queryset()) or []
        return self.get_paginated_response([self._shown(user) for user in page])

    @extend_schema(operation_id="members_add", request=AddMemberSerializer, responses={201: MemberSerializer})
    @idempotent
    def create(self, request: Request, case_id: str) -> Response:
        """Let a user work on the case."""
        given = AddMemberSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        user = active_user(given.validated_data["user"])
        services.add_member(case=self.case, user=user, role=given.validated_data["role"], by=self.by)
        return Response(self._shown(self._member(user.pk)), status=201)

    @extend_schema(operation_id="members_get")
    def retrieve(self, request: Request, case_id: str, user_id: int) -> Response:
        """Show a member."""
        return Response(self._shown(self._member(user_id)))

    @extend_schema(operation_id="members_change", request=ChangeMemberSerializer, responses=MemberSerializer)
    def partial_update(self, request: Request, case_id: str, user_id: int) -> Response:
        """Give a member another role; the last lead stays one."""
        user = self._member(user_id)
        given = ChangeMemberSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        role = given.validated_data["role"]
        services.change_member(case=self.case, user=user, role=role, by=self.by)
        del self.case
        return Response(self._shown(self._member(user_id)))

    @extend_schema(operation_id="members_remove", responses={204: None})
    def destroy(self, request: Request, case_id: str, user_id: int) -> Response:
        """End a user's work on the case; the last lead cannot leave."""
        services.remove_member(case=self.case, user=self._member(user_id), by=self.by)
        return Response(status=204)

    def _member(self, user_id: int) -> User:
        return one(self.get_queryset(), pk=user_id)

    def _shown(self, user: Any) -> dict[str, Any]:
        is_owner = user.pk == self.case.owner_id
        return {
            "id": user.pk,
            "username": user.username,
            "email": user.email,
            "full_name": user.full_name,
            "role": CaseRole.LEAD.value if is_owner else user.case_role,
            "is_owner": is_owner,
            "added_at": user.added_at,
        }
