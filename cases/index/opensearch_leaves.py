"""The conditions of a query, one by one, as OpenSearch JSON over the fields of `opensearch_shape`."""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson

from cases.index.matching import text_test
from cases.index.opensearch_regex import needed, translate
from cases.index.opensearch_regex_read import Untranslatable, quote
from cases.index.opensearch_shape import (
    ALWAYS,
    BOUNDARY,
    LONG_WORD,
    MAX_EXPRESSION,
    MESSAGE_PLACE,
    NUMBER,
    OTHER,
    TEXT,
    equal_terms,
    has_terms,
    id_numbers,
    place_of,
    sortable,
    words_of,
)
from cases.index.text import fold
from cases.index.tree import ANY, MESSAGE, Equals, Field, Fuzzy, NumberRange, Pattern, Regex, Wildcard, Words

Json = dict[str, Any]

ALL: Final[Json] = {"match_all": {}}
NONE: Final[Json] = {"match_none": {}}

#: Terms that the server takes in one `terms` query (`index.max_terms_count` is 65,536).
_MAX_TERMS: Final = 65_000
#: Steps that the server may take to make an automaton of an expression.
_EFFORT: Final = 50_000
#: Words up to which the near ones are written down: of short ones the server leaves some out.
_SHORT_WORD: Final = 4
_HEXADECIMAL: Final = re.compile(r"[0-9a-f]*", re.ASCII)
_TOP: Final = 1 << 63
_WILD: Final = re.compile(r"[\\*?]")
#: A backslash that is meant, escaped for the server and for JSON.
_BACKSLASH: Final = b"\\\\\\\\"


class Caution:
    """Whether wildcard fields of the server find nothing that has a backslash (OpenSearch 2.19).

    Patterns with one are then narrowed down by what else they hold, and verified.
    """

    needed = False


def any_of(queries: Sequence[Json]) -> Json:
    """Return what one of the queries finds; conditions that are lists of terms become one list."""
    rest: list[Json] = []
    terms: dict[str, dict[str, None]] = {}
    for query in queries:
        kind, inner = next(iter(query.items()))
        if query is NONE:
            continue
        if query is ALL:
            return ALL
        if kind == "bool" and inner.keys() == {"should", "minimum_should_match"}:
            parts = inner["should"]
        else:
            parts = [query]
        for part in parts:
            ((kind, inner),) = part.items()
            if kind in ("term", "terms"):
                ((field, value),) = inner.items()
                terms.setdefault(field, {}).update(dict.fromkeys(value if kind == "terms" else [value]))
            else:
                rest.append(part)
    found = [each for field, values in terms.items() for each in _terms(field, list(values))] + rest
    if len(found) < 2:
        return found[0] if found else NONE
    return {"bool": {"should": found, "minimum_should_match": 1}}


def _terms(field: str, values: Sequence[Any]) -> list[Json]:
    if len(values) == 1:
        return [{"term": {field: values[0]}}]
    starts = range(0, len(values), _MAX_TERMS)
    return [{"terms": {field: values[start : start + _MAX_TERMS]}} for start in starts]


def says(node: Words, fields: Sequence[str], *, loose: bool = False) -> Json:
    """Return the query for words side by side, or with others in between, in one of the fields.

    `loose` asks for the longest of them alone.
    """
    words = words_of(fold(node.text))
    if loose:
        words = [max(words, key=len)]
    if len(words) == 1:
        return any_of([{"term": {field: words[0]}} for field in fields])
    return any_of([_phrase(words, field, node.slop) for field in fields])


def _phrase(words: Sequence[str], field: str, slop: int) -> Json:
    if not slop:
        return {"match_phrase": {field: {"query": " ".join(words), "analyzer": "words"}}}
    asked: Json = {
        "mode": "ordered",
        "max_gaps": slop,
        "intervals": [{"match": {"query": word, "analyzer": "words"}} for word in words],
    }
    if field == "words":
        asked["filter"] = {"not_containing": {"match": {"query": BOUNDARY, "analyzer": "words"}}}
    return {"intervals": {field: {"all_of": asked}}}


def fuzzy(node: Fuzzy) -> tuple[Json, bool]:
    """Return the query for words of the message near a word, and whether it is exact."""
    word = fold(node.word)
    if len(word) + node.edits > LONG_WORD:  # some of the words it may find are digests
        return ALL, False
    if len(word) <= _SHORT_WORD:
        expression = "|".join(sorted(_near(word, node.edits) - {""}))
        return {"regexp": {"message": _expression(expression)}}, True
    asked = {"value": word, "fuzziness": node.edits, "transpositions": True, "rewrite": "constant_score"}
    return {"fuzzy": {"message": asked}}, True


def _near(word: str, edits: int) -> set[str]:
    """Return the words within so many edits as Lucene's expressions, "." for any character."""
    if not word:
        return {"." * more for more in range(1, edits + 1)} | {""}
    found = {f"{quote(word[0])}{rest}" for rest in _near(word[1:], edits)}
    if edits:
        found |= _near(word[1:], edits - 1)
        found |= {f".{rest}" for rest in _near(word[1:], edits - 1) | _near(word, edits - 1)}
        if len(word) > 1:
            found |= {f"{quote(word[1::-1])}{rest}" for rest in _near(word[2:], edits - 1)}
    return found


def equal_to(node: Equals) -> Json:
    """Return the query for a value of an exact field."""
    return any_of([{"term": {"exact": term}} for term in equal_terms(node.field, node.value)])


