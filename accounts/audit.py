"""The audit record: every sign-in and every change of who may do what, as it happened.

Entries are written with the act, in its transaction, and never edited. They name who acted as
values, so that they outlive the account. Nothing secret is ever given to `details`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.models import AuditEntry, User
from datamortem.common.errors import Invalid
from datamortem.common.requests import origin
from datamortem.common.storable import plain, storable

#: However short the retention, so much is always kept.
LEAST: Final = timedelta(days=30)
_TEXT: Final = 255


@contextmanager
def acting_as(actor: str) -> Iterator[None]:
    """Name who acts when no user does, such as a worker or an operator's command."""
    token = origin.set(replace(origin.get(), actor=storable(actor)[:_TEXT]))
    try:
        yield
    finally:
        origin.reset(token)


def actor(by: User | None) -> str:
    """Return who acts, in words: the user, or what was named by `acting_as`."""
    return storable(f"{by.username} <{by.email}>")[:_TEXT] if by else origin.get().actor


def record(
    action: str,
    *,
    by: User | None = None,
    outcome: Literal["ok", "refused"] = "ok",
    target: str = "",
    case_id: str = "",
    details: dict[str, Any] | None = None,
) -> AuditEntry:
    """Append an act, or an attempt that was refused. Never put a secret into `details`."""
    here = origin.get()
    access = by.access if by else None
    return AuditEntry.objects.create(
        actor=actor(by),
        user_id=by.pk if by else None,
        session_id=access.session.pk if access and access.session else None,
        token_id=access.token.pk if access and access.token else None,
        address=here.address,
        agent=here.agent,
        request_id=here.request_id,
        action=action,
        outcome=outcome,
        target=storable(target)[:_TEXT],
        case_id=storable(case_id)[:_TEXT],
        details=plain(details or {}),
    )


@transaction.atomic
def prune(before: datetime) -> int:
    """Remove the entries before a moment, on record, and return how many. Raises Invalid.

    What is younger than 30 days stays, whatever is asked.
    """
    if before > timezone.now() - LEAST:
        raise Invalid(f"Entries are kept for {LEAST.days} days at least.", field="before")
    removed = AuditEntry.objects.remove_before(before)
    if removed:
        record("audit.pruned", details={"before": before, "entries": removed})
    return removed


def prune_expired() -> int:
    """Remove what is older than AUDIT_RETENTION says, and return how many; 0 days keeps everything."""
    kept = timedelta(days=settings.AUDIT_RETENTION)
    return prune(timezone.now() - max(kept, LEAST)) if kept else 0
