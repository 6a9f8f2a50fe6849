"""API tokens: how they are made and end, and that nobody finds one. What they open: cases/tests/api."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import api_tokens, sessions, tokens
from accounts.models import ApiToken, AuditEntry, Role, User

pytestmark = pytest.mark.django_db

URL = "/api/v1/auth/api-tokens/"
ME = "/api/v1/me/"


def person(name: str, **facts: Any) -> User:
    """Return a user, made if need be."""
    found = User.objects.filter(username=name).first()
    return found or User.objects.create_user(f"{name}@example.org", name, **facts)


def admin() -> User:
    """Return Ada, who administers."""
    return person("ada", role=Role.ADMIN)


def client_of(user: User | str) -> APIClient:
    """Return a client that asks as a user who has just shown a second factor."""
    user = person(user) if isinstance(user, str) else user
    return bearing(tokens.issue(user, second_factor=True).access)


def errors(answer: Any) -> list[tuple[str, str | None]]:
    """Return code and attr of every error."""
    return [(error["code"], error["attr"]) for error in answer.json()["errors"]]


def bearing(text: str, scheme: str = "Bearer") -> APIClient:
    """Return a client that asks with a token."""
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"{scheme} {text}")
    return client


def make(user: User | str = "alice", **facts: Any) -> Any:
    """Return the answer to making a token."""
    return client_of(user).post(URL, {"name": "script", **facts}, format="json")


def text_of(user: User | str = "alice", **facts: Any) -> str:
    """Return a new token of a user."""
    answer = make(user, **facts)
    assert answer.status_code == 201, answer.json()
    return str(answer.json()["token"])


def stored() -> str:
    """Return everything that any table holds, as text."""
    return "\n".join(str(row) for model in apps.get_models() for row in model._base_manager.values_list())


class TestMaking:
    """POST auth/api-tokens/."""

    def test_the_answer_shows_the_token_once(self) -> None:
        body = make(scopes=["read", "write"]).json()
        assert set(body) == {
            "id", "name", "prefix", "scopes", "cases", "created_at", "expires_at",
            "last_used_at", "last_used_address", "token",
        }  # fmt: skip
        assert body["token"].startswith(f"dm_{body['prefix']}_")
        assert len(body["token"].rpartition(f"{body['prefix']}_")[2]) == 43  # 256 bits in base64
        assert (body["name"], body["scopes"], body["cases"]) == ("script", ["read", "write"], None)
        listed = client_of("alice").get(URL).json()["results"]
        assert [row["id"] for row in listed] == [body["id"]]
        assert body["token"] not in str(listed)
        assert "token" not in client_of("alice").get(f"{URL}{body['id']}/").json()

    def test_without_scopes_it_reads_and_ends_in_ninety_days(self) -> None:
        body = make().json()
        assert body["scopes"] == ["read"]
        end = datetime.fromisoformat(body["expires_at"])
        assert timedelta(days=89, hours=23) < end - timezone.now() <= timedelta(days=90)

    def test_writing_includes_reading(self) -> None:
        assert make(scopes=["write"]).json()["scopes"] == ["read", "write"]

    @pytest.mark.parametrize(
        ("facts", "wrong"),
        [
            ({"name": ""}, ("blank", "name")),
            ({"name": "n" * 81}, ("max_length", "name")),
            ({"name": "a\x00b"}, ("null_characters_not_allowed", "name")),
            ({"scopes": []}, ("empty", "scopes")),
            ({"scopes": ["admin"]}, ("invalid", "scopes")),
            ({"scopes": ["read", "case:"]}, ("invalid", "scopes")),
            ({"scopes": ["read", "case:*"]}, ("invalid", "scopes")),
            ({"cases": []}, ("empty", "cases")),
            ({"cases": None}, ("null", "cases")),
            ({"cases": ["nothing"]}, ("invalid", "cases")),
            ({"expires_at": "2020-01-01T00:00:00Z"}, ("invalid", "expires_at")),
            ({"expires_at": "9999-12-31T23:59:59Z"}, ("invalid", "expires_at")),
            ({"expires_at": None}, ("null", "expires_at")),
            ({"digest": "x"}, ("unknown_field", "digest")),
            ({"case_ids": ["x"]}, ("unknown_field", "case_ids")),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, facts: dict[str, Any], wrong: tuple[str, str]) -> None:
        answer = make(**facts)
        assert answer.status_code == 400
        assert errors(answer) == [wrong]
        assert not ApiToken.objects.exists()

    def test_the_end_is_at_most_a_leap_year_away(self) -> None:
        now = timezone.now()
        assert make(expires_at=(now + timedelta(days=366)).isoformat()).status_code == 201
        assert make(expires_at=(now + timedelta(days=366, minutes=1)).isoformat()).status_code == 400

    def test_fifty_tokens_are_enough(self) -> None:
        alice = person("alice")
        for number in range(api_tokens.LIMIT):
            api_tokens.create(alice, name=str(number))
        assert errors(make()) == [("too_many_tokens", None)]
        assert make("bob").status_code == 201
        ApiToken.objects.filter(user=alice, name="7").update(expires_at=timezone.now())
        assert make().status_code == 201  # what has expired does not count

    def test_a_repeated_request_makes_one_token_and_shows_it_once(self) -> None:
        client, body = client_of("alice"), {"name": "script"}
        first = client.post(URL, body, format="json", HTTP_IDEMPOTENCY_KEY="k-1").json()
        again = client.post(URL, body, format="json", HTTP_IDEMPOTENCY_KEY="k-1")
        assert again.status_code == 201
        assert again.json() == {**first, "token": None}
        assert ApiToken.objects.count() == 1
        assert first["token"] not in stored()

    def test_making_and_revoking_are_recorded(self) -> None:
        made = make(scopes=["read", "write"]).json()
        client_of("alice").delete(f"{URL}{made['id']}/")
        created, revoked = AuditEntry.objects.filter(action__startswith="token.").order_by("pk")
        assert (created.action, created.target) == ("token.created", made["prefix"])
        assert created.details["scopes"] == ["read", "write"]
        assert (revoked.action, revoked.user_id) == ("token.revoked", person("alice").pk)

    def test_neither_database_nor_log_holds_a_token(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        text = text_of(scopes=["read", "write"])
        secret = text.rpartition("_")[2]
        for _ in range(2):
            assert bearing(text).get(ME).status_code == 200
        assert bearing(f"{text}x").get(ME).status_code == 401
        everything = stored() + caplog.text + "".join(str(vars(found)) for found in caplog.records)
        assert text not in everything
        assert secret not in everything


class TestOwnTokens:
    """GET and DELETE."""

    def test_others_do_not_see_or_revoke_it(self) -> None:
        made = make().json()
        for client in (client_of("bob"), client_of(admin())):
            assert client.get(URL).json()["results"] == []
            assert client.get(f"{URL}{made['id']}/").status_code == 404
            assert client.delete(f"{URL}{made['id']}/").status_code == 404
        assert bearing(made["token"]).get(ME).status_code == 200

    def test_a_revoked_one_is_refused_at_the_next_request(self) -> None:
        made, client = make().json(), client_of("alice")
        asking = bearing(made["token"])
        assert asking.get(ME).status_code == 200
        assert client.delete(f"{URL}{made['id']}/").status_code == 204
        assert asking.get(ME).status_code == 401
        assert client.delete(f"{URL}{made['id']}/").status_code == 404
        assert client.get(URL).json()["results"] == []

    def test_the_list_says_when_and_from_where_it_was_used(self) -> None:
        made = make().json()
        assert made["last_used_at"] is None
        assert bearing(made["token"]).get(ME, REMOTE_ADDR="192.0.2.7").status_code == 200
        (row,) = client_of("alice").get(URL).json()["results"]
        assert row["last_used_at"] is not None
        assert row["last_used_address"] == "192.0.2.7"

    def test_use_is_written_once_a_minute(self) -> None:
        text = text_of()
        bearing(text).get(ME, REMOTE_ADDR="192.0.2.7")
        with CaptureQueriesContext(connection) as asked:
            assert bearing(text).get(ME, REMOTE_ADDR="192.0.2.8").status_code == 200
        assert sum("api_tokens" in query["sql"] for query in asked) == 1
        assert not any(query["sql"].startswith("UPDATE") for query in asked)
        token = ApiToken.objects.get()
        assert token.last_used_address == "192.0.2.7"
        ApiToken.objects.update(last_used_at=timezone.now() - timedelta(seconds=61))
        bearing(text).get(ME, REMOTE_ADDR="192.0.2.8")
        assert ApiToken.objects.get().last_used_address == "192.0.2.8"

    def test_the_list_costs_the_same_for_one_and_for_many(self) -> None:
        alice, client = person("alice"), client_of("alice")
        api_tokens.create(alice, name="one")
        with CaptureQueriesContext(connection) as one:
            client.get(URL)
        for number in range(20):
            api_tokens.create(alice, name=str(number))
        with CaptureQueriesContext(connection) as many:
            assert len(client.get(URL).json()["results"]) == 21
        assert len(one) == len(many)

    def test_tokens_manage_no_tokens(self) -> None:
        text, pk = text_of(scopes=["read", "write"]), ApiToken.objects.get().pk
        for method, address in (
            ("get", URL),
            ("post", URL),
            ("get", f"{URL}{pk}/"),
            ("delete", f"{URL}{pk}/"),
        ):
            answer = getattr(bearing(text), method)(
                address, {"name": "another"} if method == "post" else None
            )
            assert answer.status_code == 403
            assert errors(answer) == [("token_not_enough", None)]
        assert ApiToken.objects.live().count() == 1


class TestRefused:
    """What is no token, or no longer."""

    def test_whatever_is_not_the_token_gets_401(self) -> None:
        text = text_of()
        dm, prefix, secret = text.split("_", 2)
        other = text_of("bob").split("_", 2)[2]
        wrong = [
            f"{dm}_{prefix}_{other}",  # of another token
            f"{dm}_{prefix}_{secret[:-1]}",
            f"{dm}_{prefix}_{secret}A",
            f"{dm}_{prefix}_{secret[:-1]}ß",
            f"{dm}_{prefix}_{secret.swapcase()}",
            f"{dm}_{prefix}_{'A' * 43}",
            f"{dm}_{prefix}_",
            f"{dm}_{prefix}",
            f"{dm}_{'0' * 12}_{secret}",
            f"{dm}_{prefix[:-1]}é_{secret}",
            f"{dm}_%_{secret}",
            f"{dm}__{secret}",
            f"DM_{prefix}_{secret}",
            f"{dm}_{prefix}_{ApiToken.objects.get(prefix=prefix).digest[:43]}",
            ApiToken.objects.get(prefix=prefix).digest,
            f"{dm}_{prefix}_{'A' * 7000}",
            f"{dm}_{'a' * 7000}_{secret}",
            "dm_",
            "dm___",
            "dm_\x00_\x00",
            f"{text}\x00",
            f"{text} {text}",
            "dm_\u0130\u0130",
        ]
        for found in wrong:
            answer = bearing(found.encode("utf-8", "surrogatepass").decode("latin-1")).get(ME)
            assert answer.status_code == 401, found
            assert errors(answer)[0][0] in ("invalid_token", "not_authenticated"), found
        assert bearing(text).get(ME).status_code == 200

    def test_only_bearer_is_a_scheme_and_only_the_header_a_place(self) -> None:
        text = text_of()
        for scheme in ("Token", "Basic", "JWT", "Bearer:", ""):
            assert bearing(text, scheme).get(ME).status_code == 401, scheme
        client = APIClient()
        assert client.get(ME, {"token": text}).status_code == 401
        client.cookies["sessionid"] = text
        assert client.get(ME).status_code == 401
        assert bearing(text, "bEARER").get(ME).status_code == 200

    def test_an_expired_one_is_refused(self) -> None:
        text = text_of()
        ApiToken.objects.update(expires_at=timezone.now())
        assert bearing(text).get(ME).status_code == 401

    def test_an_inactive_owner_is_refused(self) -> None:
        text = text_of()
        User.objects.filter(username="alice").update(is_active=False)
        assert bearing(text).get(ME).status_code == 401

    def test_what_ends_sign_ins_ends_tokens(self) -> None:
        alice, texts = person("alice"), [text_of(), text_of()]
        bobs = text_of("bob")
        sessions.end_all(alice, reason="password changed", by=alice)
        assert [bearing(text).get(ME).status_code for text in texts] == [401, 401]
        assert bearing(bobs).get(ME).status_code == 200

    def test_a_stale_request_makes_no_token_after_everything_was_ended(self) -> None:
        stale = User.objects.get(pk=person("alice").pk)
        sessions.end_all(person("alice"), reason="password changed", by=None)
        with pytest.raises(api_tokens.SignedOut):
            api_tokens.create(stale, name="left behind")
        assert not ApiToken.objects.exists()


class TestSecondFactor:
    """Accounts that must have one."""

    def test_an_admin_makes_one_only_after_showing_it(self) -> None:
        ada = admin()
        User.objects.filter(pk=ada.pk).update(otp_enabled=True)
        ada.refresh_from_db()
        without = bearing(tokens.issue(ada).access)
        assert errors(without.post(URL, {"name": "x"}, format="json")) == [("otp_required", None)]
        pair = tokens.issue(ada, second_factor=True)
        ada.auth_sessions.update(otp_time=timezone.now() - timedelta(minutes=6))
        assert errors(bearing(pair.access).post(URL, {"name": "x"}, format="json")) == [("otp_stale", None)]
        assert make(ada).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_of_many_requests_at_once_as_many_make_tokens_as_are_left() -> None:
    alice = person("alice")
    for number in range(api_tokens.LIMIT - 3):
        api_tokens.create(alice, name=str(number))

    def one_more(number: int) -> bool:
        try:
            api_tokens.create(alice, name=f"at once {number}")
        except api_tokens.TooManyTokens:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(10) as pool:
        assert sum(pool.map(one_more, range(10))) == 3
    assert ApiToken.objects.live().count() == api_tokens.LIMIT
