"""Sign-ins: how one begins, goes on and ends. An ended one is refused at the very next request."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Final

from django.contrib.auth import login
from django.db import transaction
from django.db.models import F
from django.http import HttpRequest
from django.utils import timezone

from accounts import audit
from accounts.access import Access
from accounts.browser_store import SessionStore
from accounts.models import ApiToken, AuthSession, PasswordReset, RequestCounter, SpentChallenge, User
from datamortem.common.requests import origin

#: How long a sign-in lasts at most.
LIFETIME: Final = timedelta(days=7)
#: Under which name a browser's session holds the id of its sign-in.
KEY: Final = "auth_session"
_BACKEND: Final = "django.contrib.auth.backends.ModelBackend"
#: How often the time of last use is written, at most.
_SEEN: Final = timedelta(minutes=1)
#: How long ended sign-ins are kept, to be looked at.
_KEPT: Final = timedelta(days=90)


def begin(user: User, *, method: str, second_factor: bool) -> AuthSession:
    """Return a new sign-in of a user who has shown who they are; its refresh id is `refresh_jti`."""
    here, now = origin.get(), timezone.now()
    session = AuthSession.objects.create(
        user=user,
        method=method,
        epoch=user.token_epoch,
        auth_time=now,
        otp_time=now if second_factor else None,
        refresh_jti=uuid.uuid4().hex if method == AuthSession.Method.API else "",
        expires_at=now + LIFETIME,
        address=here.address,
        agent=here.agent,
    )
    user.access = Access(session=session)
    return session


def begin_in_browser(request: HttpRequest, user: User, *, second_factor: bool) -> AuthSession:
    """Sign a browser in. Its session gets a new key, so that one planted before is worth nothing."""
    login(request, user, backend=_BACKEND)
    session = begin(user, method=AuthSession.Method.BROWSER, second_factor=second_factor)
    request.session[KEY] = str(session.pk)
    return session


def is_good(session: AuthSession, user: User) -> bool:
    """Whether the sign-in still lets its user in."""
    return (
        session.user_id == user.pk
        and session.revoked_at is None
        and session.expires_at > timezone.now()
        and session.epoch == user.token_epoch
        and user.is_active
    )


def seen(session: AuthSession) -> None:
    """Note that the sign-in is in use, once a minute at most."""
    now = timezone.now()
    if now - session.last_seen_at > _SEEN:
        AuthSession.objects.filter(pk=session.pk).update(last_seen_at=now)


def step_up(session: AuthSession) -> None:
    """Note that the second factor was shown just now."""
    session.otp_time = timezone.now()
    AuthSession.objects.filter(pk=session.pk).update(otp_time=session.otp_time)


@transaction.atomic
def end(session: AuthSession, *, reason: str, by: User | None) -> None:
    """End one sign-in; a second time changes nothing."""
    ended = AuthSession.objects.filter(pk=session.pk, revoked_at=None).update(
        revoked_at=timezone.now(), revoked_reason=reason
    )
    if ended:
        audit.record("session.ended", by=by, target=session.user.email, details={"reason": reason})


@transaction.atomic
def end_all(
    user: User, *, reason: str, by: User | None, keep: AuthSession | None = None, tokens: bool = True
) -> None:
    """End all sign-ins of a user but `keep`, and their API tokens if `tokens`, from the next request on.

    Ways to a new password that were mailed before end, too.
    """
    now = timezone.now()
    User.objects.filter(pk=user.pk).update(token_epoch=F("token_epoch") + 1)
    user.refresh_from_db(fields=["token_epoch"])
    others = AuthSession.objects.filter(user=user, revoked_at=None)
    if keep is not None:
        others = others.exclude(pk=keep.pk)
        AuthSession.objects.filter(pk=keep.pk, revoked_at=None).update(epoch=user.token_epoch)
        keep.epoch = user.token_epoch
    ended = others.update(revoked_at=now, revoked_reason=reason)
    PasswordReset.objects.filter(user=user, used_at=None).update(used_at=now)
    revoked = ApiToken.objects.filter(user=user, revoked_at=None).update(revoked_at=now) if tokens else 0
    details = {"reason": reason, "sign_ins": ended, "api_tokens": revoked}
    audit.record("signin.ended", by=by, target=user.email, details=details)


def tidy() -> None:
    """Remove what has expired: counters, challenges, resets, browsers' sessions, old sign-ins."""
    now = timezone.now()
    RequestCounter.objects.filter(expires_at__lt=now).delete()
    SpentChallenge.objects.filter(expires_at__lt=now).delete()
    PasswordReset.objects.filter(expires_at__lt=now - _KEPT).delete()
    AuthSession.objects.filter(expires_at__lt=now - _KEPT).delete()
    SessionStore.clear_expired()
