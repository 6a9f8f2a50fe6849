"""Which small parts an append takes up into its own, so that the list of visible parts stays short.

Posted events come a few at a time, thousands of times, and every append is a part that the alias
of its case lists. Parts are told apart by rank, of which each holds 32 times as many events as the
one below; an append that would be the 32nd of its rank writes the others again as part of itself,
and takes their place when it is published. So a shard lists at most 31 parts a rank and one for
every LARGE events, and no event is written again more than three times.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

#: Parts of one rank from which on they are folded.
KIND: Final = 32
#: Events from which on a part is never written again.
LARGE: Final = 20_000
_BITS: Final = 5


def foldable(parts: Mapping[str, int], added: int) -> list[str]:
    """Return the parts that an append of so many events should take up, given the events of each."""
    ranks: dict[int, list[str]] = defaultdict(list)
    for part, events in sorted(parts.items()):
        if events < LARGE:
            ranks[_rank(events)].append(part)
    folded: list[str] = []
    while added < LARGE and len(same := ranks.pop(_rank(added), [])) >= KIND - 1:
        folded += same
        added += sum(parts[part] for part in same)
    return folded


def _rank(events: int) -> int:
    """Return 0 up to 31 events, 1 up to 1,023, 2 up to 32,767."""
    return (max(events, 1).bit_length() - 1) // _BITS
