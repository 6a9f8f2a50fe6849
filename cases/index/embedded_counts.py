"""Counts over all parts: by interval of time, by value, by field."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from tantivy import Query

from cases.index.embedded_pages import Map
from cases.index.embedded_parts import OpenPart
from cases.index.embedded_queries import between
from cases.index.embedded_schema import SCHEMA
from cases.index.embedded_select import Selection
from cases.index.embedded_shape import CORE
from cases.index.embedded_terms import (
    END,
    HASHED,
    INTEGER,
    NUMBER,
    SHORT,
    TEXT,
    digest,
    is_long,
    place_of,
    spelling,
    term_tail,
)
from cases.index.engine import INTERVALS, FieldInfo, Histogram, Terms
from cases.index.intervals import DAY, FIXED, LIMIT, TooManyBuckets, bucket_of, finest
from cases.index.matching import field_values
from cases.index.text import value_text
from cases.index.tree import Field


def histogram(selections: list[Selection], run: Map, interval: str) -> Histogram:
    """Return the counts by interval; see `engine.Engine.histogram`."""
    selections = [selection for selection in selections if not selection.nothing]
    dated = [selection for selection in selections if selection.part.facts.first is not None]
    if interval == "auto":
        ends = [end for ends in run(_ends, dated) for end in ends]
        interval = finest(min(ends), max(ends)) if ends else INTERVALS[0]
    counted: dict[int, int] = {}
    for buckets in run(lambda selection: _buckets(selection, interval), dated):
        for start, events in buckets.items():
            counted[start] = counted.get(start, 0) + events
        if len(counted) > LIMIT:
            raise TooManyBuckets(interval)
    open_ended = [selection for selection in selections if selection.part.facts.undated]
    undated = sum(run(_count_undated, open_ended))
    return Histogram(interval, [(int(start), counted[start]) for start in sorted(counted)], undated)


def _count_undated(selection: Selection) -> int:
    if selection.everything:
        return selection.part.facts.undated
    return selection.count() - selection.count(between(None, None))


def _ends(selection: Selection) -> list[int]:
    """The first and last time in a part."""
    facts = selection.part.facts
    if selection.everything and facts.first is not None and facts.last is not None:
        return [facts.first, facts.last]
    hits = [hit for descending in (False, True) for hit in selection.first(1, by="ts", descending=descending)]
    return [instant for instant, _ in hits if instant is not None]


def _buckets(selection: Selection, interval: str) -> dict[int, int]:
    """Return the counts in one part by the start of the interval."""
    step = FIXED.get(interval, DAY)
    if not selection.part.countable(min(step, DAY)):
        return _counted(_instants(selection), interval)
    if step < DAY:
        found = selection.part.counts_by(step, selection.sure)
    elif selection.everything:
        found = selection.part.days
    else:
        found = selection.part.counts_by(DAY, selection.sure)
    if interval != "day" and step >= DAY:  # weeks, months and years are made of days
        start, days, found = bucket_of(interval), found, {}
        for day, events in days.items():
            begin = start(int(day))
            found[begin] = found.get(begin, 0) + events
    if selection.exact:
        return found
    tested = _counted((instant for instant, _ in selection.tested()), interval)
    tested.update(found)
    return tested


def _instants(selection: Selection) -> Iterator[int | None]:
    count = selection.count()
    hits = selection.first(count, by="ts", descending=False) if count else []
    return (instant for instant, _ in hits)


def _counted(instants: Iterator[int | None], interval: str) -> Counter[int]:
    start = bucket_of(interval)
    counted: Counter[int] = Counter()
    for instant in instants:
        if instant is not None:
            counted[start(instant)] += 1
            if len(counted) > LIMIT:
                raise TooManyBuckets(interval)
    return counted


def field_named(name: str) -> Field:
    """Return the field that `terms` was asked for: `attributes.NAME`, or a core field."""
    if name.startswith("attributes."):
        return Field(name.removeprefix("attributes."), attribute=True)
    if name not in CORE or name in ("message", "timestamp"):
        raise ValueError(f"Values of {name!r} cannot be counted.")
    return Field(name)


#: A value is named by its term where that is short: the same in every part. By its hash if it is
#: long, for only some parts keep it spelled; its origin then tells where to find it spelled.
_Origin = tuple[OpenPart, str] | str


def terms(selections: list[Selection], having: list[Selection], run: Map, field: Field, size: int) -> Terms:
    """Return the most frequent values; `having` selects the same events, if they have the field."""
    counted: dict[str, int] = {}
    origins: dict[str, _Origin] = {}
    for found, long in run(lambda selection: _values(selection, field), selections):
        for name, events in found.items() if counted else ():
            counted[name] = counted.get(name, 0) + events
        counted = counted or found
        origins |= long
    # Values take their place among equals only once they are spelled.
    least = min(heapq.nlargest(size, counted.values()), default=0)
    spelled = [
        (_spelled(name, origins, field), events) for name, events in counted.items() if events >= least
    ]
    shown = heapq.nsmallest(size, spelled, key=lambda item: (-item[1], item[0]))
    other = sum(counted.values()) - sum(events for _, events in shown)
    missing = sum(run(_missing, list(zip(selections, having, [field] * len(having), strict=True))))
    return Terms(shown, other, missing)


def _values(selection: Selection, field: Field) -> tuple[dict[str, int], dict[str, _Origin]]:
    """Return how many events of a part have each value, and where long ones are spelled."""
    if selection.nothing:
        return {}, {}
    part, place = selection.part, place_of(field)
    if not field.attribute and field.name in ("event_id", "case_id"):
        own = Counter(_own_values(selection, field.name))
        return {_name(value, place): n for value, n in own.items()}, {
            _name(value, place): value for value in own
        }
    counted, origins = _kept(selection, place)
    for term, events in part.counted_terms(place + HASHED, _among(selection)):
        name = HASHED + term.rpartition(END)[2]
        counted[name], origins[name] = events, (part, term)
    for _, address in selection.tested():
        named = {_name(value, place): value for value in field_values(part.load(address), field)}
        for name, value in named.items():
            counted[name] = counted.get(name, 0) + 1
            if name[0] == HASHED:
                origins[name] = value_text(value)
    return counted, origins


def _among(selection: Selection) -> Query | None:
    return None if selection.everything else selection.sure


def _kept(selection: Selection, place: str) -> tuple[dict[str, int], dict[str, _Origin]]:
    """Count the values that have terms which spell them; there may be very many."""
    counted_terms, among = selection.part.counted_terms, _among(selection)
    counted = dict(counted_terms(place + TEXT, among))
    counted.update(counted_terms(place + INTEGER, among))
    origins: dict[str, _Origin] = {}
    for term, events in counted_terms(place + NUMBER, among):
        name = _spelled_number(term[len(place) :], place)
        counted[name] = counted.get(name, 0) + events
    # A long value's term is longer than this; one of a short value may be as well.
    for term in [term for term in counted if len(term) > len(place) + SHORT]:
        value = spelling(term[len(place) :]) or ""
        if is_long(value):
            name = _name(value, place)
            counted[name], origins[name] = counted.pop(term), value
    return counted, origins


def _spelled_number(tail: str, place: str) -> str:
    """Name a number as a text of that spelling would be: 1e22 is one value, whatever it came as."""
    spelled = spelling(tail) or ""
    return place + TEXT + spelled.lower() + END + (spelled if spelled != spelled.lower() else "")


def _missing(asked: tuple[Selection, Selection, Field]) -> int:
    """Return how many events of a part have no value."""
    selection, having, field = asked
    if selection.everything:
        return selection.part.facts.events - selection.part.events_with(field)
    return selection.count() - having.count()


def _own_values(selection: Selection, name: str) -> Iterator[str]:
    count = selection.count()
    if name == "case_id":
        yield from [selection.part.case_id] * count
    elif count:
        for _, address in selection.first(count, by="ts", descending=False):
            yield selection.part.load(address)[name]


def _name(value: Any, place: str) -> str:
    spelled = value_text(value)
    if is_long(spelled):
        return HASHED + digest(spelled)
    tail = term_tail(value)
    return _spelled_number(tail, place) if tail[0] == NUMBER else place + tail


def _spelled(name: str, origins: dict[str, _Origin], field: Field) -> str:
    if name[0] != HASHED:
        return spelling(name[len(place_of(field)) :]) or ""
    origin = origins.get(name, "")
    if isinstance(origin, str):
        return origin
    part, term = origin
    address = part.searcher.search(Query.term_query(SCHEMA, "x", term, "basic"), 1, count=False).hits[0][1]
    values = (value_text(value) for value in field_values(part.load(address), field))
    return next(value for value in values if _name(value, "") == name)


def fields(parts: list[OpenPart]) -> list[FieldInfo]:
    """Return every field that events have, by name; core fields before attributes of that name."""
    events: Counter[Field] = Counter()
    types: dict[Field, set[str]] = {}
    for part in parts:
        names = part.side["names"]
        for shape in part.shapes:
            core = [Field(name) for bit, name in enumerate(CORE) if shape.core >> bit & 1]
            held = {Field(names[(mark - 1) // 3], attribute=True) for mark in shape.marks}
            events.update(dict.fromkeys([*core, *held], shape.events))
        for place, count in part.side["rest"]:
            events[Field(CORE[-1 - place]) if place < 0 else Field(names[place], attribute=True)] += count
        marks = {mark for shape in part.shapes for mark in shape.marks} | set(part.side["rest_marks"])
        for mark in marks:
            field = Field(names[(mark - 1) // 3], attribute=True)
            types.setdefault(field, set()).add(_TYPES[(mark - 1) % 3])
    return [
        FieldInfo(field.name, _type_of(field, types), events[field], field.attribute)
        for field in sorted(events, key=lambda field: (field.name, field.attribute))
    ]


_TYPES: Final = ("text", "number", "boolean")


def _type_of(field: Field, types: dict[Field, set[str]]) -> str:
    if not field.attribute:
        return "number" if field.name == "score" else "text"
    found = types[field]
    return found.copy().pop() if len(found) == 1 else "mixed"
