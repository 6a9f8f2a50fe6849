"""Signing in, tokens, and who they let in afterwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from rest_framework.test import APIClient

from accounts import tokens
from accounts.models import User

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"
LOGIN, REFRESH, ME = "/api/v1/auth/login/", "/api/v1/auth/refresh/", "/api/v1/me/"


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice@example.org", "alice", PASSWORD)


def _bearing(token: str, scheme: str = "Bearer") -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"{scheme} {token}")
    return client


class TestLogin:
    """POST auth/login/."""

    def test_the_right_password_gets_two_tokens_and_their_end(self, alice: User) -> None:
        answer = APIClient().post(LOGIN, {"email": "ALICE@example.org", "password": PASSWORD}, format="json")
        assert answer.status_code == 200
        body = answer.json()
        assert set(body) == {"access", "refresh", "access_expires_at"}
        assert body["access_expires_at"].endswith("Z")
        ends = datetime.strptime(body["access_expires_at"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
        assert timedelta(minutes=14) < ends - datetime.now(UTC) <= timedelta(minutes=15)
        assert _bearing(body["access"]).get(ME).json()["email"] == "alice@example.org"
        alice.refresh_from_db()
        assert alice.last_login is not None

    def test_wrong_unknown_and_inactive_get_the_same_answer(self, alice: User) -> None:
        User.objects.create_user("gone@example.org", "gone", PASSWORD, is_active=False)
        tries = [
            ("alice@example.org", "wrong"),
            ("nobody@example.org", PASSWORD),
            ("gone@example.org", PASSWORD),
        ]
        answers = [
            APIClient().post(LOGIN, {"email": email, "password": password}, format="json")
            for email, password in tries
        ]
        assert {answer.status_code for answer in answers} == {401}
        assert len({answer.content for answer in answers}) == 1
        assert answers[0].json()["errors"][0]["code"] == "invalid_credentials"
        assert answers[0]["WWW-Authenticate"].startswith("Bearer")

    def test_an_unknown_address_costs_a_hash_too(self, alice: User, settings: object) -> None:
        settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]  # type: ignore[attr-defined]
        alice.set_password(PASSWORD)
        alice.save()
        with patch.object(
            PBKDF2PasswordHasher, "encode", autospec=True, return_value="pbkdf2_sha256$1$a$b"
        ) as hashed:
            APIClient().post(LOGIN, {"email": "alice@example.org", "password": "wrong"}, format="json")
            known = hashed.call_count
            APIClient().post(LOGIN, {"email": "nobody@example.org", "password": "wrong"}, format="json")
        assert known == hashed.call_count - known == 1

    def test_an_account_with_a_second_factor_gets_a_challenge_that_opens_nothing(self, alice: User) -> None:
        User.objects.filter(pk=alice.pk).update(otp_enabled=True)
        answer = APIClient().post(LOGIN, {"email": alice.email, "password": PASSWORD}, format="json")
        body = answer.json()
        assert (answer.status_code, set(body)) == (200, {"challenge", "methods"})
        assert _bearing(body["challenge"]).get(ME).status_code == 401
        refused = APIClient().post(REFRESH, {"refresh": body["challenge"]}, format="json")
        assert refused.status_code == 401

    def test_an_address_that_was_never_confirmed_is_said_after_the_right_password_alone(
        self, alice: User
    ) -> None:
        User.objects.filter(pk=alice.pk).update(email_verification_sent_at=datetime.now(UTC))
        for password, code in (("wrong", "invalid_credentials"), (PASSWORD, "email_unverified")):
            answer = APIClient().post(LOGIN, {"email": alice.email, "password": password}, format="json")
            assert (answer.status_code, answer.json()["errors"][0]["code"]) == (401, code)

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"email": "alice@example.org"},
            {"email": 5, "password": []},
            {"email": "a\x00b", "password": PASSWORD},
            {"email": "x" * 5000, "password": PASSWORD},
            {"email": "alice@example.org", "password": "x" * 5000},
            {"email": "alice@example.org", "password": PASSWORD, "remember": True},
            [],
            "text",
            None,
        ],
    )
    def test_what_is_no_login_is_a_400(self, alice: User, body: object) -> None:
        answer = APIClient().post(LOGIN, body, format="json")
        assert answer.status_code == 400
        assert answer.json()["type"] in ("validation_error", "client_error")


class TestTokens:
    """What a token opens, and for how long."""

    def test_a_refresh_token_gets_a_new_pair_and_opens_nothing(self, alice: User) -> None:
        pair = tokens.issue(alice)
        answer = APIClient().post(REFRESH, {"refresh": pair.refresh}, format="json")
        assert answer.status_code == 200
        assert _bearing(answer.json()["access"]).get(ME).status_code == 200
        refused = _bearing(pair.refresh).get(ME)
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (401, "invalid_token")

    @pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Bearer a b", "bearer a.b.c", "Bearer \xff"])
    def test_a_header_that_holds_no_token_is_refused_in_the_one_shape(self, header: str) -> None:
        answer = APIClient().get(ME, HTTP_AUTHORIZATION=header)
        (error,) = answer.json()["errors"]
        assert (answer.status_code, error["code"], error["attr"]) == (401, "invalid_token", None)

    def test_the_case_of_the_scheme_does_not_matter(self, alice: User) -> None:
        for scheme in ("bearer", "BEARER"):
            header = f"{scheme} {tokens.issue(alice).access}"
            assert APIClient().get(ME, HTTP_AUTHORIZATION=header).status_code == 200

    def test_an_access_token_is_no_refresh_token(self, alice: User) -> None:
        answer = APIClient().post(REFRESH, {"refresh": tokens.issue(alice).access}, format="json")
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (401, "invalid_token")

    def test_the_database_is_asked_each_time(self, alice: User) -> None:
        pair = tokens.issue(alice)
        client = _bearing(pair.access)
        assert client.get(ME).status_code == 200
        for change in ({"is_active": False}, {"is_active": True, "token_epoch": 1}):
            User.objects.filter(pk=alice.pk).update(**change)
            assert client.get(ME).status_code == 401
            assert APIClient().post(REFRESH, {"refresh": pair.refresh}, format="json").status_code == 401
        User.objects.filter(pk=alice.pk).update(token_epoch=0)
        assert client.get(ME).status_code == 200
        alice.delete()
        assert client.get(ME).status_code == 401

    def test_a_token_ends(self, alice: User) -> None:
        pair = tokens.issue(alice)
        access, refresh = tokens.AccessToken(pair.access), tokens.RefreshToken(pair.refresh)  # type: ignore[arg-type]
        assert _bearing(str(access)).get(ME).status_code == 200
        for token in (access, refresh):
            token.set_exp(lifetime=timedelta(seconds=-1))
        assert _bearing(str(access)).get(ME).status_code == 401
        assert APIClient().post(REFRESH, {"refresh": str(refresh)}, format="json").status_code == 401

    def test_a_token_without_a_sign_in_is_refused(self, alice: User) -> None:
        token = tokens.AccessToken()
        token["sub"] = str(alice.pk)
        assert _bearing(str(token)).get(ME).status_code == 401

    @pytest.mark.parametrize("token", ["", "garbage", "a.b.c", "a b", "x" * 20_000, "é"])
    def test_what_is_no_token_is_a_401(self, alice: User, token: str) -> None:
        answer = _bearing(token).get(ME)
        assert answer.status_code == 401
        assert answer["WWW-Authenticate"].startswith("Bearer")

    def test_a_token_with_another_signature_or_none_is_refused(self, alice: User) -> None:
        head, body, signature = tokens.issue(alice).access.split(".")
        for forged in (
            f"{head}.{body}.{signature[:-4]}AAAA",
            f"{head}.{body}.",
            f"eyJhbGciOiJub25lIn0.{body}.",
        ):
            assert _bearing(forged).get(ME).status_code == 401

    def test_another_scheme_is_not_taken_for_a_token(self, alice: User) -> None:
        assert _bearing("YWxpY2U6eA==", "Basic").get(ME).status_code == 401


class TestSession:
    """The browser session works too, with CSRF."""

    def test_a_session_reads_and_writes_only_with_the_token_of_the_form(self, alice: User) -> None:
        client = APIClient(enforce_csrf_checks=True)
        client.force_login(alice)
        assert client.get(ME).status_code == 200
        refused = client.patch(ME, {"full_name": "A"}, format="json")
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (403, "permission_denied")
        secret = "a" * 32
        client.cookies["csrftoken"] = secret
        answer = client.patch(ME, {"full_name": "A"}, format="json", HTTP_X_CSRFTOKEN=secret)
        assert (answer.status_code, answer.json()["full_name"]) == (200, "A")


class TestMe:
    """GET and PATCH me/."""

    def test_it_shows_no_secrets(self, alice: User) -> None:
        body = _bearing(tokens.issue(alice).access).get(ME).json()
        assert set(body) == {
            "id", "email", "username", "full_name", "role", "locale",
            "email_verified", "otp_enabled", "created_at", "last_login",
        }  # fmt: skip

    def test_name_and_language_change_and_nothing_else_does(self, alice: User) -> None:
        client = _bearing(tokens.issue(alice).access)
        answer = client.patch(ME, {"full_name": "Alice A.", "locale": "de"}, format="json")
        assert (answer.json()["full_name"], answer.json()["locale"]) == ("Alice A.", "de")
        wrong: list[dict[str, object]] = [
            {"role": "superadmin"}, {"is_active": True}, {"email": "x@example.org"}, {"id": 7},
            {"locale": "xx"}, {"full_name": "x" * 201}, {"full_name": None},
        ]  # fmt: skip
        for body in wrong:
            assert client.patch(ME, body, format="json").status_code == 400, body
        alice.refresh_from_db()
        assert (alice.role, alice.email, alice.full_name) == ("analyst", "alice@example.org", "Alice A.")
