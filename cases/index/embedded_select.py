"""What one part holds of a question: counted, in order, and tested where the index cannot decide."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tantivy import FieldType, Order, Query

from cases.index.embedded_compile import EVERYTHING, NOTHING, Compiler
from cases.index.embedded_parts import Address, OpenPart, both, in_chunks
from cases.index.embedded_queries import without
from cases.index.embedded_schema import SCHEMA
from cases.index.tree import Node

#: Verdicts about single documents that this process remembers.
_VERDICTS: Final = 1_000_000
#: How many candidates are looked at first when only some are wanted.
_FIRST_CHUNK: Final = 500

#: A document found: what it is ordered by (None without a time), and where it lies.
Hit = tuple[int | None, Address]


class Verdicts:
    """Which documents were tested before, and how that ended; the same for every question of a tree."""

    def __init__(self) -> None:
        self._held: OrderedDict[Node, dict[Path, dict[int, bool]]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, node: Node) -> dict[Path, dict[int, bool]]:
        """Return the verdicts about documents by part, to be looked up and added to."""
        with self._lock:
            found = self._held.setdefault(node, {})
            self._held.move_to_end(node)
            size = sum(len(part) for held in self._held.values() for part in held.values())
            while size > _VERDICTS and len(self._held) > 1:
                size -= sum(map(len, self._held.popitem(last=False)[1].values()))
            if size > _VERDICTS:
                found.clear()
        return found


class Selection:
    """What a tree finds in one part."""

    def __init__(self, part: OpenPart, compiler: Compiler, verdicts: dict[Path, dict[int, bool]]) -> None:
        self.part = part
        bounds = compiler.bounds(part)
        self.sure = bounds.lower
        self.exact = bounds.exact
        self.everything = bounds is EVERYTHING
        self.nothing = bounds is NOTHING
        self._count = bounds.count
        self._test = compiler.test
        self._unsure = None if bounds.exact else without(bounds.upper, bounds.lower)
        self._verdicts = {} if bounds.exact else verdicts.setdefault(part.directory, {})

    def count(self, among: Query | None = None) -> int:
        """Return how many documents there are."""
        if among is None and self.everything:
            return self.part.facts.events
        if self.nothing:
            return 0
        if among is None and self._count is not None:
            return self._count
        found: int = self.part.searcher.search(both(self.sure, among), 1).count
        return found if self.exact else found + sum(1 for _ in self.tested(among))

    def first(self, limit: int, *, by: str, descending: bool, among: Query | None = None) -> list[Hit]:
        """Return the first documents by a field; without a value they come last."""
        order = Order.Desc if descending else Order.Asc
        search = self.part.searcher.search
        hits: list[Hit] = search(
            both(self.sure, among), limit, count=False, order_by_field=by, order=order
        ).hits
        if self.exact:
            return hits
        return _merged(hits, self._first_tested(limit, by, order, among), limit, descending=descending)

    def _first_tested(self, limit: int, by: str, order: Any, among: Query | None) -> list[Hit]:
        query = both(self._unsure, among)
        search = self.part.searcher.search
        found: list[Hit] = []
        for offset, size in in_chunks(max(limit, _FIRST_CHUNK), self.part.facts.events):
            hits = search(query, size, count=False, order_by_field=by, order=order, offset=offset).hits
            for hit in hits:
                if self._passes(hit[1]):
                    found.append(hit)
                    if len(found) == limit:
                        return found
            if len(hits) < size:
                break
        return found

    def tested(self, among: Query | None = None) -> Iterator[Hit]:
        """Yield what only documents decide, as far as it passes, in the order it lies in."""
        if self.exact:
            return
        query = both(self._unsure, among)
        count = self.part.searcher.search(query, 1).count
        if not count:
            return
        hits = self.part.searcher.search(query, count, count=False, order_by_field="ts").hits
        # One block of stored documents is unpacked once when they are read as they lie.
        hits.sort(key=lambda hit: (hit[1].segment_ord, hit[1].doc))
        for hit in hits:
            if self._passes(hit[1]):
                yield hit

    def _passes(self, address: Address) -> bool:
        place = address.segment_ord << 32 | address.doc
        verdict = self._verdicts.get(place)
        if verdict is None:
            verdict = self._verdicts[place] = self._test(self.part.load(address))
        return verdict

    def numbers(self, hits: list[Hit]) -> list[int]:
        """Return `id64` of documents."""
        values: list[int] = self.part.searcher.fast_field_values("id64", [address for _, address in hits])
        return values


def _merged(left: list[Hit], right: list[Hit], limit: int, *, descending: bool) -> list[Hit]:
    def key(hit: Hit) -> tuple[bool, int]:
        value = hit[0]
        return (True, 0) if value is None else (False, -value if descending else value)

    return sorted([*left, *right], key=key)[:limit]


def ids_from(lower: int, upper: int) -> Query:
    """Return the query for `id64` in a range, both ends included."""
    return Query.range_query(SCHEMA, "id64", FieldType.Unsigned, lower, upper)
