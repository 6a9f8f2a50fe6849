"""Pieces that queries of the embedded index are made of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from tantivy import FieldType, Occur, Query

from cases.index.embedded_schema import SCHEMA

NONE: Final = Query.empty_query()
ALL: Final = Query.all_query()

_INT64: Final = 2**63


def either(queries: Sequence[Query]) -> Query:
    """Return the disjunction; of nothing it finds nothing."""
    if len(queries) == 1:
        return queries[0]
    return Query.boolean_query([(Occur.Should, query) for query in queries]) if queries else NONE


def without(query: Query, other: Query) -> Query:
    """Return what one query finds and the other does not."""
    return Query.boolean_query([(Occur.Must, query), (Occur.MustNot, other)])


@lru_cache(maxsize=4096)  # the same in every part
def term(field: str, value: str) -> Query:
    """Return the query for one term."""
    return Query.term_query(SCHEMA, field, value, "basic")


def any_term(field: str, values: Sequence[str]) -> Query:
    """Return the query for one of many terms."""
    if len(values) <= 8:
        return either([term(field, value) for value in values])
    return Query.term_set_query(SCHEMA, field, list(values))


def between(lower: int | None, upper: int | None) -> Query:
    """Return the query for timestamps in a range, both ends included."""
    low = max(-_INT64 if lower is None else lower, -_INT64)
    high = min(_INT64 - 1 if upper is None else upper, _INT64 - 1)
    if low > high:
        return Query.empty_query()
    found: Query = Query.range_query(SCHEMA, "ts", FieldType.Integer, low, high)
    return found


def at(instant: int) -> Query:
    """Return the query for one timestamp."""
    query: Query = Query.term_query(SCHEMA, "ts", instant, "basic")
    return query
