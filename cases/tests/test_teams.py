"""Teams: who is in one, on which cases it works, and what of that is on record."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from accounts.models import AuditEntry
from cases import services
from cases.tests.access import rights
from cases.tests.api.cast import person
from cases.tests.cast import a_case, actions, alice
from datamortem.common.errors import Conflict, DomainError, Missing

pytestmark = pytest.mark.django_db


class TestTeams:
    """Teams and the cases they work on."""

    def test_every_case_of_a_team_is_told_of_its_changes(self) -> None:
        cases = [a_case(f"ir-{number}") for number in range(2)]
        other, bob = a_case("ir-other"), person("bob")
        team = services.create_team(name="Night shift", by=None)
        for case, role in zip(cases, ("analyst", "reader"), strict=True):
            services.add_team(case=case, team=team, role=role, by=alice())
        services.add_to_team(team=team, user=bob, by=None)
        assert [rights(bob, case.case_id) for case in (*cases, other)] == ["sw--", "s---", "----"]
        services.change_team_role(case=cases[0], team=team, role="reader", by=alice())
        services.change_team(team=team, name="Day shift", by=None)
        services.remove_from_team(team=team, user=bob, by=None)
        assert rights(bob, cases[0].case_id) == "----"
        services.delete_team(team=team, by=None, confirm="Day shift")
        told = ["team.member_added", "team.renamed", "team.member_removed", "team.removed"]
        assert actions(cases[0]) == ["case.opened", "team.added", told[0], "team.changed", *told[1:]]
        assert actions(cases[1]) == ["case.opened", "team.added", *told]
        assert actions(other) == ["case.opened"]
        audited = AuditEntry.objects.filter(case_id="").order_by("pk").values_list("action", "target")
        assert list(audited) == [
            ("team.created", "Night shift"),
            ("team.member_added", "Night shift"),
            ("team.edited", "Day shift"),
            ("team.member_removed", "Day shift"),
            ("team.deleted", "Day shift"),
        ]

    def test_a_team_at_work_is_deleted_by_its_name_alone(self) -> None:
        case, team = a_case(), services.create_team(name="Night shift", by=None)
        services.add_team(case=case, team=team, role="reader", by=alice())
        for confirm in (None, "", "night shift"):
            with pytest.raises(Conflict) as refusal:
                services.delete_team(team=team, by=None, confirm=confirm)
            assert refusal.value.code == "team_works"
        services.remove_team(case=case, team=team, by=alice())
        services.delete_team(team=team, by=None)
        with pytest.raises(Missing):
            services.add_to_team(team=team, user=alice(), by=None)

    def test_what_a_team_cannot_be_is_refused(self) -> None:
        case, team, bob = a_case(), services.create_team(name="A", by=None), person("bob")
        services.add_team(case=case, team=team, role="reader", by=alice())
        services.add_to_team(team=team, user=bob, by=None)
        refused: tuple[tuple[Callable[[], object], str], ...] = (
            (lambda: services.add_team(case=case, team=team, role="lead", by=alice()), "role"),
            (lambda: services.change_team_role(case=case, team=team, role="lead", by=alice()), "role"),
            (lambda: services.add_team(case=case, team=team, role="reader", by=alice()), "team"),
            (lambda: services.create_team(name="A", by=None), "name"),
            (lambda: services.create_team(name=" ", by=None), "name"),
            (lambda: services.create_team(name="x" * 81, by=None), "name"),
            (lambda: services.add_to_team(team=team, user=bob, by=None), "user"),
            (lambda: services.add_to_team(team=team, user=person("g", is_active=False), by=None), "user"),
        )
        for act, field in refused:
            with pytest.raises(DomainError) as refusal:
                act()
            assert refusal.value.field == field
        with pytest.raises(Missing):
            services.remove_from_team(team=team, user=alice(), by=None)
        with pytest.raises(Missing):
            services.remove_team(case=a_case("ir-other"), team=team, by=alice())

    def test_a_closed_case_keeps_its_teams(self) -> None:
        case = a_case()
        team, other = (services.create_team(name=name, by=None) for name in "AB")
        services.add_team(case=case, team=team, role="reader", by=alice())
        services.close_case(case=case, by=alice())
        for act in (
            lambda: services.remove_team(case=case, team=team, by=alice()),
            lambda: services.change_team_role(case=case, team=team, role="analyst", by=alice()),
            lambda: services.add_team(case=case, team=other, role="reader", by=alice()),
        ):
            with pytest.raises(services.CaseClosed):
                act()
