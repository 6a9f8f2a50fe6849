"""Who keeps house: one worker at a time, whichever carrier it serves and on whichever machine.

A lease in the table of counters, which is the only one that keeps something until a given moment.
Who holds it renews it; when it dies another one takes over within TERM seconds.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q
from django.utils import timezone

from accounts.models import RequestCounter

TERM: Final = 6
_KEY: Final = "housekeeping"


class Office:
    """One worker's claim to keep house."""

    def __init__(self) -> None:
        self._holder = secrets.randbelow(2**31 - 1) + 1
        self._seen: datetime | None = None

    def hold(self) -> bool:
        """Take the office if it is free, or keep it; say whether it is this worker's for TERM seconds."""
        now = timezone.now()
        until = now + timedelta(seconds=TERM)
        row = RequestCounter.objects.filter(key=_KEY)
        if row.filter(Q(expires_at__lte=now) | Q(n=self._holder)).update(n=self._holder, expires_at=until):
            return True
        if row.exists():
            return False
        taken = RequestCounter(key=_KEY, n=self._holder, expires_at=until)
        RequestCounter.objects.bulk_create([taken], ignore_conflicts=True)
        return row.filter(n=self._holder).exists()

    def is_kept(self) -> bool:
        """Whether another worker has renewed its hold since this was first asked: it is alive."""
        until = RequestCounter.objects.filter(key=_KEY).values_list("expires_at", flat=True).first()
        if until is None:
            return False
        self._seen = self._seen or until
        return until != self._seen

    def leave(self) -> None:
        """Let another worker have it at once."""
        RequestCounter.objects.filter(key=_KEY, n=self._holder).delete()


def is_held() -> bool:
    """Whether some worker keeps house, wherever it is."""
    return RequestCounter.objects.filter(key=_KEY, expires_at__gt=timezone.now()).exists()
