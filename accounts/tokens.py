"""Tokens of the API: a short access token, and a refresh token that gets the next pair.

The signature says who asks; the database says, at every request, whether they still may.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from django.contrib.auth import authenticate
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import RefreshToken, Token

from accounts.models import User

#: The claim that holds the user's `token_epoch`: raising that ends all tokens issued before.
EPOCH: Final = "epoch"
_NOT_VALID: Final = "This token is not valid, or no longer: sign in again."


class WrongCredentials(AuthenticationFailed):
    """No active account has this address and password; which of the two is wrong is not said."""

    default_detail = "No active account has this address and password."
    default_code = "invalid_credentials"


class SecondFactorDue(AuthenticationFailed):
    """The account has a second factor, which this version cannot ask for."""

    default_detail = "This account signs in with a second factor, which is not available here yet."
    default_code = "second_factor_required"


class InvalidToken(AuthenticationFailed):
    """The token is forged, expired, of another kind, or was ended."""

    default_detail = _NOT_VALID
    default_code = "invalid_token"


@dataclass(frozen=True, slots=True)
class Pair:
    """What a client gets: two tokens, and when the first one ends."""

    access: str
    refresh: str
    access_expires_at: datetime


def may_sign_in(user: User | None) -> bool:
    """Whether the account is in use at all."""
    return user is not None and user.is_active


def sign_in(email: str, password: str, request: Request | None = None) -> Pair:
    """Return tokens for an address and its password. Raises AuthenticationFailed.

    An unknown address costs the time of hashing a password, too.
    """
    user = authenticate(request=request._request if request else None, username=email, password=password)
    if not isinstance(user, User) or not may_sign_in(user):
        raise WrongCredentials
    if user.otp_enabled:
        raise SecondFactorDue
    User.objects.filter(pk=user.pk).update(last_login=timezone.now())
    return issue(user)


def issue(user: User) -> Pair:
    """Return a new pair of tokens for a user who has shown who they are."""
    refresh = RefreshToken.for_user(user)
    refresh[EPOCH] = user.token_epoch  # the access token inherits it
    access = refresh.access_token
    return Pair(
        access=str(access),
        refresh=str(refresh),
        access_expires_at=datetime.fromtimestamp(access["exp"], UTC),
    )


def renew(refresh: str) -> Pair:
    """Return a new pair for a refresh token. Raises InvalidToken."""
    try:
        token = RefreshToken(refresh)  # type: ignore[arg-type]  # the stubs forget encoded ones
    except TokenError as error:
        raise InvalidToken from error
    return issue(user_of(token))


def user_of(token: Token) -> User:
    """Return the user a checked token speaks for, if they still may. Raises InvalidToken."""
    user = User.objects.filter(pk=token.get("sub")).first()
    if user is None or not may_sign_in(user) or token.get(EPOCH) != user.token_epoch:
        raise InvalidToken
    return user


class BearerAuthentication(JWTAuthentication):
    """`Authorization: Bearer <access token>`."""

    def get_raw_token(self, header: bytes) -> bytes | None:
        """Return the token, None where another scheme is used. Raises InvalidToken.

        The case of a scheme never matters (RFC 9110 section 11.1).
        """
        scheme, *rest = header.split() or [b""]
        if scheme.lower() != b"bearer":
            return None
        if len(rest) != 1:
            raise InvalidToken
        return rest[0]

    def get_validated_token(self, raw_token: bytes) -> Token:
        """Return the token if it is an access token with a good signature. Raises InvalidToken."""
        try:
            return super().get_validated_token(raw_token)
        except AuthenticationFailed as error:
            raise InvalidToken from error

    def get_user(self, validated_token: Token) -> Any:
        """Return the user, asked of the database each time. Raises InvalidToken."""
        return user_of(validated_token)
