"""A query tree as tantivy queries over one part.

Every node gives two: `upper` finds at least what the tree finds, `lower` at most. Where they are
the same, the index decides alone; in between, `matching` looks at the documents. Text of a user
never reaches a parser of tantivy's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from tantivy import Occur, Query

from cases.index.document import Document
from cases.index.embedded_literals import Fragment, fragments
from cases.index.embedded_named import named, numbers_of, with_numbers
from cases.index.embedded_numbers import digit_ranges, first_integer
from cases.index.embedded_parts import OpenPart, both
from cases.index.embedded_queries import ALL, NONE, any_term, between, either, term, without
from cases.index.embedded_schema import SCHEMA
from cases.index.embedded_shape import CORE, TERM_FIELDS
from cases.index.embedded_terms import (
    END,
    INTEGER,
    LONG_WORD,
    LONG_WORD_SIZE,
    MARK,
    NUMBER,
    PRESENT,
    TEXT,
    place_of,
    spelling,
    wanted_tails,
    words_of,
)
from cases.index.matching import compile_test, text_test, value_test
from cases.index.text import fold
from cases.index.tree import (
    MESSAGE,
    TIMESTAMP,
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

#: Terms that an open fragment may stand for; more, and it is left out.
_WORDS_OF_FRAGMENT: Final = 2000
#: A core field that is no term field, but whose values have terms.
_TERMED: Final = (*TERM_FIELDS, "tags", "score")


@dataclass(frozen=True, slots=True)
class Bounds:
    """At least and at most what a node finds in a part."""

    upper: Any
    lower: Any
    negated: Any = None  # what an exact negation leaves out
    count: int | None = None  # how many it finds, where that is known

    @property
    def exact(self) -> bool:
        """Whether the index decides alone."""
        return self.upper is self.lower


def exactly(query: Query) -> Bounds:
    """Return the bounds of what the index decides."""
    return NOTHING if query is NOTHING.upper else Bounds(query, query)


NOTHING: Final = Bounds(NONE, NONE)
EVERYTHING: Final = Bounds(ALL, ALL)


def candidates(query: Query) -> Bounds:
    """Return the bounds of what only documents decide."""
    return Bounds(query, NOTHING.lower)


class Compiler:
    """Compiles one tree for several parts; what is the same for all of them is made once."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.test: Callable[[Document], bool] = compile_test(node)
        self._shared: dict[int, Bounds] = {}
        self._folded: dict[int, Sequence[str]] = {}
        self._worded: dict[tuple[int, tuple[str, ...]], Bounds] = {}

    def bounds(self, part: OpenPart) -> Bounds:
        """Return the bounds of the tree in a part."""
        return self._bounds(self.node, part)

    def _bounds(self, node: Node, part: OpenPart) -> Bounds:
        match node:
            case And(children=children):
                return _all([self._bounds(child, part) for child in children])
            case Or(children=children):
                return _any([self._bounds(child, part) for child in children])
            case Not(child=child):
                return _not(self._bounds(child, part))
            case Words(field=None):
                return self._said(node, part)
            case Everything() | Nothing() | Words() | Fuzzy() | TimeRange():
                found = self._shared.get(id(node))
                if found is None:
                    found = self._shared[id(node)] = _of_all_parts(node)
                return found
            case _:
                return _of_part(node, part)

    def _said(self, node: Words, part: OpenPart) -> Bounds:
        """Search only the word fields that have all the words: one takes less than two."""
        words = self._folded.get(id(node))
        if words is None:
            words = self._folded[id(node)] = words_of(fold(node.text))
        known = part.searcher.doc_freq
        fields = tuple(field for field in ("m", "o") if all(known(field, word) for word in words))
        found = self._worded.get((id(node), fields))
        if found is None:
            found = self._worded[id(node), fields] = _words(node, fields)
        return found


def _all(bounds: Sequence[Bounds]) -> Bounds:
    if any(bound is NOTHING for bound in bounds):
        return NOTHING
    bounds = [bound for bound in bounds if bound is not EVERYTHING] or [EVERYTHING]
    if len(bounds) == 1:
        return bounds[0]
    if any(bound.negated is None for bound in bounds):
        upper = _conjunction(bounds)
    else:
        upper = both(*(bound.upper for bound in bounds))
    return exactly(upper) if all(b.exact for b in bounds) else Bounds(upper, both(*(b.lower for b in bounds)))


