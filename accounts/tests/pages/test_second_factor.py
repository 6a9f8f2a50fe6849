"""Setting up, showing, renewing and switching off a second factor, on pages."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from accounts.models import AuthSession, RecoveryCode, Role, TotpDevice, User
from accounts.tests.pages.surf import AWAY, browser, text, to, who
from accounts.tests.phone import PASSWORD, Clock, Owner, Phone, enrolled, is_consistent, person, set_clock

pytestmark = pytest.mark.django_db

PAGE = "/account/second-factor/"
NOW = timedelta(0)
LONG_AGO = timedelta(minutes=6)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time as devices see it."""
    return set_clock(monkeypatch)


@pytest.fixture
def alice(clock: Clock) -> Owner:
    """Somebody with a second factor."""
    return enrolled(clock)


def _begun(client: Client, clock: Clock, **more: str) -> Phone:
    """Begin to enrol; return the phone that typed the secret."""
    client.post(PAGE, {"do": "begin", **more})
    return Phone(_secret(client), clock)


def _secret(client: Client) -> str:
    [found] = re.findall(r'<code class="secret">([A-Z2-7]+)</code>', client.get(PAGE).content.decode())
    return str(found)


def _codes(answer: Any) -> list[str]:
    return re.findall(r"<li><code>([a-z0-9-]+)</code></li>", answer.content.decode())


class TestEnrolment:
    """From nothing to ten codes."""

    def test_looking_begins_nothing(self, clock: Clock) -> None:
        bob = person("bob")
        assert "You need an authenticator app" in text(browser(bob).get(PAGE))
        assert not TotpDevice.objects.exists()

    def test_the_whole_way(self, clock: Clock) -> None:
        bob = person("bob")
        here, there = browser(bob), browser(bob)
        phone = _begun(here, clock)
        page = here.get(PAGE).content.decode()
        assert "<svg" in page
        assert "style=" not in page
        assert f"secret={phone.secret}" in page
        answer = here.post(PAGE, {"code": phone.code()})
        assert "shown once" in text(answer)
        codes = _codes(answer)
        assert len(set(codes)) == 10
        assert is_consistent(bob)
        assert (who(here), who(there)) == ("bob", "")
        assert AuthSession.objects.live().get(method="browser").otp_time is not None
        state = here.get(PAGE).content.decode()
        assert "<strong>10</strong>" in state
        assert not any(code in state for code in codes)
        assert phone.secret not in state

    def test_a_wrong_code_keeps_the_secret_and_is_not_shown_again(self, clock: Clock) -> None:
        client = browser(person("bob"))
        phone = _begun(client, clock)
        answer = client.post(PAGE, {"code": phone.wrong_code()})
        assert "This code is wrong" in text(answer, 400)
        assert phone.secret in text(answer, 400)
        assert f'value="{phone.wrong_code()}"' not in answer.content.decode()
        assert not User.objects.get(username="bob").otp_enabled
        assert is_consistent(User.objects.get(username="bob"))

    def test_beginning_again_makes_another_secret(self, clock: Clock) -> None:
        client = browser(person("bob"))
        first = _begun(client, clock)
        second = _begun(client, clock)
        assert first.secret != second.secret
        text(client.post(PAGE, {"code": first.code()}), 400)

    def test_a_code_before_the_secret_is_refused_in_words(self, clock: Clock) -> None:
        assert "Ask for a secret first" in text(browser(person("bob")).post(PAGE, {"code": "123456"}), 409)

    def test_where_one_wanted_to_go_comes_after_the_codes(self, clock: Clock) -> None:
        client = browser(person("ada", role=Role.ADMIN))
        wanted = "/account/tokens/?a=1&b=2"
        assert to(client.post(PAGE, {"do": "begin", "next": wanted})).startswith(f"{PAGE}?next=%2Faccount")
        answer = client.post(PAGE, {"code": Phone(_secret(client), clock).code(), "next": wanted})
        assert 'href="/account/tokens/?a=1&amp;b=2"' in answer.content.decode()
        text(client.get(wanted))

    @pytest.mark.parametrize("away", AWAY)
    def test_and_is_on_this_site(self, clock: Clock, away: str) -> None:
        client = browser(person("bob"))
        assert to(client.post(PAGE, {"do": "begin", "next": away})) == PAGE
        answer = client.post(PAGE, {"code": Phone(_secret(client), clock).code(), "next": away})
        assert "evil" not in answer.content.decode()


