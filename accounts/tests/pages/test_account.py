"""The own account: profile, password, sign-ins, API tokens; nobody else's is reached from here."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts import api_tokens
from accounts.models import ApiToken, AuthSession, User
from accounts.tests.pages.surf import browser, sign_in, text, to, who
from accounts.tests.phone import PASSWORD, Clock, Owner, enrolled, person, set_clock

pytestmark = pytest.mark.django_db

NEW = "a staple in a battery"
NOW = timedelta(0)
LONG_AGO = timedelta(minutes=6)
PAGES = (
    "/account/",
    "/account/password/",
    "/account/sign-ins/",
    "/account/second-factor/",
    "/account/tokens/",
    "/account/tokens/new/",
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time as devices see it."""
    return set_clock(monkeypatch)


@pytest.fixture
def alice(clock: Clock) -> Owner:
    """Somebody with a second factor."""
    return enrolled(clock)


@pytest.fixture
def bob() -> User:
    """Somebody without one."""
    return person("bob")


class TestWhoEnters:
    """People who have shown what is due."""

    @pytest.mark.parametrize("address", PAGES)
    def test_nobody_without_signing_in(self, address: str) -> None:
        assert to(Client().get(address)) == f"/login/?next={address}"

    @pytest.mark.parametrize("address", [*PAGES, "/account/second-factor/verify/"])
    def test_who_has_a_second_factor_shows_it_first(self, address: str, alice: Owner) -> None:
        answer = browser(alice.user).get(address, follow=True)
        assert "Show your second factor" in text(answer)
        assert alice.user.email not in answer.content.decode()

    @pytest.mark.parametrize("address", PAGES)
    def test_every_page_opens_to_its_owner(self, address: str, bob: User, alice: Owner) -> None:
        for client in (browser(bob), browser(alice.user, shown=NOW)):
            assert "<script" not in client.get(address).content.decode()
            text(client.get(address))

    def test_a_token_of_a_program_opens_no_page(self, bob: User) -> None:
        made = api_tokens.create(bob, name="x")
        answer = Client().get("/account/", headers={"authorization": f"Bearer {made.text}"})
        assert to(answer).startswith("/login/")


class TestProfile:
    """Name and language."""

    def test_they_are_changed_and_nothing_else_is(self, bob: User) -> None:
        said = {"full_name": "Bob Example", "locale": "de", "role": "superadmin", "email": "x@example.org"}
        assert to(browser(bob).post("/account/", said)) == "/account/"
        changed = User.objects.get(pk=bob.pk)
        assert (changed.full_name, changed.locale) == ("Bob Example", "de")
        assert (changed.role, changed.email) == (bob.role, bob.email)

    @pytest.mark.parametrize("said", [{"locale": "xx"}, {"full_name": "x" * 201}, {"full_name": "a\x00"}])
    def test_what_makes_no_sense_changes_nothing(self, bob: User, said: dict[str, str]) -> None:
        text(browser(bob).post("/account/", said), 400)
        assert User.objects.get(pk=bob.pk).full_name is None

    def test_hostile_names_are_text(self) -> None:
        bob = person("<b>bob</b>\u202e", full_name='"><img src=x>')
        page = browser(bob).get("/account/").content.decode()
        assert "<b>bob" not in page
        assert "\u202e" not in page
        assert "<img src=x>" not in page


