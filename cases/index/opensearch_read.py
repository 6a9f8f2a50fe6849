"""Reading from the search server: pages, counts, single events, and everything as a stream.

The order is (timestamp, event id), both in the asked direction, undated events last. What the
server cannot decide alone is looked at here, event by event, as `matching` says.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Final, TypeVar

from cases.index import opensearch_counts as counts
from cases.index.document import Document
from cases.index.engine import (
    INTERVALS,
    Cursor,
    FieldInfo,
    Histogram,
    InvalidCursor,
    Page,
    Terms,
    TooBroad,
)
from cases.index.opensearch_answers import Door, Json, Picture, Rejected
from cases.index.opensearch_compile import Plan, both, plan
from cases.index.opensearch_leaves import any_of, between, one_of_ids
from cases.index.opensearch_shape import id_numbers, unshape
from cases.index.tree import Field, Node

_EVENT_ID: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DATED: Final = between(None, None)
_UNDATED: Final[Json] = {"bool": {"must_not": [_DATED]}}
_SOURCE: Final = ["src"]
#: What the server puts in the place of a missing time, so that it sorts last.
_LAST: Final = {True: -(2**63), False: 2**63 - 1}
#: Events of a page of a stream.
_SLICE: Final = 5_000
#: Events that one span of time of a stream should have: sorting a span costs less than all of it.
_SPAN: Final = 50_000

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Hit:
    """An event found: its name on the server, its place in the order, and itself."""

    name: str
    key: list[int]
    document: Document


class Reader:
    """Answers questions about cases; see `engine.Engine`."""

    #: Events that are looked at one by one for a question, where the server cannot decide.
    candidates = 100_000

    def __init__(self, door: Door) -> None:
        self.door = door

    def search(
        self,
        case_ids: Sequence[str],
        query: Node,
        *,
        limit: int,
        after: Cursor | None,
        descending: bool,
        count: bool,
    ) -> Page:
        """Return one page."""
        behind = _behind(after, descending=descending)

        def work(asked: Plan) -> Page:
            if asked.exact:
                return self._page(
                    case_ids, asked.bounds.upper, limit, behind, descending=descending, count=count
                )
            total = self.door_count(case_ids, self.decided(case_ids, asked)) if count else -1
            found = list(islice(self._tested(case_ids, asked, behind, descending=descending), limit + 1))
            return _paged(found, limit, total)

        return self.planned(case_ids, query, work) or Page([], 0 if count else -1, None)

    def planned(self, case_ids: Sequence[str], query: Node, work: Callable[[Plan], Result]) -> Result | None:
        """Return what the work makes of a query; None without cases.

        Put a second time, with patterns only narrowing down, if the server rejects one.
        """
        asked = plan(query, case_ids)
        if not case_ids:
            return None
        try:
            return work(asked)
        except Rejected:
            return work(plan(query, case_ids, expressions=False))

    def _page(
        self,
        case_ids: Sequence[str],
        query: Json,
        limit: int,
        behind: list[int] | None,
        *,
        descending: bool,
        count: bool,
    ) -> Page:
        size = limit + 1
        bodies = [_counted(query)] if count else []
        while True:
            answers = self.door.ask(case_ids, [_ordered(query, size, behind, descending=descending), *bodies])
            if answers is None:
                return Page([], 0 if count else -1, None)
            found = _hits(answers[0])
            if len(found) < size or found[0].key != found[-1].key:
                return _paged(found, limit, _total(answers[1]) if count else -1)
            size *= 2  # more events of one name than fit: they stay together

    def _tested(
        self, case_ids: Sequence[str], asked: Plan, behind: list[int] | None, *, descending: bool
    ) -> Iterator[Hit]:
        """Yield what passes the test, page by page, up to the bound of candidates."""
        size, looked_at = 500, 0
        while True:
            body = _ordered(asked.bounds.upper, size, behind, descending=descending)
            answers = self.door.ask(case_ids, [body])
            hits = _hits(answers[0]) if answers else []
            yield from (hit for hit in hits if asked.test(hit.document))
            looked_at += len(hits)
            if len(hits) < size:
                return
            if looked_at >= self.candidates:
                raise self._too_many()
            behind, size = hits[-1].key, _SLICE

    def count(self, case_ids: Sequence[str], query: Node) -> int:
        """Return the number of matching events."""
        return (
            self.planned(
                case_ids, query, lambda asked: self.door_count(case_ids, self.decided(case_ids, asked))
            )
            or 0
        )

    def door_count(self, case_ids: Sequence[str], query: Json) -> int:
        """Return how many events a query of the server's finds."""
        answers = self.door.ask(case_ids, [_counted(query)])
        return _total(answers[0]) if answers else 0

    def decided(self, case_ids: Sequence[str], asked: Plan) -> Json:
        """Return a query that the server decides alone: where it cannot, with the events by name.

        Raises TooBroad when too many would have to be looked at.
        """
        if asked.exact:
            return asked.bounds.upper
        if self.door_count(case_ids, asked.unsure) > self.candidates:
            raise self._too_many()
        with self.door.pictures(case_ids) as pictures:
            passed = [
                hit.name
                for hit in _everything(pictures, asked.unsure, descending=True)
                if asked.test(hit.document)
            ]
        return any_of([asked.bounds.lower, *([{"ids": {"values": passed}}] if passed else ())])

    def _too_many(self) -> TooBroad:
        return TooBroad(
            f"More than {self.candidates:,} events would have to be looked at one by one: add a time, or a"
            " word or value that has to be there."
        )

    def histogram(self, case_ids: Sequence[str], query: Node, interval: str) -> Histogram:
        """Count by interval."""
        if interval not in ("auto", *INTERVALS):
            raise ValueError(f"There is no interval {interval!r}.")
        ask = partial(self.door.ask, case_ids)
        found = self.planned(
            case_ids, query, lambda asked: counts.histogram(ask, self.decided(case_ids, asked), interval)
        )
        return found or Histogram(INTERVALS[0] if interval == "auto" else interval, [], 0)

    def terms(self, case_ids: Sequence[str], query: Node, field: str, size: int) -> Terms:
        """Count the values of a field."""
        named, ask = counts.field_named(field), partial(self.door.ask, case_ids)

        def work(asked: Plan) -> Terms:
            decided = self.decided(case_ids, asked)
            if named == Field("case_id"):
                return counts.cases(ask, decided, case_ids, size)
            return counts.terms(ask, decided, named, size)

        found = self.planned(case_ids, query, work)
        return found or Terms([], 0, 0)

    def fields(self, case_ids: Sequence[str]) -> list[FieldInfo]:
        """Return the fields that events have."""
        return counts.fields(partial(self.door.ask, case_ids)) if case_ids else []

    def get(self, case_ids: Sequence[str], event_id: str) -> Document | None:
        """Return one event, or None."""
        if not _EVENT_ID.fullmatch(event_id) or not case_ids:
            return None
        body = {"query": one_of_ids([event_id]), "size": 10, "_source": _SOURCE, "track_total_hits": False}
        answers = self.door.ask(case_ids, [body])
        found = [unshape(hit["_source"]) for hit in answers[0]["hits"]["hits"]] if answers else []
        return next((document for document in found if document["event_id"] == event_id), None)

    def stream(self, case_ids: Sequence[str], query: Node, *, descending: bool) -> Iterator[Document]:
        """Yield every match from one picture; what cannot be asked is refused at once."""
        asked = plan(query, case_ids)
        return self._streamed(case_ids, query, asked, descending=descending) if case_ids else iter(())

    def _streamed(
        self, case_ids: Sequence[str], query: Node, asked: Plan, *, descending: bool
    ) -> Iterator[Document]:
        with self.door.pictures(case_ids) as pictures:
            found = _everything(pictures, asked.bounds.upper, descending=descending)
            try:
                first = next(found, None)
            except Rejected:
                asked = plan(query, case_ids, expressions=False)
                found = _everything(pictures, asked.bounds.upper, descending=descending)
                first = next(found, None)
            while first is not None:
                if asked.exact or asked.test(first.document):
                    yield first.document
                first = next(found, None)


