"""Forgeries of tokens: whatever somebody might send who has one, or another key, or much time."""

from __future__ import annotations

import base64
import hmac
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from accounts import tokens
from cases.tests.api.cast import person

KEY: Final = "the key of this installation, as nobody else knows it"
OLDER: Final = "the key that this installation had before, just as long"
OTHER: Final = "a key that somebody else has made up, which is long, too"


def _b64(data: bytes | str | object) -> str:
    """Return bytes, a text or JSON as a part of a token."""
    if not isinstance(data, bytes | str):
        data = json.dumps(data)
    raw = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def claims_of(token: str) -> dict[str, Any]:
    """Return what a token says, whoever signed it."""
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def sign(claims: object, *, header: object = None, key: str = KEY, hashed: str = "sha256") -> str:
    """Return a token whose signature is right for the key, whatever header and claims say."""
    head = header if header is not None else {"alg": "HS256", "typ": "JWT"}
    text = f"{_b64(head)}.{_b64(claims)}"
    return f"{text}.{_b64(hmac.new(key.encode(), text.encode('ascii'), hashed).digest())}"


def _header(**changes: object) -> dict[str, object]:
    return {"alg": "HS256", "typ": "JWT", **changes}


def unsigned(token: str) -> Iterator[tuple[str, str]]:
    """Yield tokens that do without a signature of ours."""
    head, body, signature = token.split(".")
    claims = claims_of(token)
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


def by_other_keys(token: str) -> Iterator[tuple[str, str]]:
    """Yield tokens signed with what is no key of ours, or by another algorithm."""
    claims = claims_of(token)
    yield "another key", sign(claims, key=OTHER)
    yield "no key", sign(claims, key="")
    yield "part of the key", sign(claims, key=KEY[:-1])
    yield "HS384", sign(claims, header=_header(alg="HS384"), hashed="sha384")
    yield "HS512", sign(claims, header=_header(alg="HS512"), hashed="sha512")
    yield "RS256 in the header alone", sign(claims, header=_header(alg="RS256"))
    yield "hs256", sign(claims, header=_header(alg="hs256"))
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
    yield "HS256 by a public key", sign(claims, key=public.decode("ascii"))
    yield "ES256", jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256")
    yield "EdDSA", jwt.encode(claims, ed25519.Ed25519PrivateKey.generate(), "EdDSA")
    symmetric = {"kty": "oct", "k": _b64(OTHER)}
    yield "HS256 with its own key", sign(claims, header=_header(jwk=symmetric), key=OTHER)
    for kid, key in (
        ("../../../../dev/null", ""),
        ("/proc/sys/kernel/randomize_va_space", "2\n"),
        (f"' UNION SELECT '{OTHER}", OTHER),
        ("| sleep 9", OTHER),
        ("\x00", ""),
        ("k" * 2000, OTHER),
    ):
        yield f"kid {kid[:20]!r}", sign(claims, header=_header(kid=kid), key=key)


def _with_odd_claims(token: str, other: tokens.Pair) -> Iterator[tuple[str, str]]:
    """Yield tokens with a right signature that say what ours never do."""
    claims, now = claims_of(token), int(time.time())
    for name in ("exp", "sub", "sid", "iss", "aud", "token_type", "jti"):
        yield f"no {name}", sign({key: value for key, value in claims.items() if key != name})
        yield f"{name} null", sign({**claims, name: None})
        yield f"{name} an object", sign({**claims, name: {"$ne": 1}})
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
            claims_of(other.access)["sid"],
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
            yield f"{name} {str(value)[:30]!r}", sign({**claims, name: value})
    for text in ('{"exp": NaN}', '{"exp": 1e999}', "null", "[]", '"text"', "7", "", "{", "\x00", "[" * 2000):
        yield f"claims {text[:20]!r}", sign(text)
    yield "claims that are no UTF-8", sign(b'{"sub": "\xff"}')
    yield "nested claims", sign(json.dumps(claims)[:-1] + ', "a": ' + "[" * 1200 + "]" * 1200 + "}")


def _with_odd_headers(token: str) -> Iterator[tuple[str, str]]:
    """Yield tokens with a right signature, and a header that asks for what we do not know."""
    claims = claims_of(token)
    body, signature = token.split(".")[1:]
    yield "crit unknown", sign(claims, header=_header(crit=["exp"], exp=0))
    yield "crit empty", sign(claims, header=_header(crit=[]))
    yield "not base64 inside", sign(claims, header=_header(b64=False, crit=["b64"]))
    for text in ("[]", "null", "{", "", "\x00", '"HS256"', "[" * 2000, '{"a":' * 400):
        yield f"header {text[:10]!r}", f"{_b64(text)}.{body}.{signature}"
        yield f"header {text[:10]!r}, signed", sign(claims, header=text)
    yield "header that is no UTF-8", f"{_b64(bytes([255, 254]))}.{body}.{signature}"


def _odd_texts(token: str) -> Iterator[tuple[str, str]]:
    """Yield what has hardly the shape of a token."""
    for text in (".", "..", "...", "a..b", "a.b.c", "=.=.=", "-._.-", "null", "undefined", "[object Object]"):
        yield text, text
    yield "7 kB", sign({**claims_of(token), "more": "x" * 5300})
    yield "100 kB", sign({**claims_of(token), "more": "x" * 75_000})
    yield "4 kB of dots", "." * 4096
    yield "a NUL inside", token[:30] + "\x00" + token[30:]
    yield "a NUL at the end", token + "\x00"
    yield "not ASCII", token[:-1] + "é"
    yield "full width", "".join(chr(ord(character) + 0xFEE0) for character in token[:200])
    yield "quoted", f'"{token}"'
    yield "an API token's beginning", f"dm_{token}"


def forged_of(pair: tokens.Pair) -> dict[str, str]:
    """Return every forgery there is of an access token, by name."""
    other = tokens.issue(person("bob"))
    access = pair.access
    found = {
        **dict(unsigned(access)),
        **dict(by_other_keys(access)),
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
