"""Counts of the search server: by interval of time, by value, by field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from cases.index.document import Document
from cases.index.engine import INTERVALS, FieldInfo, Histogram, IndexUnavailable, Terms, TooBroad
from cases.index.intervals import (
    FIXED,
    LIMIT,
    MONDAY,
    SECOND,
    TooManyBuckets,
    bucket_after,
    bucket_of,
    finest,
)
from cases.index.matching import field_values
from cases.index.opensearch_answers import Json
from cases.index.opensearch_compile import both
from cases.index.opensearch_leaves import ALL, between, present
from cases.index.opensearch_regex_read import quote
from cases.index.opensearch_shape import (
    ALWAYS,
    CORE,
    CUT,
    LISTED,
    TEXT,
    field_of,
    place_of,
    shown_tail,
    slot_of,
    spelling,
    unshape,
)
from cases.index.text import flatten, fold, value_text
from cases.index.tree import Field

#: Asks the server some bodies at once; None where no case has events.
Ask = Callable[[Sequence[Json]], list[Json] | None]

#: Values that are asked for at most (`search.max_buckets` is 65,535), and those of one shard at first.
_MOST: Final = 60_000
_FIRST: Final = 1_000
#: By how many values a field is walked through where shards do not agree on the most frequent, and
#: how many such steps are made.
_STEP: Final = 10_000
_STEPS: Final = 60
#: Buckets named in one request, and conditions.
_BUCKETS: Final = 10_000
_FILTERS: Final = 200
#: Events of which each id is a value of its own.
_IDS: Final = 10_000
#: Seconds of a span that is first looked at as a whole: ten years.
_ERA: Final = 3653 * 86_400
#: What is counted first where an interval is too fine for all of the time.
_COARSER: Final = {
    "second": "minute",
    "minute": "hour",
    "hour": "day",
    "day": "month",
    "week": "month",
    "month": "year",
}
_TRIES: Final = 5
_KINDS: Final = {"t": "text", "n": "number", "b": "boolean"}


def histogram(ask: Ask, query: Json, interval: str) -> Histogram:
    """Return the counts by interval; see `engine.Engine.histogram`."""
    for _ in range(_TRIES):
        ends = _ends(ask, query)
        chosen = interval if interval != "auto" else finest(*ends) if ends else INTERVALS[0]
        try:
            found = _whole(ask, query, chosen, ends)
        except TooManyBuckets:
            raise TooManyBuckets(chosen) from None
        if found is not None:
            return found
    raise IndexUnavailable("Events arrive faster than they can be counted: try again.")


def _ends(ask: Ask, query: Json) -> tuple[int, int] | None:
    """Return the first and the last time, None without any."""
    body = {"query": both(query, between(None, None)), "size": 1, "_source": False, "track_total_hits": False}
    answers = ask([{**body, "sort": [{"timestamp": way}]} for way in ("asc", "desc")])
    hits = [hit for answer in answers or () for hit in answer["hits"]["hits"]]
    return (hits[0]["sort"][0], hits[1]["sort"][0]) if len(hits) == 2 else None


def _whole(ask: Ask, query: Json, interval: str, ends: tuple[int, int] | None) -> Histogram | None:
    """Return the histogram; None where the counts do not add up, because something was published."""
    total: Json = {"query": query, "size": 0, "track_total_hits": True}
    if ends is not None and _is_short(interval, *ends):
        answers = ask([{**total, **_steps(interval)}])
        buckets = _stepped(answers)
        undated = _total(answers) - sum(buckets.values())
    else:
        buckets = _buckets(ask, query, interval, *ends) if ends else {}
        answers = ask([total, {**total, "query": both(query, {"bool": {"must_not": [between(None, None)]}})}])
        undated = _total(answers[1:]) if answers else 0
        if sum(buckets.values()) + undated != _total(answers):
            return None
    if len(buckets) > LIMIT:
        raise TooManyBuckets(interval)
    return Histogram(interval, sorted(buckets.items()), undated)


def _total(answers: Sequence[Json] | None) -> int:
    return answers[0]["hits"]["total"]["value"] if answers else 0


def _is_short(interval: str, first: int, last: int) -> bool:
    return interval in FIXED and (last - first) // FIXED[interval] < LIMIT


def _steps(interval: str) -> Json:
    """Seconds are counted, in steps: the server's own calendar reads numbers as milliseconds."""
    step = FIXED[interval] // SECOND
    offset = MONDAY // SECOND if interval == "week" else 0
    return {
        "aggs": {
            "steps": {"histogram": {"field": "sec", "interval": step, "offset": offset, "min_doc_count": 1}}
        }
    }


