"""What `manage.py doctor` says of who comes in, and by what: each weakness with its remedy."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from pytest_django import Settings

from accounts import flags, mail, second_factor
from accounts.models import Role, TotpDevice, User
from cases.tests.api.cast import person
from datamortem.management.commands import _weaknesses
from datamortem.management.commands._finding import Finding

pytestmark = pytest.mark.django_db

PUBLIC = "https://cases.example"


@pytest.fixture(autouse=True)
def _public(settings: Settings, tmp_path: Path) -> None:
    """Be a public host that is otherwise well."""
    settings.PUBLIC_URL, settings.ALLOWED_HOSTS = PUBLIC, ["cases.example"]
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.HOME = tmp_path


def found(name: str) -> Finding:
    """Return what is said about one thing."""
    all_of_it = [*_weaknesses.of_settings(), *_weaknesses.of_accounts()]
    return next(finding for finding in all_of_it if finding.name == name)


def superadmin(name: str = "rita", **facts: Any) -> User:
    """Return a superadmin."""
    return person(name, role=Role.SUPERADMIN, is_superuser=True, **facts)


@pytest.mark.parametrize(
    ("change", "name", "word"),
    [
        ({"SIGNING_KEYS": ["short"]}, "Keys of tokens", "short"),
        ({"SIGNING_KEYS": ["s" * 50], "SECRET_KEY": "s" * 50}, "Keys of tokens", "SECRET_KEY"),
        ({"FIELD_KEYS": []}, "Keys of secrets", "none"),
        ({"FIELD_KEYS": ["no key"]}, "Keys of secrets", "no Fernet key"),
        ({"SECOND_FACTOR_ROLES": ("superadmin",)}, "Second factor", "not asked of admin"),
        ({"SECOND_FACTOR_ROLES": ()}, "Second factor", "admin, superadmin"),
        ({"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}, "Mail", "nobody"),
        ({"NUM_PROXIES": 0, "SECURE_PROXY_SSL_HEADER": ("X", "https")}, "Proxies", "all requests"),
        ({"NUM_PROXIES": 1, "SECURE_PROXY_SSL_HEADER": None}, "Proxies", "everybody"),
        ({"REGISTRATION": "open"}, "Registration", "open to everybody"),
    ],
)
def test_a_weak_setting_is_a_problem_on_a_public_host_and_a_note_on_a_laptop(
    settings: Settings, change: dict[str, Any], name: str, word: str
) -> None:
    assert not found(name).remedy
    for setting, value in change.items():
        setattr(settings, setting, value)
    assert word in found(name).detail
    assert found(name).is_problem
    settings.PUBLIC_URL, settings.ALLOWED_HOSTS = "http://127.0.0.1:8000", ["localhost"]
    assert found(name).remedy
    assert not found(name).is_problem


def test_registration_that_a_flag_holds_back_is_none(settings: Settings) -> None:
    settings.REGISTRATION = "open"
    flags.switch("registration", enabled=False, by=None)
    assert not found("Registration").is_problem


def test_keys_that_others_can_read_are_a_problem(settings: Settings) -> None:
    key = settings.HOME / "secret.key"
    key.write_text("k" * 64)
    key.chmod(0o600)
    assert not found("secret.key").is_problem
    key.chmod(0o640)
    assert found("secret.key").remedy == f"chmod 600 {key}"


def _second_factor(user: User) -> None:
    User.objects.filter(pk=user.pk).update(otp_enabled=True)
    TotpDevice.objects.create(user=user, name="app", confirmed=True)


def _used(user: User) -> None:
    User.objects.filter(pk=user.pk).update(last_login="2024-03-01T00:00:00Z")


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("Administrators without a second factor", _second_factor),
        ("Administrators who never signed in", _used),
    ],
)
def test_administrators_who_are_a_risk_are_named(name: str, mend: Callable[[User], None]) -> None:
    assert found("Superadmins").is_problem
    rita, ada = superadmin(), person("ada", role=Role.ADMIN)
    person("dana")
    User.objects.filter(pk=superadmin("gone").pk).update(is_active=False)
    assert not found("Superadmins").is_problem
    assert found(name).detail == "ada@example.org, rita@example.org"
    assert found(name).is_problem
    for user in (rita, ada):
        mend(user)
    assert (found(name).detail, found(name).remedy) == ("none", "")


def test_what_can_be_unsealed_no_more_is_a_problem(settings: Settings) -> None:
    dana = person("dana")
    second_factor.enrol(dana)
    assert not found("Sealed secrets").is_problem
    settings.FIELD_KEYS = [Fernet.generate_key().decode()]
    assert found("Sealed secrets").detail == "faults at dana@example.org"
    User.objects.filter(pk=dana.pk).update(otp_secret=None)
    mail.post("reset_password", "dana@example.org", "en")
    assert not found("Sealed secrets").is_problem
    settings.FIELD_KEYS = [Fernet.generate_key().decode()]
    assert found("Sealed secrets").detail == "1 mails that wait cannot be read"


def test_hashes_are_counted_by_kind() -> None:
    for name, password in (
        ("argon", "argon2$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"),
        ("old", "$2b$12$abcdefghijklmnopqrstuuTYOiEQfU4WBQ4oqlSGgYKhTFwX7fS9K"),
        ("adopted", "bcrypt$$2b$12$abcdefghijklmnopqrstuuTYOiEQfU4WBQ4oqlSGgYKhTFwX7fS9K"),
        ("nobody", "!unusable"),
    ):
        User.objects.filter(pk=person(name).pk).update(password=password)
    shown = found("Password hashes")
    assert shown.detail == "1 strong, 2 of an older kind, 1 accounts without"
    assert shown.is_problem


def test_the_command_tells_notes_from_problems(settings: Settings) -> None:
    superadmin()
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    settings.PUBLIC_URL, settings.ALLOWED_HOSTS = "http://127.0.0.1:8000", ["localhost"]
    out = StringIO()
    call_command("doctor", stdout=out)
    assert "note  Mail: goes to console, to nobody\n         Set EMAIL_URL=" in out.getvalue()
    settings.PUBLIC_URL, settings.ALLOWED_HOSTS = PUBLIC, ["cases.example"]
    with pytest.raises(CommandError):
        call_command("doctor", stdout=out)
    assert "PROBLEM  Mail:" in out.getvalue()
