"""Passwords: how they are stored, changed, and set anew by mail."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from unittest.mock import patch

import bcrypt
import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import identify_hasher, make_password
from django.core import mail as outbox
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import hashers, mail, passwords, tokens
from accounts.models import ApiToken, AuditEntry, AuthSession, OutgoingMail, PasswordReset, User
from accounts.sealing import digest
from accounts.tests.races import at_once
from datamortem.common.errors import DomainError

pytestmark = pytest.mark.django_db

OLD, NEW = "correct horse battery", "staple of 12 or more"
CHANGE, RESET, CONFIRM = (f"/api/v1/auth/password/{name}/" for name in ("change", "reset", "reset/confirm"))
ME, LOGIN = "/api/v1/me/", "/api/v1/auth/login/"
MIB = 1024 * 1024


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice@example.org", "alice", OLD)


@pytest.fixture
def argon2(settings: Settings) -> None:
    """Hash as in production."""
    settings.PASSWORD_HASHERS = [
        "accounts.hashers.MachineArgon2Hasher", "accounts.hashers.LegacyBCryptPasswordHasher",
    ]  # fmt: skip


def _bearing(token: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


def _error(answer: object) -> tuple[int, str, str | None]:
    (error,) = answer.json()["errors"]  # type: ignore[attr-defined]
    return answer.status_code, error["code"], error["attr"]  # type: ignore[attr-defined]


def _works(user: User, password: str) -> bool:
    return User.objects.get(pk=user.pk).check_password(password)


def _mailed_token(email: str) -> str:
    """Have a token mailed, and return it."""
    passwords.ask_reset(email)
    assert mail.deliver_due() == 1
    found = re.search(r"token=([\w-]+)", str(outbox.outbox[-1].body))
    assert found
    return found[1]


class TestHashes:
    """`accounts.hashers`."""

    @pytest.mark.parametrize(
        ("memory", "at_once", "chosen"),
        [
            (64 * 1024 * MIB, 8, 64), (2 * 1024 * MIB, 2, 64), (1536 * MIB, 2, 46), (1024 * MIB, 2, 32),
            (1024 * MIB, 1, 64), (512 * MIB, 2, 19), (64 * MIB, 64, 19),
        ],
    )  # fmt: skip
    def test_the_memory_of_a_hash_suits_the_machine_and_how_many_run_at_once(
        self, memory: int, at_once: int, chosen: int
    ) -> None:
        assert hashers.memory_cost(memory=memory, at_once=at_once) == chosen * 1024

    def test_the_machine_has_some_memory(self) -> None:
        assert 64 * MIB < hashers.machine_memory() < 2**50

    def test_a_limit_of_the_container_counts(self, tmp_path) -> None:
        (tmp_path / "limit").write_text("268435456\n")
        (tmp_path / "none").write_text("max\n")
        with patch.object(hashers, "_LIMITS", (tmp_path / "limit", tmp_path / "none", tmp_path / "absent")):
            assert hashers.machine_memory.__wrapped__() == 256 * MIB

    def test_new_hashes_are_argon2id_with_two_passes_in_one_lane(
        self, argon2: None, settings: Settings
    ) -> None:
        settings.PASSWORD_MEMORY = 20000
        encoded = make_password(OLD)
        assert encoded.startswith("argon2$argon2id$v=19$m=20000,t=2,p=1$")

    def test_a_hash_with_other_parameters_is_made_anew_at_the_next_sign_in(
        self, argon2: None, settings: Settings
    ) -> None:
        settings.PASSWORD_MEMORY = 20000
        User.objects.create_user("alice@example.org", "alice", OLD)
        settings.PASSWORD_MEMORY = 19456
        assert authenticate(username="alice@example.org", password="wrong") is None
        assert "m=20000," in User.objects.get().password
        assert authenticate(username="alice@example.org", password=OLD)
        assert "m=19456," in User.objects.get().password
        assert authenticate(username="alice@example.org", password=OLD)

    @pytest.mark.parametrize(
        "stored",
        [
            "argon2$nonsense",
            "argon2$argon2id$v=19$m=8,t=1,p=1$x",
            "bcrypt$$2b$12$short",
            "bcrypt$",
            "$2b$",
            "",
            "x",
        ],
    )
    def test_a_hash_that_nobody_can_read_lets_nobody_in(self, argon2: None, stored: str) -> None:
        user = User.objects.create(email="odd@example.org", username="odd", password=stored)
        assert authenticate(username=user.email, password=OLD) is None
        assert authenticate(username=user.email, password="") is None

    def test_bcrypt_checks_and_makes_no_new_hash(self, argon2: None) -> None:
        old = "bcrypt$" + bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
        legacy = identify_hasher(old)
        assert legacy.verify("x" * 100, old)
        assert not legacy.verify("x" * 71, old)
        assert not legacy.verify("x\x00" * 40, old)
        with pytest.raises(NotImplementedError):
            make_password(OLD, hasher="bcrypt")

    def test_no_more_hashes_run_at_once_than_the_setting_says(self, argon2: None, settings: Settings) -> None:
        settings.PASSWORD_CONCURRENCY = 3
        running, most, gate = 0, 0, threading.Lock()
        pause = threading.Event()

        def hash_slowly(self: object, password: str, salt: str) -> str:
            nonlocal running, most
            with gate:
                running += 1
                most = max(most, running)
            pause.wait(0.05)
            with gate:
                running -= 1
            return "argon2$x"

        with patch("django.contrib.auth.hashers.Argon2PasswordHasher.encode", hash_slowly):
            assert at_once(12, lambda: make_password(OLD)) == ["argon2$x"] * 12
        assert most == 3

    def test_who_waits_too_long_is_told_to_come_back(
        self, argon2: None, alice: User, settings: Settings
    ) -> None:
        settings.PASSWORD_CONCURRENCY = 1
        with patch.object(hashers, "PATIENCE", 0.01), hashers._turn():
            answer = APIClient().post(LOGIN, {"email": alice.email, "password": OLD}, format="json")
        assert _error(answer) == (503, "busy", None)
        assert answer["Retry-After"] == "5"
        assert (
            APIClient().post(LOGIN, {"email": alice.email, "password": OLD}, format="json").status_code == 200
        )


class TestWhichAreGoodEnough:
    """`passwords.check`."""

    @pytest.mark.parametrize(
        "good", ["x" * 11 + "y", "aaaaaaaaaaaab", "пароль из слов", "a" * 1023 + "b", "\x01\x02" * 6 + "é"]
    )
    def test_any_characters_will_do(self, good: str) -> None:
        passwords.check(good)

    @pytest.mark.parametrize(
        ("bad", "said"),
        [
            ("short", "at least 12"), ("x" * 1025, "up to 1024"), ("password1234", "too common"),
            ("alice@example.org", "too similar"), ("AliceLiddell1865", "too similar"), ("", "at least 12"),
        ],
    )  # fmt: skip
    def test_short_long_common_and_own_ones_are_refused_with_the_reason(
        self, alice: User, bad: str, said: str
    ) -> None:
        alice.full_name = "Alice Liddell"
        with pytest.raises(passwords.WeakPassword, match=said) as refused:
            passwords.check(bad, alice)
        assert (refused.value.code, refused.value.field) == ("weak_password", "password")


class TestChange:
    """POST auth/password/change/."""

    def test_it_changes_and_ends_all_else_but_this_sign_in(self, alice: User) -> None:
        mine, other = tokens.issue(alice), tokens.issue(alice)
        ApiToken.objects.create(user=alice, name="ci", prefix="p", digest="d", scopes=["read"])
        answer = _bearing(mine.access).post(CHANGE, {"old_password": OLD, "new_password": NEW}, format="json")
        assert (answer.status_code, answer.content) == (204, b"")
        assert (_works(alice, NEW), _works(alice, OLD)) == (True, False)
        assert _bearing(mine.access).get(ME).status_code == 200
        assert _bearing(other.access).get(ME).status_code == 401
        refreshed = APIClient().post("/api/v1/auth/refresh/", {"refresh": other.refresh}, format="json")
        assert refreshed.status_code == 401
        assert not ApiToken.objects.live().exists()
        assert OutgoingMail.objects.get().kind == "password_changed"
        entry = AuditEntry.objects.get(action="password.changed")
        assert (entry.outcome, entry.user_id, entry.session_id is None) == ("ok", alice.pk, False)

    def test_the_browser_goes_on_and_other_browsers_do_not(self, alice: User) -> None:
        mine, other = APIClient(), APIClient()
        for client in (mine, other):
            client.force_login(alice)
            assert client.get(ME).status_code == 200
        assert mine.post(CHANGE, {"old_password": OLD, "new_password": NEW}, format="json").status_code == 204
        assert mine.get(ME).status_code == 200
        assert other.get(ME).status_code == 401
        assert AuthSession.objects.live().count() == 1

    def test_a_wrong_old_password_changes_nothing_and_is_recorded(self, alice: User) -> None:
        client = _bearing(tokens.issue(alice).access)
        answer = client.post(CHANGE, {"old_password": NEW, "new_password": NEW}, format="json")
        assert _error(answer) == (400, "wrong_password", "old_password")
        assert _works(alice, OLD)
        assert AuditEntry.objects.get(action="password.changed").outcome == "refused"
        assert not OutgoingMail.objects.exists()

    @pytest.mark.parametrize("weak", ["short", "password1234", "alice@example.org"])
    def test_a_weak_new_one_is_refused(self, alice: User, weak: str) -> None:
        client = _bearing(tokens.issue(alice).access)
        answer = client.post(CHANGE, {"old_password": OLD, "new_password": weak}, format="json")
        assert _error(answer) == (400, "weak_password", "new_password")
        assert _works(alice, OLD)

    def test_ten_wrong_ones_in_five_minutes_are_enough(self, alice: User) -> None:
        client = _bearing(tokens.issue(alice).access)
        body = {"old_password": "wrong", "new_password": NEW}
        codes = [client.post(CHANGE, body, format="json").status_code for _ in range(11)]
        assert codes == [400] * 10 + [429]
        refused = client.post(CHANGE, {"old_password": OLD, "new_password": NEW}, format="json")
        assert refused.status_code == 429
        assert 0 < int(refused["Retry-After"]) <= 300

    def test_it_wants_a_person_and_a_fresh_second_factor_where_there_is_one(self, alice: User) -> None:
        User.objects.filter(pk=alice.pk).update(otp_enabled=True)
        body = {"old_password": OLD, "new_password": NEW}
        stale = tokens.issue(alice, second_factor=True)
        AuthSession.objects.update(otp_time=timezone.now() - timedelta(minutes=6))
        assert _error(_bearing(stale.access).post(CHANGE, body, format="json")) == (403, "otp_stale", None)
        fresh = tokens.issue(alice, second_factor=True)
        assert _bearing(fresh.access).post(CHANGE, body, format="json").status_code == 204

    @pytest.mark.parametrize(
        "body",
        [
            {}, {"old_password": OLD}, {"old_password": OLD, "new_password": NEW, "user": 1}, [], "x",
            *({"old_password": OLD, "new_password": new} for new in (None, "x" * 1025, "a\x00" * 8)),
        ],
    )  # fmt: skip
    def test_what_makes_no_sense_is_a_400(self, alice: User, body: object) -> None:
        assert _bearing(tokens.issue(alice).access).post(CHANGE, body, format="json").status_code == 400
        assert _works(alice, OLD)


@pytest.mark.django_db(transaction=True)
def test_of_twenty_changes_at_once_one_gets_through(alice: User) -> None:
    def change() -> bool:
        user = User.objects.get(pk=alice.pk)
        user.password = alice.password  # all have seen the old one
        try:
            passwords.change(user, OLD, NEW, keep=None)
        except DomainError:
            return False
        return True

    with patch("accounts.throttles.hit"):
        assert sum(at_once(20, change)) == 1
    assert User.objects.get().token_epoch == 1


class TestReset:
    """POST auth/password/reset/ and reset/confirm/."""

    def test_the_token_of_the_mail_sets_a_new_password_and_ends_everything(self, alice: User) -> None:
        pair = tokens.issue(alice)
        ApiToken.objects.create(user=alice, name="ci", prefix="p", digest="d", scopes=["read"])
        answer = APIClient().post(RESET, {"email": "Alice@example.org"}, format="json")
        assert (answer.status_code, answer.json()) == (202, {})
        assert mail.deliver_due() == 1
        token = re.search(r"token=([\w-]+)", str(outbox.outbox[0].body))[1]  # type: ignore[index]
        answer = APIClient().post(CONFIRM, {"token": token, "new_password": NEW}, format="json")
        assert (answer.status_code, answer.content) == (204, b"")
        assert (_works(alice, NEW), _works(alice, OLD)) == (True, False)
        assert _bearing(pair.access).get(ME).status_code == 401
        assert not ApiToken.objects.live().exists()
        assert mail.deliver_due() == 1
        assert outbox.outbox[1].subject == "Your password was changed"
        again = APIClient().post(CONFIRM, {"token": token, "new_password": OLD}, format="json")
        assert _error(again) == (400, "invalid_token", "token")
        assert _works(alice, NEW)
        entries = AuditEntry.objects.filter(action="password.reset").order_by("pk")
        assert [(entry.outcome, entry.user_id) for entry in entries] == [("ok", alice.pk), ("refused", None)]

    def test_the_second_factor_stays(self, alice: User) -> None:
        User.objects.filter(pk=alice.pk).update(otp_enabled=True, otp_secret="v1:x")
        passwords.set_by_reset(_mailed_token(alice.email), NEW)
        alice.refresh_from_db()
        assert (alice.otp_enabled, alice.otp_secret) == (True, "v1:x")
        answer = APIClient().post(LOGIN, {"email": alice.email, "password": NEW}, format="json")
        assert "access" not in answer.json()
        assert "challenge" in answer.json()

    def test_it_confirms_the_address_too(self, alice: User) -> None:
        User.objects.filter(pk=alice.pk).update(
            email_verification_sent_at=timezone.now(), email_verification_token="d"
        )
        passwords.set_by_reset(_mailed_token(alice.email), NEW)
        alice.refresh_from_db()
        assert (alice.email_verified, alice.email_verification_token) == (True, None)

    def test_a_weak_password_does_not_use_the_token_up(self, alice: User) -> None:
        token = _mailed_token(alice.email)
        answer = APIClient().post(
            CONFIRM, {"token": token, "new_password": "alice@example.org"}, format="json"
        )
        assert _error(answer) == (400, "weak_password", "new_password")
        assert (
            APIClient().post(CONFIRM, {"token": token, "new_password": NEW}, format="json").status_code == 204
        )

    def test_an_hour_later_it_is_good_no_longer(self, alice: User) -> None:
        token = _mailed_token(alice.email)
        reset = PasswordReset.objects.get()
        assert reset.expires_at - reset.created_at == timedelta(hours=1)
        PasswordReset.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        answer = APIClient().post(CONFIRM, {"token": token, "new_password": NEW}, format="json")
        assert _error(answer) == (400, "invalid_token", "token")
        assert _works(alice, OLD)

    def test_a_newer_mail_ends_the_older_one(self, alice: User) -> None:
        old, new = _mailed_token(alice.email), _mailed_token(alice.email)
        answer = APIClient().post(CONFIRM, {"token": old, "new_password": NEW}, format="json")
        assert _error(answer) == (400, "invalid_token", "token")
        assert (
            APIClient().post(CONFIRM, {"token": new, "new_password": NEW}, format="json").status_code == 204
        )

    def test_a_changed_password_ends_it(self, alice: User) -> None:
        token = _mailed_token(alice.email)
        passwords.change(alice, OLD, NEW, keep=None)
        with pytest.raises(passwords.BadToken):
            passwords.set_by_reset(token, OLD)
        assert _works(alice, NEW)

    def test_an_account_that_was_closed_meanwhile_stays_closed(self, alice: User) -> None:
        token = _mailed_token(alice.email)
        User.objects.filter(pk=alice.pk).update(is_active=False)
        with pytest.raises(passwords.BadToken):
            passwords.set_by_reset(token, NEW)
        assert _works(alice, OLD)

    @pytest.mark.parametrize(
        ("token", "code"),
        [("", "blank"), (None, "null"), ("x" * 201, "max_length"), ("a\x00b", "null_characters_not_allowed"),
         ("x" * 43, "invalid_token"), ("é", "invalid_token"), ([], "invalid"), ({}, "invalid")],
    )  # fmt: skip
    def test_what_is_no_token_is_a_400(self, alice: User, token: object, code: str) -> None:
        answer = APIClient().post(CONFIRM, {"token": token, "new_password": NEW}, format="json")
        assert _error(answer) == (400, code, "token")

    def test_the_digest_in_the_database_is_no_token(self, alice: User) -> None:
        token = _mailed_token(alice.email)
        assert PasswordReset.objects.get().digest == digest(token)
        with pytest.raises(passwords.BadToken):
            passwords.set_by_reset(digest(token), NEW)

    def test_five_mails_an_hour_to_an_address_and_thirty_of_a_client(self, alice: User) -> None:
        codes = [
            APIClient().post(RESET, {"email": email}, format="json").status_code
            for email in [alice.email] * 5 + ["ALICE@example.org"]
        ]
        assert codes == [202] * 5 + [429]
        codes = [
            APIClient().post(RESET, {"email": f"u{number}@example.org"}, format="json").status_code
            for number in range(26)
        ]
        assert codes == [202] * 24 + [429] * 2
        elsewhere = APIClient().post(
            RESET, {"email": "b@example.org"}, format="json", REMOTE_ADDR="192.0.2.7"
        )
        assert elsewhere.status_code == 202


@pytest.mark.django_db(transaction=True)
def test_of_twenty_uses_of_one_reset_token_one_gets_through(alice: User) -> None:
    token = _mailed_token(alice.email)

    def use() -> int:
        return APIClient().post(CONFIRM, {"token": token, "new_password": NEW}, format="json").status_code

    assert sorted(at_once(20, use)) == [204] + [400] * 19
    assert User.objects.get().token_epoch == 1
    assert AuditEntry.objects.filter(action="password.reset", outcome="ok").count() == 1
