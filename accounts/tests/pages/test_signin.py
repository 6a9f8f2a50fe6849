"""The door: two steps, clear words, nothing to be gained by knocking in odd ways."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts import tokens
from accounts.models import AuthSession, OutgoingMail, Role, User
from accounts.signin import PAIR_LIMIT
from accounts.tests.pages.surf import AWAY, browser, sign_in, text, to, who
from accounts.tests.phone import PASSWORD, Clock, Owner, enrolled, person, set_clock
from accounts.views.signin import CHALLENGE

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time as devices see it."""
    return set_clock(monkeypatch)


@pytest.fixture
def alice(clock: Clock) -> Owner:
    """Somebody with a second factor."""
    return enrolled(clock)


def _at_the_second_step(owner: Owner, **more: Any) -> Client:
    client = Client()
    assert to(sign_in(client, owner.user.email, **more)).startswith("/login/code/")
    return client


def _send_code(client: Client, code: str, **more: Any) -> Any:
    return client.post("/login/code/", {"code": code, **more})


class TestPassword:
    """The first step."""

    def test_without_a_second_factor_a_password_is_enough(self, client: Client) -> None:
        bob = person("bob")
        assert to(sign_in(client, "BOB@example.org")) == "/"
        assert who(client) == "bob"
        session = AuthSession.objects.get(user=bob, method="browser")
        assert session.otp_time is None
        bob.refresh_from_db()
        assert bob.last_login is not None

    def test_what_is_wrong_is_not_said(self, client: Client) -> None:
        person("bob")
        said = {
            text(sign_in(client, "bob@example.org", "wrong"), 400),
            text(sign_in(client, "nobody@example.org", PASSWORD), 400),
        }
        assert len(said) == 1
        assert "do not match" in said.pop()
        assert who(client) == ""

    @pytest.mark.parametrize(
        ("email", "password"),
        [
            ("", ""),
            ("bob@example.org", ""),
            ("x" * 321, "x"),
            ("bob@example.org", "x" * 1025),
            ("bob\x00@example.org", "x"),
            ("bob@example.org", "x\x00"),
            ("\udcff@example.org", "x"),
        ],
    )
    def test_what_cannot_be_right_is_refused_without_a_fault(
        self, client: Client, email: str, password: str
    ) -> None:
        email = email.encode("utf-8", "surrogatepass").decode("latin-1")
        text(sign_in(client, email, password), 400)

    def test_too_many_wrong_ones_are_told_to_wait_also_with_the_right_one(self, client: Client) -> None:
        person("bob")
        for _ in range(PAIR_LIMIT[0]):
            text(sign_in(client, "bob@example.org", "wrong"), 400)
        answer = sign_in(client, "bob@example.org")
        assert "Too many attempts: try again in" in text(answer, 429)
        assert 0 < int(answer.headers["Retry-After"]) <= PAIR_LIMIT[1]
        assert who(client) == ""

    def test_the_page_and_the_api_count_together(self, client: Client) -> None:
        person("bob")
        wrong = {"email": "bob@example.org", "password": "wrong"}
        for _ in range(PAIR_LIMIT[0]):
            answer = client.post("/api/v1/auth/login/", wrong, content_type="application/json")
            assert answer.status_code == 401
        text(sign_in(client, "bob@example.org"), 429)

    def test_an_unconfirmed_address_is_told_and_gets_another_mail(self, client: Client) -> None:
        person("bob", email_verification_sent_at=timezone.now())
        answer = sign_in(client, "bob@example.org")
        assert "Confirm your e-mail address first" in text(answer, 400)
        assert "Send that mail again" in text(answer, 400)
        assert "Look into your mail" in text(client.post("/email/resend/", {"email": "bob@example.org"}))
        assert OutgoingMail.objects.get().kind == "verify_address"
        assert "Send that mail again" not in text(sign_in(client, "bob@example.org", "wrong"), 400)

    def test_whoever_is_signed_in_is_sent_on(self) -> None:
        client = browser(person("bob"))
        assert to(client.get("/login/?next=/account/")) == "/account/"
        assert to(client.get("/login/code/")) == "/"


