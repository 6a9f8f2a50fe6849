"""The life of a sign-in: listed, used, renewed, and ended by whatever ends it, at the next request."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import pytest
from django.core import mail as outbox
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import api_tokens, mail, passwords, second_factor, sessions, tokens, users
from accounts.models import AuditEntry, AuthSession, Role, User
from accounts.tests.phone import Clock, Phone, set_clock
from cases.tests.api.cast import PASSWORD, V1, client_of, errors, person, staffed_case

pytestmark = pytest.mark.django_db

ME, SESSIONS = f"{V1}/me/", f"{V1}/auth/sessions/"
LOGIN, REFRESH = f"{V1}/auth/login/", f"{V1}/auth/refresh/"
NEW_PASSWORD: Final = "staple of another colour"
ALL: Final = {"here", "there", "browser", "program"}


@dataclass
class SignedInFourTimes:
    """Bob, signed in where he acts (`here`), elsewhere, in a browser, and with a program's token."""

    user: User
    here: tokens.Pair
    there: tokens.Pair
    browser: Client
    program: str
    phone: Phone | None = None

    def asks(self, bearer: str) -> APIClient:
        """Return a client that asks with a token."""
        client = APIClient(raise_request_exception=False)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {bearer}")
        return client

    def post(self, address: str, **body: str) -> None:
        """Do something here, which must succeed."""
        answer = self.asks(self.here.access).post(f"{V1}/{address}", body, format="json")
        assert answer.status_code in (200, 204), answer.content

    def alive(self) -> set[str]:
        """Return which of the four are still let in: by access token, refresh token and page alike."""
        found = set()
        for name, pair in (("here", self.here), ("there", self.there)):
            entered = self.asks(pair.access).get(ME).status_code
            renewed = APIClient().post(REFRESH, {"refresh": pair.refresh}, format="json").status_code
            assert entered == renewed, name
            assert entered in (200, 401)
            found |= {name} if entered == 200 else set()
        page, me = self.browser.get("/"), self.browser.get(ME)
        if me.status_code == 200:
            assert page.status_code == 200 or "second-factor" in page["Location"]
            found.add("browser")
        else:
            assert (me.status_code, page.status_code) == (401, 302)
            assert page["Location"].startswith("/login/")
        if self.asks(self.program).get(f"{V1}/cases/").status_code == 200:
            found.add("program")
        return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return set_clock(monkeypatch)


@pytest.fixture
def bob() -> SignedInFourTimes:
    user = person("bob")
    browser = Client()
    browser.force_login(user)
    assert browser.get("/").status_code == 200
    program = api_tokens.create(user, name="script").text
    found = SignedInFourTimes(user, tokens.issue(user), tokens.issue(user), browser, program)
    for bearer in (found.here.access, found.there.access, found.program):
        assert found.asks(bearer).get(f"{V1}/cases/").status_code == 200
    return found


def _superadmin() -> User:
    return person("root", role=Role.SUPERADMIN, is_superuser=True)


def _reset(user: User) -> None:
    passwords.ask_reset(user.email)
    mail.deliver_due()
    token = outbox.outbox[-1].body.split("token=")[1].split()[0]
    passwords.set_by_reset(token, NEW_PASSWORD)


def _end_there(bob: SignedInFourTimes) -> None:
    listed = bob.asks(bob.there.access).get(SESSIONS).json()["results"]
    (there,) = [one["id"] for one in listed if one["current"]]
    assert bob.asks(bob.here.access).delete(f"{SESSIONS}{there}/").status_code == 204


ENDS: Final[dict[str, tuple[Callable[[SignedInFourTimes], object], set[str]]]] = {
    "sign out": (lambda bob: bob.post("auth/logout/"), ALL - {"here"}),
    "sign out elsewhere": (lambda bob: bob.post("auth/logout/", refresh=bob.there.refresh), ALL - {"there"}),
    "sign out everywhere": (lambda bob: bob.post("auth/logout-all/"), {"program"}),
    "end one": (_end_there, ALL - {"there"}),
    "change the password": (
        lambda bob: bob.post("auth/password/change/", old_password=PASSWORD, new_password=NEW_PASSWORD),
        {"here"},
    ),
    "reset the password": (lambda bob: _reset(bob.user), set()),
    "get another password": (
        lambda bob: users.set_password(user=bob.user, password=NEW_PASSWORD, by=_superadmin()),
        set(),
    ),
    "get another role": (lambda bob: users.change(user=bob.user, role=Role.VIEWER, by=_superadmin()), set()),
    "get another address": (
        lambda bob: users.change(user=bob.user, email="b@example.org", by=_superadmin()),
        set(),
    ),
    "be switched off": (lambda bob: users.change(user=bob.user, is_active=False, by=_superadmin()), set()),
    "be signed out": (lambda bob: users.end_sessions(user=bob.user, by=_superadmin()), set()),
    "be deleted": (lambda bob: User.objects.get(pk=bob.user.pk).delete(), set()),
    "lose the second factor": (
        lambda bob: users.reset_second_factor(user=bob.user, by=_superadmin()),
        {"program"},
    ),
    "have the hash changed by hand": (
        lambda bob: User.objects.filter(pk=bob.user.pk).update(password="x", token_epoch=7),
        {"program"},
    ),
}


