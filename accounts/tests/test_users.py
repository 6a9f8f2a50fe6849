"""Users sign in by address, also with the hashes of the old system."""

from __future__ import annotations

import bcrypt
import pytest
from django.contrib.auth import authenticate
from pytest_django import Settings

from accounts.models import Role, User

pytestmark = pytest.mark.django_db

LONG = "é" * 40 + "-longer-than-72-bytes"


@pytest.fixture
def old_user(settings: Settings) -> User:
    """A user whose hash is as the old system wrote it."""
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.Argon2PasswordHasher",
        "accounts.hashers.LegacyBCryptPasswordHasher",
    ]
    user = User.objects.create_user("Elodie@corp.example", "elodie")
    user.password = bcrypt.hashpw(LONG.encode()[:72], bcrypt.gensalt(4)).decode()
    user.save()
    return user


def test_a_raw_bcrypt_hash_verifies_beyond_72_bytes_and_is_upgraded(old_user: User) -> None:
    assert authenticate(username="elodie@corp.example", password="wrong") is None
    assert authenticate(username="elodie@corp.example", password=LONG) == old_user
    old_user.refresh_from_db()
    assert old_user.password.startswith("argon2$")
    assert authenticate(username="elodie@corp.example", password=LONG) == old_user


def test_a_prefixed_hash_of_adoption_verifies_too(old_user: User) -> None:
    User.objects.filter(pk=old_user.pk).update(password="bcrypt$" + old_user.password)
    assert authenticate(username="elodie@corp.example", password=LONG) == old_user


def test_addresses_compare_without_case_and_two_old_ones_stay_apart() -> None:
    User.objects.create(email="Same@corp.example", username="one")
    User.objects.create(email="same@corp.example", username="two")
    assert User.objects.get_by_natural_key("Same@corp.example").username == "one"
    assert User.objects.get_by_natural_key("same@corp.example").username == "two"
    with pytest.raises(User.DoesNotExist):
        User.objects.get_by_natural_key("SAME@corp.example")


def test_roles_open_the_admin_site_and_inactive_users_open_nothing() -> None:
    assert User(role=Role.ADMIN).is_staff
    assert not User(role=Role.ANALYST).is_staff
    assert not User(role=Role.SUPERADMIN, is_superuser=True, is_active=False).is_staff
    assert not User(role=Role.VIEWER).may_write
