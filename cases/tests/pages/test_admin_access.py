"""Teams and restricted cases in the admin."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry, Role, Team
from cases import services
from cases.models import Case, CaseMember, CustodyEntry, TaskRun
from cases.tests.api.cast import admin, person, staffed_case
from cases.tests.cast import a_case, alice
from cases.tests.pages.people import HOSTILE, browser, get, read_evidence

pytestmark = pytest.mark.django_db

RESTRICTED = "/admin/cases/case/restricted/"
CASES = "/admin/cases/case/"
TEAMS = "/admin/accounts/team/"


@pytest.fixture
def ada() -> Client:
    """A browser of Ada, who administers."""
    return browser(admin())


def _restricted() -> Case:
    return services.restrict_case(case=staffed_case(), by=alice())


def _page(case: Case) -> str:
    return reverse("admin:cases_case_change", args=[case.pk])


def _press(client: Client, case: Case, do: str, to: object = "") -> str:
    door = reverse("admin:cases_case_act", args=[case.pk])
    answer = client.post(door, {"do": do, "to": str(to)}, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


class TestRestricted:
    """Cases that administrators must join."""

    def test_nothing_of_a_restricted_case_is_shown_but_whom_to_ask(self, ada: Client) -> None:
        case = _restricted()
        services.update_case(case=case, by=alice(), title="Secret title")
        evidence = read_evidence(case, "secret.log")
        for name in ("case", "evidence", "taskrun", "custodyentry", "rejectedrecord", "event"):
            page = get(ada, reverse(f"admin:cases_{name}_changelist"))
            assert "ir-2024-001" not in page
            assert "ecret" not in page.replace("Secret key", "")
        for address in (
            _page(case),
            reverse("admin:cases_evidence_change", args=[evidence.pk]),
            reverse("admin:cases_custodyentry_change", args=[CustodyEntry.objects.latest("pk").pk]),
        ):
            assert ada.get(address).status_code == 302
        assert ada.post(reverse("admin:cases_case_act", args=[case.pk]), {"do": "close"}).status_code == 403
        page = get(ada, RESTRICTED)
        assert "ir-2024-001" in page
        assert "alice" in page
        assert "ecret title" not in page

    def test_who_joins_with_a_reason_sees_the_case_and_does_what_the_role_allows(self, ada: Client) -> None:
        case = _restricted()
        run = TaskRun.objects.get(evidence=read_evidence(case))
        said = {"case_id": case.case_id, "reason": "Legal hold.", "role": "reader"}
        answer = ada.post(RESTRICTED, said)
        assert answer.headers["Location"] == _page(case)
        assert CustodyEntry.objects.get(action="case.joined").details["reason"] == "Legal hold."
        page = get(ada, _page(case))
        assert "restricted" in page
        for button in ('value="close"', 'value="run-again"', 'name="_save"'):
            assert button not in page
        assert 'value="unrestrict"' in page
        for do, to in (("close", ""), ("run-again", run.evidence.evidence_uid), ("retry", run.pk)):
            assert "is not enough for this" in _press(ada, case, do, to)
        chosen = {"action": "run_again", "_selected_action": [str(run.evidence.pk)]}
        listed = ada.post(reverse("admin:cases_evidence_changelist"), chosen, follow=True).content.decode()
        assert "not write to it" in listed
        assert TaskRun.objects.count() == 1
        _press(ada, case, "unrestrict")
        case.refresh_from_db()
        assert not case.restricted
        assert 'value="close"' in get(ada, _page(case))
        assert "There are none." in get(ada, RESTRICTED)

    def test_joining_without_a_reason_or_a_restriction_changes_nothing(self, ada: Client) -> None:
        case, other = _restricted(), a_case("ir-open")
        for said, status in (
            ({"case_id": case.case_id, "reason": "", "role": "reader"}, 200),
            ({"case_id": case.case_id, "reason": "x", "role": "owner"}, 200),
            ({"case_id": case.case_id, "reason": " ", "role": "lead"}, 200),
            ({"case_id": other.case_id, "reason": "x", "role": "reader"}, 404),
            ({"case_id": "ir-nothing", "reason": "x", "role": "reader"}, 404),
        ):
            assert ada.post(RESTRICTED, said).status_code == status, said
        assert not CaseMember.objects.filter(user=admin()).exists()

    def test_nobody_else_gets_there(self) -> None:
        _restricted()
        for name, role in (("alice", Role.ANALYST), ("victor", Role.VIEWER)):
            client = browser(person(name, role=role))
            assert client.get(RESTRICTED, follow=True).status_code == 403

    def test_a_lead_who_administers_restricts_from_the_page(self, ada: Client) -> None:
        case = staffed_case()
        assert 'value="restrict"' not in get(ada, _page(case))
        assert "is not enough for this" in _press(ada, case, "restrict")
        services.add_member(case=case, user=admin(), role="lead", by=alice())
        assert "is closed to administrators" in _press(ada, case, "restrict")
        assert "restricted" in get(ada, CASES)
        assert Case.objects.get().restricted


class TestTeams:
    """Making teams, and saying who is in them."""

    def test_a_team_is_made_changed_and_ended(self, ada: Client) -> None:
        case = staffed_case()
        said = {"name": "Night shift", "description": "22 to 6", "people": "bob\ncharlie@example.org\n"}
        person("charlie")
        assert ada.post(f"{TEAMS}add/", said).status_code == 302
        team = Team.objects.get()
        services.add_team(case=case, team=team, role="analyst", by=alice())
        assert [member.user.username for member in team.members.all()] == ["bob", "charlie"]
        page = get(ada, f"{TEAMS}{team.pk}/change/")
        assert "bob\ncharlie" in page
        said = {"name": "Late shift", "description": "", "people": "charlie\n dana "}
        assert ada.post(f"{TEAMS}{team.pk}/change/", said).status_code == 302
        assert [member.user.username for member in team.members.all()] == ["charlie", "dana"]
        page = get(ada, _page(case))
        assert "Late shift" in page
        assert "charlie" in page
        assert ada.post(f"{TEAMS}{team.pk}/delete/", {"post": "yes"}).status_code == 302
        assert not Team.objects.exists()
        done = AuditEntry.objects.filter(case_id="", action__startswith="team.").order_by("pk")
        assert list(done.values_list("action", flat=True)) == [
            "team.created",
            "team.member_added",
            "team.member_added",
            "team.edited",
            "team.member_added",
            "team.member_removed",
            "team.deleted",
        ]
        assert CustodyEntry.objects.filter(case_id=case.case_id, action="team.removed").exists()

    def test_what_a_service_refuses_is_told(self, ada: Client) -> None:
        team = services.create_team(name="A", by=None)
        page = ada.post(f"{TEAMS}add/", {"name": "B", "people": "nobody"}).content.decode()
        assert "No active user has this username or address." in page
        refused = ada.post(f"{TEAMS}add/", {"name": " A ", "people": ""}, follow=True).content.decode()
        assert "already" in refused
        assert list(Team.objects.all()) == [team]

    def test_somebody_without_an_active_account_may_stay_and_names_hide_nothing(self, ada: Client) -> None:
        team = services.create_team(name=HOSTILE, by=None)
        services.add_to_team(team=team, user=person("gone"), by=None)
        person("gone").__class__.objects.filter(username="gone").update(is_active=False)
        said = {"name": team.name, "description": "", "people": "gone"}
        assert ada.post(f"{TEAMS}{team.pk}/change/", said).status_code == 302
        assert team.members.count() == 1
        for address in (TEAMS, f"{TEAMS}{team.pk}/change/", f"{TEAMS}{team.pk}/delete/"):
            assert "<script>alert" not in get(ada, address)

    def test_no_list_deletes_several(self, ada: Client) -> None:
        team = services.create_team(name="A", by=None)
        chosen = {"action": "delete_selected", "_selected_action": [str(team.pk)], "post": "yes"}
        ada.post(TEAMS, chosen)
        assert Team.objects.exists()
