"""Sessions of browsers: what is in the table is not what is in the cookie."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from accounts.browser_store import SessionStore
from accounts.models import User
from cases.tests.api.cast import V1, person

pytestmark = pytest.mark.django_db

ME = f"{V1}/me/"


@pytest.fixture
def alice() -> User:
    return person("alice")


@pytest.fixture
def browser(alice: User) -> Client:
    client = Client()
    client.force_login(alice)
    assert client.get(ME).status_code == 200
    return client


def test_a_key_read_in_the_table_opens_nothing(browser: Client) -> None:
    cookie = browser.cookies[settings.SESSION_COOKIE_NAME].value
    stored = Session.objects.get().session_key
    assert (len(cookie), len(stored)) == (32, 40)
    for tried in (stored, stored[:32], cookie[:-1], cookie.upper(), ""):
        thief = Client()
        thief.cookies[settings.SESSION_COOKIE_NAME] = tried
        assert thief.get(ME).status_code == 401
    assert browser.get(ME).status_code == 200


def test_a_session_is_changed_ended_and_cleared_where_it_is_stored(browser: Client) -> None:
    session = browser.session
    session["seen"] = 7
    session.save()
    assert browser.session["seen"] == 7
    session.cycle_key()
    assert Session.objects.count() == 1
    assert SessionStore(session.session_key)["seen"] == 7
    assert SessionStore().exists(session.session_key or "")
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    assert "seen" not in SessionStore(session.session_key)
    SessionStore.clear_expired()
    assert Session.objects.count() == 0


def test_signing_out_removes_it(browser: Client) -> None:
    browser.post("/logout/")
    assert browser.get(ME).status_code == 401
    assert not [row for row in Session.objects.all() if "_auth_user_id" in row.get_decoded()]
