"""Which events of a part have one of many ids: looked up once, then decided by the index alone.

The index holds 64 bits of an id. Two events that share them, which somebody would have to make, are
told apart by their documents.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tantivy import Query

from cases.index import text
from cases.index.embedded_parts import Address, OpenPart
from cases.index.embedded_schema import SCHEMA
from cases.index.tree import Ids

#: Sets of ids that a part remembers its share of.
_REMEMBERED: Final = 8
#: How a stored document begins, and where its id ends.
_FIRST: Final = b'{"event_id":"'
_END: Final = len(_FIRST) + 64


@dataclass(frozen=True, slots=True)
class Named:
    """Which events have one of some ids: surely those that `sure` finds, `count` of them.

    `doubtful` finds those whose number an event with another id has, too. None finds nothing.
    """

    sure: Query | None = None
    doubtful: Query | None = None
    count: int = 0


def named(node: Ids, part: OpenPart) -> Named:
    """Return which events of a part have one of the ids; the last answers are remembered."""
    ids = node.ids
    if node.by_evidence is not None and part.evidence is not None:
        own = [node.by_evidence[uid] for uid in part.evidence if uid in node.by_evidence]
        ids = own[0] if len(own) == 1 else frozenset().union(*own)
    if not ids:
        return Named()
    found = part.named.get(ids)
    if found is None:
        found = _look_for(ids, part)
        if len(part.named) >= _REMEMBERED:
            part.named.popitem(last=False)
        part.named[ids] = found
    known: Named = found
    return known


def numbers_of(ids: Iterable[str]) -> set[int]:
    """Return the numbers of event ids; what is no id has none."""
    found = set()
    for event_id in ids:
        try:
            found.add(int(event_id[:16], 16) if len(event_id) == 64 else -1)
        except ValueError:
            continue
    return {number for number in found if number >= 0}


def with_numbers(numbers: Iterable[int]) -> Query:
    """Return the query for events with one of these numbers."""
    return Query.term_set_query(SCHEMA, "id64", list(numbers))


def _look_for(ids: frozenset[str], part: OpenPart) -> Named:
    query = with_numbers(numbers_of(ids))
    count = part.searcher.search(query, 1).count
    if not count:
        return Named()
    hits = part.searcher.search(query, count, count=False).hits
    # One block of stored documents is unpacked once when they are read as they lie.
    places = sorted((address for _, address in hits), key=lambda at: (at.segment_ord, at.doc))
    numbers = part.searcher.fast_field_values("id64", places)
    meant = [_id_at(place, part) in ids for place in places]
    others = {number for number, is_meant in zip(numbers, meant, strict=True) if not is_meant}
    pairs = zip(numbers, meant, strict=True)
    sure = [number for number, is_meant in pairs if is_meant and number not in others]
    return Named(with_numbers(sure) if sure else None, with_numbers(others) if others else None, len(sure))


def _id_at(address: Address, part: OpenPart) -> str:
    """Return the id of a document, which begins with it, without reading the rest."""
    raw = part.raw(address)
    if raw.startswith(_FIRST) and raw[_END : _END + 1] == b'"':
        return raw[len(_FIRST) : _END].decode("ascii", "replace")
    event_id: str = text.load(raw)["event_id"]
    return event_id
