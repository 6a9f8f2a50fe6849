"""Teams: who is in one, and on which cases it works.

Whoever is in a team works on its cases, so a change of a team is in the custody record of each of
them. A team is held before its cases, and these in the order of their ids, as wherever several are:
nobody waits in a circle.
"""

from __future__ import annotations

from typing import Any, Final

from django.db import IntegrityError, transaction

from accounts import audit
from accounts.models import Team, TeamMember, User
from cases import custody
from cases.models import Case, CaseRole, CaseTeam
from cases.services.case import locked_open
from cases.services.member import AlreadyMember
from datamortem.common.errors import Conflict, Invalid, Missing
from datamortem.common.storable import storable

_LONGEST_NAME: Final = 80


class TeamExists(Conflict):
    """Another team has this name."""

    code = "team_exists"


class TeamWorks(Conflict):
    """The team works on cases, and its end was not confirmed."""

    code = "team_works"


@transaction.atomic
def create_team(*, name: str, description: str = "", by: User | None) -> Team:
    """Return a new team with nobody in it. Raises TeamExists."""
    team = Team(name=_name(name), description=storable(description))
    _save(team)
    audit.record("team.created", by=by, target=team.name)
    return team


@transaction.atomic
def change_team(
    *, team: Team, by: User | None, name: str | None = None, description: str | None = None
) -> Team:
    """Give the team another name or description; its cases are told the name. Raises TeamExists."""
    team = _held(team)
    before = team.name
    if name is not None:
        team.name = _name(name)
    if description is not None:
        team.description = storable(description)
    _save(team)
    renamed = {"before": before, "after": team.name}
    audit.record("team.edited", by=by, target=team.name, details=renamed)
    if before != team.name:
        _tell_cases(team, action="team.renamed", details=renamed, by=by)
    return team


@transaction.atomic
def delete_team(*, team: Team, by: User | None, confirm: str | None = None) -> None:
    """End a team; who worked on a case through it alone works there no longer.

    A team that works on cases needs its name as confirmation. Raises TeamWorks.
    """
    team = _held(team)
    roles = dict(CaseTeam.objects.filter(team=team).values_list("case_ref__case_id", "role"))
    if roles and confirm != team.name:
        raise TeamWorks(
            f"Team {team.name} works on {len(roles)} cases: confirm with its name to delete it.",
            field="confirm",
        )
    for case_id in sorted(roles):
        details = {"team": team.name, "role": roles[case_id], "deleted": True}
        custody.record(case_id=case_id, by=by, action="team.removed", details=details)
    audit.record("team.deleted", by=by, target=team.name, details={"cases": len(roles)})
    team.delete()


@transaction.atomic
def add_to_team(*, team: Team, user: User, by: User | None) -> TeamMember:
    """Put a user into a team, and so on its cases. Raises AlreadyMember."""
    team = _held(team)
    if not user.is_active:
        raise Invalid(f"The account of {user.username} is not active.", field="user")
    if TeamMember.objects.filter(team=team, user=user).exists():
        raise AlreadyMember(f"{user.username} is in team {team.name} already.", field="user")
    member = TeamMember.objects.create(team=team, user=user, added_by=by)
    _tell(team, action="team.member_added", details={"team": team.name, "member": user.username}, by=by)
    return member


@transaction.atomic
def remove_from_team(*, team: Team, user: User, by: User | None) -> None:
    """Take a user out of a team, and off the cases they worked on through it alone."""
    team = _held(team)
    removed, _ = TeamMember.objects.filter(team=team, user=user).delete()
    if not removed:
        raise Missing(f"{user.username} is not in team {team.name}.")
    _tell(team, action="team.member_removed", details={"team": team.name, "member": user.username}, by=by)


@transaction.atomic
def add_team(*, case: Case, team: Team, role: str, by: User | None) -> CaseTeam:
    """Let a team work on the case. Raises AlreadyMember."""
    _check_team_role(role)
    team = _held(team)
    case = locked_open(case)
    if CaseTeam.objects.filter(case_ref=case, team=team).exists():
        raise AlreadyMember(f"Team {team.name} works on case {case.case_id} already.", field="team")
    given = CaseTeam.objects.create(case_ref=case, team=team, role=role, added_by=by)
    details = {"team": team.name, "role": role}
    custody.record(case_id=case.case_id, by=by, action="team.added", details=details)
    return given


@transaction.atomic
def change_team_role(*, case: Case, team: Team, role: str, by: User | None) -> None:
    """Give a team another role in the case. Raises Missing."""
    _check_team_role(role)
    case = locked_open(case)
    given = _given(case, team)
    before = given.role
    if role == before:
        return
    given.role = role
    given.save(update_fields=["role"])
    details = {"team": team.name, "before": before, "after": role}
    custody.record(case_id=case.case_id, by=by, action="team.changed", details=details)


@transaction.atomic
def remove_team(*, case: Case, team: Team, by: User | None) -> None:
    """End a team's work on the case. Raises Missing."""
    case = locked_open(case)
    given = _given(case, team)
    details = {"team": team.name, "role": given.role}
    given.delete()
    custody.record(case_id=case.case_id, by=by, action="team.removed", details=details)


def _held(team: Team) -> Team:
    """Return the team with its row held to the end of the transaction. Raises Missing."""
    held = Team.objects.select_for_update().filter(pk=team.pk).first()
    if held is None:
        raise Missing(f"Team {team.name} is gone.")
    return held


def _given(case: Case, team: Team) -> CaseTeam:
    given = CaseTeam.objects.filter(case_ref=case, team=team).first()
    if given is None:
        raise Missing(f"Team {team.name} does not work on case {case.case_id}.")
    return given


def _check_team_role(role: str) -> None:
    """Raise Invalid for what a team cannot be: a lead is a person."""
    if role not in (CaseRole.ANALYST, CaseRole.READER):
        raise Invalid("A team is analyst or reader; a lead is a person.", field="role")


def _name(name: str) -> str:
    name = storable(name).strip()
    if not 0 < len(name) <= _LONGEST_NAME:
        raise Invalid(f"A team has a name of up to {_LONGEST_NAME} characters.", field="name")
    return name


def _save(team: Team) -> None:
    try:
        with transaction.atomic():
            team.save()
    except IntegrityError as error:
        raise TeamExists(f"There is a team {team.name} already.", field="name") from error


def _tell(team: Team, *, action: str, details: dict[str, Any], by: User | None) -> None:
    audit.record(action, by=by, target=team.name, details=details)
    _tell_cases(team, action=action, details=details, by=by)


def _tell_cases(team: Team, *, action: str, details: dict[str, Any], by: User | None) -> None:
    for case_id in sorted(Case.objects.filter(teams__team=team).values_list("case_id", flat=True)):
        custody.record(case_id=case_id, by=by, action=action, details=details)
