"""Order over all parts: pages by cursor, and everything as a stream.

The order is (timestamp, event id), both in the asked direction, undated events last. The index
orders by time, or by the first 16 characters of the id; full ids, which decide between events
of one instant, come from the documents.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Final

from tantivy import Query

from cases.index import text
from cases.index.document import Document
from cases.index.embedded_parts import DAY, Address, both
from cases.index.embedded_queries import ALL, at, between, without
from cases.index.embedded_select import Hit, Selection, ids_from
from cases.index.engine import Cursor

_LAST_ID: Final = 2**64 - 1
#: Events that a stream sorts at once.
WINDOW: Final = 100_000
#: Events of a stream whose documents are in memory at once.
_SLICE: Final = 5000
#: Days from a cursor on that are looked through for enough events.
_DAYS: Final = 60
#: Events of one instant up to which all of them are simply read.
_FEW: Final = 20

Map = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]


#: Time, where it was found, and where it lies.
_Dated = tuple[int, Selection, Address]
#: Time and number in the asked direction, the selection, the rank in it, and where it lies.
_Key = tuple[int, int, int, int, Address]


def undated() -> Query:
    """Return the query for events without a time."""
    return without(ALL, between(None, None))


class Order:
    """The events of some parts in order."""

    def __init__(self, selections: list[Selection], run: Map, *, descending: bool) -> None:
        selections = [selection for selection in selections if not selection.nothing]
        self._dated = [selection for selection in selections if selection.part.facts.first is not None]
        self._undated = [selection for selection in selections if selection.part.facts.undated]
        self._map = run
        self._descending = descending
        self._sign = -1 if descending else 1

    def page(self, limit: int, after: Cursor | None) -> list[Document]:
        """Return the events behind the cursor, at most so many."""
        found: list[Document] = []
        if after is None or after.timestamp is not None:
            if after is not None and after.timestamp is not None:
                found += self._instant(after.timestamp, limit, behind=after.event_id)
            if len(found) < limit:
                found += self._dated_events(limit - len(found), after.timestamp if after else None)
            after = None
        if len(found) < limit and self._undated:
            behind = after.event_id if after else None
            found += self._by_id(self._undated, undated(), limit - len(found), behind)
        return found

    def _dated_events(self, limit: int, beyond: int | None) -> list[Document]:
        """Return dated events beyond an instant."""
        hits = self._first_by_time(limit + 1, beyond)
        # Does the page end within an instant? There its events compete by id.
        cut = hits[limit][0] if len(hits) > limit and hits[limit][0] == hits[limit - 1][0] else None
        found: list[Document] = []
        for instant, group in itertools.groupby(hits[:limit], key=lambda hit: hit[0]):
            if instant == cut:
                found += self._instant(instant, limit - len(found), behind=None)
            else:
                found += self._in_order([selection.part.load(address) for _, selection, address in group])
        return found

    def _first_by_time(self, limit: int, beyond: int | None) -> list[_Dated]:
        """Ask the parts in the order of their nearest events, and stop where none can add more."""
        among = self._within(limit, beyond)

        def hits_of(selection: Selection) -> list[_Dated]:
            hits = selection.first(limit, by="ts", descending=self._descending, among=among)
            return [
                (self._sign * instant, selection, address) for instant, address in hits if instant is not None
            ]

        found: list[_Dated] = []
        waiting = sorted((s for s in self._dated if self._reaches(s, beyond)), key=self._nearest)
        size = 2
        while waiting:
            wave, waiting = waiting[:size], waiting[size:]
            for hits in self._map(hits_of, wave):
                found += hits
            found.sort(key=itemgetter(0))
            del found[limit:]
            size *= 2 if len(found) == limit else 8
            if len(found) == limit:
                worst = found[-1][0]
                waiting = [selection for selection in waiting if self._nearest(selection) <= worst]
        return [(self._sign * instant, selection, address) for instant, selection, address in found]

    def _within(self, limit: int, beyond: int | None) -> Query | None:
        """Return the span of time to look in: from the cursor on, and as far as surely is enough."""
        end = self._enough(limit, beyond)
        if self._descending:
            ends = (end, None if beyond is None else beyond - 1)
        else:
            ends = (None if beyond is None else beyond + 1, end)
        return None if ends == (None, None) else between(*ends)

    def _enough(self, limit: int, beyond: int | None) -> int | None:
        """Return the end of days that hold a page, if everything is asked for; None if unknown.

        tantivy looks at every event in the span: of ten million, a few thousand are left.
        """
        parts = [selection.part for selection in self._dated]
        if not parts or not all(s.everything and s.part.countable(DAY) for s in self._dated):
            return None
        if beyond is None:
            beyond = -self._sign * max(-self._nearest(selection) for selection in self._dated)
            day = beyond // DAY * DAY
        else:  # of the cursor's own day it is not known how much lies behind
            day = (beyond // DAY + self._sign) * DAY
        missing = limit
        for start in range(day, day + self._sign * _DAYS * DAY, self._sign * DAY):
            missing -= sum(part.days.get(start, 0) for part in parts)
            if missing <= 0:
                return start if self._descending else start + DAY - 1
        return None

    def _nearest(self, selection: Selection) -> int:
        facts = selection.part.facts
        nearest = facts.last if self._descending else facts.first
        return self._sign * (nearest or 0)  # dated parts have both

    def _reaches(self, selection: Selection, beyond: int | None) -> bool:
        facts = selection.part.facts
        if beyond is None or facts.first is None or facts.last is None:
            return True
        return facts.first < beyond if self._descending else facts.last > beyond

    def _instant(self, instant: int, limit: int, behind: str | None) -> list[Document]:
        """Return events of one instant, by id."""
        selections = overlapping(self._dated, instant, instant)

        def some(selection: Selection) -> list[Hit]:
            return selection.first(_FEW + 1, by="id64", descending=self._descending, among=at(instant))

        found = list(zip(selections, self._map(some, selections), strict=True))
        if sum(len(hits) for _, hits in found) > _FEW:
            return self._by_id(selections, at(instant), limit, behind)
        documents = [selection.part.load(address) for selection, hits in found for _, address in hits]
        return self._in_order(
            [each for each in documents if behind is None or self._is_behind(each, behind)]
        )[:limit]

    def _by_id(
        self, selections: list[Selection], among: Query, limit: int, behind: str | None
    ) -> list[Document]:
        """Return events by id, behind an id.

        Ids may share their first 16 characters, if somebody made them so: the cursor's own
        number, and the last one on the page, are therefore read whole.
        """
        found: list[Document] = []
        if behind is not None:
            own = int(behind[:16], 16)
            same = self._all(selections, both(among, ids_from(own, own)))
            found += [document for document in same if self._is_behind(document, behind)]
            if own == (0 if self._descending else _LAST_ID):
                return self._in_order(found)[:limit]
            among = both(among, ids_from(0, own - 1) if self._descending else ids_from(own + 1, _LAST_ID))
        missing = limit - len(found)
        if missing > 0:

            def numbers_of(selection: Selection) -> list[int]:
                hits = selection.first(missing, by="id64", descending=self._descending, among=among)
                return [number for number, _ in hits if number is not None]

            numbers = sorted(itertools.chain(*self._map(numbers_of, selections)), reverse=self._descending)
            if numbers := numbers[:missing]:
                found += self._all(selections, both(among, ids_from(min(numbers), max(numbers))))
        return self._in_order(found)[:limit]

    def _all(self, selections: list[Selection], among: Query) -> list[Document]:
        def load(selection: Selection) -> list[Document]:
            count = selection.count(among)
            hits = selection.first(count, by="id64", descending=False, among=among) if count else []
            return [selection.part.load(address) for _, address in hits]

        return list(itertools.chain(*self._map(load, selections)))

    def _is_behind(self, document: Document, behind: str) -> bool:
        return _event_id(document) < behind if self._descending else _event_id(document) > behind

    def _in_order(self, documents: list[Document]) -> list[Document]:
        return sorted(documents, key=_event_id, reverse=self._descending)

    def stream(self) -> Iterator[Document]:
        """Yield everything, window by window."""
        low, high = self._span()
        if low is not None and high is not None:
            for selections, among in self._windows(low, high):
                yield from self._sorted(selections, among)
        for among in self._id_windows(self._undated, undated()):
            yield from self._sorted(self._undated, among)

    def _span(self) -> tuple[int | None, int | None]:
        firsts = [s.part.facts.first for s in self._dated if s.part.facts.first is not None]
        lasts = [s.part.facts.last for s in self._dated if s.part.facts.last is not None]
        return (min(firsts), max(lasts)) if firsts else (None, None)

    def _windows(self, low: int, high: int) -> Iterator[tuple[list[Selection], Query]]:
        """Cut a span of time into windows that can be sorted at once, in order."""
        among, selections = between(low, high), overlapping(self._dated, low, high)
        if self._count(selections, among) <= WINDOW:
            yield selections, among
        elif low == high:
            for window in self._id_windows(selections, among):
                yield selections, window
        else:
            middle = (low + high) // 2
            halves = [(low, middle), (middle + 1, high)]
            for half in reversed(halves) if self._descending else halves:
                yield from self._windows(*half)

    def _id_windows(self, selections: list[Selection], among: Query) -> Iterator[Query]:
        """Cut what has one time, or none, by id; ids are evenly spread, being hashes."""
        pieces = self._count(selections, among) // WINDOW + 1
        edges = [2**64 * piece // pieces for piece in range(pieces + 1)]
        spans = list(itertools.pairwise(edges))
        for low, high in reversed(spans) if self._descending else spans:
            yield both(among, ids_from(low, high - 1))

    def _count(self, selections: list[Selection], among: Query) -> int:
        return sum(self._map(lambda selection: selection.count(among), selections))

    def _sorted(self, selections: list[Selection], among: Query) -> Iterator[Document]:
        sign = self._sign

        def collect(numbered: tuple[int, Selection]) -> list[_Key]:
            number, selection = numbered
            count = selection.count(among)
            if not count:
                return []
            hits = selection.first(count, by="ts", descending=False, among=among)
            return [
                (sign * (instant or 0), sign * id64, number, place, address)
                for place, ((instant, address), id64) in enumerate(
                    zip(hits, selection.numbers(hits), strict=True)
                )
            ]

        keys = list(itertools.chain(*self._map(collect, list(enumerate(selections)))))
        keys.sort()
        self._part_twins(selections, keys)
        for start in range(0, len(keys), _SLICE):
            yield from _loaded(selections, keys[start : start + _SLICE])

    def _part_twins(self, selections: list[Selection], keys: list[_Key]) -> None:
        """Bring events of one time and one number into the order of their whole ids."""
        twins = {start for start in range(len(keys) - 1) if keys[start][:2] == keys[start + 1][:2]}
        for start in sorted(twins - {twin + 1 for twin in twins}):
            end = start + 1
            while end - 1 in twins:
                end += 1

            def whole(key: _Key) -> str:
                return _event_id(selections[key[2]].part.load(key[4]))

            keys[start:end] = sorted(keys[start:end], key=whole, reverse=self._descending)


def _loaded(selections: list[Selection], keys: list[_Key]) -> Iterator[Document]:
    """Read the documents as they lie, each block once, and yield them in order."""
    places = sorted(range(len(keys)), key=lambda at: (keys[at][2], keys[at][4].segment_ord, keys[at][4].doc))
    held: list[bytes] = [b""] * len(keys)
    for place in places:
        held[place] = selections[keys[place][2]].part.raw(keys[place][4])
    return map(text.load, held)


def overlapping(selections: list[Selection], low: int, high: int) -> list[Selection]:
    """Return those of dated parts that reach into a span of time."""
    return [
        selection
        for selection in selections
        if selection.part.facts.first is not None
        and selection.part.facts.last is not None
        and selection.part.facts.first <= high
        and selection.part.facts.last >= low
    ]


def _event_id(document: Document) -> str:
    event_id: str = document["event_id"]
    return event_id
