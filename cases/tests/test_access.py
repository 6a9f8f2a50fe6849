"""Who sees, writes to and manages which case: the querysets, and the services that change that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from accounts.access import Access
from accounts.models import ApiToken, AuditEntry, OutgoingMail, Role, User
from accounts.sealing import unseal
from cases import custody, services
from cases.models import (
    Case,
    CaseMember,
    CaseRole,
    CaseTeam,
    CustodyEntry,
    Event,
    Evidence,
    TaskRun,
)
from cases.tests.access import in_team, rights
from cases.tests.api.cast import person
from cases.tests.cast import a_case, actions, alice, receive
from datamortem.common.errors import Conflict, Invalid, Missing

database = pytest.mark.django_db


def _cast() -> dict[str, User]:
    """Return people in a case "ir-open" and, with the same roles, in a restricted case "ir-closed"."""
    owner = alice()
    cases = [services.open_case(by=owner, case_id=case_id) for case_id in ("ir-open", "ir-closed")]
    people = {
        "owner": owner,
        "stranger": person("stranger"),
        "admin outside": person("ada", role=Role.ADMIN),
        "superadmin outside": person("sue", role=Role.SUPERADMIN),
        "admin of a team": person("tara", role=Role.ADMIN),
        "viewer of a team": person("vera", role=Role.VIEWER),
        "viewer called lead": person("victor", role=Role.VIEWER),
        "inactive lead": person("gone"),
        "analyst of a team": person("tess"),
        "reader, analyst of a team": person("rita"),
        "analyst, reader of a team": person("andy"),
        **{role.value: person(f"the-{role}") for role in CaseRole},
        **{f"admin as {role}": person(f"ad-{role}", role=Role.ADMIN) for role in CaseRole},
    }
    for case in cases:
        for name, user in people.items():
            if role := {"inactive lead": "lead", "reader, analyst of a team": "reader"}.get(name):
                services.add_member(case=case, user=user, role=role, by=owner)
            elif name in (*CaseRole.values, "analyst, reader of a team"):
                services.add_member(case=case, user=user, role=name.split(",")[0], by=owner)
            elif name.startswith("admin as "):
                services.add_member(case=case, user=user, role=name.split()[-1], by=owner)
            if "of a team" in name:
                in_team(case, user, CaseRole.READER if "reader of" in name else CaseRole.ANALYST)
        CaseMember.objects.create(case_ref=case, user=people["viewer called lead"], role=CaseRole.LEAD)
    services.restrict_case(case=cases[1], by=owner)
    User.objects.filter(username="gone").update(is_active=False)
    people["inactive lead"].refresh_from_db()
    return people


@database
class TestQuerysets:
    """visible_to, writable_by, managed_by, guarded_by, and what follows from them."""

    def test_everybody_has_the_rights_of_their_role_and_no_more(self) -> None:
        people = _cast()
        found = {name: (rights(user, "ir-open"), rights(user, "ir-closed")) for name, user in people.items()}
        assert found == {
            "owner": ("swmg", "swmg"),
            "lead": ("swmg", "swmg"),
            "analyst": ("sw--", "sw--"),
            "reader": ("s---", "s---"),
            "stranger": ("----", "----"),
            "analyst of a team": ("sw--", "sw--"),
            "reader, analyst of a team": ("sw--", "sw--"),
            "analyst, reader of a team": ("sw--", "sw--"),
            "viewer of a team": ("s---", "s---"),
            "viewer called lead": ("s---", "s---"),
            "inactive lead": ("----", "----"),
            "admin outside": ("swm-", "----"),
            "superadmin outside": ("swm-", "----"),
            "admin of a team": ("swm-", "----"),
            "admin as lead": ("swmg", "swmg"),
            "admin as analyst": ("swmg", "sw-g"),
            "admin as reader": ("swmg", "s--g"),
        }

    def test_a_token_opens_the_cases_it_is_bound_to_and_no_others(self) -> None:
        _cast()
        lead = User.objects.get(username="the-lead")
        lead.access = Access(token=ApiToken(scopes=["read", "write"], case_ids=["ir-open", "ir-nothing"]))
        assert (rights(lead, "ir-open"), rights(lead, "ir-closed")) == ("swmg", "----")
        ada = User.objects.get(username="ada")
        ada.access = Access(token=ApiToken(scopes=["read", "write"], case_ids=["ir-closed"]))
        assert (rights(ada, "ir-open"), rights(ada, "ir-closed")) == ("----", "----")
        assert not CustodyEntry.objects.visible_to(ada).exists()

    def test_a_token_that_reads_writes_nothing(self) -> None:
        _cast()
        for name in ("alice", "ada"):
            user = User.objects.get(username=name)
            user.access = Access(token=ApiToken(scopes=["read"], case_ids=None))
            assert rights(user, "ir-open") == "s---"

    def test_several_ways_into_a_case_show_it_once(self) -> None:
        people = _cast()
        for _ in range(2):
            again = services.create_team(name=f"again {CaseTeam.objects.count()}", by=None)
            services.add_to_team(team=again, user=people["analyst of a team"], by=None)
            case = Case.objects.get(case_id="ir-open")
            services.add_team(case=case, team=again, role="reader", by=None)
        assert Case.objects.visible_to(people["analyst of a team"]).count() == 2

    def test_what_is_in_a_restricted_case_is_hidden_from_admins_who_did_not_join(self) -> None:
        people = _cast()
        for case in Case.objects.all():
            receive(case, case.case_id.encode())
            services.post_events(case=case, by=alice(), events=[{"message": "x"}])
        models: tuple[Any, ...] = (Evidence, TaskRun, Event, CustodyEntry)
        for name in ("admin outside", "superadmin outside", "admin of a team"):
            for model in models:
                shown = model.objects.visible_to(people[name])
                inside = model.objects.visible_to(people["owner"])
                assert inside.count() == 2 * shown.count() > 0 or model is CustodyEntry
                assert "ir-closed" not in str(list(shown.values())), model
            assert set(CustodyEntry.objects.visible_to(people[name]).values_list("case_id", flat=True)) == {
                "ir-open"
            }
        for name in ("admin as reader", "analyst of a team"):
            assert CustodyEntry.objects.visible_to(people[name]).filter(case_id="ir-closed").exists()

    def test_the_record_of_a_deleted_case_is_there_for_admins(self) -> None:
        people = _cast()
        services.delete_case(case=Case.objects.get(case_id="ir-closed"), by=alice())
        for name, is_shown in (("admin outside", True), ("admin as reader", True), ("lead", False)):
            entries = CustodyEntry.objects.visible_to(people[name]).filter(action="case.deleted")
            assert entries.exists() == is_shown
        assert not CustodyEntry.objects.visible_to(people["inactive lead"]).exists()

    def test_a_deactivated_owner_leaves_the_case_within_reach(self) -> None:
        people = _cast()
        User.objects.filter(pk__in=[people["owner"].pk, people["lead"].pk]).update(is_active=False)
        assert rights(people["admin outside"], "ir-open") == "swm-"
        services.pass_on(
            case=Case.objects.get(case_id="ir-open"), to=people["reader"], by=people["admin outside"]
        )
        assert rights(people["reader"], "ir-open") == "swmg"
        case = Case.objects.get(case_id="ir-closed")
        services.join_case(case=case, by=people["admin outside"], reason="Nobody leads it.", role="lead")
        assert rights(people["admin outside"], "ir-closed") == "swmg"

    def test_one_query_answers_and_looks_memberships_up_by_their_indexes(
        self, django_assert_num_queries: Any
    ) -> None:
        me, others = person("me"), [person(f"other-{number}") for number in range(10)]
        cases = Case.objects.bulk_create(
            Case(case_id=f"c-{number}", owner=others[number % 10]) for number in range(10_000)
        )
        members = [me if number % 20 == 0 else others[number % 10] for number in range(1_000)]
        CaseMember.objects.bulk_create(
            CaseMember(case_ref=cases[number * 7], user=user) for number, user in enumerate(members)
        )
        in_team(cases[3], me, CaseRole.READER)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
        with django_assert_num_queries(1):
            assert len(Case.objects.visible_to(me)) == 51
        whole_table = "Seq Scan on" if connection.vendor == "postgresql" else "SCAN"
        for found in (Case.objects.visible_to(me), Case.objects.writable_by(me).filter(pk=cases[7].pk)):
            assert f"{whole_table} case_memberships" not in found.explain()


@database
class TestLeads:
    """A case keeps somebody who can act for it."""

    def test_only_leads_who_can_act_count(self) -> None:
        case, other = a_case(), person("other")
        CaseMember.objects.create(case_ref=case, user=person("v", role=Role.VIEWER), role="lead")
        CaseMember.objects.create(case_ref=case, user=person("gone", is_active=False), role="lead")
        assert list(services.leads(case)) == [alice()]
        acts: tuple[Callable[[], object], ...] = (
            lambda: services.remove_member(case=case, user=alice(), by=alice()),
            lambda: services.change_member(case=case, user=alice(), role="analyst", by=alice()),
        )
        for act in acts:
            with pytest.raises(services.LastLead):
                act()
        services.add_member(case=case, user=other, role="lead", by=alice())
        services.remove_member(case=case, user=alice(), by=alice())
        case.refresh_from_db()
        assert (case.owner, list(services.leads(case))) == (other, [other])
        assert rights(alice(), case.case_id) == "----"

    def test_a_lead_who_cannot_act_may_go(self) -> None:
        case, gone = a_case(), person("gone")
        services.add_member(case=case, user=gone, role="lead", by=alice())
        User.objects.update(is_active=False)
        services.remove_member(case=case, user=gone, by=None)
        with pytest.raises(services.LastLead):  # the owner is followed, or nobody would answer for it
            services.remove_member(case=case, user=alice(), by=None)
        assert actions(case)[-1] == "member.removed"

    def test_the_owner_who_steps_down_is_followed_by_the_lead_of_longest_standing(self) -> None:
        case = a_case()
        for name in ("first", "second"):
            services.add_member(case=case, user=person(name), role="lead", by=alice())
        User.objects.filter(username="first").update(is_active=False)
        services.change_member(case=case, user=alice(), role="reader", by=alice())
        case.refresh_from_db()
        assert case.owner == person("second")
        assert rights(alice(), case.case_id) == "s---"
        assert actions(case)[-2:] == ["case.owner", "member.changed"]

    def test_a_viewer_of_the_platform_only_reads(self) -> None:
        case, viewer = a_case(), person("v", role=Role.VIEWER)
        for role in ("lead", "analyst"):
            with pytest.raises(Invalid) as refusal:
                services.add_member(case=case, user=viewer, role=role, by=alice())
            assert refusal.value.field == "role"
        services.add_member(case=case, user=viewer, role="reader", by=alice())
        with pytest.raises(Invalid):
            services.change_member(case=case, user=viewer, role="analyst", by=alice())
        with pytest.raises(Invalid):
            services.pass_on(case=case, to=viewer, by=alice())

    def test_a_change_that_changes_nothing_is_not_on_record(self) -> None:
        case = a_case()
        services.change_member(case=case, user=alice(), role="lead", by=alice())
        assert actions(case) == ["case.opened"]
        with pytest.raises(Missing):
            services.change_member(case=case, user=person("bob"), role="reader", by=alice())

    def test_a_case_is_passed_on_and_the_owner_before_stays_as_a_lead(self) -> None:
        case, bob = a_case(), person("bob")
        services.add_member(case=case, user=bob, role="reader", by=alice())
        services.close_case(case=case, by=alice())
        services.pass_on(case=case, to=bob, by=alice())
        case.refresh_from_db()
        assert case.owner == bob
        assert [(member.user, member.role) for member in case.members.all()] == [(alice(), "lead")]
        entry = CustodyEntry.objects.get(action="case.owner")
        assert entry.details == {"before": "alice", "after": "bob"}
        with pytest.raises(Conflict):
            services.pass_on(case=case, to=bob, by=alice())
        with pytest.raises(Invalid):
            services.pass_on(case=case, to=person("gone", is_active=False), by=alice())


@database
class TestRestriction:
    """Cases that are closed to administrators until they join."""

    def _restricted(self) -> Case:
        return services.restrict_case(case=a_case(), by=alice())

    def test_joining_is_on_record_and_every_lead_is_told(self) -> None:
        case, ada = self._restricted(), person("ada", role=Role.ADMIN)
        services.add_member(case=case, user=person("lena", locale="de"), role="lead", by=alice())
        services.add_member(case=case, user=person("gone"), role="lead", by=alice())
        services.add_member(case=case, user=person("bob"), role="reader", by=alice())
        User.objects.filter(username="gone").update(is_active=False)
        services.join_case(case=case, by=ada, reason="  Legal hold 7/24.  ")
        entry = CustodyEntry.objects.get(action="case.joined")
        assert entry.details == {
            "member": "ada",
            "before": None,
            "after": "reader",
            "reason": "Legal hold 7/24.",
        }
        assert AuditEntry.objects.get(action="case.joined").case_id == case.case_id
        mails = OutgoingMail.objects.filter(kind="admin_joined").order_by("recipient")
        assert [(mail.recipient, mail.locale) for mail in mails] == [
            ("alice@example.org", ""),
            ("lena@example.org", "de"),
        ]
        assert '"ada"' in unseal(mails[0].sealed or "")
        assert custody.verify(case.case_id) == []

    def test_joining_again_is_for_more_and_never_for_less(self) -> None:
        case, ada = self._restricted(), person("ada", role=Role.ADMIN)
        for role in ("reader", "lead"):
            services.join_case(case=case, by=ada, reason="Because.", role=role)
        assert [member.role for member in case.members.all()] == ["lead"]
        for role in CaseRole.values:
            with pytest.raises(Conflict) as refusal:
                services.join_case(case=case, by=ada, reason="Because.", role=role)
            assert refusal.value.code == "already_member"

    def test_a_reason_is_needed_and_a_restriction(self) -> None:
        case, ada = self._restricted(), person("ada", role=Role.ADMIN)
        for reason in ("", " \n", "x" * 1001):
            with pytest.raises(Invalid) as refusal:
                services.join_case(case=case, by=ada, reason=reason)
            assert refusal.value.field == "reason"
        with pytest.raises(Conflict):
            services.restrict_case(case=case, by=alice())
        services.unrestrict_case(case=case, by=alice())
        for act in (
            lambda: services.unrestrict_case(case=case, by=alice()),
            lambda: services.join_case(case=case, by=ada, reason="Because."),
        ):
            with pytest.raises(Conflict) as unrestricted:
                act()
            assert unrestricted.value.code == "not_restricted"
        assert actions(case) == ["case.opened", "case.restricted", "case.unrestricted"]
        assert not case.members.exists()
