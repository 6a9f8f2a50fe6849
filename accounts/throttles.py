"""How often something may be tried: counters in the database, exact across processes.

One statement counts and tells the count, so that of sixty requests in the same moment exactly as
many get through as may. A window begins with its first attempt.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from math import ceil
from typing import Any, Final

from django.db import connection
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from accounts.models import RequestCounter
from accounts.sealing import keyed_digest
from datamortem.common.errors import TooMany

_COUNT: Final = """
INSERT INTO request_counters AS held (key, n, expires_at) VALUES (%s, 1, %s)
ON CONFLICT (key) DO UPDATE SET
  n = CASE WHEN held.expires_at <= %s THEN 1 ELSE held.n + 1 END,
  expires_at = CASE WHEN held.expires_at <= %s THEN excluded.expires_at ELSE held.expires_at END
RETURNING n, expires_at
"""
_GIVE_BACK: Final = "UPDATE request_counters SET n = n - 1 WHERE key = %s AND n > 0"


def hit(name: str, ident: object, *, limit: int, seconds: int) -> None:
    """Count an attempt of `ident`. Raises TooMany when there were `limit` in this window already."""
    now = timezone.now()
    as_stored = connection.ops.adapt_datetimefield_value
    at, end = as_stored(now), as_stored(now + timedelta(seconds=seconds))
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, [_key(name, ident), end, at, at])
        n, expires = cursor.fetchone()
    if n > limit:
        wait = max(1, ceil((_moment(expires) - timezone.now()).total_seconds()))
        raise TooMany(f"Too many attempts: try again in {wait} seconds.", retry_after=wait)


def give_back(name: str, ident: object) -> None:
    """Take an attempt off again: it turned out to be a good one."""
    with connection.cursor() as cursor:
        cursor.execute(_GIVE_BACK, [_key(name, ident)])


def clear(name: str, ident: object) -> None:
    """Forget the attempts of `ident`."""
    RequestCounter.objects.filter(key=_key(name, ident)).delete()


def _key(name: str, ident: object) -> str:
    """Return the key of a counter; addresses and names are kept as digests alone."""
    return f"{name}:{keyed_digest(str(ident), purpose='throttle')[:40]}"


def _moment(value: Any) -> datetime:
    """Return the time as the database gave it; SQLite gives text, in UTC."""
    found = value if isinstance(value, datetime) else parse_datetime(str(value))
    if found is None:
        raise ValueError(f"No time: {value!r}")
    return found if timezone.is_aware(found) else found.replace(tzinfo=timezone.get_default_timezone())