class TestPassword:
    """A new one ends everything else."""

    def test_this_browser_goes_on_and_the_rest_ends(self, bob: User) -> None:
        here, there = browser(bob), browser(bob)
        token = api_tokens.create(bob, name="x").token
        said = {"old_password": PASSWORD, "new_password": NEW}
        assert to(here.post("/account/password/", said)) == "/account/password/"
        assert "Your password is changed" in text(here.get("/account/password/"))
        assert (who(here), who(there)) == ("bob", "")
        token.refresh_from_db()
        assert token.revoked_at is not None
        assert to(sign_in(Client(), bob.email, NEW)) == "/"
        text(sign_in(Client(), bob.email, PASSWORD), 400)

    def test_the_key_of_the_session_changes(self, bob: User) -> None:
        client = browser(bob)
        before = client.cookies["sessionid"].value
        client.post("/account/password/", {"old_password": PASSWORD, "new_password": NEW})
        assert client.cookies["sessionid"].value != before

    @pytest.mark.parametrize(
        ("old", "new", "told"),
        [
            ("wrong", NEW, "This is not your password"),
            (PASSWORD, "short", "at least 12 characters"),
            (PASSWORD, "bob@example.org1", "too similar"),
            (PASSWORD, "", "required"),
            (PASSWORD, "x" * 1025, "1024"),
        ],
    )
    def test_what_is_refused_says_why_and_changes_nothing(
        self, bob: User, old: str, new: str, told: str
    ) -> None:
        client = browser(bob)
        answer = client.post("/account/password/", {"old_password": old, "new_password": new})
        assert told in text(answer, 400)
        assert User.objects.get(pk=bob.pk).check_password(PASSWORD)
        assert not new or f'value="{new}"' not in answer.content.decode()

    def test_wrong_ones_are_bounded(self, bob: User) -> None:
        client = browser(bob)
        said = {"old_password": "wrong", "new_password": NEW}
        answers = [client.post("/account/password/", said) for _ in range(11)]
        assert answers[-1].status_code == 429
        assert int(answers[-1].headers["Retry-After"]) > 0

    def test_the_second_factor_is_shown_again_first(self, alice: Owner) -> None:
        client = browser(alice.user, shown=LONG_AGO)
        said = {"old_password": PASSWORD, "new_password": NEW}
        verify = "/account/second-factor/verify/?next=%2Faccount%2Fpassword%2F"
        assert to(client.get("/account/password/")) == verify
        assert to(client.post("/account/password/", said)) == verify
        assert "Nothing was changed yet" in text(client.get(verify))
        assert User.objects.get(pk=alice.user.pk).check_password(PASSWORD)
        back = client.post(
            "/account/second-factor/verify/", {"code": alice.phone.code(), "next": "/account/password/"}
        )
        assert to(back) == "/account/password/"
        assert to(client.post("/account/password/", said)) == "/account/password/"
        assert User.objects.get(pk=alice.user.pk).check_password(NEW)


class TestSignIns:
    """Where one is signed in."""

    def test_they_are_listed_with_where_from(self, bob: User) -> None:
        AuthSession.objects.all().delete()
        client = browser(bob)
        AuthSession.objects.update(address="192.0.2.7", agent="<i>Netscape</i>")
        other = browser(person("carol"))
        AuthSession.objects.filter(user__username="carol").update(address="192.0.2.8")
        page = client.get("/account/sign-ins/")
        assert "Browser at 192.0.2.7 this one" in text(page)
        assert "<i>" not in page.content.decode()
        assert "192.0.2.8" not in text(page)
        assert "192.0.2.8" in text(other.get("/account/sign-ins/"))

    def test_one_is_ended_at_once(self, bob: User) -> None:
        here, there = browser(bob), browser(bob)
        other = AuthSession.objects.filter(method="browser").latest("created_at")
        assert to(here.post(f"/account/sign-ins/{other.pk}/end/")) == "/account/sign-ins/"
        assert (who(here), who(there)) == ("bob", "")

    def test_ending_this_one_is_signing_out(self, bob: User) -> None:
        client = browser(bob)
        own = AuthSession.objects.get(method="browser")
        assert to(client.post(f"/account/sign-ins/{own.pk}/end/")) == "/login/"
        assert who(client) == ""

    def test_all_others_are_ended_and_api_tokens_go_on(self, bob: User) -> None:
        here, there = browser(bob), browser(bob)
        token = api_tokens.create(bob, name="x").token
        assert to(here.post("/account/sign-ins/end-others/")) == "/account/sign-ins/"
        assert (who(here), who(there)) == ("bob", "")
        assert AuthSession.objects.live().count() == 1
        token.refresh_from_db()
        assert token.revoked_at is None

    def test_somebody_elses_is_not_there(self, bob: User) -> None:
        browser(person("carol"))
        theirs = AuthSession.objects.get(user__username="carol", method="browser")
        client = browser(bob)
        for pk in (theirs.pk, uuid.uuid4()):
            assert "not yours to see" in text(client.post(f"/account/sign-ins/{pk}/end/"), 404)
        theirs.refresh_from_db()
        assert theirs.revoked_at is None

    def test_looking_ends_nothing(self, bob: User) -> None:
        client = browser(bob)
        own = AuthSession.objects.get(method="browser")
        for address in (f"/account/sign-ins/{own.pk}/end/", "/account/sign-ins/end-others/"):
            assert client.get(address).status_code == 405
        assert who(client) == "bob"


