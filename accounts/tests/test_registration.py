"""Accounts that people make for themselves, and the proof of their address."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.core import mail as outbox
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import flags, mail, registration
from accounts.models import AuditEntry, FeatureFlag, OutgoingMail, Role, User
from accounts.passwords import BadToken
from accounts.sealing import digest
from accounts.tests.races import at_once

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"
REGISTER, VERIFY, RESEND = (
    "/api/v1/auth/register/",
    "/api/v1/auth/email/verify/",
    "/api/v1/auth/email/resend/",
)
LOGIN = "/api/v1/auth/login/"
ALICE = {"email": "Alice@Example.org", "username": "alice", "password": PASSWORD, "full_name": "Alice A."}


@pytest.fixture(autouse=True)
def _open(settings: Settings) -> None:
    settings.REGISTRATION = "open"


def _post(path: str, body: object, **headers: str) -> tuple[int, object]:
    answer = APIClient().post(path, body, format="json", headers=headers)
    return answer.status_code, answer.json() if answer.content else None


def _error(path: str, body: object) -> tuple[int, str, str | None]:
    status, said = _post(path, body)
    (error,) = said["errors"]  # type: ignore[index]
    return status, error["code"], error["attr"]


def _mailed_token() -> str:
    """Have what waits sent, and return the token of the last mail."""
    assert mail.deliver_due() >= 1
    found = re.search(r"/email/verify/\?token=([\w-]+)", str(outbox.outbox[-1].body))
    assert found
    return found[1]


def _waiting(**facts: object) -> User:
    """Return an account whose address waits to be confirmed."""
    return User.objects.create_user(
        "alice@example.org", "alice", PASSWORD, email_verification_sent_at=timezone.now(), **facts
    )


class TestRegister:
    """POST auth/register/."""

    def test_an_account_is_made_confirmed_and_signs_in(self) -> None:
        assert _post(REGISTER, ALICE, **{"Accept-Language": "de-AT,de;q=0.9"}) == (202, {})
        user = User.objects.get()
        assert (user.email, user.username, user.full_name, user.role, user.locale) == (
            "alice@example.org", "alice", "Alice A.", Role.ANALYST, "de",
        )  # fmt: skip
        assert (user.is_active, user.email_verified, user.is_superuser) == (True, False, False)
        body = {"email": "alice@example.org", "password": PASSWORD}
        assert _error(LOGIN, body)[:2] == (401, "email_unverified")
        token = _mailed_token()
        assert outbox.outbox[0].subject == "Bestätigen Sie Ihre E-Mail-Adresse"
        user.refresh_from_db()
        assert user.email_verification_token == digest(token)
        assert _post(VERIFY, {"token": token}) == (204, None)
        assert _post(LOGIN, body)[0] == 200
        confirmed = User.objects.get()
        assert (confirmed.email_verified, confirmed.email_verification_token) == (True, None)
        actions = AuditEntry.objects.filter(action__in=("user.registered", "email.verified")).order_by("pk")
        assert [(entry.action, entry.outcome, entry.target) for entry in actions] == [
            ("user.registered", "ok", "alice@example.org"), ("email.verified", "ok", "alice@example.org"),
        ]  # fmt: skip

    def test_a_known_address_gets_the_same_answer_and_its_owner_another_mail(self) -> None:
        owner = User.objects.create_user("alice@example.org", "ada", PASSWORD, locale="fr")
        User.objects.filter(pk=owner.pk).update(email="Alice@example.ORG")  # as the old system kept them
        assert _post(REGISTER, ALICE) == (202, {})
        assert User.objects.get().username == "ada"
        assert mail.deliver_due() == 1
        (sent,) = outbox.outbox
        assert (sent.to, sent.subject) == (["Alice@example.ORG"], "Vous avez déjà un compte")
        assert "token" not in str(sent.body)
        assert AuditEntry.objects.get(action="user.registered").outcome == "refused"

    def test_an_address_that_waits_is_not_taken_over_by_registering_it_again(self) -> None:
        assert _post(REGISTER, ALICE) == (202, {})
        before = User.objects.values().get()
        again = {**ALICE, "username": "mallory", "password": "another long password"}
        assert _post(REGISTER, again) == (202, {})
        assert User.objects.values().get() == before
        assert mail.deliver_due() == 2
        assert [sent.subject for sent in outbox.outbox] == [
            "Confirm your e-mail address", "You have an account already",
        ]  # fmt: skip

    def test_nothing_that_a_stranger_typed_is_mailed_to_the_owner_of_an_address(self) -> None:
        typed = {**ALICE, "username": "buy-pills", "full_name": "Buy pills at http://pills.example"}
        assert _post(REGISTER, typed) == (202, {})
        assert _post(REGISTER, {**typed, "username": "more-pills"}) == (202, {})
        assert mail.deliver_due() == 2
        for sent in outbox.outbox:
            assert "pills" not in sent.message().as_string()

    @pytest.mark.parametrize("known", [True, False])
    def test_a_name_asked_for_is_taken_whether_or_not_an_account_came_of_it(self, known: bool) -> None:
        if known:
            User.objects.create_user("alice@example.org", "ada", PASSWORD)
        assert _post(REGISTER, ALICE) == (202, {})
        other = {**ALICE, "email": "mallory@example.org", "username": "ALICE"}
        assert _error(REGISTER, other) == (400, "username_taken", "username")
        assert not User.objects.filter(email="mallory@example.org").exists()

    @pytest.mark.parametrize(
        ("field", "value", "code"),
        [
            ("email", "no address", "invalid"), ("email", "a@b", "invalid"), ("email", "", "blank"),
            ("email", None, "null"), ("email", "a@example.org\nBcc: b@example.org", "invalid"),
            ("email", "é" * 250 + "@example.org", "max_length"),
            ("email", "a\x00@example.org", "null_characters_not_allowed"),
            ("username", "a", "invalid"), ("username", "1alice", "invalid"), ("username", "<b>", "invalid"),
            ("username", "a@example.org", "invalid"), ("username", "al ice", "invalid"),
            ("username", "a" * 65, "max_length"), ("username", None, "null"),
            ("username", "al\u202eice", "invalid"), ("username", [], "invalid"),
            ("password", "short", "weak_password"), ("password", "x" * 1025, "max_length"),
            ("password", "alice@example.org", "weak_password"), ("password", "password1234", "weak_password"),
            ("full_name", "x" * 201, "max_length"), ("full_name", None, "null"),
            ("role", "admin", "unknown_field"), ("is_active", True, "unknown_field"),
            ("email_verified", True, "unknown_field"), ("is_superuser", True, "unknown_field"),
        ],
    )  # fmt: skip
    def test_what_makes_no_sense_is_a_400_at_its_field(self, field: str, value: object, code: str) -> None:
        assert _error(REGISTER, {**ALICE, field: value}) == (400, code, field)
        assert not User.objects.exists()
        assert not OutgoingMail.objects.exists()

    def test_a_full_name_is_one_line_and_may_be_left_out(self) -> None:
        assert _post(REGISTER, {**ALICE, "full_name": "Alice\n\r\t A."}) == (202, {})
        assert User.objects.get().full_name == "Alice A."
        others = {"email": "bob@example.org", "username": "bob", "password": PASSWORD}
        assert _post(REGISTER, others) == (202, {})
        assert User.objects.get(username="bob").full_name == ""

    def test_it_may_be_off_by_invitation_or_switched_off(self, settings: Settings) -> None:
        FeatureFlag.objects.create(key=flags.REGISTRATION, enabled=False)
        assert _error(REGISTER, ALICE) == (403, "registration_off", None)
        FeatureFlag.objects.all().delete()
        settings.REGISTRATION = "invitation"
        assert _error(REGISTER, ALICE) == (403, "registration_by_invitation", None)
        settings.REGISTRATION = "off"
        assert _error(REGISTER, ALICE) == (403, "registration_off", None)
        assert _error(REGISTER, {}) == (403, "registration_off", None)
        assert not User.objects.exists()
        assert not OutgoingMail.objects.exists()

    def test_it_is_off_unless_an_operator_says_otherwise(self) -> None:
        from datamortem import settings as written

        assert written.REGISTRATION == "off"

    def test_twenty_an_hour_from_one_client_and_five_to_one_address(self) -> None:
        codes = [
            _post(REGISTER, {**ALICE, "email": f"u{number}@example.org", "username": f"u{number}"})[0]
            for number in range(21)
        ]
        assert codes == [202] * 20 + [429]

    def test_five_an_hour_to_one_address(self) -> None:
        codes = [_post(REGISTER, {**ALICE, "username": f"u{number}"})[0] for number in range(6)]
        assert codes == [202] * 5 + [429]


@pytest.mark.django_db(transaction=True)
def test_of_twenty_registrations_of_an_address_at_once_one_makes_an_account() -> None:
    numbers = iter(range(20))

    def register() -> int:
        body = {**ALICE, "username": f"u{next(numbers)}"}
        answer = APIClient().post(REGISTER, body, format="json")
        return answer.status_code

    codes = at_once(20, register)
    assert sorted(codes) == [202] * 5 + [429] * 15
    assert User.objects.filter(email="alice@example.org").count() == 1


class TestVerify:
    """POST auth/email/verify/ and auth/email/resend/."""

    def test_a_token_is_good_once(self) -> None:
        _waiting()
        assert _post(RESEND, {"email": "alice@example.org"}) == (202, {})
        token = _mailed_token()
        assert _post(VERIFY, {"token": token}) == (204, None)
        assert _error(VERIFY, {"token": token}) == (400, "invalid_token", "token")
        assert User.objects.get().email_verified
        entries = AuditEntry.objects.filter(action="email.verified").order_by("pk")
        assert [entry.outcome for entry in entries] == ["ok", "refused"]

    def test_it_is_good_for_a_day(self) -> None:
        user = _waiting()
        registration.resend(user.email)
        token = _mailed_token()
        sent = timezone.now() - timedelta(hours=24, seconds=1)
        User.objects.update(email_verification_sent_at=sent)
        assert _error(VERIFY, {"token": token}) == (400, "invalid_token", "token")
        User.objects.update(email_verification_sent_at=sent + timedelta(minutes=1))
        assert _post(VERIFY, {"token": token}) == (204, None)

    def test_a_newer_mail_ends_the_older_one(self) -> None:
        user = _waiting()
        registration.resend(user.email)
        old = _mailed_token()
        registration.resend(user.email)
        new = _mailed_token()
        with pytest.raises(BadToken):
            registration.verify(old)
        registration.verify(new)

    def test_an_account_that_was_closed_meanwhile_stays_unconfirmed(self) -> None:
        user = _waiting()
        registration.resend(user.email)
        token = _mailed_token()
        User.objects.update(is_active=False)
        assert _error(VERIFY, {"token": token}) == (400, "invalid_token", "token")
        assert not User.objects.get().email_verified

    @pytest.mark.parametrize(
        ("token", "code"),
        [("", "blank"), (None, "null"), ("x" * 201, "max_length"), ("a\x00b", "null_characters_not_allowed"),
         ("x" * 43, "invalid_token"), ("None", "invalid_token"), (5, "invalid_token"), ([], "invalid")],
    )  # fmt: skip
    def test_what_is_no_token_is_a_400(self, token: object, code: str) -> None:
        _waiting()
        User.objects.create_user("made@example.org", "made", PASSWORD)  # its token is null
        assert _error(VERIFY, {"token": token}) == (400, code, "token")
        assert not User.objects.filter(email_verified=True).exists()

    def test_what_the_old_system_kept_in_clear_confirms_nothing(self) -> None:
        _waiting(email_verification_token="0123456789abcdef")
        assert _error(VERIFY, {"token": "0123456789abcdef"}) == (400, "invalid_token", "token")

    def test_confirmed_and_vouched_accounts_get_no_mail_and_stay_usable(self) -> None:
        User.objects.create_user("made@example.org", "made", PASSWORD)
        _waiting(email_verified=True)
        for email in ("made@example.org", "alice@example.org"):
            assert _post(RESEND, {"email": email}) == (202, {})
        assert mail.deliver_due() == 0
        assert _post(LOGIN, {"email": "made@example.org", "password": PASSWORD})[0] == 200

    @pytest.mark.parametrize(
        "body",
        [
            {}, {"email": ""}, {"email": None}, {"email": "x" * 400 + "@example.org"}, [], "x",
            {"email": "a\x00@b.org"}, {"email": "a@b.org\nBcc: c@d.org"}, {"email": ["a@b.org"]},
            {"email": "a@b.org", "token": "x"},
        ],
    )  # fmt: skip
    def test_what_is_no_address_is_a_400(self, body: object) -> None:
        for path in (RESEND, "/api/v1/auth/password/reset/"):
            assert _post(path, body)[0] == 400
        assert not OutgoingMail.objects.exists()

    def test_five_mails_an_hour_to_an_address(self) -> None:
        codes = [_post(RESEND, {"email": "nobody@example.org"})[0] for _ in range(6)]
        assert codes == [202] * 5 + [429]


@pytest.mark.django_db(transaction=True)
def test_of_twenty_uses_of_one_token_one_gets_through() -> None:
    user = _waiting()
    registration.resend(user.email)
    token = _mailed_token()
    codes = at_once(20, lambda: _post(VERIFY, {"token": token})[0])
    assert sorted(codes) == [204] + [400] * 19
    assert AuditEntry.objects.filter(action="email.verified", outcome="ok").count() == 1