def in_range(node: NumberRange) -> Json:
    """Return the query for numbers between two bounds."""
    place = place_of(node.field)
    ranges = []
    for sign in (NUMBER, OTHER):
        bounds = {"gte": f"{place}{sign}", "lt": f"{place}{chr(ord(sign) + 1)}"}
        if node.lower is not None:
            # A number's digits are followed by ":", and ";" is the sign after it.
            bounds["gte"] += sortable(float(node.lower)) + ("" if node.include_lower else ";")
        if node.upper is not None:
            bounds["lt"] = f"{place}{sign}{sortable(float(node.upper))}{';' if node.include_upper else ''}"
        if bounds["gte"] < bounds["lt"]:
            ranges.append({"range": {"exact": bounds}})
    return any_of(ranges)


def between(lower: int | None, upper: int | None) -> Json:
    """Return the query for timestamps in a range, both ends included."""
    if lower is None and upper is None:
        return {"exists": {"field": "timestamp"}}
    bounds = {}
    if lower is not None:
        bounds["gte"] = max(lower, -(2**62))
    if upper is not None:
        bounds["lte"] = min(upper, 2**62)
    if bounds.get("gte", -(2**63)) > bounds.get("lte", 2**63):
        return NONE
    return {"range": {"timestamp": bounds}}


def present(field: Field) -> Json:
    """Return the query for events that have a value in a field."""
    if not field.attribute:
        if field.name in ALWAYS:
            return ALL
        if field.name == "timestamp":
            return between(None, None)
    return {"terms": {"has": has_terms(field)}}


def one_of_ids(ids: Iterable[str]) -> Json:
    """Return the query for events of these ids; 128 bits of each are compared.

    People may have marked very many, so that what is done for each matters.
    """
    wanted = [event_id for event_id in ids if len(event_id) == 64]
    if not _HEXADECIMAL.fullmatch("".join(wanted)):
        wanted = [event_id for event_id in wanted if _HEXADECIMAL.fullmatch(event_id)]
    found = []
    for start in range(0, len(wanted), _MAX_TERMS):
        some = wanted[start : start + _MAX_TERMS]
        quarters = array("Q", bytes.fromhex("".join(some)))
        if sys.byteorder == "little":
            quarters.byteswap()
        halves = [(name, {value - _TOP for value in quarters[at::4]}) for at, name in enumerate(("e1", "e2"))]
        # In order, so that the same ids are the same question to the server.
        found.append(
            {"bool": {"filter": [query for name, half in halves for query in _terms(name, sorted(half))]}}
        )
    return any_of(found)


def ids_beginning(digits: str) -> Json:
    """Return the query for events whose id begins like this, as far as 64 bits tell."""
    head = digits[:16]
    if not head or not re.fullmatch(r"[0-9a-f]+", head, re.ASCII):
        return ALL if not head else NONE
    bounds = [id_numbers(head.ljust(64, digit))[0] for digit in "0f"]
    return {"range": {"e1": {"gte": bounds[0], "lte": bounds[1]}}}


def matches(node: Pattern | Regex, *, loose: bool = False) -> Json:
    """Return the query for texts that a pattern or an expression finds or covers.

    `loose` asks for what such a text surely holds. Raises Untranslatable.
    """
    if not loose:
        found_exactly = _holding(node) if isinstance(node, Pattern) else _matching(node)
        if Caution.needed and _BACKSLASH in orjson.dumps(found_exactly):
            raise Untranslatable("a backslash")
        return found_exactly
    if isinstance(node, Pattern):
        literals = [fold(part) for part in node.parts if isinstance(part, str)]
    else:
        literals = needed(node.source)
    if Caution.needed:
        literals = [piece for literal in literals for piece in literal.split("\\")]
    longest = sorted({literal for literal in literals if literal}, key=len, reverse=True)[:4]
    found = [_holding(Pattern(node.field, (ANY, literal[:60], ANY))) for literal in longest]
    return {"bool": {"filter": found}} if found else ALL


def _holding(node: Pattern) -> Json:
    """Wildcards are cheaper than expressions, and mean the same."""
    parts = (ANY, *node.parts, ANY) if node.field == MESSAGE else node.parts
    signs = "".join(part.sign if isinstance(part, Wildcard) else _tame(fold(part)) for part in parts)
    if len(signs) > MAX_EXPRESSION:
        raise Untranslatable("too long")
    if node.field == MESSAGE:
        return any_of([_wild("raw", signs), _wild("long", f"{MESSAGE_PLACE}{TEXT}{signs}")])
    place = _tame(place_of(node.field))
    return any_of(
        [
            _wild("exact", f"{place}{TEXT}{signs}"),
            _wild("exact", f"{place}{NUMBER}{'?' * 16}:{signs}"),
            _wild("long", f"{place}{TEXT}{signs}"),
        ]
    )


def _tame(text: str) -> str:
    return _WILD.sub(lambda sign: f"\\{sign[0]}", text)


def _wild(field: str, value: str) -> Json:
    return {"wildcard": {field: {"value": value}}}


def _matching(node: Regex) -> Json:
    expression = translate(node.source, whole=node.field != MESSAGE)
    if node.field == MESSAGE:
        if text_test(node)(""):
            # The server misses empty messages when nothing else is looked for; no folded text has an A.
            expression = f"({expression})|A"
        long = f"{MESSAGE_PLACE}{TEXT}({expression})"
        return any_of([{"regexp": {"raw": _expression(expression)}}, {"regexp": {"long": _expression(long)}}])
    place = quote(place_of(node.field))
    exact = f"{place}({TEXT}|{NUMBER}.{{16}}:)({expression})"
    return any_of(
        [
            {"regexp": {"exact": _expression(exact)}},
            {"regexp": {"long": _expression(f"{place}{TEXT}({expression})")}},
        ]
    )


def _expression(value: str) -> Json:
    if len(value) > MAX_EXPRESSION:
        raise Untranslatable("too long")
    return {"value": value, "flags": "NONE", "max_determinized_states": _EFFORT}