class TestShowing:
    """The page that asks for a code again."""

    def test_it_makes_the_sign_in_fresh_and_goes_back(self, alice: Owner) -> None:
        client = browser(alice.user, shown=LONG_AGO)
        answer = client.post(f"{PAGE}verify/", {"code": alice.phone.code(), "next": "/account/tokens/new/"})
        assert to(answer) == "/account/tokens/new/"
        text(client.get("/account/tokens/new/"))

    def test_it_opens_what_the_password_did_not(self, alice: Owner) -> None:
        client = browser(alice.user)
        assert who(client) == "alice"  # the page that asks says so much
        assert to(client.get("/account/")).startswith(f"{PAGE}verify/?next=")
        assert to(client.post(f"{PAGE}verify/", {"code": alice.codes[0]})) == "/"
        text(client.get("/account/"))

    def test_a_wrong_and_a_used_code_are_refused(self, alice: Owner) -> None:
        client = browser(alice.user)
        text(client.post(f"{PAGE}verify/", {"code": alice.phone.wrong_code()}), 400)
        assert to(client.post(f"{PAGE}verify/", {"code": alice.codes[0]})) == "/"
        text(client.post(f"{PAGE}verify/", {"code": alice.codes[0]}), 400)

    def test_guessing_is_bounded(self, alice: Owner) -> None:
        client = browser(alice.user)
        answers = [client.post(f"{PAGE}verify/", {"code": alice.phone.wrong_code()}) for _ in range(12)]
        assert answers[-1].status_code == 429
        assert int(answers[-1].headers["Retry-After"]) > 0

    def test_who_has_none_is_sent_to_set_one_up_or_on(self, clock: Clock) -> None:
        assert to(browser(person("bob")).get(f"{PAGE}verify/?next=/account/")) == "/account/"
        assert to(browser(person("ada", role=Role.ADMIN)).get(f"{PAGE}verify/")) == PAGE


class TestCodesAndEnd:
    """New recovery codes, and switching it off."""

    def test_new_codes_replace_the_old_ones(self, alice: Owner) -> None:
        client = browser(alice.user, shown=NOW)
        fresh = _codes(client.post(f"{PAGE}codes/", {"code": alice.phone.code()}))
        assert len(set(fresh) | set(alice.codes)) == 20
        text(client.post(f"{PAGE}verify/", {"code": alice.codes[0]}), 400)

    def test_a_wrong_code_makes_none(self, alice: Owner) -> None:
        before = set(RecoveryCode.objects.values_list("digest", flat=True))
        client = browser(alice.user, shown=NOW)
        assert "This code is wrong" in text(
            client.post(f"{PAGE}codes/", {"code": alice.phone.wrong_code()}), 400
        )
        text(client.post(f"{PAGE}codes/", {}), 400)
        assert set(RecoveryCode.objects.values_list("digest", flat=True)) == before

    def test_it_is_switched_off_with_password_and_code(self, alice: Owner) -> None:
        client = browser(alice.user, shown=NOW)
        said = {"off-password": PASSWORD, "off-code": alice.phone.code()}
        assert to(client.post(f"{PAGE}disable/", said)) == PAGE
        assert "switched off" in text(client.get(PAGE))
        assert not User.objects.get(pk=alice.user.pk).otp_enabled
        assert is_consistent(alice.user)

    def test_not_without_either(self, alice: Owner) -> None:
        client = browser(alice.user, shown=NOW)
        wrong = {"off-password": "wrong", "off-code": alice.phone.code()}
        assert "This is not your password" in text(client.post(f"{PAGE}disable/", wrong), 400)
        text(client.post(f"{PAGE}disable/", {"off-password": PASSWORD, "off-code": "abcde-fghjk"}), 400)
        text(client.post(f"{PAGE}disable/", {}), 400)
        assert User.objects.get(pk=alice.user.pk).otp_enabled

    def test_not_where_the_role_needs_it(self, clock: Clock) -> None:
        ada = enrolled(clock, "ada", role=Role.ADMIN)
        client = browser(ada.user, shown=NOW)
        assert "may not be used without a second factor" in text(client.get(PAGE))
        said = {"off-password": PASSWORD, "off-code": ada.phone.code()}
        assert "may not be used without a second factor" in text(client.post(f"{PAGE}disable/", said), 403)
        assert User.objects.get(pk=ada.user.pk).otp_enabled

    @pytest.mark.parametrize("what", ["codes", "disable"])
    def test_not_before_it_was_shown(self, alice: Owner, what: str) -> None:
        said = {"code": alice.phone.code(), "off-password": PASSWORD, "off-code": alice.phone.code()}
        assert to(browser(alice.user).post(f"{PAGE}{what}/", said)).startswith(f"{PAGE}verify/")
        assert User.objects.get(pk=alice.user.pk).otp_enabled