@pytest.mark.parametrize("act", ENDS)
def test_what_ends_a_sign_in_ends_it_at_the_next_request_and_no_other(
    act: str, bob: SignedInFourTimes
) -> None:
    carol = client_of("carol")
    do, left = ENDS[act]
    do(bob)
    assert bob.alive() == left
    assert carol.get(ME).status_code == 200
    live = AuthSession.objects.live().filter(user_id=bob.user.pk, epoch=F("user__token_epoch"))
    assert live.count() == len(left - {"program"})


def test_enrolment_ends_the_other_sign_ins_and_so_does_its_end(bob: SignedInFourTimes, clock: Clock) -> None:
    here = bob.asks(bob.here.access)
    phone = Phone(here.post(f"{V1}/auth/otp/enrol/").json()["secret"], clock)
    bob.post("auth/otp/confirm/", code=phone.code())
    assert bob.asks(bob.there.access).get(ME).status_code == 401
    assert bob.browser.get(ME).status_code == 401
    assert here.get(f"{V1}/cases/").status_code == 200  # the code was shown in this sign-in
    bob.there = tokens.issue(User.objects.get(pk=bob.user.pk), second_factor=True)
    assert bob.asks(bob.there.access).get(f"{V1}/cases/").status_code == 200
    bob.post("auth/otp/disable/", password=PASSWORD, code=phone.next_code())
    assert bob.alive() == {"here", "program"}


def test_what_was_ended_stays_ended_when_somebody_is_let_in_again(bob: SignedInFourTimes) -> None:
    root = _superadmin()
    user = users.change(user=bob.user, is_active=False, by=root)
    users.change(user=user, is_active=True, by=root)
    assert bob.alive() == set()
    answer = APIClient().post(LOGIN, {"email": "bob@example.org", "password": PASSWORD}, format="json")
    assert bob.asks(answer.json()["access"]).get(ME).status_code == 200


def test_a_browser_that_changes_the_password_goes_on(bob: SignedInFourTimes) -> None:
    body = {"old_password": PASSWORD, "new_password": NEW_PASSWORD}
    answer = bob.browser.post(f"{V1}/auth/password/change/", body, content_type="application/json")
    assert answer.status_code == 204
    assert bob.alive() == {"browser"}


def test_a_browser_that_signs_out_by_the_api_is_signed_out(bob: SignedInFourTimes) -> None:
    assert bob.browser.post(f"{V1}/auth/logout/", {}, content_type="application/json").status_code == 204
    assert bob.alive() == ALL - {"browser"}


def test_a_sign_in_lasts_seven_days_however_often_it_is_renewed() -> None:
    pair = tokens.issue(person("bob"))
    session = AuthSession.objects.get()
    ends = session.expires_at
    for _ in range(3):
        pair = tokens.renew(pair.refresh)
    session.refresh_from_db()
    assert session.expires_at == ends
    assert timedelta(days=6, hours=23) < ends - timezone.now() <= timedelta(days=7)
    AuthSession.objects.update(expires_at=timezone.now() + timedelta(minutes=2))
    last = tokens.renew(pair.refresh)
    assert last.access_expires_at <= timezone.now() + timedelta(minutes=2)
    AuthSession.objects.update(expires_at=timezone.now())
    refused = APIClient().post(REFRESH, {"refresh": last.refresh}, format="json")
    assert (refused.status_code, errors(refused)) == (401, [("invalid_token", None)])


