"""What mails lead to, and what asks for a mail: the same words for known and unknown addresses."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.models import OutgoingMail, PasswordReset, User
from accounts.sealing import digest
from accounts.tests.pages.surf import browser, sign_in, text, to, who
from accounts.tests.phone import PASSWORD, person

pytestmark = pytest.mark.django_db

NEW = "a staple in a battery"
TOKEN = "t" * 43


def _reset(user: User, **facts: object) -> None:
    ends = timezone.now() + timedelta(hours=1)
    PasswordReset.objects.create(**{"user": user, "digest": digest(TOKEN), "expires_at": ends, **facts})


def _unconfirmed() -> User:
    return person("bob", email_verification_sent_at=timezone.now(), email_verification_token=digest(TOKEN))


class TestForgottenPassword:
    """A mail, a link, a button."""

    def test_any_address_gets_the_same_page_and_a_mail_is_left_to_the_worker(self, client: Client) -> None:
        person("bob")
        pages = set()
        for email in ("bob@example.org", "nobody@example.org"):
            pages.add(text(client.post("/password/reset/", {"email": email})))
        assert len(pages) == 1
        assert "Look into your mail" in pages.pop()
        assert list(OutgoingMail.objects.values_list("kind", "recipient")) == [
            ("reset_password", "bob@example.org"),
            ("reset_password", "nobody@example.org"),
        ]

    def test_it_is_written_in_the_language_of_the_browser(self, client: Client) -> None:
        client.post("/password/reset/", {"email": "x@example.org"}, headers={"accept-language": "fr, en"})
        assert OutgoingMail.objects.get().locale == "fr"

    def test_mails_are_bounded(self, client: Client) -> None:
        answers = [client.post("/password/reset/", {"email": "bob@example.org"}) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429]
        assert int(answers[-1].headers["Retry-After"]) > 0

    def test_following_the_link_changes_nothing_and_tells_no_other_page(self, client: Client) -> None:
        bob = person("bob")
        _reset(bob)
        for method in (client.get, client.head):
            answer = method(f"/password/reset/confirm/?token={TOKEN}")
            assert answer.status_code == 200
            assert answer.headers["Referrer-Policy"] == "strict-origin"
        assert PasswordReset.objects.get().used_at is None

    def test_the_button_sets_it_once_and_ends_the_rest(self, client: Client) -> None:
        bob = person("bob")
        _reset(bob)
        elsewhere = browser(bob)
        said = {"token": TOKEN, "new_password": NEW}
        assert to(client.post("/password/reset/confirm/", said)) == "/login/"
        assert "Your new password is set" in text(client.get("/login/"))
        assert who(elsewhere) == ""
        assert to(sign_in(client, bob.email, NEW)) == "/"
        again = Client().post("/password/reset/confirm/", {"token": TOKEN, "new_password": PASSWORD})
        assert "good for one hour and once" in text(again, 400)
        assert User.objects.get(pk=bob.pk).check_password(NEW)

    def test_a_weak_one_keeps_the_token(self, client: Client) -> None:
        _reset(person("bob"))
        answer = client.post("/password/reset/confirm/", {"token": TOKEN, "new_password": "short"})
        assert "at least 12 characters" in text(answer, 400)
        assert f'value="{TOKEN}"' in answer.content.decode()
        said = {"token": TOKEN, "new_password": NEW}
        assert to(client.post("/password/reset/confirm/", said)) == "/login/"

    def test_it_leaves_the_session_of_somebody_else_alone(self) -> None:
        _reset(person("bob"))
        carol = browser(person("carol"))
        carol.post("/password/reset/confirm/", {"token": TOKEN, "new_password": NEW})
        assert who(carol) == "carol"


class TestConfirmation:
    """An address becomes its owner's."""

    def test_following_the_link_changes_nothing(self, client: Client) -> None:
        bob = _unconfirmed()
        answer = client.get(f"/email/verify/?token={TOKEN}")
        assert "Confirm it" in text(answer)
        assert answer.headers["Referrer-Policy"] == "strict-origin"
        assert not User.objects.get(pk=bob.pk).email_verified

    def test_the_button_confirms_once(self, client: Client) -> None:
        bob = _unconfirmed()
        assert to(client.post("/email/verify/", {"token": TOKEN})) == "/login/"
        assert "Your address is confirmed" in text(client.get("/login/"))
        assert to(sign_in(client, bob.email)) == "/"
        assert "24 hours and once" in text(Client().post("/email/verify/", {"token": TOKEN}), 400)

    def test_another_mail_is_the_same_page_for_any_address(self, client: Client) -> None:
        _unconfirmed()
        pages = {
            text(client.post("/email/resend/", {"email": email}))
            for email in ("bob@example.org", "nobody@example.org")
        }
        assert len(pages) == 1


@pytest.mark.parametrize("address", ["/email/verify/", "/password/reset/confirm/"])
@pytest.mark.parametrize("token", ["", "x", "x" * 201, "x" * 7000, "\x00", "ä", "%00"])
def test_bad_tokens_are_refused_without_a_fault(client: Client, address: str, token: str) -> None:
    assert client.get(address, {"token": token}).status_code == 200
    text(client.post(address, {"token": token, "new_password": NEW}), 400)


class TestRegistration:
    """As far as the setting opens it."""

    SAID = {"email": "new@example.org", "username": "newcomer", "full_name": "", "password": NEW}

    @pytest.mark.parametrize(
        ("how", "told"), [("off", "An administrator makes the accounts"), ("invitation", "by invitation")]
    )
    def test_closed_it_says_so_and_makes_nothing(
        self, client: Client, settings: Settings, how: str, told: str
    ) -> None:
        settings.REGISTRATION = how
        assert told in text(client.get("/register/"), 403)
        assert told in text(client.post("/register/", self.SAID), 403)
        assert not User.objects.exists()

    def test_open_it_makes_an_account_that_must_be_confirmed(
        self, client: Client, settings: Settings
    ) -> None:
        settings.REGISTRATION = "open"
        text(client.get("/register/"))
        known = text(client.post("/register/", self.SAID))
        assert "Look into your mail" in known
        user = User.objects.get()
        assert (user.email, user.role, user.email_verified) == ("new@example.org", "analyst", False)
        assert OutgoingMail.objects.get().kind == "verify_address"
        assert "Confirm your e-mail address first" in text(sign_in(client, user.email, NEW), 400)
        again = client.post("/register/", {**self.SAID, "username": "somebody-else"})
        assert text(again) == known
        assert User.objects.count() == 1

    @pytest.mark.parametrize(
        ("said", "told"),
        [
            ({"email": "nothing"}, "no e-mail address"),
            ({"username": "a b"}, "begins with a letter"),
            ({"password": "short"}, "at least 12"),
            ({"email": ""}, "required"),
        ],
    )
    def test_what_makes_no_sense_says_why(
        self, client: Client, settings: Settings, said: dict[str, str], told: str
    ) -> None:
        settings.REGISTRATION = "open"
        answer = client.post("/register/", {**self.SAID, **said})
        assert told in text(answer, 400)
        assert NEW not in answer.content.decode()
        assert not User.objects.exists()