class TestTokens:
    """Tokens of programs."""

    @staticmethod
    def _make(client: Client, **said: Any) -> Any:
        return client.post(
            "/account/tokens/new/", {"name": "nightly", "scope": "read", "cases": "", "days": "30", **said}
        )

    def test_one_is_made_shown_once_and_works(self, bob: User) -> None:
        client = browser(bob)
        page = self._make(client, scope="write", name="<b>nightly</b>").content.decode()
        [shown] = re.findall(r'value="(dm_[^"]+)"', page)
        assert "<b>" not in page
        token = ApiToken.objects.get()
        assert (token.scopes, token.case_ids, token.user) == (["read", "write"], None, bob)
        ends = timezone.now() + timedelta(days=30)
        assert token.expires_at is not None
        assert abs(token.expires_at - ends) < timedelta(minutes=1)
        answer = Client().get("/api/v1/me/", headers={"authorization": f"Bearer {shown}"})
        assert answer.status_code == 200
        listed = client.get("/account/tokens/").content.decode()
        assert token.prefix in listed
        assert shown not in listed

    @pytest.mark.parametrize(
        ("said", "told"),
        [
            ({"name": ""}, "required"),
            ({"name": "x" * 81}, "80"),
            ({"scope": "admin"}, "valid choice"),
            ({"days": "9999"}, "valid choice"),
            ({"cases": "nobody's"}, "You see no case of this id"),
        ],
    )
    def test_what_makes_no_sense_makes_none(self, bob: User, said: dict[str, str], told: str) -> None:
        assert told in text(self._make(browser(bob), **said), 400)
        assert not ApiToken.objects.exists()

    def test_one_is_ended(self, bob: User) -> None:
        made = api_tokens.create(bob, name="nightly")
        client = browser(bob)
        assert to(client.post(f"/account/tokens/{made.token.pk}/revoke/")) == "/account/tokens/"
        assert "No token." in text(client.get("/account/tokens/"))
        answer = Client().get("/api/v1/me/", headers={"authorization": f"Bearer {made.text}"})
        assert answer.status_code == 401
        text(client.post(f"/account/tokens/{made.token.pk}/revoke/"), 404)

    def test_somebody_elses_is_neither_listed_nor_ended(self, bob: User) -> None:
        made = api_tokens.create(person("carol"), name="hers")
        client = browser(bob)
        assert "hers" not in text(client.get("/account/tokens/"))
        text(client.post(f"/account/tokens/{made.token.pk}/revoke/"), 404)
        made.token.refresh_from_db()
        assert made.token.revoked_at is None

    def test_making_one_needs_the_second_factor_shown_just_now(self, alice: Owner) -> None:
        client = browser(alice.user, shown=LONG_AGO)
        text(client.get("/account/tokens/"))
        assert to(self._make(client)) == "/account/second-factor/verify/?next=%2Faccount%2Ftokens%2Fnew%2F"
        assert not ApiToken.objects.exists()
        text(self._make(browser(alice.user, shown=NOW)))
        assert ApiToken.objects.count() == 1
