"""Parts of the platform that a superadmin may switch off; what no row speaks of is on."""

from __future__ import annotations

from typing import Final

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts import audit
from accounts.models import FeatureFlag, User
from datamortem.common.errors import Conflict, Missing

REGISTRATION: Final = "registration"
EVIDENCE_PROCESSING: Final = "evidence_processing"
SCRIPT_MARKETPLACE: Final = "script_marketplace"

#: Every flag there is, and what stops when it is off.
KNOWN: Final = {
    REGISTRATION: "People make accounts of their own, as far as REGISTRATION lets them.",
    EVIDENCE_PROCESSING: "New readings of evidence and of posted events are queued.",
    SCRIPT_MARKETPLACE: "Scripts are offered, installed and run.",
}


class FeatureOff(Conflict):
    """This part of the platform is switched off."""

    code = "feature_off"


def is_on(key: str) -> bool:
    """Whether a part is on, asked of the database each time. Raises Missing for what is no flag."""
    _check_known(key)
    return not FeatureFlag.objects.filter(key=key, enabled=False).exists()


def require(key: str) -> None:
    """Raise FeatureOff if the part is switched off."""
    if not is_on(key):
        raise FeatureOff(f"An administrator has switched this off ({key}): try again later, or ask them.")


def rows() -> QuerySet[FeatureFlag]:
    """Return every known flag, those without a row so far with a new one."""
    known = FeatureFlag.objects.filter(key__in=KNOWN)
    missing = set(KNOWN) - set(known.values_list("key", flat=True))
    FeatureFlag.objects.bulk_create(
        [FeatureFlag(key=key, description=KNOWN[key]) for key in sorted(missing)], ignore_conflicts=True
    )
    return known.select_related("updated_by").order_by("key")


@transaction.atomic
def switch(key: str, *, enabled: bool, by: User | None) -> FeatureFlag:
    """Turn a part on or off, on record. Raises Missing for what is no flag."""
    _check_known(key)
    rows()
    flag = FeatureFlag.objects.select_for_update(no_key=True).get(key=key)
    if flag.enabled != enabled:
        flag.enabled, flag.updated_by, flag.updated_at = enabled, by, timezone.now()
        flag.save(update_fields=["enabled", "updated_by", "updated_at"])
        audit.record("flag.changed", by=by, target=key, details={"enabled": enabled})
    return flag


def _check_known(key: str) -> None:
    if key not in KNOWN:
        raise Missing(f"There is no flag {key}; there are {', '.join(KNOWN)}.")
