"""A case, and who works on it."""

from __future__ import annotations

from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import Invitation, Team, TeamMember, User


class CaseRole(models.TextChoices):
    """Roles inside a case, from most to least."""

    LEAD = "lead"
    ANALYST = "analyst"
    READER = "reader"


class CaseStatus(models.TextChoices):
    """Where a case stands. The old system had free text here; anything but closed is open."""

    OPEN = "open"
    CLOSED = "closed"


class Severity(models.TextChoices):
    """How bad it is, as the lead sees it."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class CaseQuerySet(models.QuerySet["Case"]):
    """Which cases somebody may see, write to and manage: the root of all access.

    The owner leads. Members have their role, a team's members the role of the team, and of
    several ways in the greater counts. Admins of the platform do everything in every case, but a
    restricted case is its people's alone: there an admin is what he has joined as, by name.
    """

    def visible_to(self, user: User) -> Self:
        """Cases the user owns or works on, with any role; for admins all that are not restricted."""
        return self._open_to(user, *CaseRole.values) if user.is_active else self.none()

    def writable_by(self, user: User) -> Self:
        """Cases the user may add to: leads and analysts, and admins; never viewers."""
        return self._open_to(user, CaseRole.LEAD, CaseRole.ANALYST) if user.may_write else self.none()

    def managed_by(self, user: User) -> Self:
        """Cases whose people and life the user decides on: leads and admins."""
        return self._open_to(user, CaseRole.LEAD) if user.may_write else self.none()

    def guarded_by(self, user: User) -> Self:
        """Cases whose restriction the user decides on: leads, and admins who have joined them."""
        if not user.may_write:
            return self.none()
        roles = CaseRole.values if user.is_platform_admin else [CaseRole.LEAD]
        return self._within_bounds(user).filter(pk__in=_worked_on_by(user, *roles))

    def foreign_to(self, user: User) -> Self:
        """Cases that an admin does not work on: opening one is on record (`cases.audit`)."""
        if not user.is_platform_admin:
            return self.none()
        return self.exclude(pk__in=_worked_on_by(user, *CaseRole.values))

    def barred_to(self, user: User) -> Self:
        """Restricted cases that an admin has not joined: there is such a case, and no more to be seen."""
        return self.foreign_to(user).filter(restricted=True)

    def _open_to(self, user: User, *roles: str) -> Self:
        is_in = Q(pk__in=_worked_on_by(user, *roles))
        is_open = Q(restricted=False) | is_in if user.is_platform_admin else is_in
        return self._within_bounds(user).filter(is_open)

    def _within_bounds(self, user: User) -> Self:
        """Return the cases that an API token opens; without one, or with one not bound to cases, all."""
        return self if user.bound_cases is None else self.filter(case_id__in=user.bound_cases)


def _worked_on_by(user: User, *roles: str) -> models.QuerySet[Any, Any]:
    """Return the keys of the cases that a user owns, or has one of the roles in.

    Subqueries, not joins: joins multiply rows and counts. One union, not three conditions: each
    part is looked up by its own index. Teams open nothing to admins, who see what is not
    restricted anyway and decide themselves who is in a team.
    """
    owned = Case.objects.filter(owner=user).order_by().values("pk")
    member = CaseMember.objects.filter(user=user, role__in=roles).order_by().values("case_ref")
    if user.is_platform_admin:
        return owned.union(member, all=True)
    teams = TeamMember.objects.filter(user=user).values("team")
    through_team = CaseTeam.objects.filter(team__in=teams, role__in=roles).order_by().values("case_ref")
    return owned.union(member, through_team, all=True)


class Case(models.Model):
    """One investigation. `case_id` is its public name and never changes."""

    case_id = models.CharField(unique=True)
    status = models.CharField(default=CaseStatus.OPEN)
    created_at_utc = models.DateTimeField(default=timezone.now)
    note = models.TextField(null=True, blank=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="cases"
    )
    hedgedoc_slug = models.CharField(null=True, blank=True, unique=True)
    title = models.CharField(max_length=300, blank=True, default="", db_default="")
    severity = models.CharField(max_length=16, choices=Severity, blank=True, default="", db_default="")
    tags = models.JSONField(default=list, db_default=models.Value([], models.JSONField()), blank=True)
    restricted = models.BooleanField(default=False, db_default=False)
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    objects = CaseQuerySet.as_manager()

    class Meta:
        db_table = "cases"
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.case_id

    @property
    def is_closed(self) -> bool:
        """Whether the case refuses evidence and writes."""
        return self.status == CaseStatus.CLOSED


class CaseMember(models.Model):
    """A user's role in a case. The owner is a lead without a row here."""

    case_ref = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="members", db_column="case_pk")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="case_memberships"
    )
    role = models.CharField(max_length=16, choices=CaseRole, default=CaseRole.READER)
    added_at = models.DateTimeField(default=timezone.now)
    added_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        db_table = "case_memberships"  # "case_members" is a table of the old system's later versions
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["case_ref", "user"], name="one_role_in_a_case"),
            models.CheckConstraint(condition=Q(role__in=CaseRole.values), name="case_role_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id}: {self.role}"


class CaseTeam(models.Model):
    """A team's role in a case. A lead is a person, never a team."""

    case_ref = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="teams", db_column="case_pk")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="cases")
    role = models.CharField(max_length=16, choices=CaseRole, default=CaseRole.READER)
    added_at = models.DateTimeField(default=timezone.now)
    added_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        db_table = "case_teams"
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["case_ref", "team"], name="one_role_of_a_team_in_a_case"),
            models.CheckConstraint(
                condition=Q(role__in=[CaseRole.ANALYST, CaseRole.READER]), name="a_lead_is_a_person"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.team_id}: {self.role}"


class CaseInvitation(models.Model):
    """The role in a case that comes with an invitation."""

    invitation = models.OneToOneField(Invitation, on_delete=models.CASCADE, related_name="case_invitation")
    case_ref = models.ForeignKey(
        Case, on_delete=models.CASCADE, related_name="invitations", db_column="case_pk"
    )
    role = models.CharField(max_length=16, choices=CaseRole, default=CaseRole.READER)

    class Meta:
        db_table = "case_invitations"
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.invitation_id}: {self.role}"
