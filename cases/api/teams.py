"""Routes of teams, of who is in one, and of the teams that work on a case."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import F, Prefetch, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.idempotency import idempotent
from accounts.models import Team, TeamMember, User
from accounts.people import active_user
from accounts.permissions import SignedIn
from cases import services
from cases.api.scope import CaseRoutes, Routes, one
from cases.models import CaseRole, CaseTeam
from cases.permissions import CanManageCase, CanManageTeams
from datamortem.common.api import StrictSerializer
from datamortem.common.errors import Invalid

_ROLES = [(role.value, role.label) for role in (CaseRole.ANALYST, CaseRole.READER)]


class TeamSerializer(serializers.ModelSerializer[Team]):
    """A team."""

    class Meta:
        model = Team
        fields = ("id", "name", "description", "created_at")
        read_only_fields = fields


class DescribeTeamSerializer(StrictSerializer):
    """What may be said about a team."""

    name = serializers.CharField(max_length=80)
    description = serializers.CharField(max_length=10_000, allow_blank=True, required=False)


class TeamMemberSerializer(serializers.Serializer[User]):
    """Somebody in a team; `id` is that of the user."""

    id = serializers.IntegerField()
    username = serializers.CharField()
    email = serializers.CharField()
    full_name = serializers.CharField(allow_null=True)
    is_active = serializers.BooleanField()
    added_at = serializers.DateTimeField()


class AddToTeamSerializer(StrictSerializer):
    """Who is to be in the team: a username, an address or an id."""

    user = serializers.CharField(max_length=320)


class CaseTeamSerializer(serializers.Serializer[CaseTeam]):
    """A team that works on a case; `id` is that of the team."""

    id = serializers.IntegerField(source="team.pk")
    name = serializers.CharField(source="team.name")
    role = serializers.ChoiceField(choices=_ROLES)
    added_at = serializers.DateTimeField()
    members = serializers.SerializerMethodField()

    def get_members(self, given: Any) -> list[str]:
        """Return the usernames of those who work on the case through the team."""
        return [member.user.username for member in given.team.people]


class AddTeamSerializer(StrictSerializer):
    """Which team is to work on a case: its name or id."""

    team = serializers.CharField(max_length=80)
    role = serializers.ChoiceField(choices=_ROLES, default=CaseRole.READER)


class ChangeTeamRoleSerializer(StrictSerializer):
    """Another role in the case."""

    role = serializers.ChoiceField(choices=_ROLES)


class TeamsRoutes(Routes):
    """Teams: one's own, for administrators all."""

    permission_classes = (SignedIn, CanManageTeams)
    queryset = Team.objects.none()  # names the model to the OpenAPI document
    serializer_class = TeamSerializer
    filter_backends = ()
    orderings: ClassVar = {"name": "name"}
    default_ordering = "name"
    action_parameters: ClassVar = {"destroy": ("confirm",)}

    def get_queryset(self) -> QuerySet[Team]:
        """Return the teams that the user sees."""
        return Team.objects.visible_to(self.by)

    @extend_schema(operation_id="teams_list")
    def list(self, request: Request) -> Response:
        """List teams by name."""
        answer: Response = self.listed(self.get_queryset())
        return answer

    @extend_schema(
        operation_id="teams_create", request=DescribeTeamSerializer, responses={201: TeamSerializer}
    )
    @idempotent
    def create(self, request: Request) -> Response:
        """Make a team with nobody in it."""
        given = DescribeTeamSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        team = services.create_team(by=self.by, **given.validated_data)
        return Response(TeamSerializer(team).data, status=201)

    @extend_schema(operation_id="teams_get")
    def retrieve(self, request: Request, team_id: int) -> Response:
        """Show a team."""
        return Response(TeamSerializer(one(self.get_queryset(), pk=team_id)).data)

    @extend_schema(operation_id="teams_change", request=DescribeTeamSerializer, responses=TeamSerializer)
    def partial_update(self, request: Request, team_id: int) -> Response:
        """Change name or description."""
        team = one(self.get_queryset(), pk=team_id)
        given = DescribeTeamSerializer(data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        return Response(
            TeamSerializer(services.change_team(team=team, by=self.by, **given.validated_data)).data
        )

    @extend_schema(
        operation_id="teams_delete",
        parameters=[OpenApiParameter("confirm", str, description="The team's name, if it works on cases.")],
        responses={204: None},
    )
    def destroy(self, request: Request, team_id: int) -> Response:
        """End a team, and the work on cases that people do through it alone."""
        team = one(self.get_queryset(), pk=team_id)
        services.delete_team(team=team, by=self.by, confirm=request.query_params.get("confirm"))
        return Response(status=204)


class TeamMembersRoutes(Routes):
    """Who is in a team."""

    permission_classes = (SignedIn, CanManageTeams)
    queryset = User.objects.none()  # names the model to the OpenAPI document
    serializer_class = TeamMemberSerializer
    filter_backends = ()
    orderings: ClassVar = {"username": "username"}
    default_ordering = "username"

    def get_queryset(self) -> QuerySet[User]:
        """Return the users of the team. Raises NotFound."""
        return self._of(self._team())

    @extend_schema(operation_id="team_members_list")
    def list(self, request: Request, team_id: int) -> Response:
        """List who is in the team."""
        answer: Response = self.listed(self.get_queryset())
        return answer

    @extend_schema(
        operation_id="team_members_add",
        request=AddToTeamSerializer,
        responses={201: TeamMemberSerializer},
    )
    @idempotent
    def create(self, request: Request, team_id: int) -> Response:
        """Put somebody into the team, and so on its cases."""
        team = self._team()
        given = AddToTeamSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        user = active_user(given.validated_data["user"])
        services.add_to_team(team=team, user=user, by=self.by)
        return Response(TeamMemberSerializer(one(self._of(team), pk=user.pk)).data, status=201)

    @extend_schema(operation_id="team_members_remove", responses={204: None})
    def destroy(self, request: Request, team_id: int, user_id: int) -> Response:
        """Take somebody out of the team, and off the cases they worked on through it alone."""
        team = self._team()
        services.remove_from_team(team=team, user=one(self._of(team), pk=user_id), by=self.by)
        return Response(status=204)

    def _team(self) -> Team:
        return one(Team.objects.visible_to(self.by), pk=self.kwargs["team_id"])

    def _of(self, team: Team) -> QuerySet[User]:
        # One membership a team (`once_in_a_team`), so the join gives nobody twice.
        found = User.objects.filter(team_memberships__team=team)
        return found.annotate(added_at=F("team_memberships__added_at"))


class CaseTeamsRoutes(CaseRoutes):
    """The teams that work on a case."""

    permission_classes = (SignedIn, CanManageCase)
    queryset = CaseTeam.objects.none()  # names the model to the OpenAPI document
    serializer_class = CaseTeamSerializer
    filter_backends = ()
    orderings: ClassVar = {"added_at": "added_at"}
    default_ordering = "added_at"

    def get_queryset(self) -> QuerySet[CaseTeam]:
        """Return them with who is in them."""
        active = TeamMember.objects.filter(user__is_active=True)
        people = active.select_related("user").order_by("user__username")
        found = CaseTeam.objects.filter(case_ref=self.case).select_related("team")
        return found.prefetch_related(Prefetch("team__members", people, to_attr="people"))

    @extend_schema(operation_id="case_teams_list")
    def list(self, request: Request, case_id: str) -> Response:
        """List the teams, each with its people."""
        answer: Response = self.listed(self.get_queryset())
        return answer

    @extend_schema(
        operation_id="case_teams_add", request=AddTeamSerializer, responses={201: CaseTeamSerializer}
    )
    @idempotent
    def create(self, request: Request, case_id: str) -> Response:
        """Let a team work on the case."""
        given = AddTeamSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        team = _team_called(given.validated_data["team"])
        services.add_team(case=self.case, team=team, role=given.validated_data["role"], by=self.by)
        return Response(CaseTeamSerializer(self._given(team.pk)).data, status=201)

    @extend_schema(operation_id="case_teams_get")
    def retrieve(self, request: Request, case_id: str, team_id: int) -> Response:
        """Show a team that works on the case."""
        return Response(CaseTeamSerializer(self._given(team_id)).data)

    @extend_schema(
        operation_id="case_teams_change", request=ChangeTeamRoleSerializer, responses=CaseTeamSerializer
    )
    def partial_update(self, request: Request, case_id: str, team_id: int) -> Response:
        """Give a team another role."""
        team = self._given(team_id).team
        given = ChangeTeamRoleSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        role = given.validated_data["role"]
        services.change_team_role(case=self.case, team=team, role=role, by=self.by)
        return Response(CaseTeamSerializer(self._given(team_id)).data)

    @extend_schema(operation_id="case_teams_remove", responses={204: None})
    def destroy(self, request: Request, case_id: str, team_id: int) -> Response:
        """End a team's work on the case."""
        services.remove_team(case=self.case, team=self._given(team_id).team, by=self.by)
        return Response(status=204)

    def _given(self, team_id: int) -> CaseTeam:
        # Through the team's own key: of a number beyond any key, a relation makes an error on SQLite.
        return one(self.get_queryset(), team__in=Team.objects.filter(pk=team_id))


def _team_called(name: str) -> Team:
    """Return a team by name or id: whoever works with a team knows what it is called. Raises Invalid."""
    found = Team.objects.filter(name=name).first() if "\x00" not in name else None
    if found is None and name.isascii() and name.isdecimal() and len(name) < 10:
        found = Team.objects.filter(pk=int(name)).first()
    if found is None:
        raise Invalid("There is no team of this name.", field="team")
    return found