class TestSecondStep:
    """The code."""

    def test_a_code_opens_and_is_noted_in_the_sign_in(self, alice: Owner) -> None:
        client = _at_the_second_step(alice, next="/account/tokens/")
        assert who(client) == ""
        answer = client.get("/login/code/?next=/account/tokens/")
        assert 'value="/account/tokens/"' in answer.content.decode()
        assert to(_send_code(client, alice.phone.code(), next="/account/tokens/")) == "/account/tokens/"
        assert who(client) == "alice"
        session = AuthSession.objects.get(user=alice.user, method="browser")
        assert session.otp_time is not None
        assert CHALLENGE not in client.session

    def test_a_recovery_code_opens_once(self, alice: Owner) -> None:
        assert to(_send_code(_at_the_second_step(alice), alice.codes[0])) == "/"
        text(_send_code(_at_the_second_step(alice), alice.codes[0]), 400)

    def test_a_wrong_code_may_be_followed_by_a_right_one(self, alice: Owner) -> None:
        client = _at_the_second_step(alice)
        page = _send_code(client, alice.phone.wrong_code())
        assert "not right" in text(page, 400)
        assert alice.phone.wrong_code() not in page.content.decode()
        assert to(_send_code(client, alice.codes[0])) == "/"

    def test_without_the_first_step_there_is_no_second(self, client: Client, alice: Owner) -> None:
        assert to(client.get("/login/code/?next=/account/")) == "/login/?next=%2Faccount%2F"
        assert to(_send_code(client, alice.phone.code())) == "/login/"
        assert who(client) == ""

    def test_a_challenge_is_good_once(self, alice: Owner) -> None:
        first, second = _at_the_second_step(alice), Client()
        held = second.session
        held[CHALLENGE] = first.session[CHALLENGE]
        held.save()
        assert to(_send_code(first, alice.phone.code())) == "/"
        assert to(_send_code(second, alice.codes[0])) == "/login/"
        assert "sign in again" in text(second.get("/login/"))
        assert who(second) == ""

    def test_a_challenge_is_good_for_five_minutes(
        self, alice: Owner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tokens.ChallengeToken, "lifetime", timedelta(seconds=-1))
        client = _at_the_second_step(alice)
        assert to(_send_code(client, alice.phone.code(), next="/account/")) == "/login/?next=%2Faccount%2F"
        assert "took too long" in text(client.get("/login/"))

    def test_a_challenge_ends_with_what_ends_all(self, alice: Owner) -> None:
        client = _at_the_second_step(alice)
        User.objects.filter(pk=alice.user.pk).update(token_epoch=99)
        assert to(_send_code(client, alice.phone.code())) == "/login/"

    def test_wrong_codes_are_bounded(self, alice: Owner) -> None:
        client = _at_the_second_step(alice)
        statuses = [_send_code(client, alice.phone.wrong_code()).status_code for _ in range(12)]
        assert statuses[-1] == 429
        assert who(client) == ""


class TestSession:
    """What a planted or stolen cookie is worth."""

    def test_the_key_changes_at_each_step(self, alice: Owner) -> None:
        client = Client()
        planted = client.session
        planted["planted"] = True
        planted.save()
        before = client.cookies["sessionid"].value
        sign_in(client, alice.user.email)
        between = client.cookies["sessionid"].value
        _send_code(client, alice.phone.code())
        after = client.cookies["sessionid"].value
        assert len({before, between, after}) == 3
        for old in (before, between):
            thief = Client()
            thief.cookies["sessionid"] = old
            assert who(thief) == ""

    def test_signing_out_ends_the_row_and_a_copied_cookie(self) -> None:
        client, copy = browser(person("bob")), Client()
        copy.cookies["sessionid"] = client.cookies["sessionid"].value
        assert who(copy) == "bob"
        assert to(client.post("/logout/")) == "/login/"
        assert AuthSession.objects.get(method="browser").revoked_at is not None
        assert who(copy) == ""

    def test_signing_out_needs_a_post_and_nobody_signed_in_is_no_fault(self, client: Client) -> None:
        assert browser(person("bob")).get("/logout/").status_code == 405
        assert to(client.post("/logout/")) == "/login/"


class TestEnrolmentThatIsDue:
    """A role that may not be used without a second factor."""

    def test_it_comes_first_and_leads_on(self, client: Client, clock: Clock) -> None:
        person("ada", role=Role.ADMIN)
        wanted = "/account/tokens/"
        assert to(sign_in(client, "ada@example.org", next=wanted)) == wanted
        assert to(client.get(wanted)) == "/account/second-factor/?next=%2Faccount%2Ftokens%2F"
        page = client.get("/account/second-factor/?next=/account/tokens/")
        assert "Your role may not be used without one" in text(page)

    def test_a_role_of_no_such_demand_walks_in(self, client: Client, settings: Settings) -> None:
        settings.SECOND_FACTOR_ROLES = ()
        person("ada", role=Role.ADMIN)
        sign_in(client, "ada@example.org")
        assert "API tokens" in text(client.get("/account/tokens/"))


class TestGoingOn:
    """`next` leads to addresses of this site alone."""

    @pytest.mark.parametrize("away", AWAY)
    def test_nobody_is_led_away(self, away: str, alice: Owner) -> None:
        person("bob")
        assert to(sign_in(Client(), "bob@example.org", next=away)) == "/"
        client = _at_the_second_step(alice, next=away)
        assert to(_send_code(client, alice.phone.code(), next=away)) == "/"
        assert to(client.get("/login/", {"next": away})) == "/"
        verified = client.post(
            "/account/second-factor/verify/", {"code": alice.phone.next_code(), "next": away}
        )
        assert to(verified) == "/"
        for page in ("/login/", "/login/code/"):
            answer = Client().get(page, {"next": away})
            assert "evil" not in str(answer.headers) + answer.content.decode()

    def test_an_address_of_this_site_is_kept_whole(self, client: Client) -> None:
        person("bob")
        wanted = "/cases/a%20b/timeline/?q=a%26b&limit=50"
        assert to(sign_in(client, "bob@example.org", next=wanted)) == wanted


@pytest.mark.parametrize(
    "address",
    [
        "/login/",
        "/login/code/",
        "/logout/",
        "/password/reset/",
        "/password/reset/confirm/",
        "/email/verify/",
        "/email/resend/",
        "/register/",
        "/account/",
        "/account/password/",
        "/account/sign-ins/end-others/",
        "/account/second-factor/",
        "/account/second-factor/verify/",
        "/account/second-factor/codes/",
        "/account/second-factor/disable/",
        "/account/tokens/new/",
        "/account/tokens/1/revoke/",
    ],
)
def test_a_form_from_elsewhere_is_refused(address: str) -> None:
    for client in (Client(enforce_csrf_checks=True), browser(person("bob"), strict=True)):
        answer = client.post(address, {"code": "1"})
        assert "did not come from here" in text(answer, 403)
        User.objects.all().delete()
