"""The fictional company, its people and machines, and when things happen there.

Names end in .example (RFC 2606); outside addresses are those kept for documentation (RFC 5737).
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Final, TypeVar

T = TypeVar("T")

SEED: Final = 20260312
DOMAIN: Final = "nordlicht.example"
WORKSTATION: Final = "WS-017.nordlicht.example"
SERVER: Final = "SRV-DC1.nordlicht.example"
WEB: Final = "web-01"
WORKSTATION_IP: Final = "10.20.3.17"
SERVER_IP: Final = "10.20.1.10"
WEB_IP: Final = "10.20.5.20"
ATTACKER_IP: Final = "198.51.100.77"
VICTIM: Final = "anna.berg"
SERVICE: Final = "svc-backup"
PLANTED: Final = "support_adm"
PHISHING: Final = "rechnung-portal.example"
COMMAND_SERVER: Final = "cdn-sync.example"
DOMAIN_SID: Final = "S-1-5-21-1463286517-2187004410-3920713388"

PEOPLE: Final = (
    VICTIM, "jonas.kraft", "mira.holm", "david.stein", "lena.vogt", "paul.ritter", "sofia.lang",
    "tom.fischer", "nina.beck", "erik.sand", "clara.roth", "max.weber",
)  # fmt: skip
ADDRESSES: Final = {name: f"10.20.3.{17 + number}" for number, name in enumerate(PEOPLE)}
SIDS: Final = {
    name: f"{DOMAIN_SID}-{1104 + number}" for number, name in enumerate((*PEOPLE, SERVICE, PLANTED))
}

#: One working week; Berlin is an hour ahead of UTC in it.
FIRST: Final = datetime(2026, 3, 9, tzinfo=UTC)
LAST: Final = datetime(2026, 3, 14, tzinfo=UTC)
INTRUSION: Final = datetime(2026, 3, 12, tzinfo=UTC)
BERLIN: Final = timedelta(hours=1)
#: How much happens in each hour of a day, UTC.
_BUSY: Final = (2, 2, 2, 2, 3, 5, 14, 22, 24, 24, 22, 18, 22, 24, 23, 20, 12, 7, 5, 4, 4, 3, 3, 2)

_FILETIME_EPOCH: Final = datetime(1601, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def at(clock: str) -> datetime:
    """Return a time of the day of the intrusion, "08:41:07" or finer, UTC."""
    hour, minute, second = clock.split(":")
    return INTRUSION + timedelta(hours=int(hour), minutes=int(minute), seconds=float(second))


def filetime(moment: datetime) -> int:
    """Return a time in units of 100 ns since 1601, with a last digit of its own."""
    passed = (moment - _FILETIME_EPOCH) // _MICROSECOND
    return passed * 10 + passed % 7


def pick(chance: random.Random, choices: Sequence[T]) -> T:
    """Return one of the choices; quicker than Random.choice, which matters for millions."""
    return choices[int(chance.random() * len(choices))]


def chance_for(name: str) -> random.Random:
    """Return the source of chance of one file: the same at every call, whatever else is made."""
    return random.Random(f"{SEED} {name}")  # noqa: S311 - fiction, not secrets


def moments(
    chance: random.Random, count: int, first: datetime = FIRST, last: datetime = LAST
) -> Iterator[datetime]:
    """Yield `count` times in order: more of them when people work, in flat memory."""
    hours = int((last - first) / timedelta(hours=1))
    start = first.hour
    ends = list(accumulate(_BUSY[(start + hour) % 24] for hour in range(hours)))
    for number in range(count):
        place = (number + chance.random()) / count * ends[-1]
        hour = bisect_right(ends, place)
        before = ends[hour - 1] if hour else 0
        part = (place - before) / (ends[hour] - before)
        yield first + timedelta(hours=hour, microseconds=int(part * 3_600_000_000))
