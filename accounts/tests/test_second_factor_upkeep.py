"""Second factors looked after: lost ones, those of the old system, keys, and what lies in the database."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings

from accounts import mail, second_factor, tokens
from accounts.models import (
    AuditEntry,
    AuthSession,
    OutgoingMail,
    TotpDevice,
    User,
)
from accounts.models.second_factor import key_of
from accounts.sealing import unseal
from accounts.second_factor import Unreadable
from accounts.tests.phone import PASSWORD, Clock, Owner, Phone, enrolled, is_consistent, person, set_clock

pytestmark = pytest.mark.django_db

#: A secret as the old system kept it.
OLD = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return set_clock(monkeypatch)


@pytest.fixture
def alice(clock: Clock) -> Owner:
    return enrolled(clock)


def _old(name: str = "olga", secret: str = OLD, **facts: Any) -> User:
    """Return an account of the old system."""
    facts.setdefault("otp_enabled", True)
    return User.objects.create_user(f"{name}@example.org", name, PASSWORD, otp_secret=secret, **facts)


class TestReset:
    """The second factor of somebody who lost it."""

    def test_everything_goes_and_all_sign_ins_end(self, alice: Owner) -> None:
        ada = person("ada", role="admin")
        tokens.issue(alice.user, second_factor=True)
        assert second_factor.reset(alice.user, by=ada)
        held = User.objects.get(pk=alice.user.pk)
        assert (held.otp_enabled, held.otp_secret) == (False, None)
        assert is_consistent(held)
        assert not AuthSession.objects.live().filter(user=held).exists()
        entry = AuditEntry.objects.get(action="otp.reset")
        assert (entry.actor, entry.target) == ("ada <ada@example.org>", "alice@example.org")
        assert OutgoingMail.objects.get().kind == "second_factor_reset"

    def test_a_second_reset_finds_nothing(self, alice: Owner) -> None:
        assert second_factor.reset(alice.user, by=None)
        assert not second_factor.reset(alice.user, by=None)


class TestTheOldSystem:
    """Accounts whose secret lies in clear, without a device."""

    @pytest.mark.parametrize("secret", [OLD, OLD.lower(), OLD[:16], f"{OLD[:26]}======"])
    def test_its_codes_go_on_counting_and_the_secret_is_sealed(self, clock: Clock, secret: str) -> None:
        olga = _old(secret=secret)
        assert second_factor.verify(olga, Phone(secret, clock).code()) == "totp"
        held = User.objects.get(pk=olga.pk)
        assert held.otp_secret is not None
        assert held.otp_secret.startswith("v1:")
        assert is_consistent(held)
        assert second_factor.verify(held, Phone(secret, clock).code()) is None

    def test_it_is_taken_over_once(self, clock: Clock) -> None:
        olga = _old()
        stale = User.objects.get(pk=olga.pk)
        assert second_factor.take_over(olga)
        assert not second_factor.take_over(olga)
        assert not second_factor.take_over(stale)
        assert TotpDevice.objects.count() == 1

    def test_all_are_taken_over_at_once_and_the_others_left(self, alice: Owner, clock: Clock) -> None:
        olga, oscar = _old(), _old("oscar", otp_enabled=False)
        broken = _old("bruno", secret="not base 32!")
        sealed = User.objects.get(pk=alice.user.pk).otp_secret
        assert second_factor.seal_all() == 2
        assert second_factor.seal_all() == 0
        assert User.objects.get(pk=alice.user.pk).otp_secret == sealed
        assert User.objects.get(pk=broken.pk).otp_secret == "not base 32!"
        assert all(is_consistent(user) for user in (olga, oscar, alice.user))
        assert not User.objects.filter(otp_secret=OLD).exists()

    def test_an_account_without_a_usable_secret_stays_shut(self, clock: Clock) -> None:
        broken = _old(secret="not base 32!")
        assert second_factor.verify(broken, "123456") is None
        assert second_factor.verify(_old("nina", secret=""), "123456") is None


class TestKeys:
    """FIELD_KEYS: added, gone."""

    def test_an_older_key_still_opens(self, alice: Owner, settings: Settings) -> None:
        settings.FIELD_KEYS = [Fernet.generate_key().decode(), *settings.FIELD_KEYS]
        assert second_factor.verify(alice.user, alice.phone.next_code()) == "totp"

    def test_a_lost_key_is_said_so_and_recovery_codes_still_count(
        self, alice: Owner, settings: Settings
    ) -> None:
        settings.FIELD_KEYS = [Fernet.generate_key().decode()]
        with pytest.raises(Unreadable, match="recovery code"):
            second_factor.verify(alice.user, alice.phone.next_code())
        assert second_factor.verify(alice.user, alice.codes[0]) == "recovery"
        assert second_factor.reset(alice.user, by=None)


def _run(*words: str) -> tuple[list[str], str]:
    """Return the lines that `manage.py second_factor` prints, and its refusal."""
    out, refusal = io.StringIO(), ""
    try:
        call_command("second_factor", *words, stdout=out)
    except CommandError as error:
        refusal = str(error)
    return out.getvalue().splitlines(), refusal


class TestCommand:
    """manage.py second_factor."""

    def test_status_shows_who_has_one_and_who_should(self, alice: Owner) -> None:
        second_factor.verify(alice.user, alice.codes[0])
        person("ada", role="admin")
        second_factor.enrol(person("bob"))
        person("carl")
        lines, refusal = _run("status")
        assert refusal == ""
        assert lines[0] == "ada@example.org: none, and the role must have one"
        assert lines[1].startswith("alice@example.org: enabled, 9 recovery codes left, last used 20")
        assert lines[2:] == ["bob@example.org: begun, not confirmed", "enabled=1 missing=1 faulty=0"]
        assert _run("status", "CARL@example.org") == (
            ["carl@example.org: none", "enabled=0 missing=0 faulty=0"],
            "",
        )

    def test_status_tells_what_disagrees(self, alice: Owner, clock: Clock, settings: Settings) -> None:
        no_device, no_flag = enrolled(clock, "dora"), enrolled(clock, "fred")
        TotpDevice.objects.filter(user=no_device.user).delete()
        User.objects.filter(pk=no_flag.user.pk).update(otp_enabled=False)
        _old()
        _old("zoe", secret="not base 32!")
        lines, refusal = _run("status")
        assert refusal == "A second factor wants mending."
        assert [line.strip() for line in lines if line.startswith("  ")] == [
            "switched on, without a confirmed device: reset it",
            "a confirmed device, and switched off: reset it",
            "the secret lies in clear: manage.py second_factor seal",
            "switched on, without a confirmed device: reset it",
            "no usable secret: reset it",
        ]
        assert lines[-1] == "enabled=4 missing=0 faulty=4"
        settings.FIELD_KEYS = [Fernet.generate_key().decode()]
        lines, refusal = _run("status", alice.user.email)
        assert "cannot be unsealed" in lines[1]
        assert refusal

    def test_reset_without_a_terminal_wants_yes_said_before(self, alice: Owner) -> None:
        assert _run("reset", alice.user.email) == ([], "There is nobody to ask here: add --yes.")
        assert User.objects.get(pk=alice.user.pk).otp_enabled
        lines, _ = _run("reset", alice.user.email, "--yes")
        assert lines == ["alice@example.org has no second factor now, and was signed out."]
        assert not User.objects.get(pk=alice.user.pk).otp_enabled
        entry = AuditEntry.objects.get(action="otp.reset")
        assert entry.actor.startswith("command line (")
        assert (entry.target, entry.user_id, entry.outcome) == ("alice@example.org", None, "ok")
        lines, _ = _run("reset", alice.user.email, "--yes")
        assert lines == ["alice@example.org had no second factor, and was signed out."]

    @pytest.mark.parametrize(("typed", "is_reset"), [("yes", True), ("y", False), ("", False)])
    def test_reset_asks_on_a_terminal(
        self, alice: Owner, monkeypatch: pytest.MonkeyPatch, typed: str, is_reset: bool
    ) -> None:
        terminal = io.StringIO(f"{typed}\n" if typed else "")
        monkeypatch.setattr(terminal, "isatty", lambda: True)
        monkeypatch.setattr(sys, "stdin", terminal)
        _, refusal = _run("reset", alice.user.email)
        assert refusal == ("" if is_reset else "Nothing was changed.")
        assert User.objects.get(pk=alice.user.pk).otp_enabled != is_reset

    def test_an_unknown_account_is_said_so(self) -> None:
        for verb in (["reset", "--yes"], ["status"]):
            assert _run(*verb, "x\x1b[2J@example.org") == (
                [],
                "There is no account x\\x1b[2J@example.org.",
            )

    def test_seal_takes_the_old_system_over(self, clock: Clock) -> None:
        olga = _old()
        assert _run("seal") == (["sealed=1"], "")
        assert _run("seal") == (["sealed=0"], "")
        assert second_factor.verify(User.objects.get(pk=olga.pk), Phone(OLD, clock).code()) == "totp"

    def test_rotate_puts_everything_under_the_newest_key(self, alice: Owner, settings: Settings) -> None:
        _old()
        mail.post("password_changed", "alice@example.org", "")
        new = Fernet.generate_key().decode()
        settings.FIELD_KEYS = [new, *settings.FIELD_KEYS]
        assert _run("rotate") == (["sealed=3 unreadable=0"], "")
        settings.FIELD_KEYS = [new]
        assert second_factor.verify(alice.user, alice.phone.next_code()) == "totp"
        assert unseal(User.objects.get(username="olga").otp_secret or "") == OLD
        assert unseal(OutgoingMail.objects.get().sealed or "") == "{}"
        assert AuditEntry.objects.filter(action="otp.rotated").count() == 1

    def test_rotate_says_what_it_cannot_read_and_keeps_it(self, alice: Owner, settings: Settings) -> None:
        before = User.objects.get(pk=alice.user.pk).otp_secret
        settings.FIELD_KEYS = [Fernet.generate_key().decode()]
        lines, refusal = _run("rotate")
        assert lines == ["alice: what is sealed there cannot be unsealed", "sealed=0 unreadable=1"]
        assert "Keep the old keys" in refusal
        assert User.objects.get(pk=alice.user.pk).otp_secret == before


def _texts() -> list[str]:
    """Return everything that lies in the database, as text."""
    found: list[str] = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            found.extend(str(value) for row in cursor.fetchall() for value in row)
    return found


def test_no_secret_and_no_code_lies_in_the_database(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    alice = enrolled(clock)
    begun = second_factor.enrol(person("bob"))
    old = User.objects.create_user("o@example.org", "olga", None, otp_enabled=True, otp_secret=OLD)
    spent, wrong = alice.phone.next_code(), alice.phone.wrong_code()
    assert second_factor.verify(alice.user, spent) == "totp"
    assert second_factor.verify(alice.user, wrong) is None
    assert second_factor.verify(alice.user, alice.codes[0]) == "recovery"
    fresh = second_factor.new_recovery_codes(alice.user, alice.codes[1])
    second_factor.take_over(old)
    hidden = [alice.phone.secret, begun.secret, OLD, *alice.codes, *fresh]
    hidden += [code.replace("-", "") for code in (*alice.codes, *fresh)]
    hidden += [key_of(secret).hex() for secret in (alice.phone.secret, OLD)]
    everything = "\n".join(_texts()).lower()
    assert "alice@example.org" in everything
    assert [text for text in hidden if text.lower() in everything] == []
    assert not any(code in _texts() for code in (spent, wrong))
    logged = "\n".join(
        message for message in caplog.messages if "INSERT" not in message and "UPDATE" not in message
    )
    assert [text for text in hidden if text.lower() in logged.lower()] == []
