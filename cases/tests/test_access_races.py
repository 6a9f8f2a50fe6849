"""What several do to the people of a case at the same time, with real threads."""

from __future__ import annotations

import pytest

from accounts.models import OutgoingMail, Role
from cases import custody, services
from cases.models import Case, CaseTeam
from cases.tests.access import at_once
from cases.tests.api.cast import person
from cases.tests.cast import a_case, actions, alice

pytestmark = pytest.mark.django_db(transaction=True)


class TestRaces:
    """What two do at the same time ends as if one had waited for the other."""

    def test_of_leads_who_leave_at_once_one_stays(self) -> None:
        case, others = a_case(), [person(f"lead-{number}") for number in range(3)]
        for user in others:
            services.add_member(case=case, user=user, role="lead", by=alice())
        outcomes = at_once(
            *(lambda u=user: services.remove_member(case=case, user=u, by=u) for user in (alice(), *others))
        )
        assert outcomes == ["", "", "", "last_lead"]
        case.refresh_from_db()
        assert list(services.leads(case)) == [case.owner]
        assert not case.members.exists()
        assert custody.verify(case.case_id) == []

    def test_a_lead_who_leaves_and_one_who_steps_down_leave_one(self) -> None:
        case, bob = a_case(), person("bob")
        services.add_member(case=case, user=bob, role="lead", by=alice())
        outcomes = at_once(
            lambda: services.change_member(case=case, user=bob, role="reader", by=bob),
            lambda: services.remove_member(case=case, user=alice(), by=bob),
        )
        assert outcomes == ["", "last_lead"]
        case.refresh_from_db()
        assert services.leads(case).count() == 1

    def test_who_is_added_by_many_at_once_is_added_once(self) -> None:
        case, bob = a_case(), person("bob")
        outcomes = at_once(*[lambda: services.add_member(case=case, user=bob, role="reader", by=None)] * 6)
        assert outcomes == ["", *["already_member"] * 5]
        assert case.members.count() == 1
        assert actions(case) == ["case.opened", "member.added"]

    def test_an_admin_who_joins_twice_at_once_joins_once(self) -> None:
        case, ada = services.restrict_case(case=a_case(), by=alice()), person("ada", role=Role.ADMIN)
        outcomes = at_once(*[lambda: services.join_case(case=case, by=ada, reason="Because.")] * 6)
        assert outcomes == ["", *["already_member"] * 5]
        assert case.members.count() == OutgoingMail.objects.count() == 1
        assert actions(case) == ["case.opened", "case.restricted", "case.joined"]

    def test_a_case_passed_on_to_several_at_once_has_one_owner_and_all_lead(self) -> None:
        case, heirs = a_case(), [person(f"heir-{number}") for number in range(4)]
        outcomes = at_once(*(lambda h=heir: services.pass_on(case=case, to=h, by=None) for heir in heirs))
        assert outcomes == [""] * 4
        case.refresh_from_db()
        leads = set(case.members.filter(role="lead").values_list("user", flat=True))
        assert {*leads, case.owner_id} == {user.pk for user in (alice(), *heirs)}
        assert len(leads) == 4

    def test_a_team_that_is_deleted_while_cases_take_it_leaves_no_case_without_record(self) -> None:
        cases, team = [a_case(f"ir-{number}") for number in range(3)], services.create_team(name="A", by=None)
        outcomes = at_once(
            lambda: services.delete_team(team=team, by=None, confirm="A"),
            *(lambda c=case: services.add_team(case=c, team=team, role="reader", by=None) for case in cases),
            *(lambda u=user: services.add_to_team(team=team, user=person(u), by=None) for user in "xy"),
        )
        assert set(outcomes) <= {"", "not_found"}
        assert not CaseTeam.objects.exists()
        for case in cases:
            done = actions(case)
            assert done.count("team.added") == done.count("team.removed")

    def test_a_team_of_many_hands_ends_in_one_state(self) -> None:
        case, team, bob = a_case(), services.create_team(name="A", by=None), person("bob")
        services.add_team(case=case, team=team, role="reader", by=None)
        outcomes = at_once(*[lambda: services.add_to_team(team=team, user=bob, by=None)] * 5)
        assert outcomes == ["", *["already_member"] * 4]
        assert actions(case).count("team.member_added") == 1

    def test_a_case_that_is_deleted_while_people_come_and_go_is_missing(self) -> None:
        case, team = a_case(), services.create_team(name="A", by=None)
        outcomes = at_once(
            lambda: services.delete_case(case=case, by=alice()),
            lambda: services.add_team(case=case, team=team, role="reader", by=None),
            lambda: services.add_member(case=case, user=person("bob"), role="reader", by=None),
            lambda: services.pass_on(case=case, to=person("dana"), by=None),
        )
        assert set(outcomes) <= {"", "not_found"}
        assert not Case.objects.exists()
        assert custody.verify(case.case_id) == []
