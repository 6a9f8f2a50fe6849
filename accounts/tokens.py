"""Tokens of the API: access, refresh, and the challenge between password and second factor.

simplejwt signs and parses. The signature says who asks; the database says, at every request,
whether they still may. A refresh token is good once: its id is swapped for the next one's by one
conditional update, and using a spent one ends its sign-in (RFC 9700 section 4.14.2).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, TypeVar

from django.conf import settings
from django.utils import timezone
from django.utils.crypto import salted_hmac
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendError, TokenBackendExpiredToken, TokenError
from rest_framework_simplejwt.tokens import Token

from accounts import api_tokens, audit, sessions
from accounts.access import Access
from accounts.models import AuthSession, User

#: Two tabs that refresh with the same token within so long are taken for a race, not a theft.
GRACE: Final = timedelta(seconds=10)
_LONGEST: Final = 4096
_NOT_VALID: Final = "This token is not valid, or no longer: sign in again."


class InvalidToken(AuthenticationFailed):
    """The token is forged, expired, of another kind, or was ended."""

    default_detail = _NOT_VALID
    default_code = "invalid_token"


class RefreshRaced(AuthenticationFailed):
    """The token was exchanged a moment ago by another tab; the sign-in goes on with the new one."""

    default_detail = "This refresh token was exchanged a moment ago: use the new one."
    default_code = "refresh_raced"


@dataclass(frozen=True, slots=True)
class Pair:
    """What a client gets: two tokens, and when the first one ends."""

    access: str
    refresh: str
    access_expires_at: datetime


class _KeyRing:
    """Signs with the first key, and checks with any of them."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        self.backends = [
            TokenBackend("HS256", signing_key=key, audience="datamortem", issuer="datamortem") for key in keys
        ]

    def encode(self, payload: dict[str, Any]) -> str:
        """Return the signed token."""
        return self.backends[0].encode(payload)

    def decode(self, token: Any, verify: bool = True) -> dict[str, Any]:
        """Return what a token says. Raises TokenBackendError."""
        refusal = TokenBackendError("No key.")
        for backend in self.backends:
            try:
                return backend.decode(token, verify=True)
            except TokenBackendExpiredToken:
                raise
            except TokenBackendError as error:
                refusal = error
        raise refusal

    def get_leeway(self) -> timedelta:
        """Return none: all clocks are ours."""
        return timedelta(0)


@lru_cache(maxsize=8)
def _ring(keys: tuple[str, ...]) -> _KeyRing:
    return _KeyRing(keys)


def _key_ring() -> _KeyRing:
    """Return the keys of SIGNING_KEYS, else one made from SECRET_KEY and used for nothing else."""
    derived = salted_hmac("datamortem.signing", "1", algorithm="sha256").hexdigest()
    return _ring(tuple(settings.SIGNING_KEYS) or (derived,))


class _Signed(Token):
    def get_token_backend(self) -> Any:
        return _key_ring()


class AccessToken(_Signed):
    """What a request carries."""

    token_type = "access"  # noqa: S105
    lifetime = timedelta(minutes=15)


class RefreshToken(_Signed):
    """What gets the next pair, once."""

    token_type = "refresh"  # noqa: S105
    lifetime = sessions.LIFETIME


class ChallengeToken(_Signed):
    """What shows that the password was right, while the second factor is due."""

    token_type = "challenge"  # noqa: S105
    lifetime = timedelta(minutes=5)


Kind = TypeVar("Kind", bound=Token)


def read(kind: type[Kind], text: str) -> Kind:
    """Return a token of this kind if it is good: ours, of this kind, not expired. Raises InvalidToken."""
    if not text.isascii() or len(text) > _LONGEST:
        raise InvalidToken
    try:
        return kind(text)  # type: ignore[arg-type]  # the stubs forget encoded ones
    except (TokenError, ValueError, OverflowError, OSError, TypeError, RecursionError) as error:
        raise InvalidToken from error  # times beyond any calendar, brackets without end


def issue(user: User, *, second_factor: bool = False) -> Pair:
    """Return the first pair of a new sign-in of a user who has shown who they are."""
    return _pair(sessions.begin(user, method=AuthSession.Method.API, second_factor=second_factor))


