"""Tokens that nobody issued, or that were issued for something else: none opens anything."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any, Final

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import tokens
from accounts.models import AuditEntry, AuthSession, SpentChallenge, User
from accounts.tests.forgeries import KEY, OLDER, OTHER, by_other_keys, claims_of, forged_of, sign, unsigned
from accounts.tests.served import served
from cases.tests.api.cast import V1, errors, person, staffed_case

pytestmark = pytest.mark.django_db

LOGIN, VERIFY, REFRESH = f"{V1}/auth/login/", f"{V1}/auth/login/verify/", f"{V1}/auth/refresh/"
CASE: Final = "ir-2024-001"
#: Requests by token: each must be refused, whatever it asks for.
BY_HEADER: Final = (
    ("get", f"{V1}/me/"),
    ("get", f"{V1}/cases/{CASE}/"),
    ("post", f"{V1}/auth/logout/"),
)


@pytest.fixture(autouse=True)
def _keys(settings: Settings) -> None:
    settings.SIGNING_KEYS = [KEY]


@pytest.fixture
def pair() -> tokens.Pair:
    """Return good tokens of Alice, who leads the case."""
    staffed_case(CASE)
    return tokens.issue(person("alice"))


@cache  # each client finds all static files anew
def _client() -> APIClient:
    return APIClient(raise_request_exception=False)


def _asked(method: str, address: str, authorization: str) -> Any:
    call: Callable[..., Any] = getattr(_client(), method)
    return call(address, HTTP_AUTHORIZATION=authorization)


def test_no_forged_token_opens_a_route_and_none_makes_it_fail(pair: tokens.Pair) -> None:
    forged = forged_of(pair)
    assert len(forged) > 150
    for method, address in BY_HEADER:
        answers = {name: _asked(method, address, f"Bearer {token}") for name, token in forged.items()}
        assert {name: a.status_code for name, a in answers.items() if a.status_code != 401} == {}
        assert {tuple(errors(answer)) for answer in answers.values()} == {(("invalid_token", None),)}
        assert all(answer["WWW-Authenticate"].startswith("Bearer") for answer in answers.values())
    # All this did nothing to the sign-in whose token they were made of.
    assert _asked("get", f"{V1}/me/", f"Bearer {pair.access}").json()["username"] == "alice"
    assert AuthSession.objects.get(user=person("alice")).revoked_at is None


def test_no_forged_token_gets_a_new_pair_and_none_answers_a_challenge(pair: tokens.Pair) -> None:
    alice = person("alice")
    challenge = tokens.challenge_for(alice)
    forged = {
        **forged_of(pair),
        **{f"{name} (refresh)": text for name, text in unsigned(pair.refresh)},
        **{f"{name} (refresh)": text for name, text in by_other_keys(pair.refresh)},
        **{f"{name} (challenge)": text for name, text in unsigned(challenge)},
        **{f"{name} (challenge)": text for name, text in by_other_keys(challenge)},
        "access": pair.access,
    }
    before = AuthSession.objects.count()
    for address, field, more in ((REFRESH, "refresh", {}), (VERIFY, "challenge", {"code": "123456"})):
        # With our key one may of course write a token of the right kind: the last test is about that.
        good = (f"{field} as access", f"token_type {field!r}")
        sent = {name: text for name, text in forged.items() if name not in good}
        answers = {
            name: _client().post(address, {field: text, **more}, format="json").status_code
            for name, text in sent.items()
        }
        assert set(answers.values()) <= {400, 401}
        too_odd = {name for name, status in answers.items() if status == 400}
        assert len(too_odd) < 12, too_odd  # too long, or no text that a database can hold
    assert AuthSession.objects.count() == before
    assert SpentChallenge.objects.count() == 0
    assert tokens.renew(pair.refresh).access


@pytest.mark.parametrize("change", ["ended", "expired", "epoch", "inactive", "given away"])
def test_a_token_goes_no_further_than_its_sign_in(pair: tokens.Pair, change: str) -> None:
    alice, session = person("alice"), AuthSession.objects.filter(user=person("alice"))
    changes: dict[str, Callable[[], object]] = {
        "ended": lambda: session.update(revoked_at=timezone.now()),
        "expired": lambda: session.update(expires_at=timezone.now() - timedelta(seconds=1)),
        "epoch": lambda: User.objects.filter(pk=alice.pk).update(token_epoch=alice.token_epoch + 1),
        "inactive": lambda: User.objects.filter(pk=alice.pk).update(is_active=False),
        "given away": lambda: session.update(user=person("bob")),
    }
    changes[change]()
    far = sign({**claims_of(pair.access), "exp": int(time.time()) + 10**9})
    for method, address in BY_HEADER:
        for token in (pair.access, far):
            assert _asked(method, address, f"Bearer {token}").status_code == 401
    refused = _client().post(REFRESH, {"refresh": pair.refresh}, format="json")
    assert (refused.status_code, errors(refused)) == (401, [("invalid_token", None)])


def test_a_key_that_went_second_still_checks_and_one_that_is_gone_does_not(
    pair: tokens.Pair, settings: Settings
) -> None:
    settings.SIGNING_KEYS = [OLDER]
    old = tokens.issue(person("alice"))
    challenge = tokens.challenge_for(person("alice"))
    settings.SIGNING_KEYS = [KEY, OLDER]
    assert _asked("get", f"{V1}/me/", f"Bearer {old.access}").status_code == 200
    assert tokens.open_challenge(challenge)[0] == person("alice")
    renewed = tokens.renew(old.refresh)
    settings.SIGNING_KEYS = [KEY]
    assert _asked("get", f"{V1}/me/", f"Bearer {renewed.access}").status_code == 200
    assert _asked("get", f"{V1}/me/", f"Bearer {pair.access}").status_code == 200
    assert _asked("get", f"{V1}/me/", f"Bearer {old.access}").status_code == 401
    with pytest.raises(tokens.InvalidToken):
        tokens.open_challenge(challenge)
    settings.SIGNING_KEYS = []
    assert _asked("get", f"{V1}/me/", f"Bearer {pair.access}").status_code == 401


def test_without_signing_keys_the_secret_key_itself_signs_nothing(settings: Settings) -> None:
    settings.SIGNING_KEYS = []
    good = tokens.issue(person("alice")).access
    forged = sign(claims_of(good), key=settings.SECRET_KEY)
    assert _asked("get", f"{V1}/me/", f"Bearer {good}").status_code == 200
    assert _asked("get", f"{V1}/me/", f"Bearer {forged}").status_code == 401


def test_a_header_is_read_as_one_token_or_refused(pair: tokens.Pair) -> None:
    good = pair.access
    for header in (
        "Bearer",
        "Bearer ",
        f"Bearer {good} {good}",
        f"Bearer {good}, Bearer {good}",  # what servers make of a header that came twice
        f"Bearer {good},Basic YTpi",
        f"Basic YTpi, Bearer {good}",
        f"Bearer: {good}",
        f"Bearer{good}",
        f"Token {good}",
        f"JWT {good}",
        good,
        f"Bearer\x00{good}",
        f"Bearer token={good}",
    ):
        assert _asked("get", f"{V1}/me/", header).status_code == 401, header[:30]
    assert _asked("get", f"{V1}/me/", f"bEARER  {good}").status_code == 200


def test_a_token_counts_in_its_header_alone(pair: tokens.Pair) -> None:
    client = Client()
    for name in ("access", "access_token", "token", "jwt", "sessionid"):
        client.cookies[name] = pair.access
        assert client.get(f"{V1}/me/", {name: pair.access}).status_code == 401
    assert client.get(f"{V1}/me/", headers={"X-Authorization": f"Bearer {pair.access}"}).status_code == 401


def test_a_forged_refresh_token_with_a_right_signature_ends_the_sign_in_it_names(pair: tokens.Pair) -> None:
    invented = sign({**claims_of(pair.refresh), "jti": hashlib.md5(b"x").hexdigest()})
    refused = _client().post(REFRESH, {"refresh": invented}, format="json")
    assert refused.status_code == 401
    assert AuthSession.objects.get(user=person("alice")).revoked_reason == "refresh token used twice"
    assert AuditEntry.objects.filter(action="session.ended", target="alice@example.org").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_server_makes_no_good_token_of_two_headers_or_of_a_long_one(pair: tokens.Pair) -> None:
    good, forged = f"Bearer {pair.access}", f"Bearer {sign(claims_of(pair.access), key=OTHER)}"
    with served(workers=1, threads=2, SIGNING_KEYS=[KEY]) as site:
        for headers in ([good, forged], [forged, good], [good, good], ["", good], [f"Bearer {'x' * 7000}"]):
            assert site.status_of(f"{V1}/me/", headers) == 401, headers
        assert site.status_of(f"{V1}/me/", [f"Bearer {'x' * 100_000}"]) in (400, 431)
        assert site.status_of(f"{V1}/me/", [good]) == 200
