"""Tokens by which programs act for a user: `dm_<prefix>_<secret>`, shown once, kept as a digest."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.module_loading import import_string

from accounts import audit
from accounts.access import READ, WRITE
from accounts.models import ApiToken, User
from accounts.sealing import digest, same
from datamortem.common.errors import Conflict, Invalid
from datamortem.common.requests import origin

#: How many tokens of one user may be good at the same time.
LIMIT: Final = 50
#: How long a token is good if nothing else is asked for, and at most.
DEFAULT_LIFE: Final = timedelta(days=90)
LONGEST_LIFE: Final = timedelta(days=366)
#: A scope that begins so binds the token to the case whose id follows.
CASE: Final = "case:"

_TOKEN: Final = re.compile(r"dm_([0-9a-f]{12})_[A-Za-z0-9_-]{43}", re.ASCII)
_USE_NOTED_EVERY: Final = timedelta(minutes=1)


class TooManyTokens(Conflict):
    """The user has as many tokens as one may have."""

    code = "too_many_tokens"


class SignedOut(Conflict):
    """What ends all tokens of the user happened while this one was being made."""

    code = "signed_out"


@dataclass(frozen=True, slots=True)
class Made:
    """A new token and its text, which nobody can ask for again."""

    token: ApiToken
    text: str


def create(
    user: User,
    *,
    name: str,
    scopes: Sequence[str] = (READ,),
    cases: Sequence[str] | None = None,
    expires_at: datetime | None = None,
) -> Made:
    """Return a new token of a user. Raises Invalid, TooManyTokens.

    Every token reads; one with the scope "write" also writes. Cases named in `cases` or by scopes
    "case:<case_id>" are the only ones it opens.
    """
    named = [scope.removeprefix(CASE) for scope in scopes if scope.startswith(CASE)]
    _check_scopes([scope for scope in scopes if not scope.startswith(CASE)])
    _check_cases(user, named, field="scopes")
    _check_cases(user, cases or (), field="cases")
    bound = None if cases is None and not named else sorted({*named, *(cases or ())})
    if bound == []:
        raise Invalid("Name at least one case, or leave this out for all you see.", field="cases")
    end = _checked_end(expires_at)
    prefix = secrets.token_hex(6)
    text = f"dm_{prefix}_{secrets.token_urlsafe(32)}"
    token = ApiToken(
        user=user,
        name=name,
        prefix=prefix,
        digest=digest(text),
        scopes=[READ, WRITE] if WRITE in scopes else [READ],
        case_ids=bound,
        expires_at=end,
    )
    with transaction.atomic():
        held = User.objects.select_for_update(no_key=True).get(pk=user.pk)  # one request at a time counts
        if held.token_epoch != user.token_epoch:
            raise SignedOut("This sign-in was ended meanwhile: sign in again.")
        if ApiToken.objects.live().filter(user=user).count() >= LIMIT:
            raise TooManyTokens(f"You have {LIMIT} tokens: revoke one first.")
        token.save(force_insert=True)
        details = {"name": name, "scopes": token.scopes, "cases": bound, "until": end.isoformat()}
        audit.record("token.created", by=user, target=prefix, details=details)
    return Made(token, text)


def authenticate(text: str) -> ApiToken | None:
    """Return the live token of an active user whose text this is, with its user; None for any other."""
    shape = _TOKEN.fullmatch(text)
    if shape is None:
        return None
    token = ApiToken.objects.live().select_related("user").filter(prefix=shape[1]).first()
    if token is None or not same(token.digest, digest(text)) or not token.user.is_active:
        return None
    _note_use(token)
    return token


def revoke(token: ApiToken, *, by: User) -> bool:
    """End a token; return whether this call did it."""
    with transaction.atomic():
        ended = ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now())
        if ended:
            audit.record("token.revoked", by=by, target=token.prefix, details={"name": token.name})
    return bool(ended)


def _note_use(token: ApiToken) -> None:
    """Keep when and from where the token was used, once a minute at most."""
    now = timezone.now()
    if token.last_used_at is not None and now - token.last_used_at < _USE_NOTED_EVERY:
        return
    long_ago = Q(last_used_at=None) | Q(last_used_at__lte=now - _USE_NOTED_EVERY)
    used = {"last_used_at": now, "last_used_address": origin.get().address}
    ApiToken.objects.filter(long_ago, pk=token.pk).update(**used)


def _check_scopes(scopes: Collection[str]) -> None:
    if unknown := sorted(set(scopes) - {READ, WRITE}):
        detail = f"There is no scope {unknown[0]!r}; there are {READ}, {WRITE} and {CASE}<case_id>."
        raise Invalid(detail, field="scopes")


def _check_cases(user: User, case_ids: Collection[str], *, field: str) -> None:
    """Raise Invalid where a case is not there or not the user's, in the same words."""
    visible: Callable[[User, Collection[str]], set[str]] = import_string(settings.VISIBLE_CASES)
    if case_ids and set(case_ids) - visible(user, case_ids):
        raise Invalid("You see no case of this id.", field=field)


def _checked_end(expires_at: datetime | None) -> datetime:
    now = timezone.now()
    end = now + DEFAULT_LIFE if expires_at is None else expires_at
    if not now < end <= now + LONGEST_LIFE:
        raise Invalid(f"A token ends within {LONGEST_LIFE.days} days from now.", field="expires_at")
    return end
