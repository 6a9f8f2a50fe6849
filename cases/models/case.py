"""A case, and who works on it."""

from __future__ import annotations

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import Invitation, Team, User


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
    """Which cases somebody may see, write to and manage: the root of all access."""

    def visible_to(self, user: User) -> Self:
        """Cases the user owns or is a member of; admins of the platform see all."""
        if not user.is_active:
            return self.none()
        if user.is_platform_admin:
            return self
        return self.filter(_is_lead(user) | _has_role(user, *CaseRole.values))

    def writable_by(self, user: User) -> Self:
        """Cases the user may add to: leads and analysts, and admins; never viewers."""
        if not user.may_write:
            return self.none()
        if user.is_platform_admin:
            return self
        return self.filter(_is_lead(user) | _has_role(user, CaseRole.ANALYST))

    def managed_by(self, user: User) -> Self:
        """Cases whose members and life the user decides on: leads and admins."""
        if not user.may_write:
            return self.none()
        return self if user.is_platform_admin else self.filter(_is_lead(user))


def _has_role(user: User, *roles: str) -> Q:
    # A subquery, not a join: joins multiply rows and counts.
    return Q(pk__in=CaseMember.objects.filter(user=user, role__in=roles).values("case_ref"))


def _is_lead(user: User) -> Q:
    return Q(owner=user) | _has_role(user, CaseRole.LEAD)


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
