"""Mail: what is written down, what goes out, and what happens while the mail server does not answer."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path
from unittest.mock import patch

import pytest
from django.core import mail as outbox
from django.core.mail.backends.locmem import EmailBackend
from django.db import transaction
from django.test import override_settings
from django.utils import timezone
from pytest_django import Settings

from accounts import invitations, letters, mail
from accounts.models import AuditEntry, Invitation, OutgoingMail, PasswordReset, User
from accounts.sealing import digest, unseal
from accounts.tests.races import at_once
from accounts.tests.smtp import MailServer, mail_server

pytestmark = pytest.mark.django_db

TEMPLATES = Path(letters.__file__).parent / "templates" / "accounts" / "mail"


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice@example.org", "alice", "correct horse battery", locale="fr")


def _only() -> OutgoingMail:
    return OutgoingMail.objects.get()


def _pass_time(**by: float) -> None:
    """Have what waits wait no longer."""
    back = timedelta(**by)
    for row in OutgoingMail.objects.all():
        row.due_at, row.created_at = row.due_at - back, row.created_at - back
        row.lease_until = row.lease_until and row.lease_until - back
        row.save()


def _smtp(settings: Settings, server: MailServer) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", server.port, 5


class TestWhatIsWritten:
    """The templates."""

    @pytest.mark.parametrize("language", letters.LANGUAGES)
    @pytest.mark.parametrize("kind", letters.KINDS)
    def test_every_kind_is_there_in_every_language_in_text_and_html(self, kind: str, language: str) -> None:
        def writer(recipient: str, locale: str, context: object) -> letters.Letter:
            return letters.Letter(recipient, locale, "t0ken", {"case": "<Ledger>", "admin": "ada"})

        with patch("accounts.letters.import_string", return_value=writer):
            message = letters.write(kind, "a@example.org", language, {})
        assert message is not None
        link = f"http://127.0.0.1:8000{letters.KINDS[kind].page}?token=t0ken"
        html = str(message.alternatives[0][0])
        assert message.alternatives[0][1] == "text/html"
        text = str(message.body)
        assert text.count(link) == 1
        assert f'<a href="{link}">' in html
        assert f'<html lang="{language}">' in html
        assert 8 < len(message.subject) < 80
        assert "{" not in message.subject + text + html
        assert "<Ledger>" not in html
        others = {line.split("\n")[0] for line in _texts(kind)}
        assert len(others) == len(letters.LANGUAGES)

    def test_there_is_no_template_without_a_kind(self) -> None:
        found = {place.stem for place in TEMPLATES.glob("*/*.txt")}
        assert found == set(letters.KINDS)

    @pytest.mark.parametrize(
        ("locale", "word"),
        [
            ("fr", "Votre"),
            ("fr-CA", "Votre"),
            ("de_AT", "Ihr"),
            ("", "Your"),
            ("ja", "Your"),
            ("../de", "Your"),
        ],
    )
    def test_a_language_that_is_not_written_is_answered_in_english(self, locale: str, word: str) -> None:
        message = letters.write("password_changed", "a@example.org", locale, {})
        assert message is not None
        assert message.subject.startswith(word)

    def test_what_somebody_calls_a_case_stays_one_short_line_without_markup(self) -> None:
        title = "Ledger\r\nBcc: all@example.org\n\nhttp://evil\u202e\x00" + "x" * 500
        message = letters.write("admin_joined", "a@example.org", "", {"case": title, "admin": "<b>ada"})
        assert message is not None
        body, html = str(message.body), str(message.alternatives[0][0])
        assert "“Ledger Bcc: all@example.org http://evil xxx" in body
        assert not re.search(r"[\r\x00\u202e]|\nBcc|x{200}", body)
        assert "<b>" not in html
        assert list(message.message().keys()).count("Bcc") == 0


def _texts(kind: str) -> list[str]:
    return [(TEMPLATES / language / f"{kind}.txt").read_text("utf-8") for language in letters.LANGUAGES]


class TestPosting:
    """`mail.post`."""

    def test_it_writes_a_sealed_row_and_sends_nothing(self, alice: User) -> None:
        mail.post("admin_joined", alice.email, "de", case="a secret title", admin="ada")
        row = _only()
        assert (row.kind, row.recipient, row.locale, row.attempts) == (
            "admin_joined", "alice@example.org", "de", 0,
        )  # fmt: skip
        assert "secret title" not in (row.sealed or "")
        assert json.loads(unseal(row.sealed or "")) == {"case": "a secret title", "admin": "ada"}
        assert outbox.outbox == []

    def test_an_unknown_kind_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no mail of the kind 'advertisement'"):
            mail.post("advertisement", "a@example.org", "")

    @pytest.mark.django_db(transaction=True)
    def test_what_is_rolled_back_is_never_sent(self) -> None:
        with transaction.atomic():
            mail.post("password_changed", "a@example.org", "")
            transaction.set_rollback(True)
        assert mail.deliver_due() == 0
        assert outbox.outbox == []


class TestDelivery:
    """`mail.deliver_due`."""

    def test_it_sends_in_the_language_of_the_user_and_forgets_what_the_mail_spoke_of(
        self, alice: User, settings: Settings
    ) -> None:
        settings.PUBLIC_URL = "https://dm.example"
        mail.post("reset_password", "ALICE@example.org", "de")
        assert mail.deliver_due() == 1
        (sent,) = outbox.outbox
        assert (sent.to, sent.subject) == (["alice@example.org"], "Choisissez un nouveau mot de passe")
        assert sent.extra_headers["Auto-Submitted"] == "auto-generated"
        found = re.search(r"https://dm\.example/password/reset/confirm/\?token=([\w-]{43})\n", str(sent.body))
        assert found
        assert PasswordReset.objects.get().digest == digest(found[1])
        row = _only()
        assert (row.sealed, row.failed_at, row.lease_until, row.attempts) == (None, None, None, 1)
        assert row.sent_at is not None
        assert mail.deliver_due() == 0
        assert len(outbox.outbox) == 1

    def test_no_token_lies_in_the_database(self, alice: User) -> None:
        User.objects.filter(pk=alice.pk).update(email_verification_sent_at=timezone.now())
        mail.post("verify_address", alice.email, "")
        mail.post("reset_password", alice.email, "")
        assert mail.deliver_due() == 2
        tokens = [re.search(r"token=(\S+)", str(sent.body))[1] for sent in outbox.outbox]  # type: ignore[index]
        held = [
            str(value)
            for model in (OutgoingMail, PasswordReset, User, AuditEntry)
            for row in model._default_manager.values_list()
            for value in row
        ]
        for token in tokens:
            assert not any(token in value for value in held)
            assert sum(digest(token) in value for value in held) == 1

    def test_two_mails_of_one_account_carry_two_tokens_of_which_the_newer_counts(self, alice: User) -> None:
        mail.post("reset_password", alice.email, "")
        mail.post("reset_password", alice.email, "")
        assert mail.deliver_due() == 2
        tokens = [re.search(r"token=(\S+)", str(sent.body))[1] for sent in outbox.outbox]  # type: ignore[index]
        (good,) = PasswordReset.objects.filter(used_at=None)
        assert good.digest == digest(tokens[1])

    @pytest.mark.parametrize(
        ("kind", "context"),
        [
            ("reset_password", {}),
            ("verify_address", {}),
            ("already_registered", {}),
            ("invitation", {"invitation": 9}),
        ],
    )
    def test_a_mail_that_nobody_is_to_get_is_closed(self, kind: str, context: dict[str, int]) -> None:
        User.objects.create_user(
            "gone@example.org", "gone", is_active=False, email_verification_sent_at=timezone.now()
        )
        for address in ("nobody@example.org", "gone@example.org"):
            mail.post(kind, address, "", **context)
        assert mail.deliver_due() == 0
        assert outbox.outbox == []
        assert not OutgoingMail.objects.filter(sent_at=None).exists()
        assert not OutgoingMail.objects.exclude(sealed=None).exists()

    def test_an_invitation_is_minted_when_it_goes_out(self, alice: User) -> None:
        held = Invitation.objects.create(
            email="bob@example.org",
            role="analyst",
            invited_by=alice,
            expires_at=timezone.now() + timedelta(days=1),
        )
        mail.post("invitation", held.email, "de", invitation=held.pk, case="Hauptbuch")
        assert mail.deliver_due() == 1
        (sent,) = outbox.outbox
        assert "„Hauptbuch“" in str(sent.body)
        token = re.search(r"/invitation/\?token=(\S+)", str(sent.body))[1]  # type: ignore[index]
        assert invitations.find(token).pk == held.pk

    def test_at_most_the_limit_goes_out_oldest_first(self, alice: User) -> None:
        for number in range(5):
            mail.post("password_changed", f"u{number}@example.org", "")
        assert mail.deliver_due(limit=2) == 2
        assert [sent.to[0] for sent in outbox.outbox] == ["u0@example.org", "u1@example.org"]

    @pytest.mark.parametrize(
        "address",
        [
            "x@example.org\nBcc: all@example.org",
            "x@example.org\r\n\r\nhello",
            "é@example.org\nBcc: a@b.example",
        ],
    )
    def test_an_address_with_a_line_break_fails_for_good(self, address: str, settings: Settings) -> None:
        settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
        mail.post("password_changed", address, "")
        assert mail.deliver_due() == 0
        assert outbox.outbox == []
        row = _only()
        assert row.failed_at is not None
        assert (row.sealed, row.sent_at) == (None, None)

    def test_what_was_sealed_with_a_lost_key_fails_and_says_so(self, alice: User) -> None:
        mail.post("password_changed", alice.email, "")
        OutgoingMail.objects.update(sealed="v1:gAAAAABlost")
        assert mail.deliver_due() == 0
        assert "FIELD_KEYS" in _only().error

    def test_old_rows_go_and_waiting_ones_stay(self, alice: User) -> None:
        mail.post("password_changed", alice.email, "")
        assert mail.deliver_due() == 1
        mail.post("password_changed", alice.email, "")
        _pass_time(days=31)
        mail.deliver_due()
        assert OutgoingMail.objects.count() == 0  # the second one, too: it went out just now

    def test_two_workers_never_send_one_mail_twice(self, alice: User) -> None:
        mail.post("password_changed", alice.email, "")
        (one,) = mail.due()
        (other,) = mail.due()
        assert mail._claim(one)
        assert not mail._claim(other)
        assert mail.deliver_due() == 0

    def test_a_mail_of_a_worker_that_died_is_sent_by_another_when_the_lease_ends(self, alice: User) -> None:
        mail.post("password_changed", alice.email, "")
        (held,) = mail.due()
        assert mail._claim(held)  # and then kill -9
        assert mail.deliver_due() == 0
        _pass_time(minutes=4)
        assert mail.deliver_due() == 1
        assert not mail._close(held, failed_at=timezone.now())  # the dead one comes back: too late
        assert _only().failed_at is None


@pytest.mark.django_db(transaction=True)
def test_twenty_deliveries_at_once_send_each_mail_once(alice: User) -> None:
    for number in range(10):
        mail.post("password_changed", f"u{number}@example.org", "")
    counts = at_once(20, mail.deliver_due)
    assert sum(counts) == 10
    assert sorted(sent.to[0] for sent in outbox.outbox) == [f"u{number}@example.org" for number in range(10)]


class TestWhileTheServerIsAway:
    """Refusals of the mail server, and its silence."""

    def test_mail_waits_with_growing_pauses_and_is_sent_when_the_server_is_back(
        self, alice: User, settings: Settings, caplog: pytest.LogCaptureFixture
    ) -> None:
        with mail_server() as gone:
            _smtp(settings, gone)
        mail.post("reset_password", alice.email, "")
        pauses = []
        for _ in range(4):
            before = timezone.now()
            assert mail.deliver_due() == 0
            row = _only()
            assert "ConnectionRefusedError" in row.error
            assert (row.sent_at, row.failed_at, row.lease_until) == (None, None, None)
            pauses.append(round((row.due_at - before).total_seconds() / 60))
            _pass_time(minutes=pauses[-1] + 1)
        assert pauses == [1, 2, 4, 8]
        with mail_server(gone.port) as server:
            assert mail.deliver_due() == 1
        (envelope,), (message,) = server.envelopes, server.messages
        assert envelope == ("noreply@127.0.0.1", ["alice@example.org"])
        assert message["Subject"] == "Choisissez un nouveau mot de passe"
        assert message.get_content_type() == "multipart/alternative"
        text = message.get_body(("plain",)).get_content()  # type: ignore[union-attr]
        token = re.search(r"token=(\S+)", text)[1]  # type: ignore[index]
        assert PasswordReset.objects.filter(digest=digest(token), used_at=None).exists()
        assert token not in caplog.text

    def test_one_try_finds_out_for_all_that_wait(self, alice: User, settings: Settings) -> None:
        settings.EMAIL_BACKEND = "accounts.tests.test_mail.Silent"
        Silent.asked = 0
        for number in range(8):
            mail.post("password_changed", f"u{number}@example.org", "")
        assert mail.deliver_due() == 0
        assert Silent.asked == 1
        assert (
            OutgoingMail.objects.filter(due_at__gt=timezone.now(), attempts=1, lease_until=None).count() == 8
        )

    def test_after_a_day_it_has_failed(self, alice: User, settings: Settings) -> None:
        settings.EMAIL_BACKEND = "accounts.tests.test_mail.Silent"
        mail.post("password_changed", alice.email, "")
        assert mail.deliver_due() == 0
        _pass_time(days=1)
        assert mail.deliver_due() == 0
        row = _only()
        assert row.failed_at is not None
        assert (row.sealed, row.error) == (None, "TimeoutError: timed out")
        assert mail.deliver_due() == 0

    def test_a_refused_recipient_fails_and_the_others_get_theirs(self, settings: Settings) -> None:
        with mail_server() as server:
            _smtp(settings, server)
            server.refuses = {"RCPT TO:<BAD@": "550 no such mailbox", "RCPT TO:<FULL@": "452 mailbox full"}
            for name in ("bad", "full", "good"):
                mail.post("password_changed", f"{name}@example.org", "")
            assert mail.deliver_due() == 1
        assert server.envelopes[0][1] == ["good@example.org"]
        bad, full, good = OutgoingMail.objects.order_by("pk")
        assert bad.failed_at is not None
        assert "550" in bad.error
        assert (full.failed_at, full.sent_at) == (None, None)
        assert full.due_at > timezone.now()
        assert good.sent_at is not None

    def test_what_a_server_quotes_in_its_refusal_tells_no_token(
        self, alice: User, settings: Settings
    ) -> None:
        with mail_server() as server:
            _smtp(settings, server)
            server.refuses = {"DATA": "554 spam: /?token=abcdefghijklmnopqrstuvwxyz0123456789_-ABCDEFG"}
            mail.post("reset_password", alice.email, "")
            assert mail.deliver_due() == 0
        error = _only().error
        assert "554" in error
        assert "abcdefghijkl" not in error

    def test_a_server_that_hangs_up_keeps_the_mail_waiting(self, alice: User, settings: Settings) -> None:
        with mail_server() as server:
            _smtp(settings, server)
            server.refuses = {"MAIL FROM": "421 closing"}
            mail.post("password_changed", alice.email, "")
            assert mail.deliver_due() == 0
            assert _only().failed_at is None
            server.refuses = {}
            _pass_time(minutes=2)
            assert mail.deliver_due() == 1


class Silent(EmailBackend):
    """A mail server that does not answer."""

    asked = 0

    def send_messages(self, messages: object) -> int:
        """Wait in vain."""
        Silent.asked += 1
        raise TimeoutError("timed out")


@override_settings(EMAIL_BACKEND="django.core.mail.backends.filebased.EmailBackend")
def test_on_a_laptop_mail_goes_to_files(alice: User, tmp_path: Path, settings: Settings) -> None:
    settings.EMAIL_FILE_PATH = str(tmp_path / "mail")
    mail.post("password_changed", alice.email, "")
    mail.post("reset_password", "nobody@example.org", "")
    assert mail.deliver_due() == 1
    (place,) = (tmp_path / "mail").iterdir()
    message = message_from_bytes(place.read_bytes(), policy=policy.default)
    assert message["To"] == "alice@example.org"
