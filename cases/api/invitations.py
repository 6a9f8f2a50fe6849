"""Routes of invitations by mail: to a case, to the platform, and of those who got one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.scope import Open
from accounts.idempotency import idempotent
from accounts.models import Invitation, Role, User
from accounts.permissions import SignedIn
from cases import services
from cases.api.scope import CaseRoutes, Routes, one
from cases.models import CaseRole
from cases.permissions import CanInvite, SeesAllCases
from datamortem.common.api import StrictParameters, StrictSerializer
from datamortem.common.errors import Invalid


class InvitationSerializer(serializers.ModelSerializer[Invitation]):
    """An invitation that is open. `role` is the one on the platform."""

    invited_by = serializers.CharField(source="invited_by.username", default=None, allow_null=True)

    class Meta:
        model = Invitation
        fields = ("id", "email", "role", "invited_by", "created_at", "expires_at")
        read_only_fields = fields


class CaseInvitationSerializer(InvitationSerializer):
    """An invitation that is open. `role` is the one in the case."""

    role = serializers.ChoiceField(source="case_invitation.role", choices=CaseRole.choices)


class InviteToCaseSerializer(StrictSerializer):
    """Who is to work on the case, and as what."""

    email = serializers.EmailField(max_length=320)
    role = serializers.ChoiceField(choices=CaseRole.choices, default=CaseRole.READER)


class InviteSerializer(StrictSerializer):
    """Who is to have an account, and as what."""

    email = serializers.EmailField(max_length=320)
    role = serializers.ChoiceField(choices=Role.choices, default=Role.ANALYST)


class LookSerializer(StrictSerializer):
    """What the mail brought."""

    token = serializers.CharField(max_length=200)


class OfferSerializer(serializers.Serializer[Any]):
    """What an invitation offers; without a case, `role` is one on the platform."""

    email = serializers.CharField()
    case_id = serializers.CharField(allow_null=True)
    case_title = serializers.CharField(allow_null=True)
    role = serializers.CharField()
    invited_by = serializers.CharField()
    has_account = serializers.BooleanField()


class AcceptSerializer(LookSerializer):
    """What the mail brought; and for somebody who has no account, what makes one."""

    username = serializers.CharField(max_length=150, required=False)
    password = serializers.CharField(max_length=1024, trim_whitespace=False, required=False, write_only=True)
    full_name = serializers.CharField(max_length=200, required=False, allow_blank=True)


class NewAccountSerializer(serializers.ModelSerializer[User]):
    """An account that was just made: sign in with it."""

    class Meta:
        model = User
        fields = ("email", "username", "full_name", "role")
        read_only_fields = fields


class CaseInvitationsRoutes(CaseRoutes):
    """The open invitations to a case."""

    permission_classes = (SignedIn, CanInvite)
    queryset = Invitation.objects.none()  # names the model to the OpenAPI document
    serializer_class = CaseInvitationSerializer
    filter_backends = ()
    orderings: ClassVar = {"created_at": "created_at"}
    default_ordering = "-created_at"

    def get_queryset(self) -> QuerySet[Invitation]:
        """Return them with who sent them."""
        return services.invitations_to(self.case).open().select_related("invited_by")

    @extend_schema(operation_id="case_invitations_list")
    def list(self, request: Request, case_id: str) -> Response:
        """List them, the newest first."""
        answer: Response = self.listed(self.get_queryset())
        return answer

    @extend_schema(
        operation_id="case_invitations_send",
        request=InviteToCaseSerializer,
        responses={201: CaseInvitationSerializer},
    )
    @idempotent
    def create(self, request: Request, case_id: str) -> Response:
        """Invite an address for seven days; a newer invitation replaces the older."""
        given = InviteToCaseSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        invitation = services.invite(case=self.case, by=self.by, **given.validated_data)
        return Response(self.get_serializer(invitation).data, status=201)

    @extend_schema(operation_id="case_invitations_revoke", responses={204: None})
    def destroy(self, request: Request, case_id: str, invitation_id: int) -> Response:
        """End an open one: its mail opens nothing any more."""
        services.revoke_invitation(invitation=one(self.get_queryset(), pk=invitation_id), by=self.by)
        return Response(status=204)


class InvitationsRoutes(Routes):
    """The open invitations to have an account; those to cases are with the cases."""

    permission_classes = (SignedIn, SeesAllCases)
    dangerous = frozenset({"create", "destroy"})
    queryset = Invitation.objects.none()  # names the model to the OpenAPI document
    serializer_class = InvitationSerializer
    filter_backends = ()
    orderings: ClassVar = {"created_at": "created_at"}
    default_ordering = "-created_at"

    def get_queryset(self) -> QuerySet[Invitation]:
        """Return them with who sent them."""
        return services.invitations_to(None).open().select_related("invited_by")

    @extend_schema(operation_id="invitations_list")
    def list(self, request: Request) -> Response:
        """List them, the newest first."""
        answer: Response = self.listed(self.get_queryset())
        return answer

    @extend_schema(
        operation_id="invitations_send", request=InviteSerializer, responses={201: InvitationSerializer}
    )
    @idempotent
    def create(self, request: Request) -> Response:
        """Invite an address for seven days; a newer invitation replaces the older."""
        given = InviteSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        invitation = services.invite_to_platform(by=self.by, **given.validated_data)
        return Response(self.get_serializer(invitation).data, status=201)

    @extend_schema(operation_id="invitations_revoke", responses={204: None})
    def destroy(self, request: Request, invitation_id: int) -> Response:
        """End an open one: its mail opens nothing any more."""
        services.revoke_invitation(invitation=one(self.get_queryset(), pk=invitation_id), by=self.by)
        return Response(status=204)


class LookView(Open):
    """What an invitation offers to whoever got its mail."""

    @extend_schema(operation_id="invitations_look", request=LookSerializer, responses=OfferSerializer)
    def post(self, request: Request) -> Response:
        """Look at it; it stays open."""
        given = LookSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        return Response(OfferSerializer(asdict(services.look_at_invitation(**given.validated_data))).data)


class SignedInOrNobody(SignedIn):
    """Lets in people who are not signed in; who is must have proved it as everywhere."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Answer."""
        return request.user.is_anonymous or super().has_permission(request, view)


class AcceptView(StrictParameters):
    """Coming in by an invitation, with an account or for one."""

    permission_classes = (SignedInOrNobody,)
    persons_only = True

    @extend_schema(
        operation_id="invitations_accept",
        request=AcceptSerializer,
        responses={201: NewAccountSerializer, 204: None},
        auth=[{}, {"bearer": []}, {"cookieAuth": []}],  # type: ignore[list-item]  # the annotation forgets objects
    )
    def post(self, request: Request) -> Response:
        """Accept it, once: signed in as the invited address (204), or to make an account (201)."""
        given = AcceptSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        facts: dict[str, Any] = given.validated_data
        if not isinstance(request.user, User):
            return Response(NewAccountSerializer(services.accept_invitation(**facts)).data, status=201)
        if surplus := sorted(set(facts) - {"token"}):
            raise Invalid("You are signed in: this is for people without an account.", field=surplus[0])
        services.accept_invitation(token=facts["token"], user=request.user)
        return Response(status=204)
