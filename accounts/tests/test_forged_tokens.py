"""Tokens that nobody issued, or that were issued for something else: none opens anything."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import tokens
from accounts.models import AuditEntry, AuthSession, SpentChallenge, User
from cases.tests.api.cast import V1, errors, person, staffed_case

pytestmark = pytest.mark.django_db

KEY: Final = "the key of this installation, as nobody else knows it"
OLDER: Final = "the key that this installation had before, just as long"
OTHER: Final = "a key that somebody else has made up, which is long, too"
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


def _b64(data: bytes | str | object) -> str:
    if not isinstance(data, bytes | str):
        data = json.dumps(data)
    raw = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _claims(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def _sign(claims: object, *, header: object = None, key: str = KEY, hashed: str = "sha256") -> str:
    """Return a token whose signature is right for the key, whatever header and claims say."""
    head = header if header is not None else {"alg": "HS256", "typ": "JWT"}
    text = f"{_b64(head)}.{_b64(claims)}"
    return f"{text}.{_b64(hmac.new(key.encode(), text.encode('ascii'), hashed).digest())}"


def _header(**changes: object) -> dict[str, object]:
    return {"alg": "HS256", "typ": "JWT", **changes}


def _unsigned(token: str) -> Iterator[tuple[str, str]]:
    """Yield tokens that do without a signature of ours."""
    head, body, signature = token.split(".")
    claims = _claims(token)
    for name in ("none", "None", "NONE", "nOnE", "", " none", "null"):
        yield f"algorithm {name!r}", f"{_b64({'alg': name, 'typ': 'JWT'})}.{body}."
    yield "algorithm none, the signature kept", f"{_b64({'alg': 'none'})}.{body}.{signature}"
    yield "no algorithm", f"{_b64({'typ': 'JWT'})}.{body}.{signature}"
    yield "algorithm null", f"{_b64({'alg': None})}.{body}.{signature}"
    yield "algorithm a list", f"{_b64({'alg': ['HS256']})}.{body}.{signature}"
    yield "no signature", f"{head}.{body}."
    yield "no third part", f"{head}.{body}"
    yield "swapped payload", f"{head}.{_b64({**claims, 'sub': str(person('bob').pk)})}.{signature}"
    yield "longer life", f"{head}.{_b64({**claims, 'exp': claims['exp'] + 10**6})}.{signature}"
    yield "swapped header", f"{_b64(_header(kid='1'))}.{body}.{signature}"
    yield "shortened signature", f"{head}.{body}.{signature[:-4]}"
    yield "five parts", f"{token}.{body}.{signature}"
    yield "twice", f"{token}.{token}"


def _by_other_keys(token: str) -> Iterator[tuple[str, str]]:
    """Yield tokens signed with what is no key of ours, or by another algorithm."""
    claims = _claims(token)
    yield "another key", _sign(claims, key=OTHER)
    yield "no key", _sign(claims, key="")
    yield "part of the key", _sign(claims, key=KEY[:-1])
    yield "HS384", _sign(claims, header=_header(alg="HS384"), hashed="sha384")
    yield "HS512", _sign(claims, header=_header(alg="HS512"), hashed="sha512")
    yield "RS256 in the header alone", _sign(claims, header=_header(alg="RS256"))
    yield "hs256", _sign(claims, header=_header(alg="hs256"))
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = rsa_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key.public_key()))
    yield "RS256", jwt.encode(claims, rsa_key, "RS256")
    yield "PS256", jwt.encode(claims, rsa_key, "PS256")
    yield "RS256 with its own key", jwt.encode(claims, rsa_key, "RS256", {"jwk": jwk})
    far = {"jku": "http://127.0.0.1:9/keys.json", "kid": "1"}
    yield "RS256 with a key elsewhere", jwt.encode(claims, rsa_key, "RS256", far)
    yield "RS256 with a certificate elsewhere", jwt.encode(claims, rsa_key, "RS256", {"x5u": far["jku"]})
    yield "HS256 by a public key", _sign(claims, key=public.decode("ascii"))
    yield "ES256", jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256")
    yield "EdDSA", jwt.encode(claims, ed25519.Ed25519PrivateKey.generate(), "EdDSA")
    symmetric = {"kty": "oct", "k": _b64(OTHER)}
    yield "HS256 with its own key", _sign(claims, header=_header(jwk=symmetric), key=OTHER)
    for kid, key in (
        ("../../../../dev/null", ""),
        ("/proc/sys/kernel/randomize_va_space", "2\n"),
        (f"' UNION SELECT '{OTHER}", OTHER),
        ("| sleep 9", OTHER),
        ("\x00", ""),
        ("k" * 2000, OTHER),
    ):
        yield f"kid {kid[:20]!r}", _sign(claims, header=_header(kid=kid), key=key)


def _with_odd_claims(token: str, other: tokens.Pair) -> Iterator[tuple[str, str]]:
    """Yield tokens with a right signature that say what ours never do."""
    claims, now = _claims(token), int(time.time())
    for name in ("exp", "sub", "sid", "iss", "aud", "token_type", "jti"):
        yield f"no {name}", _sign({key: value for key, value in claims.items() if key != name})
        yield f"{name} null", _sign({**claims, name: None})
        yield f"{name} an object", _sign({**claims, name: {"$ne": 1}})
    for name, values in {
        "exp": (
            0,
            -1,
            now - 1,
            "soon",
            str(now - 9),
            10**18,
            -(10**18),
            1e300,
            [now + 900],
            True,
            "9" * 4000,
        ),
        "nbf": (now + 3600, "later", 10**30),
        "iat": (now + 3600, "now", []),
        "iss": ("elsewhere", "DATAMORTEM", ["elsewhere"], 7),
        "aud": ("elsewhere", ["elsewhere"], [], 7),
        "sub": (str(person("bob").pk), "0", "-1", "*", "1 OR 1=1", 2**70, "x" * 2000, [claims["sub"]]),
        "sid": (
            _claims(other.access)["sid"],
            uuid.uuid4().hex,
            "*",
            "",
            "\x00",
            "x" * 2000,
            7,
            [claims["sid"]],
        ),
        "token_type": ("refresh", "challenge", "ACCESS", ["access"], ""),
    }.items():
        for value in values:
            yield f"{name} {str(value)[:30]!r}", _sign({**claims, name: value})
    for text in ('{"exp": NaN}', '{"exp": 1e999}', "null", "[]", '"text"', "7", "", "{", "\x00", "[" * 2000):
        yield f"claims {text[:20]!r}", _sign(text)
    yield "claims that are no UTF-8", _sign(b'{"sub": "\xff"}')
    yield "nested claims", _sign(json.dumps(claims)[:-1] + ', "a": ' + "[" * 1200 + "]" * 1200 + "}")


def _with_odd_headers(token: str) -> Iterator[tuple[str, str]]:
    """Yield tokens with a right signature, and a header that asks for what we do not know."""
    claims = _claims(token)
    body, signature = token.split(".")[1:]
    yield "crit unknown", _sign(claims, header=_header(crit=["exp"], exp=0))
    yield "crit empty", _sign(claims, header=_header(crit=[]))
    yield "not base64 inside", _sign(claims, header=_header(b64=False, crit=["b64"]))
    for text in ("[]", "null", "{", "", "\x00", '"HS256"', "[" * 2000, '{"a":' * 400):
        yield f"header {text[:10]!r}", f"{_b64(text)}.{body}.{signature}"
        yield f"header {text[:10]!r}, signed", _sign(claims, header=text)
    yield "header that is no UTF-8", f"{_b64(bytes([255, 254]))}.{body}.{signature}"


def _odd_texts(token: str) -> Iterator[tuple[str, str]]:
    """Yield what has hardly the shape of a token."""
    for text in (".", "..", "...", "a..b", "a.b.c", "=.=.=", "-._.-", "null", "undefined", "[object Object]"):
        yield text, text
    yield "7 kB", _sign({**_claims(token), "more": "x" * 5300})
    yield "100 kB", _sign({**_claims(token), "more": "x" * 75_000})
    yield "4 kB of dots", "." * 4096
    yield "a NUL inside", token[:30] + "\x00" + token[30:]
    yield "a NUL at the end", token + "\x00"
    yield "not ASCII", token[:-1] + "é"
    yield "full width", "".join(chr(ord(character) + 0xFEE0) for character in token[:200])
    yield "quoted", f'"{token}"'
    yield "an API token's beginning", f"dm_{token}"


def _forged(pair: tokens.Pair) -> dict[str, str]:
    """Return every forgery there is of an access token, by name."""
    other = tokens.issue(person("bob"))
    access = pair.access
    found = {
        **dict(_unsigned(access)),
        **dict(_by_other_keys(access)),
        **dict(_with_odd_claims(access, other)),
        **dict(_with_odd_headers(access)),
        **dict(_odd_texts(access)),
        "refresh as access": pair.refresh,
        "challenge as access": tokens.challenge_for(person("alice")),
        "of an account that is gone": _of_one_who_left(),
    }
    assert access not in found.values()
    return found


def _of_one_who_left() -> str:
    left = person("leaver")
    access = tokens.issue(left).access
    left.delete()
    return access


@cache  # each client finds all static files anew
def _client() -> APIClient:
    return APIClient(raise_request_exception=False)


def _asked(method: str, address: str, authorization: str) -> Any:
    call: Callable[..., Any] = getattr(_client(), method)
    return call(address, HTTP_AUTHORIZATION=authorization)


def test_no_forged_token_opens_a_route_and_none_makes_it_fail(pair: tokens.Pair) -> None:
    forged = _forged(pair)
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
        **_forged(pair),
        **{f"{name} (refresh)": text for name, text in _unsigned(pair.refresh)},
        **{f"{name} (refresh)": text for name, text in _by_other_keys(pair.refresh)},
        **{f"{name} (challenge)": text for name, text in _unsigned(challenge)},
        **{f"{name} (challenge)": text for name, text in _by_other_keys(challenge)},
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
    far = _sign({**_claims(pair.access), "exp": int(time.time()) + 10**9})
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
    forged = _sign(_claims(good), key=settings.SECRET_KEY)
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
    invented = _sign({**_claims(pair.refresh), "jti": hashlib.md5(b"x").hexdigest()})
    refused = _client().post(REFRESH, {"refresh": invented}, format="json")
    assert refused.status_code == 401
    assert AuthSession.objects.get(user=person("alice")).revoked_reason == "refresh token used twice"
    assert AuditEntry.objects.filter(action="session.ended", target="alice@example.org").count() == 1