class TestList:
    """GET auth/sessions/, and one of them."""

    def test_it_says_when_and_from_where_and_which_one_asks(self) -> None:
        person("bob")
        body = {"email": "bob@example.org", "password": PASSWORD}
        places = {"198.51.100.7": "Firefox", "2001:db8::1": "curl\x00\x1b[31m/8"}
        pairs = [
            APIClient(REMOTE_ADDR=address).post(LOGIN, body, format="json", HTTP_USER_AGENT=agent).json()
            for address, agent in places.items()
        ]
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {pairs[1]['access']}")
        listed = client.get(SESSIONS).json()
        assert listed["next"] is None
        second, first = listed["results"]
        assert set(first) == {
            "id", "method", "created_at", "last_seen_at", "expires_at", "address", "agent", "current",
            "second_factor",
        }  # fmt: skip
        assert (first["address"], first["agent"], first["current"]) == ("198.51.100.7", "Firefox", False)
        assert (second["address"], second["agent"]) == ("2001:db8::1", "curl??[31m/8")
        assert (second["current"], second["method"], second["second_factor"]) == (True, "api", False)
        assert first["created_at"] < second["created_at"] < second["expires_at"]
        assert client.get(f"{SESSIONS}{first['id']}/").json() == first

    def test_a_browser_is_in_it_and_what_was_ended_is_not(self, bob: SignedInFourTimes) -> None:
        listed = bob.browser.get(SESSIONS).json()["results"]
        assert sorted(one["method"] for one in listed) == ["api", "api", "browser"]
        assert [one["method"] for one in listed if one["current"]] == ["browser"]
        bob.post("auth/logout/", refresh=bob.there.refresh)
        assert len(bob.browser.get(SESSIONS).json()["results"]) == 2
        second_factor.reset(bob.user, by=None)  # raises the epoch
        again = bob.asks(tokens.issue(bob.user).access).get(SESSIONS).json()["results"]
        assert [one["current"] for one in again] == [True]

    def test_those_of_somebody_else_are_not_there(self, bob: SignedInFourTimes) -> None:
        carol = client_of("carol")
        (own,) = carol.get(SESSIONS).json()["results"]
        foreign = AuthSession.objects.filter(user=bob.user).first()
        assert foreign is not None
        for method in ("get", "delete"):
            found = getattr(carol, method)(f"{SESSIONS}{foreign.pk}/")
            nothing = getattr(carol, method)(f"{SESSIONS}{uuid.uuid4()}/")
            assert found.status_code == nothing.status_code == 404
            assert found.content == nothing.content
        assert carol.get(f"{SESSIONS}%2A/").status_code == 404
        assert AuthSession.objects.get(pk=foreign.pk).revoked_at is None
        assert own["current"]
        client_of("ada").post(f"{V1}/auth/logout/", {"refresh": bob.there.refresh}, format="json")
        assert AuthSession.objects.filter(user=bob.user, revoked_at=None).count() == 3

    def test_a_program_neither_sees_nor_ends_them(self, bob: SignedInFourTimes) -> None:
        program = bob.asks(bob.program)
        one = AuthSession.objects.filter(user=bob.user).values_list("pk", flat=True)[0]
        for method, address in (
            ("get", SESSIONS), ("get", f"{SESSIONS}{one}/"), ("delete", f"{SESSIONS}{one}/"),
            ("post", f"{V1}/auth/logout/"), ("post", f"{V1}/auth/logout-all/"),
        ):  # fmt: skip
            refused = getattr(program, method)(address)
            assert (refused.status_code, errors(refused)) == (403, [("token_not_enough", None)])

    def test_ending_one_twice_is_a_404_and_on_record_once(self, bob: SignedInFourTimes) -> None:
        one = AuthSession.objects.filter(user=bob.user).order_by("created_at").last()
        assert one is not None
        here = bob.asks(bob.here.access)
        assert here.delete(f"{SESSIONS}{one.pk}/").status_code == 204
        assert here.delete(f"{SESSIONS}{one.pk}/").status_code == 404
        entry = AuditEntry.objects.get(action="session.ended")
        assert (entry.user_id, entry.target) == (bob.user.pk, "bob@example.org")
        assert entry.details == {"reason": "ended by its user"}


class TestCost:
    """What knowing who asks costs, in queries."""

    def _queries(self, client: Any, address: str) -> list[str]:
        client.get(address)
        with CaptureQueriesContext(connection) as captured:
            assert client.get(address).status_code == 200
        return [query["sql"] for query in captured]

    def test_a_token_costs_one_query(self, bob: SignedInFourTimes) -> None:
        case = staffed_case()
        for bearer in (bob.here.access, bob.program):
            client = bob.asks(bearer)
            assert len(self._queries(client, ME)) == 1
            assert len(self._queries(client, f"{V1}/cases/{case.case_id}/")) == 2  # the other is the case

    def test_a_browser_costs_three(self, bob: SignedInFourTimes) -> None:
        assert len(self._queries(bob.browser, ME)) == 3  # Django's session, the user, the sign-in

    def test_the_time_of_last_use_is_written_once_a_minute(self, bob: SignedInFourTimes) -> None:
        client = bob.asks(bob.here.access)
        session = AuthSession.objects.filter(user=bob.user, method="api").earliest("created_at")
        before = timezone.now() - timedelta(seconds=61)
        AuthSession.objects.filter(pk=session.pk).update(last_seen_at=before)
        with CaptureQueriesContext(connection) as captured:
            for _ in range(3):
                client.get(ME)
        assert len(captured) == 4
        session.refresh_from_db()
        assert timezone.now() - session.last_seen_at < sessions._SEEN
