"""A query tree as OpenSearch JSON.

Every node gives two: `upper` finds at least what the tree finds, `lower` at most. Where they are
the same, the server decides alone; in between, `matching` looks at the events. What a user typed
reaches the server as values alone: never as query syntax, as a script, a field or a look-up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cases.index.document import Document
from cases.index.engine import TooBroad
from cases.index.matching import compile_test
from cases.index.opensearch_leaves import (
    ALL,
    NONE,
    Json,
    any_of,
    between,
    equal_to,
    fuzzy,
    ids_beginning,
    in_range,
    matches,
    one_of_ids,
    present,
    says,
)
from cases.index.opensearch_regex_read import Untranslatable
from cases.index.opensearch_shape import CORE, LISTED
from cases.index.text import fold, number
from cases.index.tree import (
    MESSAGE,
    And,
    Equals,
    Everything,
    Exists,
    Field,
    Fuzzy,
    Ids,
    Node,
    Not,
    Nothing,
    NumberRange,
    Or,
    Pattern,
    Regex,
    TimeRange,
    Words,
)

#: Conditions that the server takes in one request (`indices.query.bool.max_clause_count` is 1,024,
#: counted over everything), less what is added around a query.
MAX_LEAVES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """At least and at most what a node finds."""

    upper: Json
    lower: Json

    @property
    def exact(self) -> bool:
        """Whether the server decides alone."""
        return self.upper is self.lower


@dataclass(frozen=True, slots=True)
class Plan:
    """A query as the server is asked it, and the test for what only events decide."""

    bounds: Bounds
    test: Callable[[Document], bool]

    @property
    def exact(self) -> bool:
        """Whether the server decides alone."""
        return self.bounds.exact

    @property
    def unsure(self) -> Json:
        """The query for the events that have to be looked at."""
        return _without(self.bounds.upper, self.bounds.lower)


EVERYTHING: Final = Bounds(ALL, ALL)
NOTHING: Final = Bounds(NONE, NONE)


def plan(node: Node, case_ids: Sequence[str], *, expressions: bool = True) -> Plan:
    """Return how a tree is asked about events of these cases.

    Without `expressions`, patterns and regular expressions only narrow down: for a server that
    finds one of them too large. Raises TooBroad when there are too many conditions, TypeError for
    what an engine does not know.
    """
    test = compile_test(node)
    for loose in (False, True):
        bounds = _Compiler(case_ids, expressions=expressions, loose=loose).bounds(node)
        found = Plan(bounds, test)
        if leaves(bounds.upper) + (0 if bounds.exact else leaves(bounds.lower)) <= MAX_LEAVES:
            return found
    raise TooBroad("This query has too many conditions for the search server: ask in two halves.")


def leaves(query: Json) -> int:
    """Return how many conditions the server counts in a query."""
    kind, inner = next(iter(query.items()))
    if kind == "bool":
        return sum(
            leaves(child) for children in inner.values() if isinstance(children, list) for child in children
        )
    if kind == "intervals":
        (asked,) = inner.values()
        return len(asked["all_of"]["intervals"]) + 1
    return 1


def both(*queries: Json) -> Json:
    """Return what all queries find."""
    return _all([Bounds(query, query) for query in queries]).upper


def _without(query: Json, other: Json) -> Json:
    if other is NONE:
        return query
    return {"bool": {"filter": [query], "must_not": [other]}}


class _Compiler:
    """Compiles one tree. `loose` asks for less than the tree says, so that it fits a request."""

    def __init__(self, case_ids: Sequence[str], *, expressions: bool, loose: bool) -> None:
        self._case_ids = case_ids
        self._expressions = expressions
        self._loose = loose

    def bounds(self, node: Node) -> Bounds:
        """Return the bounds of a tree."""
        match node:
            case And(children=children):
                return self._all(children)
            case Or(children=children):
                return _any([self.bounds(child) for child in _flat(children)])
            case Not(child=Not(child=child)):
                return self.bounds(child)
            case Not(child=child):
                return _not(self.bounds(child))
            case Everything():
                return EVERYTHING
            case Nothing():
                return NOTHING
            case _:
                return self._leaf(node)

    def _all(self, children: Sequence[Node]) -> Bounds:
        found = [self.bounds(child) for child in children]
        if not self._loose or sum(leaves(bounds.upper) for bounds in found) <= MAX_LEAVES // 4:
            return _all(found)
        kept, room = [], MAX_LEAVES // 4
        for bounds in sorted(found, key=lambda bounds: leaves(bounds.upper)):
            room -= leaves(bounds.upper)
            if room > 0:
                kept.append(bounds)
        return Bounds(_all(kept).upper, NONE)

    def _leaf(self, node: Node) -> Bounds:
        match node:
            case Words():
                return self._words(node)
            case Fuzzy():
                return _decided(fuzzy(node))
            case Ids(ids=ids):
                return _exactly(one_of_ids(ids))
            case TimeRange(lower=lower, upper=upper):
                return _exactly(between(lower, upper))
            case Exists(field=field):
                return _exactly(present(field)) if _is_known(field) else _candidates(ALL)
            case Equals() | Pattern() | Regex() | NumberRange():
                return self._value(node)
            case _:
                raise TypeError(f"{type(node).__name__} cannot be compiled.")

    def _words(self, node: Words) -> Bounds:
        if node.field not in (None, MESSAGE):
            return _candidates(ALL)
        fields = ("message",) if node.field else ("message", "words")
        if self._loose and (narrow := says(node, fields, loose=True)):
            return Bounds(narrow, NONE) if says(node, fields) != narrow else _exactly(narrow)
        return _exactly(says(node, fields))

    def _value(self, node: Equals | Pattern | Regex | NumberRange) -> Bounds:
        field = node.field
        if field == Field("case_id"):
            return self._case(node)
        if field == Field("event_id"):
            return _event_id(node)
        if isinstance(node, Pattern | Regex) and field == MESSAGE:
            return self._pattern(node)
        if not (field.attribute or field.name in (*CORE, *LISTED)):
            return _candidates(ALL)
        match node:
            case Equals():
                return _exactly(equal_to(node))
            case NumberRange():
                return _exactly(in_range(node))
            case _:
                return self._pattern(node)

    def _pattern(self, node: Pattern | Regex) -> Bounds:
        if self._expressions:
            try:
                return _exactly(matches(node))
            except Untranslatable:
                pass
        return _candidates(matches(node, loose=True))

    def _case(self, node: Equals | Pattern | Regex | NumberRange) -> Bounds:
        """The condition is the same for all events of a case: put it to the cases here."""
        test = compile_test(node)
        met = [case_id for case_id in self._case_ids if test({"case_id": case_id})]
        if len(met) == len(self._case_ids):
            return EVERYTHING
        return _exactly({"terms": {"case": met}}) if met else NOTHING


def _flat(children: Iterable[Node]) -> list[Node]:
    """Return alternatives of alternatives as alternatives, so that they are put together."""
    found: list[Node] = []
    for child in children:
        found += _flat(child.children) if isinstance(child, Or) else [child]
    ids = [child.ids for child in found if isinstance(child, Ids)]
    if len(ids) > 1:
        found = [child for child in found if not isinstance(child, Ids)]
        found.append(Ids(frozenset().union(*ids)))
    return found


def _exactly(query: Json) -> Bounds:
    return NOTHING if query is NONE else EVERYTHING if query is ALL else Bounds(query, query)


def _candidates(query: Json) -> Bounds:
    return Bounds(query, NONE)


def _decided(found: tuple[Json, bool]) -> Bounds:
    query, exact = found
    return _exactly(query) if exact else _candidates(query)


def _all(found: Sequence[Bounds]) -> Bounds:
    if any(bounds is NOTHING for bounds in found):
        return NOTHING
    upper = _conjunction([bounds.upper for bounds in found])
    if all(bounds.exact for bounds in found):
        return _exactly(upper)
    return Bounds(upper, _conjunction([bounds.lower for bounds in found]))


def _conjunction(queries: Sequence[Json]) -> Json:
    wanted: list[Json] = []
    unwanted: list[Json] = []
    for query in queries:
        inner = query.get("bool")
        if query is NONE:
            return NONE
        if query is ALL:
            continue
        if inner is not None and inner.keys() <= {"filter", "must_not"}:
            wanted += inner.get("filter", ())
            unwanted += inner.get("must_not", ())
        else:
            wanted.append(query)
    if not unwanted:
        return ALL if not wanted else wanted[0] if len(wanted) == 1 else {"bool": {"filter": wanted}}
    return {"bool": {"filter": wanted, "must_not": unwanted} if wanted else {"must_not": unwanted}}


def _any(found: Sequence[Bounds]) -> Bounds:
    if any(bounds is EVERYTHING for bounds in found):
        return EVERYTHING
    upper = any_of([bounds.upper for bounds in found])
    if all(bounds.exact for bounds in found):
        return _exactly(upper)
    return Bounds(upper, any_of([bounds.lower for bounds in found]))


def _not(bounds: Bounds) -> Bounds:
    upper = _negation(bounds.lower)
    return _exactly(upper) if bounds.exact else Bounds(upper, _negation(bounds.upper))


def _negation(query: Json) -> Json:
    if query is ALL:
        return NONE
    return ALL if query is NONE else {"bool": {"must_not": [query]}}


def _is_known(field: Field) -> bool:
    known = (*CORE, *LISTED, "message", "event_id", "case_id", "timestamp")
    return field.attribute or field.name in known


def _event_id(node: Equals | Pattern | Regex | NumberRange) -> Bounds:
    """Ids are no terms, but numbers of which the first characters decide."""
    if isinstance(node, Pattern):
        head = node.parts[0]
        digits = fold(head) if isinstance(head, str) else ""
        return _candidates(ids_beginning(digits))
    if not isinstance(node, Equals):
        return _candidates(ALL)
    canonical = number(node.value)
    value = fold(node.value) if canonical is None else canonical.zfill(64)
    return _exactly(one_of_ids([value]))
