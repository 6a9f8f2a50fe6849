"""The page of an invitation: the link shows, the button accepts, once, and by the right person."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import Invitation, Role, User
from accounts.tests.pages.surf import sign_in, text, to
from cases import services
from cases.models import Case
from cases.tests.api.cast import PASSWORD, admin, person, staffed_case
from cases.tests.api.invited import EVE, NEW, PLATFORM, mailed, post, role_of, token_for
from cases.tests.pages.people import HOSTILE, browser

pytestmark = pytest.mark.django_db

PAGE = "/invitation/"


@pytest.fixture(autouse=True)
def _open_to_invited(settings: Settings) -> None:
    settings.REGISTRATION = "invitation"


@pytest.fixture
def case() -> Case:
    """Alice's case."""
    return staffed_case()


def _look(client: Client, token: str) -> str:
    answer = client.get(PAGE, {"token": token})
    assert answer.headers["Referrer-Policy"] == "strict-origin"
    return text(answer)


def _accept(client: Client, token: str, **said: str) -> object:
    return client.post(PAGE, {"token": token, **said})


def _is_open() -> bool:
    return Invitation.objects.open().count() == 1


class TestSomebodyNew:
    """Without an account."""

    def test_looking_accepts_nothing(self, case: Case, client: Client) -> None:
        token = token_for(case)
        page = _look(client, token)
        assert "alice invites eve@example.org to work on the case ir-2024-001 as reader" in page
        assert client.head(PAGE, {"token": token}).status_code == 200
        assert _is_open()

    def test_an_account_is_made_and_joins(self, case: Case, client: Client) -> None:
        token = token_for(case)
        assert to(_accept(client, token, **NEW)) == "/login/"
        assert "Your account is made" in text(client.get("/login/"))
        assert role_of("eve", case) == "reader"
        assert to(sign_in(client, EVE, NEW["password"])) == "/"
        assert case.case_id in text(client.get("/"))

    def test_once(self, case: Case) -> None:
        token = token_for(case)
        _accept(Client(), token, **NEW)
        again = _accept(Client(), token, **{**NEW, "username": "eve2"})
        assert "not valid, or no longer" in text(again, 400)
        assert User.objects.filter(email=EVE).count() == 1

    @pytest.mark.parametrize(
        ("said", "told"),
        [
            ({"password": "short"}, "at least 12"),
            ({"username": "alice"}, "taken"),
            ({"username": ""}, "required"),
        ],
    )
    def test_what_is_refused_leaves_it_open(
        self, case: Case, client: Client, said: dict[str, str], told: str
    ) -> None:
        token = token_for(case)
        answer = _accept(client, token, **{**NEW, **said})
        assert told in text(answer, 400)
        assert NEW["password"] not in answer.content.decode()  # type: ignore[attr-defined]
        assert _is_open()
        assert not User.objects.filter(email=EVE).exists()

    def test_an_invitation_to_the_platform_makes_an_account_of_its_role(self, client: Client) -> None:
        assert post(PLATFORM, {"email": EVE, "role": "viewer"}, admin()).status_code == 201
        token = mailed()
        assert "invites eve@example.org to have an account as viewer" in _look(client, token)
        assert to(_accept(client, token, **NEW)) == "/login/"
        assert User.objects.get(email=EVE).role == Role.VIEWER


class TestSomebodyKnown:
    """With an account."""

    def test_they_sign_in_first_come_back_and_accept(self, case: Case) -> None:
        fay, client = person("fay"), Client()
        token = token_for(case, "fay@example.org", "analyst")
        page = client.get(PAGE, {"token": token}).content.decode()
        back = f"{PAGE}?token={token}"
        assert f'href="/login/?next={quote(back, safe="")}"' in page
        assert "sign in with it first" in text(_accept(client, token, **NEW))
        assert to(sign_in(client, fay.email, PASSWORD, next=back)) == back
        assert "Accept" in _look(client, token)
        assert to(_accept(client, token)) == f"/cases/{case.case_id}/timeline/"
        assert role_of("fay", case) == "analyst"

    def test_another_person_does_not_get_in_by_it(self, case: Case) -> None:
        token = token_for(case)
        charlie = browser(person("charlie"))
        page = _look(charlie, token)
        assert "You are signed in as charlie@example.org" in page
        assert "another address" in text(_accept(charlie, token), 403)
        assert role_of("charlie", case) is None
        assert _is_open()

    def test_nobody_accepts_before_the_second_factor_was_shown(self, case: Case) -> None:
        person("ada", role=Role.ADMIN)
        token = token_for(case, "ada@example.org")
        client = Client()
        client.force_login(person("ada"))
        assert to(client.get(PAGE, {"token": token})).startswith("/account/second-factor/?next=")
        assert to(_accept(client, token)).startswith("/account/second-factor/")
        assert _is_open()


class TestBad:
    """What opens nothing says so in the same words."""

    def test_a_token_that_is_nobodys_and_one_that_was_taken_back(self, case: Case, client: Client) -> None:
        token = token_for(case)
        services.revoke_invitation(invitation=Invitation.objects.get(), by=person("alice"))
        pages = {
            text(ask(PAGE, {"token": said, **NEW}), 400)
            for said in (token, "x", "", "x" * 7000, "\x00", "ä")
            for ask in (client.get, client.post)
        }
        assert len(pages) == 1

    def test_hostile_titles_are_text(self, case: Case, client: Client) -> None:
        services.update_case(case=case, by=person("alice"), title=HOSTILE)
        page = client.get(PAGE, {"token": token_for(case)}).content.decode()
        assert "<script>" not in page
        assert "\u202e" not in page

    def test_a_form_from_elsewhere_is_refused(self, case: Case) -> None:
        token = token_for(case)
        assert Client(enforce_csrf_checks=True).post(PAGE, {"token": token, **NEW}).status_code == 403
        assert _is_open()
