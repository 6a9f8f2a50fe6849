"""Which small parts an append writes again as one.

Every append makes a part. Parts are told apart by rank, of which each holds eight times as many
events as the one below; once an append would be the eighth of a rank, it takes up the others. So a
shard of n events has at most seven parts a rank, and writes an event again once a rank.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from cases.index.embedded_store import PartFacts

#: Parts of one rank from which on they are folded.
KIND: Final = 8
#: Events, and bytes on the disk, from which on a part is never written again.
LARGE: Final = 50_000
LARGE_BYTES: Final = 128 * 1024**2


def foldable(parts: Iterable[PartFacts], added: int) -> list[PartFacts]:
    """Return the parts that an append of so many events should take up; smaller ranks first."""
    ranks: dict[int, list[PartFacts]] = defaultdict(list)
    for part in parts:
        if part.events < LARGE and sum(size for size, _, _ in part.files.values()) < LARGE_BYTES:
            ranks[_rank(part.events)].append(part)
    folded: list[PartFacts] = []
    while added < LARGE and len(same := ranks.pop(_rank(added), [])) >= KIND - 1:
        folded += same
        added += sum(part.events for part in same)
    return folded


def _rank(events: int) -> int:
    """Return the number of octal digits less one: 0 up to 7 events, 1 up to 63."""
    return (max(events, 1).bit_length() - 1) // 3
