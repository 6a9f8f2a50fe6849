"""What one user may still add and have read. Operators' commands have no quota.

The bounds are those of `accounts.quotas`. They hold for requests: for whoever acts without one,
and for whoever has no bounds, nothing is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

from django.db.models import Sum

from accounts import flags, quotas
from accounts.models import User
from accounts.quotas import QuotaExceeded
from cases.models import Evidence, TaskRun


@dataclass(frozen=True, slots=True)
class Usage:
    """What a user has added (bytes), and how many of their runs wait or work."""

    storage: int
    runs: int


def usage_of(user: User) -> Usage:
    """Return what counts towards the quota of a user. Removed evidence counts no more."""
    return Usage(storage=_stored(user), runs=_unfinished(user))


def check_quota(by: User | None, *, size: int) -> None:
    """Refuse before the first byte what would be refused at the end; at least `size` bytes will come.

    Raises QuotaExceeded and FeatureOff.
    """
    if not _has_quota(by):
        return
    flags.require(flags.EVIDENCE_PROCESSING)
    quota = quotas.quota_of(by)
    if quota.storage is not None:
        _check_storage(quota.storage, _stored(by), size)
    if quota.runs is not None:
        _check_runs(quota.runs, _unfinished(by))


def take_storage(by: User | None, *, size: int) -> None:
    """Let a user add bytes within this transaction, exactly: nobody adds for them at the same time.

    Raises QuotaExceeded.
    """
    if _has_quota(by) and (limit := quotas.quota_of(by).storage) is not None:
        quotas.hold(by)
        _check_storage(limit, _stored(by), size)


def take_run(by: User | None) -> None:
    """Let a user queue one more run within this transaction, exactly.

    Raises QuotaExceeded and FeatureOff.
    """
    if not _has_quota(by):
        return
    flags.require(flags.EVIDENCE_PROCESSING)
    if (limit := quotas.quota_of(by).runs) is not None:
        quotas.hold(by)
        _check_runs(limit, _unfinished(by))


def _has_quota(by: User | None) -> TypeGuard[User]:
    """Whether a request asks: `access` says by what proof, and nothing but a request has one."""
    return by is not None and by.access is not None


def _stored(user: User) -> int:
    return Evidence.objects.filter(added_by=user).aggregate(total=Sum("size"))["total"] or 0


def _unfinished(user: User) -> int:
    return TaskRun.objects.unfinished().filter(requested_by=user).count()


def _check_storage(limit: int, stored: int, size: int) -> None:
    if stored + size > limit:
        left = max(limit - stored, 0)
        raise QuotaExceeded(
            f"You may add {limit} bytes in all, and {left} of them are left: "
            "remove evidence that is not needed any more, or ask an administrator for more."
        )


def _check_runs(limit: int, unfinished: int) -> None:
    if unfinished >= limit:
        raise QuotaExceeded(
            f"You may have {limit} unfinished runs, and have {unfinished}: wait until one of them has ended."
        )
