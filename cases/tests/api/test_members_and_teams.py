"""Routes of teams, owners and restricted cases, as everybody who may ask."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import AuthSession, Role, Team
from cases import services
from cases.models import Case, CaseMember, CaseTeam, CustodyEntry
from cases.tests.api.cast import V1, admin, client_of, errors, person, staffed_case

pytestmark = pytest.mark.django_db

CASE = f"{V1}/cases/ir-2024-001/"
TEAMS = f"{V1}/teams/"
RESTRICTED = f"{V1}/restricted-cases/"
#: Names of those who are in the case and may not decide on it.
_LESSER = ("dana", "bob")


def _team(*names: str, name: str = "Night shift") -> Team:
    team = services.create_team(name=name, by=None)
    for each in names:
        services.add_to_team(team=team, user=person(each), by=None)
    return team


def _restricted() -> Case:
    case = staffed_case()
    return services.restrict_case(case=case, by=case.owner)


def _codes(answer: Any) -> tuple[int, list[tuple[str, str | None]]]:
    return answer.status_code, errors(answer)


class TestOwner:
    """cases/{case_id}/owner/."""

    def test_a_lead_passes_the_case_on_and_stays_a_lead(self) -> None:
        staffed_case()
        for user, name in (("dana@example.org", "dana"), (str(person("erin").pk), "erin")):
            answer = client_of("alice").post(f"{CASE}owner/", {"user": user}, format="json")
            assert (answer.status_code, answer.json()["owner"]) == (200, name)
        members = client_of("bob").get(f"{CASE}members/").json()["results"]
        assert [(each["username"], each["role"], each["is_owner"]) for each in members] == [
            ("alice", "lead", False),
            ("bob", "reader", False),
            ("dana", "lead", False),
            ("erin", "lead", True),
        ]

    def test_an_admin_finds_another_owner_for_the_case_of_one_who_left(self) -> None:
        case = staffed_case()
        assert case.owner is not None
        case.owner.is_active = False
        case.owner.save()
        answer = client_of(admin()).post(f"{CASE}owner/", {"user": "dana"}, format="json")
        assert answer.json()["owner"] == "dana"
        assert client_of("dana").post(f"{CASE}close/").status_code == 200

    def test_nobody_else_does_and_nobody_else_leads(self) -> None:
        staffed_case()
        for name in _LESSER:
            assert client_of(name).post(f"{CASE}owner/", {"user": name}, format="json").status_code == 403
        assert (
            client_of("charlie").post(f"{CASE}owner/", {"user": "charlie"}, format="json").status_code == 404
        )
        person("victor", role=Role.VIEWER)
        person("gone", is_active=False)
        alice = client_of("alice")
        for body in ({"user": "victor"}, {"user": "gone"}, {"user": "nobody"}, {"user": ""}, {}):
            answer = alice.post(f"{CASE}owner/", body, format="json")
            assert (answer.status_code, errors(answer)[0][1]) == (400, "user")
        assert _codes(alice.post(f"{CASE}owner/", {"user": "alice"}, format="json")) == (
            409,
            [("already_owner", "user")],
        )
        assert Case.objects.get().owner == person("alice")


class TestMembers:
    """cases/{case_id}/members/: what is new there."""

    def test_a_viewer_reads_and_no_more(self) -> None:
        staffed_case()
        person("victor", role=Role.VIEWER)
        alice = client_of("alice")
        for role in ("lead", "analyst"):
            refused = alice.post(f"{CASE}members/", {"user": "victor", "role": role}, format="json")
            assert _codes(refused) == (400, [("invalid", "role")])
        added = alice.post(f"{CASE}members/", {"user": "victor"}, format="json").json()
        assert added["role"] == "reader"
        assert client_of("victor").get(CASE).status_code == 200
        refused = alice.patch(f"{CASE}members/{added['id']}/", {"role": "lead"}, format="json")
        assert _codes(refused) == (400, [("invalid", "role")])

    def test_the_list_shows_people_who_were_added_by_name(self) -> None:
        case = staffed_case()
        services.add_team(case=case, team=_team("tess"), role="reader", by=None)
        listed = client_of("tess").get(f"{CASE}members/").json()["results"]
        assert [each["username"] for each in listed] == ["alice", "bob", "dana"]


class TestRestriction:
    """restrict/, unrestrict/, join/ and restricted-cases/."""

    def test_a_restricted_case_is_gone_for_admins_until_they_join(self) -> None:
        staffed_case()
        ada, nobody = client_of(admin()), client_of("charlie")
        assert ada.get(CASE).json()["restricted"] is False
        assert client_of("alice").post(f"{CASE}restrict/").json()["restricted"] is True
        for address in ("", "members/", "custody/", "evidence/", "runs/", "events/", "teams/"):
            gone, nothing = ada.get(CASE + address), ada.get(f"{V1}/cases/ir-nothing/{address}")
            assert (gone.status_code, gone.content) == (404, nothing.content)
        assert ada.get(f"{V1}/cases/").json()["results"] == []
        for act in ("restrict/", "unrestrict/", "close/", "owner/", "members/"):
            assert ada.post(CASE + act, {"user": "ada"}, format="json").status_code == 404
        assert nobody.post(f"{CASE}join/", {"reason": "x"}, format="json").status_code == 404

        joined = ada.post(f"{CASE}join/", {"reason": "Legal hold."}, format="json")
        assert (joined.status_code, joined.json()["case_id"]) == (200, "ir-2024-001")
        assert ada.get(CASE).status_code == 200
        assert ada.patch(CASE, {"title": "x"}, format="json").status_code == 403
        again = ada.post(f"{CASE}join/", {"reason": "More to do.", "role": "analyst"}, format="json")
        assert again.status_code == 200
        assert ada.patch(CASE, {"title": "x"}, format="json").status_code == 200
        assert ada.post(f"{CASE}close/").status_code == 403
        assert ada.post(f"{CASE}unrestrict/").json()["restricted"] is False
        assert ada.post(f"{CASE}close/").status_code == 200

    def test_the_people_of_the_case_notice_nothing(self) -> None:
        _restricted()
        for name, status in (("alice", 200), ("dana", 200), ("bob", 403)):
            client = client_of(name)
            assert client.get(CASE).status_code == 200
            assert client.patch(CASE, {"title": "x"}, format="json").status_code == status

    def test_readers_and_analysts_decide_on_no_restriction_and_only_admins_join(self) -> None:
        _restricted()
        for name in _LESSER:
            client = client_of(name)
            assert client.post(f"{CASE}restrict/").status_code == 403
            assert client.post(f"{CASE}unrestrict/").status_code == 403
            refused = client.post(f"{CASE}join/", {"reason": "x", "role": "lead"}, format="json")
            assert refused.status_code == 403
        assert Case.objects.get().restricted

    def test_an_admin_restricts_no_case_that_would_then_be_closed_to_them(self) -> None:
        staffed_case()
        refused = client_of(admin()).post(f"{CASE}restrict/")
        assert _codes(refused) == (403, [("permission_denied", None)])

    def test_joining_makes_sense_or_is_refused(self) -> None:
        _restricted()
        ada = client_of(admin())
        for body, attr in (
            ({}, "reason"),
            ({"reason": ""}, "reason"),
            ({"reason": "x" * 1001}, "reason"),
            ({"reason": "x", "role": "owner"}, "role"),
            ({"reason": "x", "user": "ada"}, "user"),
        ):
            answer = ada.post(f"{CASE}join/", body, format="json")
            assert (answer.status_code, errors(answer)[0][1]) == (400, attr)
        assert not CaseMember.objects.filter(user=admin()).exists()
        missing = ada.post(f"{V1}/cases/ir-nothing/join/", {"reason": "x"}, format="json")
        assert missing.status_code == 404
        ada.post(f"{CASE}join/", {"reason": "x"}, format="json")
        refused = ada.post(f"{CASE}join/", {"reason": "x"}, format="json")
        assert _codes(refused) == (409, [("already_member", None)])
        assert CustodyEntry.objects.filter(action="case.joined").count() == 1

    def test_a_case_that_is_not_restricted_is_not_joined(self) -> None:
        staffed_case()
        refused = client_of(admin()).post(f"{CASE}join/", {"reason": "x"}, format="json")
        assert _codes(refused) == (409, [("not_restricted", None)])
        refused = client_of("alice").post(f"{CASE}unrestrict/")
        assert _codes(refused) == (409, [("not_restricted", None)])

    def test_admins_list_restricted_cases_and_whom_to_ask(self) -> None:
        case = _restricted()
        services.add_member(case=case, user=person("lena"), role="lead", by=None)
        services.update_case(case=case, by=None, title="Secret title")
        staffed_case("ir-open")
        ada = client_of(admin())
        answer = ada.get(RESTRICTED)
        assert answer.json()["results"] == [
            {"case_id": "ir-2024-001", "owner": "alice", "leads": ["alice", "lena"]}
        ]
        assert "Secret" not in answer.content.decode()
        for name in ("alice", "charlie"):
            assert client_of(name).get(RESTRICTED).status_code == 403

    def test_the_list_costs_the_same_however_long_it_is(self) -> None:
        _restricted()
        ada = client_of(admin())
        with CaptureQueriesContext(connection) as few:
            ada.get(RESTRICTED)
        for number in range(5):
            case = staffed_case(f"more-{number}")
            services.add_member(case=case, user=person(f"lead-{number}"), role="lead", by=None)
            services.restrict_case(case=case, by=None)
        with CaptureQueriesContext(connection) as many:
            assert len(ada.get(RESTRICTED).json()["results"]) == 6
        assert len(many) == len(few)

    @pytest.mark.parametrize("act", ["restrict", "join"])
    def test_the_second_factor_must_be_fresh(self, act: str) -> None:
        case = _restricted()
        ada = admin()
        ada.otp_enabled = True
        ada.save()
        client = client_of(ada)
        if act == "restrict":
            services.unrestrict_case(case=case, by=None)
            services.add_member(case=case, user=ada, role="reader", by=None)
        AuthSession.objects.update(otp_time=timezone.now() - timedelta(minutes=6))
        refused = client.post(f"{CASE}{act}/", {"reason": "x"}, format="json")
        assert _codes(refused) == (403, [("otp_stale", None)])


class TestTeams:
    """teams/ and who is in one."""

    def test_an_admin_makes_changes_and_ends_a_team(self) -> None:
        ada, erin = client_of(admin()), person("erin")
        made = ada.post(TEAMS, {"name": " Night shift ", "description": "22 to 6"}, format="json")
        assert (made.status_code, made.json()["name"]) == (201, "Night shift")
        one = f"{TEAMS}{made.json()['id']}/"
        changed = ada.patch(one, {"name": "Late shift"}, format="json").json()
        assert (changed["name"], changed["description"]) == ("Late shift", "22 to 6")
        added = ada.post(f"{one}members/", {"user": "erin@example.org"}, format="json")
        assert (added.status_code, added.json()["id"], added.json()["is_active"]) == (201, erin.pk, True)
        again = ada.post(f"{one}members/", {"user": "erin"}, format="json")
        assert _codes(again) == (409, [("already_member", "user")])
        assert [each["username"] for each in ada.get(f"{one}members/").json()["results"]] == ["erin"]
        assert ada.delete(f"{one}members/{erin.pk}/").status_code == 204
        assert ada.delete(f"{one}members/{erin.pk}/").status_code == 404
        assert ada.delete(one).status_code == 204
        assert ada.get(one).status_code == 404

    def test_people_see_their_own_teams_and_change_none(self) -> None:
        mine, other = _team("erin"), _team("bob", name="Other")
        erin = client_of("erin")
        assert [each["name"] for each in erin.get(TEAMS).json()["results"]] == ["Night shift"]
        assert erin.get(f"{TEAMS}{mine.pk}/members/").status_code == 200
        for address in (f"{TEAMS}{other.pk}/", f"{TEAMS}{other.pk}/members/"):
            assert erin.get(address).content == erin.get(address.replace(str(other.pk), "999")).content
            assert erin.get(address).status_code == 404
        own = f"{TEAMS}{mine.pk}/"
        assert erin.post(TEAMS, {"name": "x"}, format="json").status_code == 403
        assert erin.patch(own, {"name": "x"}, format="json").status_code == 403
        assert erin.delete(own).status_code == 403
        assert erin.post(f"{own}members/", {"user": "bob"}, format="json").status_code == 403
        assert erin.delete(f"{own}members/{person('erin').pk}/").status_code == 403
        assert Team.objects.count() == 2

    def test_what_makes_no_sense_is_refused_by_name(self) -> None:
        ada, team = client_of(admin()), _team()
        for body, status, attr in (
            ({}, 400, "name"),
            ({"name": " "}, 400, "name"),
            ({"name": "x" * 81}, 400, "name"),
            ({"name": "x", "id": 7}, 400, "id"),
            ({"name": "Night shift"}, 409, "name"),
        ):
            answer = ada.post(TEAMS, body, format="json")
            assert (answer.status_code, errors(answer)[0][1]) == (status, attr)
        answer = ada.post(f"{TEAMS}{team.pk}/members/", {"user": "nobody"}, format="json")
        assert _codes(answer) == (400, [("invalid", "user")])
        for number in ("0", "99999999999999999999"):
            assert ada.get(f"{TEAMS}{number}/").status_code == 404
            assert ada.get(f"{TEAMS}{number}/members/").status_code == 404
            assert ada.delete(f"{TEAMS}{team.pk}/members/{number}/").status_code == 404

    def test_a_team_at_work_is_ended_by_its_name(self) -> None:
        ada, team = client_of(admin()), _team("tess")
        services.add_team(case=staffed_case(), team=team, role="reader", by=None)
        one = f"{TEAMS}{team.pk}/"
        assert client_of("tess").get(CASE).status_code == 200
        assert _codes(ada.delete(one)) == (409, [("team_works", "confirm")])
        assert ada.delete(f"{one}?confirm=Night%20shift").status_code == 204
        assert client_of("tess").get(CASE).status_code == 404
        assert CustodyEntry.objects.latest("pk").details["deleted"] is True


class TestTeamsOfACase:
    """cases/{case_id}/teams/."""

    def test_a_lead_adds_changes_and_removes(self) -> None:
        staffed_case()
        team, address = _team("tess", "tim"), f"{CASE}teams/"
        alice, tess = client_of("alice"), client_of("tess")
        added = alice.post(address, {"team": "Night shift"}, format="json")
        assert added.status_code == 201
        assert {name: added.json()[name] for name in ("id", "name", "role", "members")} == {
            "id": team.pk,
            "name": "Night shift",
            "role": "reader",
            "members": ["tess", "tim"],
        }
        assert tess.get(CASE).status_code == 200
        assert tess.patch(CASE, {"title": "x"}, format="json").status_code == 403
        one = f"{address}{team.pk}/"
        assert alice.patch(one, {"role": "analyst"}, format="json").json()["role"] == "analyst"
        assert tess.patch(CASE, {"title": "x"}, format="json").status_code == 200
        assert tess.post(f"{CASE}close/").status_code == 403
        assert client_of("bob").get(one).json()["role"] == "analyst"
        assert alice.delete(one).status_code == 204
        assert tess.get(CASE).status_code == 404
        assert alice.get(one).status_code == 404

    def test_a_team_never_leads_and_works_once_on_a_case(self) -> None:
        case, team = staffed_case(), _team()
        alice, address = client_of("alice"), f"{CASE}teams/"
        refused = alice.post(address, {"team": str(team.pk), "role": "lead"}, format="json")
        assert (refused.status_code, errors(refused)[0][1]) == (400, "role")
        assert alice.post(address, {"team": str(team.pk)}, format="json").status_code == 201
        refused = alice.patch(f"{address}{team.pk}/", {"role": "lead"}, format="json")
        assert (refused.status_code, errors(refused)[0][1]) == (400, "role")
        assert _codes(alice.post(address, {"team": "Night shift"}, format="json")) == (
            409,
            [("already_member", "team")],
        )
        for name in ("No team", "", "9" * 30, "night shift"):
            refused = alice.post(address, {"team": name}, format="json")
            assert (refused.status_code, errors(refused)[0][1]) == (400, "team")
        assert [given.role for given in CaseTeam.objects.filter(case_ref=case)] == ["reader"]

    def test_readers_list_and_do_no_more_and_strangers_get_nothing(self) -> None:
        case, team = staffed_case(), _team("tess")
        services.add_team(case=case, team=team, role="analyst", by=None)
        address = f"{CASE}teams/"
        for name in (*_LESSER, "tess"):
            client = client_of(name)
            assert [each["name"] for each in client.get(address).json()["results"]] == ["Night shift"]
            assert client.post(address, {"team": "Night shift"}, format="json").status_code == 403
            assert client.patch(f"{address}{team.pk}/", {"role": "reader"}, format="json").status_code == 403
            assert client.delete(f"{address}{team.pk}/").status_code == 403
        charlie = client_of("charlie")
        for number in (team.pk, 999, 2**63):
            assert charlie.get(f"{address}{number}/").status_code == 404
        assert client_of("alice").get(f"{address}{2**63}/").status_code == 404
        assert charlie.get(address).status_code == 404

    def test_the_list_costs_the_same_however_long_it_is(self) -> None:
        case = staffed_case()
        services.add_team(case=case, team=_team("tess"), role="reader", by=None)
        bob = client_of("bob")
        with CaptureQueriesContext(connection) as few:
            bob.get(f"{CASE}teams/")
        for number in range(5):
            team = _team(*(f"person-{number}-{each}" for each in range(3)), name=f"Team {number}")
            services.add_team(case=case, team=team, role="reader", by=None)
        with CaptureQueriesContext(connection) as many:
            listed = bob.get(f"{CASE}teams/").json()["results"]
        assert [len(each["members"]) for each in listed] == [1, 3, 3, 3, 3, 3]
        assert len(many) == len(few)