def _behind(after: Cursor | None, *, descending: bool) -> list[int] | None:
    """Return the sort values of a cursor. Raises InvalidCursor."""
    if after is None:
        return None
    if not _EVENT_ID.fullmatch(after.event_id):
        raise InvalidCursor("The cursor names no event.")
    if after.timestamp is not None and abs(after.timestamp) >= 2**62:
        raise InvalidCursor("The cursor names no time.")
    instant = _LAST[descending] if after.timestamp is None else after.timestamp
    return [instant, *id_numbers(after.event_id)]


def _ordered(query: Json, size: int, behind: list[int] | None, *, descending: bool) -> Json:
    direction = "desc" if descending else "asc"
    body = {
        "query": query,
        "size": size,
        "sort": [
            {"timestamp": {"order": direction, "missing": "_last"}},
            {"e1": direction},
            {"e2": direction},
        ],
        "_source": _SOURCE,
        "track_total_hits": False,
    }
    return {**body, "search_after": behind} if behind else body


def _counted(query: Json) -> Json:
    return {"query": query, "size": 0, "track_total_hits": True}


def _hits(answer: Json) -> list[Hit]:
    return [Hit(hit["_id"], hit["sort"], unshape(hit["_source"])) for hit in answer["hits"]["hits"]]


def _total(answer: Json) -> int:
    total: int = answer["hits"]["total"]["value"]
    return total


