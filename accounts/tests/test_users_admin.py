"""Accounts in the admin site: the same services as in the API, with the same refusals on record."""

from __future__ import annotations

import pytest
from django.test import Client

from accounts.models import AuditEntry, AuthSession, OutgoingMail, Role, TotpDevice, User
from cases.tests.api.cast import V1, admin, client_of, person
from cases.tests.pages.people import browser

pytestmark = pytest.mark.django_db

LIST = "/admin/accounts/user/"
PHRASE = "seven grey herons wade"


@pytest.fixture
def ada() -> Client:
    """A browser of Ada, who administers."""
    return browser(admin())


def of(user: User, what: str = "change") -> str:
    """Return the address of a page about a user."""
    return f"{LIST}{user.pk}/{what}/"


def audited(action: str) -> list[tuple[str, str, str]]:
    """Return actor, outcome and target of what was recorded."""
    return list(AuditEntry.objects.filter(action=action).values_list("actor", "outcome", "target"))


def test_an_account_without_a_password_is_mailed_a_way_to_set_one(ada: Client) -> None:
    said = {"email": "mona@example.org", "username": "mona", "role": "analyst", "password1": ""}
    assert ada.post(f"{LIST}add/", {**said, "password2": ""}).status_code == 302
    assert not User.objects.get(username="mona").has_usable_password()
    assert OutgoingMail.objects.get().recipient == "mona@example.org"
    assert audited("user.created") == [("ada <ada@example.org>", "ok", "mona@example.org")]


@pytest.mark.parametrize(
    ("first", "second"), [(PHRASE, ""), ("", PHRASE), (PHRASE, "another phrase"), ("short", "short")]
)
def test_a_password_is_given_twice_and_good_or_not_at_all(ada: Client, first: str, second: str) -> None:
    said = {"email": "mona@example.org", "username": "mona", "role": "analyst"}
    answer = ada.post(f"{LIST}add/", {**said, "password1": first, "password2": second})
    assert answer.status_code == 200
    assert not User.objects.filter(username="mona").exists()


def test_a_change_is_on_record_and_ends_what_it_must(ada: Client) -> None:
    dana = person("dana")
    theirs = client_of(dana)
    said = {"email": dana.email, "username": "dana", "full_name": "", "role": "viewer", "is_active": "on"}
    assert ada.post(of(dana), said).status_code == 302
    assert theirs.get(f"{V1}/me/").status_code == 401
    entry = AuditEntry.objects.get(action="user.changed")
    assert entry.details == {"before": {"role": "analyst"}, "after": {"role": "viewer"}}


def test_a_refusal_is_told_changes_nothing_and_is_on_record() -> None:
    rita = person("rita", role=Role.SUPERADMIN, is_superuser=True)
    said = {"email": rita.email, "username": "rita", "role": "admin", "is_active": "on"}
    page = browser(rita).post(of(rita), said, follow=True)
    assert "Nobody changes their own role" in page.content.decode()
    rita.refresh_from_db()
    assert (rita.role, rita.is_superuser) == ("superadmin", True)
    assert audited("user.changed") == [("rita <rita@example.org>", "refused", "rita@example.org")]


def test_a_new_password_signs_its_owner_out_and_tells_them(ada: Client) -> None:
    dana = person("dana")
    theirs = client_of(dana)
    form = ada.get(of(dana, "password")).content.decode()
    assert "usable_password" not in form
    weak = ada.post(of(dana, "password"), {"password1": "short", "password2": "short"})
    assert weak.status_code == 200
    assert theirs.get(f"{V1}/me/").status_code == 200
    given = {"password1": PHRASE, "password2": PHRASE}
    assert ada.post(of(dana, "password"), given).status_code == 302
    assert theirs.get(f"{V1}/me/").status_code == 401
    dana.refresh_from_db()
    assert dana.check_password(PHRASE)
    assert OutgoingMail.objects.get().kind == "password_changed"
    assert audited("password.set") == [("ada <ada@example.org>", "ok", "dana@example.org")]


def test_people_are_signed_out_and_lost_factors_taken_away_from_the_list(ada: Client) -> None:
    dana, rita = person("dana"), person("rita", role=Role.SUPERADMIN)
    for user in (dana, rita):
        client_of(user)
        TotpDevice.objects.create(user=user, name="app", confirmed=True)
        User.objects.filter(pk=user.pk).update(otp_enabled=True)
    both = {"_selected_action": [dana.pk, rita.pk]}
    page = ada.post(LIST, {"action": "end_sessions", **both}, follow=True).content.decode()
    assert "dana is signed out everywhere." in page
    assert "Only a superadmin decides on administrators." in page
    assert set(AuthSession.objects.live().values_list("user__username", flat=True)) == {"ada", "rita"}
    ada.post(LIST, {"action": "reset_second_factor", **both})
    assert TotpDevice.objects.get().user == rita
    assert ("ada <ada@example.org>", "refused", "rita@example.org") in audited("otp.reset")
