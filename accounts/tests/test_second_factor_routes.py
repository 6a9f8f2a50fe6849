"""The routes below auth/otp/, and signing in with what they set up."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import api_tokens, tokens
from accounts.models import AuditEntry, AuthSession, User
from accounts.tests.phone import PASSWORD, Clock, Owner, Phone, enrolled, person, set_clock

pytestmark = pytest.mark.django_db

OTP, ME = "/api/v1/auth/otp/", "/api/v1/me/"
ROUTES = ("enrol", "confirm", "verify", "recovery-codes", "disable")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return set_clock(monkeypatch)


@pytest.fixture
def alice(clock: Clock) -> Owner:
    return enrolled(clock)


def _bearing(token: str) -> APIClient:
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


def _client(user: User, *, shown: bool = False) -> APIClient:
    """Return a client in a new sign-in."""
    return _bearing(tokens.issue(user, second_factor=shown).access)


def _post(client: APIClient, route: str, **body: Any) -> Any:
    return client.post(f"{OTP}{route}/", body, format="json")


def _errors(answer: Any) -> list[tuple[str, str | None]]:
    return [(error["code"], error["attr"]) for error in answer.json()["errors"]]


def _sign_in(**body: Any) -> Any:
    return APIClient(raise_request_exception=False).post("/api/v1/auth/login/", body, format="json")


def _answer(challenge: str, code: str) -> Any:
    client = APIClient(raise_request_exception=False)
    return client.post("/api/v1/auth/login/verify/", {"challenge": challenge, "code": code}, format="json")


class TestSettingUp:
    """enrol, confirm."""

    def test_from_the_secret_to_the_first_sign_in_with_it(self, clock: Clock) -> None:
        user = person()
        client, elsewhere = _client(user), _client(user)
        begun = _post(client, "enrol")
        assert (begun.status_code, set(begun.json())) == (200, {"secret", "otpauth_uri", "qr_svg"})
        assert begun["Cache-Control"] == "no-store"
        assert client.get(ME).json()["otp_enabled"] is False
        phone = Phone(begun.json()["secret"], clock)
        done = _post(client, "confirm", code=phone.code())
        assert (done.status_code, set(done.json())) == (200, {"recovery_codes"})
        assert done["Cache-Control"] == "no-store"
        assert len(done.json()["recovery_codes"]) == 10
        assert client.get(ME).json()["otp_enabled"] is True
        assert elsewhere.get(ME).status_code == 401

        due = _sign_in(email=user.email, password=PASSWORD).json()
        assert set(due) == {"challenge", "methods"}
        pair = _answer(due["challenge"], phone.next_code())
        assert pair.status_code == 200
        assert _bearing(pair.json()["access"]).get(ME).status_code == 200
        at_once = _sign_in(email=user.email, password=PASSWORD, otp=done.json()["recovery_codes"][0])
        assert _bearing(at_once.json()["access"]).get(ME).status_code == 200

    def test_who_must_have_one_gets_there_without(self, clock: Clock) -> None:
        client = _client(person("ada", role="admin"))
        assert _errors(client.get("/api/v1/cases/")) == [("otp_required", None)]
        phone = Phone(_post(client, "enrol").json()["secret"], clock)
        assert _post(client, "confirm", code=phone.code()).status_code == 200
        assert client.get("/api/v1/cases/").status_code == 200

    def test_a_second_one_is_a_conflict(self, alice: Owner) -> None:
        client = _client(alice.user, shown=True)
        for answer in (_post(client, "enrol"), _post(client, "confirm", code="123456")):
            assert (answer.status_code, _errors(answer)) == (409, [("otp_already_enabled", None)])

    def test_a_wrong_code_is_said_of_the_field(self, clock: Clock) -> None:
        client = _client(person())
        assert _errors(_post(client, "confirm", code="123456")) == [("otp_not_begun", None)]
        phone = Phone(_post(client, "enrol").json()["secret"], clock)
        answer = _post(client, "confirm", code=phone.wrong_code())
        assert (answer.status_code, _errors(answer)) == (400, [("invalid_code", "code")])
        assert client.get(ME).json()["otp_enabled"] is False

    def test_ten_wrong_codes_in_five_minutes_are_enough(self, clock: Clock) -> None:
        client = _client(person())
        phone = Phone(_post(client, "enrol").json()["secret"], clock)
        answers = [_post(client, "confirm", code=phone.wrong_code()) for _ in range(11)]
        assert [answer.status_code for answer in answers[:3]] == [400] * 3
        assert {answer.status_code for answer in answers[3:]} == {429}
        assert int(answers[3]["Retry-After"]) <= 4
        assert int(answers[-1]["Retry-After"]) > 200


class TestShowing:
    """verify: the second factor in this sign-in, now."""

    @pytest.mark.parametrize("kind", ["totp", "recovery"])
    def test_it_opens_what_was_shut(self, alice: Owner, kind: str) -> None:
        client = _client(alice.user)
        assert _errors(client.get("/api/v1/cases/")) == [("otp_required", None)]
        code = alice.phone.next_code() if kind == "totp" else alice.codes[0]
        assert _post(client, "verify", code=code).status_code == 204
        assert client.get("/api/v1/cases/").status_code == 200
        assert client.post("/api/v1/auth/api-tokens/", {"name": "t"}, format="json").status_code == 201
        entry = AuditEntry.objects.get(action="otp.shown")
        assert (entry.user_id, entry.details) == (alice.user.pk, {"method": kind})

    def test_other_sign_ins_of_the_user_do_not_profit(self, alice: Owner) -> None:
        here, elsewhere = _client(alice.user), _client(alice.user)
        assert _post(here, "verify", code=alice.phone.next_code()).status_code == 204
        assert elsewhere.get("/api/v1/cases/").status_code == 403
        assert AuthSession.objects.live().filter(otp_time=None).exists()

    def test_a_code_counts_once(self, alice: Owner) -> None:
        client, code = _client(alice.user), alice.phone.next_code()
        assert _post(client, "verify", code=code).status_code == 204
        answer = _post(client, "verify", code=code)
        assert (answer.status_code, _errors(answer)) == (400, [("invalid_code", "code")])
        assert AuditEntry.objects.filter(action="otp.shown", outcome="refused").count() == 1

    def test_who_has_none_has_nothing_to_show(self) -> None:
        answer = _post(_client(person()), "verify", code="123456")
        assert (answer.status_code, _errors(answer)) == (409, [("otp_not_enabled", None)])

    def test_it_costs_few_queries(self, alice: Owner) -> None:
        client, code = _client(alice.user), alice.phone.next_code()
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert _post(client, "verify", code=code).status_code == 204
        assert len(queries) <= 16, [query["sql"][:80] for query in queries]


class TestChanging:
    """recovery-codes, disable."""

    def test_new_codes_take_the_place_of_the_old(self, alice: Owner) -> None:
        client = _client(alice.user, shown=True)
        answer = _post(client, "recovery-codes", code=alice.phone.next_code())
        assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
        assert len(answer.json()["recovery_codes"]) == 10
        assert _post(client, "verify", code=alice.codes[0]).status_code == 400
        assert _post(client, "verify", code=answer.json()["recovery_codes"][0]).status_code == 204

    def test_disabled_the_password_is_enough(self, alice: Owner) -> None:
        client, elsewhere = _client(alice.user, shown=True), _client(alice.user, shown=True)
        wrong = _post(client, "disable", password="wrong", code=alice.phone.next_code())
        assert (wrong.status_code, _errors(wrong)) == (400, [("wrong_password", "password")])
        wrong = _post(client, "disable", password=PASSWORD, code=alice.phone.wrong_code())
        assert (wrong.status_code, _errors(wrong)) == (400, [("invalid_code", "code")])
        assert _post(client, "disable", password=PASSWORD, code=alice.phone.code()).status_code == 204
        assert client.get(ME).json()["otp_enabled"] is False
        assert elsewhere.get(ME).status_code == 401
        assert set(_sign_in(email=alice.user.email, password=PASSWORD).json()) >= {"access", "refresh"}

    def test_a_role_that_must_have_one_cannot(self, clock: Clock) -> None:
        ada = enrolled(clock, "ada", role="admin")
        answer = _post(
            _client(ada.user, shown=True), "disable", password=PASSWORD, code=ada.phone.next_code()
        )
        assert (answer.status_code, _errors(answer)) == (403, [("otp_mandatory", None)])

    def test_both_want_the_second_factor_shown_before(self, alice: Owner) -> None:
        client, code = _client(alice.user), alice.phone.next_code()
        for answer in (
            _post(client, "recovery-codes", code=code),
            _post(client, "disable", password=PASSWORD, code=code),
        ):
            assert (answer.status_code, _errors(answer)) == (403, [("otp_required", None)])


class TestWhoMay:
    """Persons, signed in; and what they may send."""

    @pytest.mark.parametrize("route", ROUTES)
    def test_nobody_without_a_sign_in(self, route: str) -> None:
        assert _post(APIClient(), route, code="123456").status_code == 401
        assert _post(_bearing("x.y.z"), route, code="123456").status_code == 401

    @pytest.mark.parametrize("route", ROUTES)
    def test_no_program(self, alice: Owner, route: str) -> None:
        made = api_tokens.create(alice.user, name="t", scopes=["read", "write"])
        answer = _post(_bearing(made.text), route, code="123456", password=PASSWORD)
        assert (answer.status_code, _errors(answer)) == (403, [("token_not_enough", None)])

    @pytest.mark.parametrize("route", ROUTES[1:])
    @pytest.mark.parametrize("code", ["", " ", None, [], {"a": 1}, "x" * 65, "a\x00b"])
    def test_what_is_no_code_is_refused(self, alice: Owner, route: str, code: Any) -> None:
        client = _client(alice.user, shown=True)
        body = {"password": PASSWORD} if route == "disable" else {}
        answer = _post(client, route, code=code, **body)
        assert (answer.status_code, _errors(answer)[0][1]) == (400, "code")

    @pytest.mark.parametrize("route", ROUTES[1:])
    def test_a_field_too_many_is_refused(self, alice: Owner, route: str) -> None:
        answer = _post(_client(alice.user, shown=True), route, code="123456", otp_enabled=False)
        assert answer.status_code == 400
        assert ("unknown_field", "otp_enabled") in _errors(answer)

    def test_codes_and_secrets_of_others_stay_theirs(self, alice: Owner, clock: Clock) -> None:
        bob = enrolled(clock, "bob")
        client = _client(bob.user)
        for code in (alice.phone.next_code(), alice.codes[0]):
            assert _errors(_post(client, "verify", code=code)) == [("invalid_code", "code")]


class TestSigningIn:
    """What devices decide while somebody signs in."""

    def test_wrong_codes_do_not_lock_the_recovery_code_out(self, alice: Owner) -> None:
        due = _sign_in(email=alice.user.email, password=PASSWORD).json()
        answers = [_answer(due["challenge"], alice.phone.wrong_code()) for _ in range(11)]
        assert [answer.status_code for answer in answers] == [401] * 3 + [429] * 8
        assert 1 <= int(answers[3]["Retry-After"]) <= 4
        assert int(answers[-1]["Retry-After"]) > 200
        refused = AuditEntry.objects.filter(action="signin.second_factor", outcome="refused")
        assert [entry.details.get("reason") for entry in refused] == ["throttled"] * 8 + [None] * 3
        assert _answer(due["challenge"], alice.codes[0]).status_code == 200

    def test_a_secret_whose_key_is_lost_is_said_so(self, alice: Owner, settings: Settings) -> None:
        settings.FIELD_KEYS = [Fernet.generate_key().decode()]
        due = _sign_in(email=alice.user.email, password=PASSWORD).json()
        answer = _answer(due["challenge"], alice.phone.next_code())
        assert (answer.status_code, _errors(answer)) == (409, [("otp_unreadable", None)])
        assert _answer(due["challenge"], alice.codes[0]).status_code == 200

    def test_an_account_of_the_old_system_signs_in_as_before(self, clock: Clock) -> None:
        secret = "JBSWY3DPEHPK3PXP"
        olga = User.objects.create_user(
            "o@example.org", "olga", PASSWORD, otp_enabled=True, otp_secret=secret
        )
        due = _sign_in(email=olga.email, password=PASSWORD).json()
        pair = _answer(due["challenge"], Phone(secret, clock).code())
        assert pair.status_code == 200
        assert User.objects.get(pk=olga.pk).otp_secret != secret
        answer = _post(_bearing(pair.json()["access"]), "recovery-codes", code=Phone(secret, clock).code())
        assert _errors(answer) == [("invalid_code", "code")]