def _conjunction(bounds: Sequence[Bounds]) -> Query:
    """Return what meets all, negations as such: nobody has to walk through all that they leave."""
    return Query.boolean_query(
        [(Occur.Must, b.upper) if b.negated is None else (Occur.MustNot, b.negated) for b in bounds]
    )


def _any(bounds: Sequence[Bounds]) -> Bounds:
    if any(bound is EVERYTHING for bound in bounds):
        return EVERYTHING
    bounds = [bound for bound in bounds if bound is not NOTHING]
    upper = either([bound.upper for bound in bounds])
    if all(bound.exact for bound in bounds):
        return exactly(upper)
    return Bounds(upper, either([bound.lower for bound in bounds]))


def _not(bounds: Bounds) -> Bounds:
    if bounds.exact:
        rest = without(EVERYTHING.upper, bounds.upper)
        return Bounds(rest, rest, bounds.upper)
    return Bounds(without(EVERYTHING.upper, bounds.lower), without(EVERYTHING.upper, bounds.upper))


def _of_all_parts(node: Everything | Nothing | Words | Fuzzy | TimeRange) -> Bounds:
    match node:
        case Everything():
            return EVERYTHING
        case Nothing():
            return NOTHING
        case Words():
            return _words(node, ("m",))
        case Fuzzy():
            return _fuzzy(node)
        case TimeRange(lower=lower, upper=upper):
            return exactly(between(lower, upper))


def _words(node: Words, fields: Sequence[str]) -> Bounds:
    if node.field not in (None, MESSAGE):
        return candidates(EVERYTHING.upper)
    if not fields:
        return NOTHING
    words = words_of(fold(node.text))
    if len(words) == 1:
        return exactly(either([term(field, words[0]) for field in fields]))
    phrase = either([Query.phrase_query(SCHEMA, field, list(words)) for field in fields])
    if node.slop == 0:
        return exactly(phrase)
    scattered = [both(*(term(field, word) for word in dict.fromkeys(words))) for field in fields]
    return Bounds(either(scattered), phrase)


def _fuzzy(node: Fuzzy) -> Bounds:
    word = fold(node.word)
    hashed = term("x", LONG_WORD)
    if len(word) > LONG_WORD_SIZE + node.edits:
        return candidates(hashed)
    near = Query.fuzzy_term_query(SCHEMA, "m", word, node.edits, True)
    if len(word) <= LONG_WORD_SIZE - node.edits:
        return exactly(near)
    return Bounds(either([near, hashed]), near)


def _of_part(node: Node, part: OpenPart) -> Bounds:
    match node:
        case Ids():
            return _named(node, part)
        case Exists(field=field):
            return _exists(field, part)
        case Equals() | Pattern() | Regex() | NumberRange() if node.field == Field("case_id"):
            return EVERYTHING if _meets(node, part.case_id) else NOTHING
        case Equals(field=Field("event_id", False), value=value):
            return _ids([fold(value)])
        case Pattern(field=field) | Regex(field=field) if field == MESSAGE:
            return _in_message(node, part)
        case Equals() | Pattern() | Regex() | NumberRange() if not _has_terms(node.field):
            return candidates(EVERYTHING.upper)
        case Equals():
            return _equals(node, part)
        case Pattern() | Regex():
            return _pattern(node, part)
        case NumberRange():
            return _number_range(node, part)
        case _:
            raise TypeError(f"{type(node).__name__} cannot be compiled.")


def _has_terms(field: Field) -> bool:
    return field.attribute or field.name in _TERMED


def _meets(node: Equals | Pattern | Regex | NumberRange, value: str) -> bool:
    if isinstance(node, Equals | NumberRange):
        return value_test(node)(value)
    return text_test(node)(fold(value))


def _ids(ids: Iterable[str]) -> Bounds:
    """Sixteen characters of an id are indexed; the document tells the rest."""
    prefixes = numbers_of(ids)
    return candidates(with_numbers(prefixes)) if prefixes else NOTHING


def _named(node: Ids, part: OpenPart) -> Bounds:
    """Look once which of many ids the part has; from then on the index decides alone."""
    held = named(node, part)
    if held.sure is None and held.doubtful is None:
        return NOTHING
    sure = NOTHING.lower if held.sure is None else held.sure
    if held.doubtful is not None:
        return Bounds(either([sure, held.doubtful]), sure)
    return Bounds(sure, sure, None, held.count)


