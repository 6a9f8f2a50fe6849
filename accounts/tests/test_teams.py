"""Who sees which team, and how people are named."""

from __future__ import annotations

import pytest

from accounts import policy
from accounts.access import Access
from accounts.models import ApiToken, Role, Team, TeamMember, User
from accounts.people import active_user
from datamortem.common.errors import Invalid

pytestmark = pytest.mark.django_db


def _person(name: str, role: Role = Role.ANALYST) -> User:
    return User.objects.create_user(f"{name}@example.org", name, role=role)


def test_people_see_their_teams_and_admins_all() -> None:
    erin, ada = _person("erin"), _person("ada", Role.ADMIN)
    mine, _ = (Team.objects.create(name=name) for name in ("mine", "other"))
    TeamMember.objects.create(team=mine, user=erin)
    assert list(Team.objects.visible_to(erin)) == [mine]
    assert Team.objects.visible_to(ada).count() == 2
    User.objects.update(is_active=False)
    for user in User.objects.all():
        assert not Team.objects.visible_to(user).exists()


def test_a_token_bound_to_cases_sees_no_team_and_makes_none() -> None:
    ada = _person("ada", Role.ADMIN)
    Team.objects.create(name="A")
    assert policy.manages_teams(ada)
    for token in (ApiToken(scopes=["read", "write"], case_ids=["ir-1"]), ApiToken(scopes=["read"])):
        ada.access = Access(token=token)
        assert not policy.manages_teams(ada)
        assert Team.objects.visible_to(ada).exists() == (token.case_ids is None)


def test_a_person_is_named_by_username_address_or_id() -> None:
    erin = _person("erin")
    for name in ("erin", "erin@example.org", "Erin@Example.org", str(erin.pk)):
        assert active_user(name) == erin
    for name in ("", "ERIN", "e\x00", "٣", "9" * 30, f" {erin.pk}"):
        with pytest.raises(Invalid):
            active_user(name)
    User.objects.update(is_active=False)
    with pytest.raises(Invalid):
        active_user("erin")


def test_a_username_that_is_somebody_elses_address_names_nobody() -> None:
    erin = _person("erin")
    thief = User.objects.create_user("thief@example.org", "erin@example.org")
    with pytest.raises(Invalid):
        active_user("erin@example.org")
    assert active_user(str(erin.pk)) == erin
    assert active_user("thief@example.org") == thief
