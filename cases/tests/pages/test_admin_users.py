"""Users in the admin: nobody reaches above the own role; nothing secret is shown."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Role, User
from cases.models import Case, CustodyEntry, Evidence, TaskRun
from cases.tests.api.cast import admin, person
from cases.tests.pages.people import browser

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada() -> Client:
    """A browser of Ada, who administers."""
    return browser(admin())


def _list(name: str) -> str:
    return reverse(f"admin:{name}_changelist")


def _page(thing: Case | Evidence | TaskRun | CustodyEntry | User) -> str:
    meta = thing._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[thing.pk])


def _text(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, (address, answer.status_code)
    return answer.content.decode()


class TestUsers:
    """Nobody reaches above the own role; nothing secret is shown."""

    def test_no_page_shows_a_hash_or_a_secret(self, ada: Client) -> None:
        dana = person("dana")
        User.objects.filter(pk=dana.pk).update(
            otp_secret="OTPSECRETOTP", email_verification_token="tokentoken"
        )
        dana.refresh_from_db()
        for address in (_list("accounts_user"), _page(dana), f"/admin/accounts/user/{dana.pk}/password/"):
            page = _text(ada, address)
            for secret in (
                dana.password,
                dana.password.split("$")[-1][:6],
                "OTPSECRETOTP",
                "tokentoken",
                "md5",
            ):
                assert secret not in page

    def test_a_user_is_added_and_can_sign_in(self, ada: Client) -> None:
        facts = {"email": "New@Example.org", "username": "new", "role": "analyst"}
        passwords = {"password1": "a long enough phrase", "password2": "a long enough phrase"}
        assert ada.post("/admin/accounts/user/add/", {**facts, **passwords}).status_code == 302
        user = User.objects.get(username="new")
        assert (user.email, user.role) == ("new@example.org", "analyst")
        assert user.check_password("a long enough phrase")

    def test_an_address_is_taken_in_any_case(self, ada: Client) -> None:
        person("dana")
        facts = {"email": "DANA@example.org", "username": "other", "role": "analyst"}
        passwords = {"password1": "a long enough phrase", "password2": "a long enough phrase"}
        answer = ada.post("/admin/accounts/user/add/", {**facts, **passwords})
        assert "Another user has this address." in answer.content.decode()

    def test_an_admin_makes_no_admins_and_touches_none(self, ada: Client) -> None:
        root = person("root", role=Role.SUPERADMIN)
        for other in (root, person("ben", role=Role.ADMIN), admin()):
            said = {"email": "x@example.org", "username": "x", "role": "analyst"}
            assert ada.post(_page(other), said).status_code == 403
            secret = {"password1": "a long enough phrase", "password2": "a long enough phrase"}
            address = f"/admin/accounts/user/{other.pk}/password/"
            assert ada.post(address, secret).status_code == 403
        dana = person("dana")
        for role in ("admin", "superadmin", "king"):
            ada.post(_page(dana), {"email": dana.email, "username": "dana", "role": role, "is_active": "on"})
            dana.refresh_from_db()
            assert dana.role == Role.ANALYST

    def test_a_superadmin_makes_admins_also_after_an_admin_was_here(self, ada: Client) -> None:
        dana = person("dana")
        _text(ada, _page(dana))
        client = browser(person("root", role=Role.SUPERADMIN))
        client.post(
            _page(dana), {"email": dana.email, "username": "dana", "role": "admin", "is_active": "on"}
        )
        dana.refresh_from_db()
        assert dana.role == Role.ADMIN

    def test_a_new_role_password_or_the_end_of_access_ends_tokens(self, ada: Client) -> None:
        dana = person("dana")
        facts = {"email": dana.email, "username": "dana"}
        ada.post(_page(dana), {**facts, "role": "viewer", "is_active": "on"})
        dana.refresh_from_db()
        assert (dana.role, dana.token_epoch) == ("viewer", 1)
        ada.post(_page(dana), {**facts, "role": "viewer"})
        dana.refresh_from_db()
        assert (dana.is_active, dana.token_epoch) == (False, 2)
        secret = {"password1": "a long enough phrase", "password2": "a long enough phrase"}
        ada.post(f"/admin/accounts/user/{dana.pk}/password/", secret)
        dana.refresh_from_db()
        assert dana.check_password("a long enough phrase")
        assert dana.token_epoch == 3

    def test_users_are_not_deleted(self, ada: Client) -> None:
        dana = person("dana")
        assert ada.post(f"/admin/accounts/user/{dana.pk}/delete/", {"post": "yes"}).status_code == 403
        assert User.objects.filter(pk=dana.pk).exists()