def _stepped(answers: Sequence[Json] | None) -> dict[int, int]:
    found = answers[0]["aggregations"]["steps"]["buckets"] if answers else ()
    return {int(bucket["key"]) * SECOND: bucket["doc_count"] for bucket in found}


def _buckets(ask: Ask, query: Json, interval: str, first: int, last: int) -> dict[int, int]:
    """Return the counts by start. What may have too many buckets is asked only where events are."""
    body = {"query": query, "size": 0, "track_total_hits": True}
    if _is_short(interval, first, last):
        return _stepped(ask([{**body, **_steps(interval)}]))
    start, after = bucket_of(interval), bucket_after(interval)
    edges: dict[int, int] = {}
    for low, high in _spans(ask, query, interval, first, last):
        at = start(max(low, first))
        while at <= min(high, last):
            edges[at] = after(at)
            at = edges[at]
    counted: dict[int, int] = {}
    named = sorted(edges.items())
    for begin in range(0, len(named), _BUCKETS):
        some = named[begin : begin + _BUCKETS]
        ranges = [{"from": low // SECOND, "to": high // SECOND} for low, high in some]
        span = both(query, between(some[0][0], some[-1][1] - 1))
        answers = ask(
            [
                {
                    "query": span,
                    "size": 0,
                    "track_total_hits": True,
                    "aggs": {"named": {"range": {"field": "sec", "ranges": ranges}}},
                }
            ]
        )
        found = answers[0]["aggregations"]["named"]["buckets"] if answers else ()
        counted |= {int(each["from"]) * SECOND: each["doc_count"] for each in found if each["doc_count"]}
        if len(counted) > LIMIT:
            raise TooManyBuckets(interval)
    return counted


def _spans(ask: Ask, query: Json, interval: str, first: int, last: int) -> list[tuple[int, int]]:
    """Return spans of time that hold all events, each at most some sixty intervals long."""
    coarser = _COARSER.get(interval)
    if coarser is not None:
        after = bucket_after(coarser)
        return [(start, after(start) - 1) for start in _buckets(ask, query, coarser, first, last)]
    eras = {"histogram": {"field": "sec", "interval": _ERA, "min_doc_count": 1}}
    found = _stepped(ask([{"query": query, "size": 0, "track_total_hits": True, "aggs": {"steps": eras}}]))
    return [(start, start + _ERA * SECOND - 1) for start in found]


def field_named(name: str) -> Field:
    """Return the field that `terms` was asked for: `attributes.NAME`, or a core field."""
    if name.startswith("attributes."):
        return Field(name.removeprefix("attributes."), attribute=True)
    if name not in (*CORE, *LISTED, "case_id", "event_id"):
        raise ValueError(f"Values of {name!r} cannot be counted.")
    return Field(name)


def terms(ask: Ask, query: Json, field: Field, size: int) -> Terms:
    """Return the most frequent values of a field; see `engine.Engine.terms`."""
    if field == Field("event_id"):
        return _event_ids(ask, query, size)
    wanted = size
    while True:
        answers = ask([_values_body(query, field, wanted, max(wanted, _FIRST))])
        if not answers:
            return Terms([], 0, 0)
        values = answers[0]["aggregations"]["values"]
        if answers[0]["_shards"]["total"] > 1 and values["doc_count_error_upper_bound"]:
            values = _agreed(ask, query, field, wanted)
        buckets = values["buckets"]
        # Of values that begin alike for a thousand characters, none may be cut off by its digest.
        if len(buckets) < wanted or CUT not in buckets[-1]["key"] or wanted >= _MOST:
            break
        wanted = min(wanted * 4, _MOST)
    counted = _spelled(ask, query, field, {each["key"]: each["doc_count"] for each in buckets})
    missing = _total(answers) - answers[0]["aggregations"]["having"]["doc_count"]
    return _most_frequent(counted, size, values["sum_other_doc_count"], missing)


def _most_frequent(counted: dict[str, int], size: int, other: int, missing: int) -> Terms:
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return Terms(ordered[:size], other + sum(events for _, events in ordered[size:]), missing)


def _values_body(query: Json, field: Field, size: int, shard_size: int) -> Json:
    asked: Json = {
        "field": slot_of(field),
        "size": size,
        "shard_size": shard_size,
        "order": [{"_count": "desc"}, {"_key": "asc"}],
    }
    if field.attribute:  # others share the slot
        asked["include"] = f"{quote(place_of(field) + TEXT)}.*"
    return {
        "query": query,
        "size": 0,
        "track_total_hits": True,
        "aggs": {"values": {"terms": asked}, "having": {"filter": present(field)}},
    }


def _agreed(ask: Ask, query: Json, field: Field, size: int) -> Json:
    """Return exact counts where several shards know only their own most frequent values."""
    try:
        answers = ask([_values_body(query, field, max(size, _FIRST), _MOST)])
    except TooBroad:
        answers = None  # too many in all; step by step there is no such limit
    if answers:
        values: Json = answers[0]["aggregations"]["values"]
        if not values["doc_count_error_upper_bound"]:
            return values
    begin = place_of(field) + TEXT
    buckets = [
        {"key": value, "doc_count": events} for value, events in _walk(ask, query, slot_of(field), begin)
    ]
    return {"buckets": buckets, "sum_other_doc_count": 0}


def _walk(ask: Ask, query: Json, name: str, begin: str) -> Iterator[tuple[str, int]]:
    """Yield all values of a field of the server's that begin like this, in order. Raises TooBroad."""
    values: Json = {"size": _STEP, "sources": [{"v": {"terms": {"field": name}}}]}
    after = begin[:-1] + chr(ord(begin[-1]) - 1) if begin else None  # sorts right before
    for _ in range(_STEPS):
        if after is not None:
            values["after"] = {"v": after}
        answers = ask(
            [{"query": query, "size": 0, "track_total_hits": True, "aggs": {"walk": {"composite": values}}}]
        )
        buckets = answers[0]["aggregations"]["walk"]["buckets"] if answers else []
        for bucket in buckets:
            if not bucket["key"]["v"].startswith(begin):
                return
            yield bucket["key"]["v"], bucket["doc_count"]
        if len(buckets) < _STEP:
            return
        after = buckets[-1]["key"]["v"]
    raise TooBroad(f"There are more than {_STEP * _STEPS:,} different values: narrow the query.")


def _spelled(ask: Ask, query: Json, field: Field, counted: dict[str, int]) -> dict[str, int]:
    """Return the counts by the values themselves; of those that were cut an event knows the rest."""
    start = len(place_of(field)) + len(TEXT)
    cut = [term for term in counted if CUT in term.replace("\x00\x00", "")]
    found = {spelling(term[start:]): events for term, events in counted.items() if term not in set(cut)}
    for begin in range(0, len(cut), _FILTERS):
        some = cut[begin : begin + _FILTERS]
        one = {"one": {"top_hits": {"size": 1, "_source": ["src"]}}}
        asked = {"terms": {"field": slot_of(field), "include": some, "size": len(some)}, "aggs": one}
        answers = ask([{"query": query, "size": 0, "track_total_hits": True, "aggs": {"cut": asked}}])
        for bucket in answers[0]["aggregations"]["cut"]["buckets"] if answers else ():
            document = unshape(bucket["one"]["hits"]["hits"][0]["_source"])
            found[_value_of(document, field, bucket["key"][start:])] = counted[bucket["key"]]
    return found


def _value_of(document: Document, field: Field, tail: str) -> str:
    spelled = (value_text(value) for value in field_values(document, field))
    return next(value for value in spelled if shown_tail(value, fold(value)) == tail)


def cases(ask: Ask, query: Json, case_ids: Sequence[str], size: int) -> Terms:
    """Return the cases with the most events."""
    named = list(dict.fromkeys(case_ids))
    counted = _each(ask, query, [{"term": {"case": case_id}} for case_id in named])
    found = {case_id: events for case_id, events in zip(named, counted, strict=True) if events}
    return _most_frequent(found, size, 0, 0)


def _event_ids(ask: Ask, query: Json, size: int) -> Terms:
    body = {"query": query, "size": _IDS, "_source": ["src"], "track_total_hits": True}
    answers = ask([body])
    if _total(answers) > _IDS:
        raise TooBroad(
            f"Every event has an id of its own, and these are more than {_IDS:,}: narrow the query."
        )
    hits = answers[0]["hits"]["hits"] if answers else ()
    return _most_frequent(Counter(unshape(hit["_source"])["event_id"] for hit in hits), size, 0, 0)


def fields(ask: Ask) -> list[FieldInfo]:
    """Return every field that events have, by name; core fields before attributes of that name."""
    has = {"terms": {"field": "has", "size": _MOST}}
    dated = {"filter": between(None, None)}
    answers = ask([{"query": ALL, "size": 0, "track_total_hits": True, "aggs": {"has": has, "dated": dated}}])
    total = _total(answers)
    if answers is None or not total:
        return []
    found = answers[0]["aggregations"]["has"]
    counted = {bucket["key"]: bucket["doc_count"] for bucket in found["buckets"]}
    if found["sum_other_doc_count"] or found["doc_count_error_upper_bound"]:
        counted = dict(_walk(ask, ALL, "has", ""))
    infos = [FieldInfo(name, "text", total, attribute=False) for name in ALWAYS]
    if times := answers[0]["aggregations"]["dated"]["doc_count"]:
        infos.append(FieldInfo("timestamp", "text", times, attribute=False))
    infos += _infos(ask, counted)
    return sorted(infos, key=lambda info: (info.name, info.attribute))


def _infos(ask: Ask, counted: dict[str, int]) -> Iterator[FieldInfo]:
    kinds: dict[str, list[str]] = {}
    for term in counted:
        kinds.setdefault(term[1:], []).append(term[0])
    named = {place: field_of(place) or _name_of(ask, f"{held[0]}{place}") for place, held in kinds.items()}
    # Of several kinds, an event may have more than one.
    mixed = [place for place, held in kinds.items() if len(held) > 1]
    events = dict(zip(mixed, _each(ask, ALL, [present(named[place]) for place in mixed]), strict=True))
    for place, held in kinds.items():
        field = named[place]
        kind = "mixed" if len(held) > 1 else _KINDS[held[0]]
        if not field.attribute:
            kind = "number" if field.name == "score" else "text"
        yield FieldInfo(field.name, kind, events.get(place, counted[held[0] + place]), field.attribute)


def _each(ask: Ask, query: Json, filters: Sequence[Json]) -> list[int]:
    """Return how many events meet each of some conditions."""
    found: list[int] = []
    for start in range(0, len(filters), _FILTERS):
        some = filters[start : start + _FILTERS]
        each = {"each": {"filters": {"filters": some}}}
        answers = ask([{"query": query, "size": 0, "track_total_hits": True, "aggs": each}])
        buckets: list[Any] = answers[0]["aggregations"]["each"]["buckets"] if answers else []
        found += [bucket["doc_count"] for bucket in buckets] or [0] * len(some)
    return found


def _name_of(ask: Ask, term: str) -> Field:
    """Return the field of a term of `has` whose name is too long to stand in it."""
    answers = ask([{"query": {"term": {"has": term}}, "size": 1, "_source": ["src"]}])
    hits = answers[0]["hits"]["hits"] if answers else []
    names = (name for hit in hits for name, _ in flatten(unshape(hit["_source"])["attributes"]))
    fields = (Field(name, attribute=True) for name in names)
    found = next((field for field in fields if place_of(field) == term[1:]), None)
    if found is None:
        raise IndexUnavailable("The index has changed while its fields were read: try again.")
    return found