def _paged(found: list[Hit], limit: int, total: int) -> Page:
    """Make a page of one event more than fits, if there are so many.

    Events of one name, which several cases may have, stay together: a cursor cannot part them.
    """
    hits = found[:limit]
    if len(found) > limit:
        apart = [hit for hit in hits if hit.key != found[limit].key]
        hits = apart or found
        if apart:
            found = [*apart, found[limit]]
    documents = [hit.document for hit in hits]
    last = documents[-1] if len(found) > len(hits) or (len(found) > limit and not apart) else None
    return Page(documents, total, Cursor(last["timestamp"], last["event_id"]) if last else None)


def _everything(pictures: Sequence[Picture], query: Json, *, descending: bool) -> Iterator[Hit]:
    """Yield all events of some pictures in order."""
    sign = -1 if descending else 1
    for part in (_dated, _undated):
        ways = [part(picture, query, descending=descending) for picture in pictures]
        if len(ways) == 1:
            yield from ways[0]
        else:
            yield from heapq.merge(*ways, key=lambda hit: [sign * value for value in hit.key])


def _dated(picture: Picture, query: Json, *, descending: bool) -> Iterator[Hit]:
    """Yield the dated events of a picture in order, one span of time after the other.

    A span ends early where it has many events, so that none is sorted again and again.
    """
    first, last = (_end(picture, query, descending=way) for way in (False, True))
    if first is None or last is None:
        return
    behind: list[int] | None = None
    width = (last - first) // 8 + 1
    while first <= last:
        low, high = (
            (max(first, last - width + 1), last) if descending else (first, min(last, first + width - 1))
        )
        span, number = both(query, between(low, high)), 0
        while True:
            hits = _hits(picture.ask(_ordered(span, _SLICE, behind, descending=descending)))
            yield from hits
            number += len(hits)
            behind = hits[-1].key if hits else behind
            if len(hits) < _SLICE or number >= _SPAN:
                break
        if behind is not None and len(hits) == _SLICE:
            edge = behind[0]
            width = max((high - edge if descending else edge - low) * _SPAN // number, 1)
        else:
            edge = low - 1 if descending else high + 1
            width *= 8 if not number else 2 if number < _SPAN // 2 else 1
        first, last = (first, edge) if descending else (edge, last)


def _end(picture: Picture, query: Json, *, descending: bool) -> int | None:
    body = _ordered(both(query, _DATED), 1, None, descending=descending) | {"_source": False}
    hits = picture.ask(body)["hits"]["hits"]
    return hits[0]["sort"][0] if hits else None


def _undated(picture: Picture, query: Json, *, descending: bool) -> Iterator[Hit]:
    return _pages(picture, both(query, _UNDATED), descending=descending)


def _pages(picture: Picture, query: Json, *, descending: bool) -> Iterator[Hit]:
    behind = None
    while True:
        answer = picture.ask(_ordered(query, _SLICE, behind, descending=descending))
        hits: list[Any] = answer["hits"]["hits"]
        yield from _hits(answer)
        if len(hits) < _SLICE:
            return
        behind = hits[-1]["sort"]
