"""Teams: groups of users that work on cases together."""

from __future__ import annotations

from typing import Self

from django.conf import settings
from django.db import models
from django.utils import timezone

from accounts.models.user import User


class TeamQuerySet(models.QuerySet["Team"]):
    """Which teams somebody may see."""

    def visible_to(self, user: User) -> Self:
        """Teams the user is in; for admins all. A token bound to cases opens nothing but these."""
        if not user.is_active or user.bound_cases is not None:
            return self.none()
        if user.is_platform_admin:
            return self
        return self.filter(pk__in=TeamMember.objects.filter(user=user).values("team"))


class Team(models.Model):
    """A group of users. What it may do in a case is said by the case."""

    name = models.CharField(max_length=80, unique=True)
    description = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)

    objects = TeamQuerySet.as_manager()

    class Meta:
        db_table = "teams"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class TeamMember(models.Model):
    """A user in a team."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="members")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="team_memberships"
    )
    added_at = models.DateTimeField(default=timezone.now)
    added_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        db_table = "team_members"
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["team", "user"], name="once_in_a_team")]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.team_id}"