def _pair(session: AuthSession) -> Pair:
    access, refresh = AccessToken(), RefreshToken()
    for token in (access, refresh):
        token["sub"], token["sid"] = str(session.user_id), session.pk.hex
    access["amr"] = ["pwd", "otp"] if session.otp_time else ["pwd"]
    access["auth_time"] = int(session.auth_time.timestamp())
    ends = int(session.expires_at.timestamp())
    access["exp"] = min(access["exp"], ends)
    refresh["exp"], refresh["jti"] = ends, session.refresh_jti
    return Pair(str(access), str(refresh), datetime.fromtimestamp(access["exp"], UTC))


def renew(refresh: str) -> Pair:
    """Return the next pair; the token is spent. Raises InvalidToken, RefreshRaced.

    Of many uses at once one succeeds. The condition names columns of this table alone: after
    waiting for a row, PostgreSQL checks it anew only for those (no subquery, no join).
    """
    token = read(RefreshToken, refresh)
    pk, jti, now = _session_id(token), token.get("jti"), timezone.now()
    if not isinstance(jti, str):
        raise InvalidToken
    fresh = uuid.uuid4().hex
    swapped = AuthSession.objects.filter(pk=pk, refresh_jti=jti, revoked_at=None, expires_at__gt=now).update(
        refresh_jti=fresh, previous_jti=jti, rotated_at=now, last_seen_at=now
    )
    session = AuthSession.objects.select_related("user").filter(pk=pk).first()
    if session is None or session.revoked_at is not None or token.get("sub") != str(session.user_id):
        raise InvalidToken
    is_good = sessions.is_good(session, session.user)
    if not swapped:
        if session.previous_jti == jti and now - session.rotated_at < GRACE:
            raise RefreshRaced if is_good else InvalidToken
        if session.expires_at > now:
            sessions.end(session, reason="refresh token used twice", by=None)
        raise InvalidToken
    if not is_good:
        raise InvalidToken
    # A tab that races ahead must not change what this one hands out.
    session.refresh_jti = fresh
    return _pair(session)


def end_by_refresh(refresh: str, *, by: User) -> None:
    """End the sign-in of a refresh token, if it is one of this user's."""
    token = read(RefreshToken, refresh)
    session = AuthSession.objects.select_related("user").filter(pk=_session_id(token), user=by).first()
    if session is not None:
        sessions.end(session, reason="signed out", by=by)


def challenge_for(user: User) -> str:
    """Return what the second step must bring, good for five minutes and once."""
    token = ChallengeToken()
    token["sub"], token["epoch"] = str(user.pk), user.token_epoch
    return str(token)


def open_challenge(text: str) -> tuple[User, str, datetime]:
    """Return whose password was right, the challenge's id and its end. Raises InvalidToken."""
    token = read(ChallengeToken, text)
    sub, jti = token.get("sub"), token.get("jti")
    if not isinstance(jti, str) or not isinstance(sub, str) or not _is_number(sub):
        raise InvalidToken
    user = User.objects.filter(pk=int(sub), is_active=True).first()
    if user is None or token.get("epoch") != user.token_epoch:
        raise InvalidToken
    return user, jti, datetime.fromtimestamp(token["exp"], UTC)


def _session_id(token: Token) -> uuid.UUID:
    try:
        return uuid.UUID(hex=str(token.get("sid")))
    except ValueError as error:
        raise InvalidToken from error


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer <access token or API token>`."""

    def authenticate(self, request: Request) -> tuple[User, Access] | None:
        """Return who asks; None where another scheme is used. Raises InvalidToken.

        The case of a scheme never matters (RFC 9110 section 11.1).
        """
        header = request.META.get("HTTP_AUTHORIZATION", "")
        scheme, *rest = header.split() or [""]
        if scheme.lower() != "bearer":
            return None
        if len(rest) != 1:
            raise InvalidToken
        access = _by_api_token(rest[0]) if rest[0].startswith("dm_") else _by_session(rest[0])
        user = access.token.user if access.token else access.session.user  # type: ignore[union-attr]
        user.access = access
        return user, access

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge that makes a refusal a 401."""
        return 'Bearer realm="api"'


def _by_session(text: str) -> Access:
    token = read(AccessToken, text)
    session = AuthSession.objects.select_related("user").filter(pk=_session_id(token)).first()
    if (
        session is None
        or not sessions.is_good(session, session.user)
        or token.get("sub") != str(session.user_id)
    ):
        raise InvalidToken
    sessions.seen(session)
    return Access(session=session)


def _by_api_token(text: str) -> Access:
    token = api_tokens.authenticate(text)
    if token is None:
        audit.record("token.used", outcome="refused")
        raise InvalidToken
    return Access(token=token)
