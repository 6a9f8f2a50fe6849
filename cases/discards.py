"""Bytes that no evidence holds any more leave the store, at once or when it answers again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from django.utils import timezone

from cases import store
from cases.models import CustodyEntry, Evidence
from cases.store.content import is_key, key_of

#: How long a deletion is remembered that the store could not carry out.
_REMEMBERED: Final = timedelta(days=30)


def is_held(sha256: str) -> bool:
    """Say whether any evidence of any case has these bytes."""
    return Evidence.objects.filter(sha256=sha256).exists()


def discard(sha256: str) -> bool:
    """Remove stored bytes that no evidence of any case holds any more; return whether they are gone.

    A store that does not answer keeps them until `finish`.
    """
    return store.discard(sha256, is_held)


def finish() -> int:
    """Remove what deletions of the last month left because the store did not answer; return how much.

    The custody records say what was deleted. Content that was never registered is not touched:
    after an older database was restored it may be evidence. Raises StoreDown.
    """
    wanted = set(_deleted())
    held = Evidence.objects.filter(sha256__in=wanted).values_list("sha256", flat=True) if wanted else ()
    left = sorted(wanted.difference(held))
    place = store.place()
    return sum(place.size(key_of(sha256)) is not None and discard(sha256) for sha256 in left)


def _deleted() -> Iterator[str]:
    """Yield the hash of everything that was deleted lately."""
    entries = CustodyEntry.objects.filter(
        action__in=["evidence.deleted", "case.deleted"], at__gte=timezone.now() - _REMEMBERED
    )
    for details in entries.values_list("details", flat=True).iterator():
        for facts in (details, *details.get("evidence", ())):
            sha256 = facts.get("sha256")
            if isinstance(sha256, str) and is_key(f"sha256/{sha256[:2]}/{sha256}"):
                yield sha256
