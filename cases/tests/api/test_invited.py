"""What an invitation opens to who got its mail: once, and nothing when it should not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import invitations
from accounts.models import AuditEntry, Invitation, Role, User
from cases import custody, services
from cases.models import Case, CaseInvitation, CaseMember, CustodyEntry
from cases.tests.api.cast import V1, admin, client_of, errors, person, staffed_case
from cases.tests.api.invited import ACCEPT, EVE, LOOK, NEW, PLATFORM, mailed, post, role_of, token_for
from cases.tests.cast import actions

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _open_to_invited(settings: Settings) -> None:
    settings.REGISTRATION = "invitation"


class TestLooking:
    """POST invitations/look/."""

    def test_it_says_what_is_offered_and_stays_open(self) -> None:
        case = staffed_case()
        Case.objects.filter(pk=case.pk).update(title="The case of the horse")
        User.objects.filter(username="alice").update(full_name="Alice A.")
        token = token_for(case, role="analyst")
        for _ in range(2):
            assert post(LOOK, {"token": token}).json() == {
                "email": EVE, "case_id": case.case_id, "case_title": "The case of the horse",
                "role": "analyst", "invited_by": "Alice A.", "has_account": False,
            }  # fmt: skip
        person("eve")
        assert post(LOOK, {"token": token}).json()["has_account"] is True

    @pytest.mark.parametrize("token", ["x", "x" * 200, "é" * 43, "%", "../", "' OR 1=1 --"])
    def test_what_is_no_token_gets_one_answer(self, token: str) -> None:
        case = staffed_case()
        token_for(case)
        for answer in (post(LOOK, {"token": token}), post(ACCEPT, {"token": token, **NEW})):
            assert (answer.status_code, errors(answer)) == (400, [("invalid_token", "token")])

    def test_half_a_character_is_no_token(self) -> None:
        for address in (LOOK, ACCEPT):
            body = b'{"token": "\\ud800"}'
            assert APIClient().post(address, body, content_type="application/json").status_code == 400

    @pytest.mark.parametrize("token", ["", None, "x" * 201, "a\x00b", ["x"], {"a": 1}])
    def test_what_cannot_be_a_token_is_refused(self, token: Any) -> None:
        for address in (LOOK, ACCEPT):
            assert post(address, {"token": token}).status_code == 400


class TestAccepting:
    """POST invitations/accept/."""

    def test_whoever_is_signed_in_as_the_address_joins(self) -> None:
        case, eve = staffed_case(), person("eve")
        User.objects.filter(pk=eve.pk).update(email="Eve@Example.org")  # as the old system kept them
        answer = post(ACCEPT, {"token": token_for(case, role="analyst")}, eve)
        assert (answer.status_code, answer.content) == (204, b"")
        member = CaseMember.objects.get(case_ref=case, user=eve)
        assert (member.role, member.added_by) == ("analyst", person("alice"))
        accepted = Invitation.objects.get()
        assert accepted.accepted_at is not None
        assert accepted.accepted_by == eve
        entry = CustodyEntry.objects.filter(case_id=case.case_id).latest("sequence")
        assert (entry.action, entry.user) == ("member.added", eve)
        assert entry.details == {"member": "eve", "role": "analyst", "invited_by": "alice"}
        assert custody.verify(case.case_id) == []
        assert client_of(eve).get(f"{V1}/cases/{case.case_id}/").status_code == 200

    def test_whoever_has_no_account_makes_one(self) -> None:
        case = staffed_case()
        answer = post(ACCEPT, {"token": token_for(case), **NEW})
        assert answer.status_code == 201
        eve = User.objects.get(email=EVE)
        assert (eve.role, eve.email_verified, eve.is_active, eve.is_superuser) == (
            "analyst",
            True,
            True,
            False,
        )
        assert (eve.username, eve.full_name) == ("eve", "Eve Ning")
        assert role_of("eve", case) == "reader"
        signed_in = post(f"{V1}/auth/login/", {"email": EVE, "password": NEW["password"]})
        assert set(signed_in.json()) == {"access", "refresh", "access_expires_at"}
        assert NEW["password"] not in eve.password

    def test_it_is_good_once(self) -> None:
        case = staffed_case()
        token = token_for(case)
        assert post(ACCEPT, {"token": token, **NEW}).status_code == 201
        for answer in (post(ACCEPT, {"token": token, **NEW}), post(ACCEPT, {"token": token}, "eve"),
                       post(LOOK, {"token": token})):  # fmt: skip
            assert errors(answer) == [("invalid_token", "token")]
        assert CaseMember.objects.filter(user__email=EVE).count() == 1

    def test_an_address_with_an_account_signs_in_first(self) -> None:
        case = staffed_case()
        token = token_for(case)
        User.objects.create_user("EVE@example.org", "evelyn")
        for body in ({"token": token}, {"token": token, **NEW}):
            answer = post(ACCEPT, body)
            assert (answer.status_code, errors(answer)) == (409, [("sign_in_first", None)])
        assert Invitation.objects.open().count() == 1

    def test_it_is_for_nobody_else(self) -> None:
        case = staffed_case()
        token = token_for(case)
        for user in ("charlie", admin()):
            answer = post(ACCEPT, {"token": token}, user)
            assert (answer.status_code, errors(answer)) == (403, [("other_address", None)])
        assert Invitation.objects.open().count() == 1
        assert role_of("charlie", case) is None

    def test_an_account_is_not_made_by_who_is_signed_in(self) -> None:
        case = staffed_case()
        person("eve")
        assert errors(post(ACCEPT, {"token": token_for(case), **NEW}, "eve")) == [("invalid", "full_name")]

    @pytest.mark.parametrize(
        ("facts", "wrong"),
        [
            ({"username": ""}, ("blank", "username")),
            ({"username": None}, ("null", "username")),
            ({"username": "alice"}, ("username_taken", "username")),
            ({"username": "ALICE"}, ("username_taken", "username")),
            ({"username": "eve@example.org"}, ("invalid", "username")),
            ({"password": "short"}, ("weak_password", "password")),
            ({"password": "x" * 1025}, ("max_length", "password")),
            ({"password": "eve@example.org"}, ("weak_password", "password")),
            ({"role": "superadmin"}, ("unknown_field", "role")),
            ({"is_superuser": True}, ("unknown_field", "is_superuser")),
            ({"email": "else@example.org"}, ("unknown_field", "email")),
        ],
    )
    def test_an_account_that_cannot_be_uses_nothing_up(
        self, facts: dict[str, Any], wrong: tuple[str, str]
    ) -> None:
        case = staffed_case()
        token = token_for(case)
        answer = post(ACCEPT, {"token": token, **NEW, **facts})
        assert (answer.status_code, errors(answer)) == (400, [wrong])
        assert Invitation.objects.open().count() == 1
        assert not User.objects.filter(email=EVE).exists()

    @pytest.mark.parametrize("missing", ["username", "password"])
    def test_an_account_needs_name_and_password(self, missing: str) -> None:
        case = staffed_case()
        body = {"token": token_for(case), **{name: value for name, value in NEW.items() if name != missing}}
        answer = post(ACCEPT, body)
        assert answer.status_code == 400
        assert errors(answer)[0][1] == missing

    def test_a_member_by_now_keeps_the_role(self) -> None:
        case, eve = staffed_case(), person("eve")
        token = token_for(case, role="analyst")
        services.add_member(case=case, user=eve, role="reader", by=None)
        assert post(ACCEPT, {"token": token}, eve).status_code == 204
        assert role_of("eve", case) == "reader"

    def test_an_api_token_accepts_nothing_and_a_bad_one_is_not_nobody(self) -> None:
        case, eve = staffed_case(), person("eve")
        token, client = token_for(case), APIClient(raise_request_exception=False)
        client.credentials(HTTP_AUTHORIZATION="Bearer garbage")
        assert client.post(ACCEPT, {"token": token, **NEW}, format="json").status_code == 401
        made = client_of(eve).post(
            f"{V1}/auth/api-tokens/", {"name": "x", "scopes": ["write"]}, format="json"
        )
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {made.json()['token']}")
        assert errors(client.post(ACCEPT, {"token": token}, format="json")) == [("token_not_enough", None)]
        assert Invitation.objects.open().count() == 1

    def test_a_second_factor_that_is_due_must_be_shown(self) -> None:
        case, eve = staffed_case(), person("eve")
        token, client = token_for(case), client_of(eve)
        User.objects.filter(pk=eve.pk).update(otp_enabled=True)
        assert errors(client.post(ACCEPT, {"token": token}, format="json")) == [("otp_required", None)]


class TestWorthNothing:
    """Invitations that something else has ended: always the same words."""

    @staticmethod
    def _refused(token: str) -> None:
        never = post(LOOK, {"token": "never"})
        person("eve")
        answers = (post(LOOK, {"token": token}), post(ACCEPT, {"token": token}, "eve"))
        assert {answer.status_code for answer in answers} == {400}
        assert {answer.content for answer in answers} == {never.content}
        User.objects.filter(email=EVE).delete()
        assert post(ACCEPT, {"token": token, **NEW}).content == never.content
        assert not User.objects.filter(email=EVE).exists()

    def test_after_seven_days(self) -> None:
        token = token_for(staffed_case())
        Invitation.objects.update(expires_at=timezone.now())
        self._refused(token)

    def test_once_the_case_is_closed(self) -> None:
        case = staffed_case()
        token = token_for(case)
        services.close_case(case=case, by=None)
        self._refused(token)
        services.reopen_case(case=case, by=None)
        assert post(LOOK, {"token": token}).status_code == 200

    def test_once_the_case_is_deleted_also_from_an_admin(self) -> None:
        case = staffed_case()
        token = token_for(case, by=admin())
        services.delete_case(case=case, by=None)
        self._refused(token)
        assert client_of(admin()).get(PLATFORM).json()["results"] == []

    def test_once_its_sender_no_longer_leads_the_case(self) -> None:
        case = staffed_case()
        services.add_member(case=case, user=person("carol"), role="lead", by=None)
        token = token_for(case, by="carol")
        CaseMember.objects.filter(user=person("carol")).update(role="analyst")
        self._refused(token)

    @pytest.mark.parametrize("facts", [{"is_active": False}, {"role": "viewer"}])
    def test_once_its_sender_may_no_longer_act(self, facts: dict[str, Any]) -> None:
        token = token_for(staffed_case())
        User.objects.filter(username="alice").update(**facts)
        self._refused(token)

    def test_once_its_sender_is_gone(self) -> None:
        case = staffed_case()
        services.add_member(case=case, user=person("carol"), role="lead", by=None)
        token = token_for(case, by="carol")
        Invitation.objects.update(invited_by=None)
        self._refused(token)

    def test_once_the_case_is_restricted_and_an_admin_outside_it_had_invited(self) -> None:
        case = staffed_case()
        token = token_for(case, by=admin())
        Case.objects.filter(pk=case.pk).update(restricted=True)
        self._refused(token)

    def test_once_the_admin_is_one_no_more(self) -> None:
        post(PLATFORM, {"email": EVE}, admin())
        token = mailed()
        User.objects.filter(username="ada").update(role=Role.ANALYST)
        self._refused(token)

    def test_once_a_later_mail_has_gone_out(self) -> None:
        case = staffed_case()
        first = token_for(case)
        second = invitations.mint(Invitation.objects.get().pk)
        self._refused(first)
        assert post(LOOK, {"token": second}).status_code == 200

    @pytest.mark.parametrize("meanwhile", [services.close_case, services.delete_case])
    def test_once_the_case_ends_between_the_look_and_the_act(
        self, meanwhile: Callable[..., object], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        case = staffed_case()
        token, draft = token_for(case), invitations.draft_account

        def draft_slowly(*given: Any, **facts: Any) -> User:
            meanwhile(case=case, by=None)
            return draft(*given, **facts)

        monkeypatch.setattr(invitations, "draft_account", draft_slowly)
        assert errors(post(ACCEPT, {"token": token, **NEW})) == [("invalid_token", "token")]
        assert not User.objects.filter(email=EVE).exists()

    def test_once_registration_is_off_it_makes_no_account(self, settings: Settings) -> None:
        token = token_for(staffed_case())
        settings.REGISTRATION = "off"
        answer = post(ACCEPT, {"token": token, **NEW})
        assert (answer.status_code, errors(answer)) == (403, [("registration_off", None)])
        assert post(ACCEPT, {"token": token}, person("eve")).status_code == 204


def test_the_token_is_in_the_mail_and_neither_in_the_database_nor_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    case = staffed_case()
    token = token_for(case)
    assert len(token) == 43
    post(LOOK, {"token": token})
    post(ACCEPT, {"token": token, **NEW})
    held = "\n".join(str(row) for model in apps.get_models() for row in model._base_manager.values_list())
    logged = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    for secret in (token, NEW["password"]):
        assert secret not in held
        assert secret not in logged


def _at_once(number: int, call: Callable[[int], object]) -> list[str]:
    """Return what came of a call made by so many threads at once."""

    def one(turn: int) -> str:
        try:
            call(turn)
        except (invitations.NoInvitation, invitations.SignInFirst) as refusal:
            return refusal.code
        finally:
            connection.close()
        return "in"

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(one, range(number)))


@pytest.mark.django_db(transaction=True)
def test_of_twenty_acceptances_at_once_one_makes_an_account() -> None:
    case = staffed_case()
    token = token_for(case)

    def accept(number: int) -> None:
        services.accept_invitation(token=token, username=f"eve{number}", password=NEW["password"])

    results = _at_once(20, accept)
    assert results.count("in") == 1
    assert set(results) <= {"in", "invalid_token", "sign_in_first"}
    assert User.objects.filter(email=EVE).count() == 1
    assert CaseMember.objects.filter(user__email=EVE).count() == 1
    assert actions(case).count("member.added") == 3  # Dana, Bob and Eve


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("to_case", [True, False])
def test_of_twenty_acceptances_at_once_by_an_account_one_counts(to_case: bool) -> None:
    if to_case:
        token = token_for(staffed_case())
    else:  # there is no case whose row makes them queue
        services.invite_to_platform(email=EVE, role="analyst", by=admin())
        token = mailed()
    eve = person("eve")
    results = _at_once(20, lambda _: services.accept_invitation(token=token, user=eve))
    assert sorted(results) == ["in", *["invalid_token"] * 19]
    assert CaseMember.objects.filter(user=eve).count() == int(to_case)
    assert AuditEntry.objects.filter(action="invitation.accepted").count() == 1


def test_who_has_found_an_invitation_that_was_used_meanwhile_comes_too_late() -> None:
    token = token_for(staffed_case())
    found, late = invitations.find(token), invitations.find(token)
    invitations.claim(found)
    with pytest.raises(invitations.NoInvitation):
        invitations.claim(late)


@pytest.mark.django_db(transaction=True)
def test_of_invitations_of_one_address_at_once_one_stays_open() -> None:
    case, alice = staffed_case(), person("alice")
    _at_once(8, lambda _: services.invite(case=case, email=EVE, role="reader", by=alice))
    assert Invitation.objects.open().count() == 1
    assert CaseInvitation.objects.count() == 8