def _exists(field: Field, part: OpenPart) -> Bounds:
    if not field.attribute and field.name not in CORE:
        return candidates(EVERYTHING.upper)
    if field == TIMESTAMP:
        return exactly(between(None, None))
    shapes = [shape.term for shape in part.shapes_with(field)]
    queries = [any_term("s", shapes)] if shapes else []
    if part.side["rest"]:
        queries.append(term("x", place_of(field) + PRESENT))
    return exactly(either(queries))


def _equals(node: Equals, part: OpenPart) -> Bounds:
    found = [name for beginning in _beginnings(node) for name in part.terms(beginning)]
    return exactly(any_term("x", found))


@lru_cache(maxsize=1024)
def _beginnings(node: Equals) -> tuple[str, ...]:
    place = place_of(node.field)
    return tuple(place + tail for tail in wanted_tails(node.value))


def _pattern(node: Pattern | Regex, part: OpenPart) -> Bounds:
    """Every kept value of the field is tested; events with a hashed one are looked at."""
    place, test = place_of(node.field), text_test(node)
    found = [
        name
        for kind in (TEXT, INTEGER, NUMBER)
        for name in part.terms(place + kind)
        if test(fold(_spelled(name, place)))
    ]
    sure = any_term("x", found)
    if not part.terms(place + MARK):
        return exactly(sure)
    narrow = [_either_field(fragment) for fragment in fragments(node, covers=True) if fragment.whole]
    return Bounds(either([sure, both(term("x", place + MARK), *narrow)]), sure)


def _spelled(name: str, place: str) -> str:
    return spelling(name[len(place) :]) or ""  # never a hashed one: they begin otherwise


def _either_field(fragment: Fragment) -> Query:
    return either([term(field, word) for field in ("m", "o") for word in words_of(fragment.text)])


def _number_range(node: NumberRange, part: OpenPart) -> Bounds:
    place, test = place_of(node.field), value_test(node)
    odd = [name for name in part.terms(place + NUMBER) if test(name[len(place) + 1 :].partition(END)[0])]
    queries = [any_term("x", odd), *_integers(node, place)]
    sure = either(queries)
    if not part.terms(place + MARK):
        return exactly(sure)
    return Bounds(either([sure, term("x", place + MARK)]), sure)


def _integers(node: NumberRange, place: str) -> list[Query]:
    lower = 0 if node.lower is None else first_integer(float(node.lower), included=node.include_lower)
    highest = 10**15 - 1
    upper = highest if node.upper is None else -first_integer(-float(node.upper), included=node.include_upper)
    lower, upper = max(lower, 0), min(upper, highest)
    if lower > upper:
        return []
    digits = "|".join(digit_ranges(lower, upper))
    escaped = "".join(f"\\x{{{ord(char):x}}}" for char in place)
    return [Query.regex_query(SCHEMA, "x", f"{escaped}\\x{{1e}}(?:{digits})\\x{{0}}(?s:.)*")]


def _in_message(node: Pattern | Regex, part: OpenPart) -> Bounds:
    needed = [found for fragment in fragments(node, covers=False) if (found := _holding(fragment, part))]
    return candidates(both(*needed))


def _holding(fragment: Fragment, part: OpenPart) -> Query | None:
    """Return the query for messages with a word that the fragment is part of; None for any."""
    if fragment.whole:
        return term("m", words_of(fragment.text)[0])
    if len(fragment.text) < 3:
        return None
    rare = _trigrams(fragment.text)
    common = _common_words(fragment, part.side["common"])
    if len(common) > _WORDS_OF_FRAGMENT:
        return None
    return either([rare, any_term("m", common)]) if common else rare


@lru_cache(maxsize=1024)
def _trigrams(letters: str) -> Query:
    return both(*(term("t", letters[at : at + 3]) for at in range(len(letters) - 2)))


def _common_words(fragment: Fragment, common: str) -> list[str]:
    """Return the common words, one a line, that begin with, end with or hold the fragment."""
    lines = f"\n{common}\n"
    wanted = f"{'' if fragment.open_left else chr(10)}{fragment.text}{'' if fragment.open_right else chr(10)}"
    found, at = [], lines.find(wanted)
    while at >= 0:
        begin = lines.rfind("\n", 0, at + 1) + 1 if fragment.open_left else at + 1
        end = lines.find("\n", begin)
        found.append(lines[begin:end])
        at = lines.find(wanted, end)
    return found
