"""Invitations by mail: who sends them, who takes them back, and how many."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import invitations
from accounts.models import AuditEntry, Invitation, OutgoingMail, Role, User
from cases import services
from cases.models import CustodyEntry
from cases.tests.api.cast import admin, client_of, errors, person, staffed_case
from cases.tests.api.invited import ACCEPT, EVE, LOOK, NEW, PLATFORM, invite, mailed, of, post, token_for
from cases.tests.cast import actions

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _open_to_invited(settings: Settings) -> None:
    settings.REGISTRATION = "invitation"


class TestSending:
    """POST cases/{case_id}/invitations/."""

    def test_a_lead_invites_and_a_mail_goes_out(self) -> None:
        case = staffed_case()
        answer = invite(case, "Eve@Example.ORG", "analyst")
        assert answer.status_code == 201
        body = answer.json()
        assert set(body) == {"id", "email", "role", "invited_by", "created_at", "expires_at"}
        assert (body["email"], body["role"], body["invited_by"]) == (EVE, "analyst", "alice")
        stored = Invitation.objects.get()
        assert (stored.role, stored.digest) == (Role.ANALYST, None)
        assert stored.expires_at - stored.created_at == pytest.approx(
            timedelta(days=7), abs=timedelta(seconds=5)
        )
        assert actions(case)[-1] == "member.invited"
        assert CustodyEntry.objects.last().details == {"address": EVE, "role": "analyst"}  # type: ignore[union-attr]
        assert AuditEntry.objects.filter(action="member.invited", case_id=case.case_id).count() == 1
        assert mailed()

    def test_the_list_shows_open_ones_to_leads_and_admins_alone(self) -> None:
        case, other = staffed_case(), staffed_case("other")
        invite(case)
        invite(case, "fay@example.org", "analyst")
        invite(other, "gus@example.org")
        Invitation.objects.filter(email="fay@example.org").update(expires_at=timezone.now())
        for user in ("alice", admin()):
            rows = client_of(user).get(of(case)).json()["results"]
            assert [(row["email"], row["role"]) for row in rows] == [(EVE, "reader")]
        for name, status in (("dana", 403), ("bob", 403), ("charlie", 404)):
            assert client_of(name).get(of(case)).status_code == status, name

    @pytest.mark.parametrize(("name", "status"), [("dana", 403), ("bob", 403), ("charlie", 404)])
    def test_nobody_else_invites(self, name: str, status: int) -> None:
        case = staffed_case()
        assert invite(case, by=name).status_code == status
        assert not Invitation.objects.exists()

    @pytest.mark.parametrize(
        ("body", "wrong"),
        [
            ({"email": ""}, ("blank", "email")),
            ({}, ("required", "email")),
            ({"email": "no address"}, ("invalid", "email")),
            ({"email": "eve@example.org\nBcc: all@example.org"}, ("invalid", "email")),
            ({"email": f"{'e' * 320}@example.org"}, ("max_length", "email")),
            (
                {"email": "eve@" + f"{'e' * 60}." * 4 + "example.org"},
                ("invalid", "email"),
            ),
            ({"email": "eve\x00@example.org"}, ("null_characters_not_allowed", "email")),
            ({"email": EVE, "role": "owner"}, ("invalid_choice", "role")),
            ({"email": EVE, "role": "admin"}, ("invalid_choice", "role")),
            ({"email": EVE, "invited_by": 1}, ("unknown_field", "invited_by")),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, body: dict[str, str], wrong: tuple[str, str]) -> None:
        case = staffed_case()
        answer = post(of(case), body, "alice")
        assert answer.status_code == 400
        assert wrong in errors(answer)
        assert not Invitation.objects.exists()
        assert not OutgoingMail.objects.exists()

    def test_members_are_not_invited_again(self) -> None:
        case = staffed_case()
        for email in ("bob@example.org", "ALICE@example.org"):
            assert errors(invite(case, email)) == [("already_member", "email")]

    def test_a_viewer_of_the_platform_is_invited_to_read_alone(self) -> None:
        case = staffed_case()
        person("victor", role=Role.VIEWER)
        assert errors(invite(case, "victor@example.org", "analyst")) == [("invalid", "role")]
        assert invite(case, "victor@example.org", "reader").status_code == 201

    def test_an_inactive_account_is_not_invited(self) -> None:
        case = staffed_case()
        person("gone", is_active=False)
        assert errors(invite(case, "gone@example.org")) == [("invalid", "email")]

    def test_a_closed_case_invites_nobody(self) -> None:
        case = staffed_case()
        services.close_case(case=case, by=None)
        assert errors(invite(case)) == [("case_closed", None)]

    def test_where_registration_is_off_leads_invite_only_who_has_an_account(self, settings: Settings) -> None:
        settings.REGISTRATION = "off"
        case = staffed_case()
        answer = invite(case)
        assert answer.status_code == 403
        assert errors(answer) == [("registration_off", None)]
        person("charlie")
        assert invite(case, "charlie@example.org").status_code == 201
        assert invite(case, by=admin()).status_code == 201

    def test_the_newer_replaces_the_older_of_the_same_case(self) -> None:
        case, other = staffed_case(), staffed_case("other")
        kept, first = token_for(other), token_for(case)
        second = token_for(case, "EVE@example.org", "analyst")
        assert post(LOOK, {"token": first}).status_code == 400
        assert post(LOOK, {"token": second}).json()["role"] == "analyst"
        assert post(LOOK, {"token": kept}).status_code == 200
        assert len(client_of("alice").get(of(case)).json()["results"]) == 1

    def test_a_repeated_request_sends_one_mail(self) -> None:
        case, client = staffed_case(), client_of("alice")
        key = {"HTTP_IDEMPOTENCY_KEY": "k-1"}
        answers = [client.post(of(case), {"email": EVE}, format="json", **key).json() for _ in range(2)]
        assert answers[0] == answers[1]
        assert OutgoingMail.objects.count() == 1

    def test_thirty_an_hour_are_enough(self) -> None:
        case = staffed_case()
        for number in range(invitations.AN_HOUR):
            services.invite(case=case, email=f"p{number}@example.org", role="reader", by=person("alice"))
        answer = invite(case)
        assert answer.status_code == 429
        assert 0 < int(answer["Retry-After"]) <= 3600
        assert not Invitation.objects.filter(email=EVE).exists()
        assert invite(case, by=admin()).status_code == 201

    def test_a_list_costs_the_same_for_one_and_for_many(self) -> None:
        case, client = staffed_case(), client_of("alice")
        invite(case)
        with CaptureQueriesContext(connection) as one:
            client.get(of(case))
        for number in range(10):
            invite(case, f"p{number}@example.org")
        with CaptureQueriesContext(connection) as many:
            assert len(client.get(of(case)).json()["results"]) == 11
        assert len(one) == len(many)


class TestRevoking:
    """DELETE cases/{case_id}/invitations/{id}/."""

    def test_a_lead_takes_it_back(self) -> None:
        case = staffed_case()
        token, pk = token_for(case), Invitation.objects.get().pk
        for name, status in (("dana", 403), ("bob", 403), ("charlie", 404)):
            assert client_of(name).delete(f"{of(case)}{pk}/").status_code == status
        assert client_of("alice").delete(f"{of(case)}{pk}/").status_code == 204
        assert client_of("alice").delete(f"{of(case)}{pk}/").status_code == 404
        assert errors(post(ACCEPT, {"token": token, **NEW})) == [("invalid_token", "token")]
        assert actions(case)[-1] == "member.uninvited"
        assert not User.objects.filter(email=EVE).exists()

    def test_a_closed_case_takes_back_what_it_sent(self) -> None:
        case = staffed_case()
        pk = invite(case).json()["id"]
        services.close_case(case=case, by=None)
        assert client_of("alice").delete(f"{of(case)}{pk}/").status_code == 204
        assert not Invitation.objects.open().exists()

    def test_that_of_another_case_is_not_there(self) -> None:
        mine, theirs = staffed_case(), services.open_case(by=person("bob"), case_id="bobs")
        invite(theirs, by="bob")
        pk = Invitation.objects.get().pk
        assert client_of("alice").delete(f"{of(mine)}{pk}/").status_code == 404
        assert client_of("alice").delete(f"{of(mine)}{2**63}/").status_code == 404
        assert Invitation.objects.open().filter(pk=pk).exists()

    def test_one_revoked_before_its_mail_went_out_is_never_mailed(self) -> None:
        case = staffed_case()
        pk = invite(case).json()["id"]
        client_of("alice").delete(f"{of(case)}{pk}/")
        assert mailed() == ""
        assert invitations.mint(pk) is None


class TestPlatform:
    """users/invitations/."""

    def test_an_admin_invites_to_have_an_account(self, settings: Settings) -> None:
        settings.REGISTRATION = "off"
        answer = post(PLATFORM, {"email": EVE, "role": "viewer"}, admin())
        assert answer.status_code == 201
        assert (answer.json()["role"], answer.json()["invited_by"]) == ("viewer", "ada")
        assert [row["email"] for row in client_of(admin()).get(PLATFORM).json()["results"]] == [EVE]
        offer = post(LOOK, {"token": mailed()}).json()
        assert offer == {
            "email": EVE, "case_id": None, "case_title": None, "role": "viewer",
            "invited_by": "ada", "has_account": False,
        }  # fmt: skip
        made = post(ACCEPT, {"token": mailed(), **NEW})
        assert made.status_code == 201
        assert made.json() == {"email": EVE, "username": "eve", "full_name": "Eve Ning", "role": "viewer"}
        assert User.objects.get(email=EVE).role == Role.VIEWER
        acts = ("user.invited", "user.created", "invitation.accepted")
        recorded = AuditEntry.objects.filter(action__in=acts).order_by("pk").values_list("action", "actor")
        assert list(recorded) == [
            ("user.invited", "ada <ada@example.org>"),
            ("user.created", f"eve <{EVE}>"),
            ("invitation.accepted", f"eve <{EVE}>"),
        ]

    def test_nobody_gives_what_is_not_below_them(self) -> None:
        for role in ("admin", "superadmin"):
            answer = post(PLATFORM, {"email": EVE, "role": role}, admin())
            assert (answer.status_code, errors(answer)) == (403, [("permission_denied", "role")])
        root = person("root", role=Role.SUPERADMIN)
        assert post(PLATFORM, {"email": EVE, "role": "superadmin"}, root).status_code == 201
        pk = Invitation.objects.get().pk
        assert client_of(admin()).delete(f"{PLATFORM}{pk}/").status_code == 403
        post(ACCEPT, {"token": mailed(), **NEW})
        assert User.objects.get(email=EVE).is_superuser

    def test_others_neither_see_nor_send_them(self) -> None:
        post(PLATFORM, {"email": EVE}, admin())
        pk = Invitation.objects.get().pk
        for user in ("alice", person("victor", role=Role.VIEWER)):
            client = client_of(user)
            assert client.get(PLATFORM).status_code == 403
            assert client.post(PLATFORM, {"email": "x@example.org"}, format="json").status_code == 403
            assert client.delete(f"{PLATFORM}{pk}/").status_code == 403
        assert APIClient().get(PLATFORM).status_code == 401

    def test_an_address_with_an_account_is_refused(self) -> None:
        person("charlie")
        answer = post(PLATFORM, {"email": "Charlie@example.org"}, admin())
        assert (answer.status_code, errors(answer)) == (409, [("has_account", "email")])

    def test_the_newer_replaces_the_older_and_those_to_cases_stay(self) -> None:
        case = staffed_case()
        to_case = token_for(case, by=admin())
        first = post(PLATFORM, {"email": EVE, "role": "viewer"}, admin())
        post(PLATFORM, {"email": EVE, "role": "analyst"}, admin())
        assert not Invitation.objects.open().filter(pk=first.json()["id"]).exists()
        assert [row["role"] for row in client_of(admin()).get(PLATFORM).json()["results"]] == ["analyst"]
        assert post(LOOK, {"token": to_case}).status_code == 200

    def test_one_is_taken_back_and_those_to_cases_are_not_there(self) -> None:
        case = staffed_case()
        invite(case)
        inside = Invitation.objects.get().pk
        pk = post(PLATFORM, {"email": EVE}, admin()).json()["id"]
        client = client_of(admin())
        assert client.delete(f"{PLATFORM}{inside}/").status_code == 404
        assert client.delete(f"{PLATFORM}{pk}/").status_code == 204
        assert mailed() != ""  # that to the case
        assert AuditEntry.objects.filter(action="user.uninvited", target=EVE).count() == 1

    def test_it_needs_a_second_factor_shown_just_now(self) -> None:
        ada = admin()
        User.objects.filter(pk=ada.pk).update(otp_enabled=True)
        client = client_of(ada)
        ada.auth_sessions.update(otp_time=timezone.now() - timedelta(minutes=6))
        assert errors(client.post(PLATFORM, {"email": EVE}, format="json")) == [("otp_stale", None)]
        assert client.get(PLATFORM).status_code == 200
