"""How much one user may use: as the settings say, or as an administrator said for this user."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.db import transaction

from accounts import audit, users
from accounts.models import User, UserQuota
from datamortem.common.errors import Conflict

#: The largest bound a row can hold.
LARGEST_STORAGE = 2**63 - 1
LARGEST_RUNS = 2**31 - 1


class QuotaExceeded(Conflict):
    """The user may not use so much."""

    code = "quota_exceeded"


@dataclass(frozen=True, slots=True)
class Quota:
    """Bounds of one user: bytes of evidence and unfinished runs; None for no bound."""

    storage: int | None
    runs: int | None


def quota_of(user: User) -> Quota:
    """Return the bounds of a user: the own ones where there are any, else those of the settings."""
    own = UserQuota.objects.filter(user=user).first() or UserQuota()
    storage = settings.QUOTA_STORAGE if own.storage is None else own.storage
    runs = settings.QUOTA_RUNS if own.running_jobs is None else own.running_jobs
    return Quota(storage or None, runs or None)


@transaction.atomic
def change(user: User, *, storage: int | None, runs: int | None, by: User | None) -> Quota:
    """Bound a user otherwise than the settings do: None as the settings say, 0 for no bound.

    Raises NotManaged.
    """
    users.check_manages(by, user)
    UserQuota.objects.update_or_create(user=user, defaults={"storage": storage, "running_jobs": runs})
    audit.record(
        "user.quota", by=by, target=user.username, details={"storage": storage, "running_jobs": runs}
    )
    return quota_of(user)


def hold(user: User) -> None:
    """Hold the user's row to the end of the transaction: what is counted then stays so."""
    User.objects.select_for_update(no_key=True).filter(pk=user.pk).first()
