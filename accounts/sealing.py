"""Secrets at rest: sealed where they must be read again, digested where they need not.

Sealed with Fernet (AES-128-CBC and HMAC-SHA-256) under the first of FIELD_KEYS; older keys still
open. Tokens of 256 random bits need no slow hash; short codes get a key.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.utils.crypto import salted_hmac

#: What every sealed value begins with.
MARK: Final = "v1:"


class CannotUnseal(Exception):
    """None of FIELD_KEYS opens this value: the key it was sealed with is missing."""


def _keys() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.FIELD_KEYS])


def seal(text: str) -> str:
    """Return the text as only this installation can read it."""
    return MARK + _keys().encrypt(text.encode()).decode("ascii")


def unseal(sealed: str) -> str:
    """Return what was sealed. Raises CannotUnseal."""
    try:
        return _keys().decrypt(sealed.removeprefix(MARK).encode()).decode()
    except (InvalidToken, UnicodeError) as error:
        raise CannotUnseal("A secret was sealed with a key that is not among FIELD_KEYS.") from error


def reseal(sealed: str) -> str:
    """Return the same secret under the first of FIELD_KEYS. Raises CannotUnseal."""
    return seal(unseal(sealed))


def digest(token: str) -> str:
    """Return SHA-256 in hexadecimal, for random tokens of 128 bits or more."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def keyed_digest(code: str, *, purpose: str) -> str:
    """Return HMAC-SHA-256 in hexadecimal, for codes, addresses and whatever else can be guessed."""
    text = code.encode("utf-8", "surrogatepass")
    return salted_hmac(f"datamortem.{purpose}", text, algorithm="sha256").hexdigest()


def address_digest(email: str) -> str:
    """Return what tells in records that the same unknown address, or password in its place, was typed."""
    return keyed_digest(email.lower(), purpose="address")[:16]


def same(one: str, other: str) -> bool:
    """Whether two digests are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())
