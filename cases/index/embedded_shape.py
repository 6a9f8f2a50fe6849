"""A document as the fields of the embedded index. Runs once for every event: kept lean.

One Shaper serves one part of a shard and remembers what repeats: values of a field with their
terms and words, which words are common, and which fields come together.
"""

from __future__ import annotations

from typing import Any, Final

from cases.index import text
from cases.index.document import Document
from cases.index.embedded_terms import (
    END,
    GAP,
    INTEGER,
    LONG,
    LONG_WORD,
    MARK,
    PRESENT,
    has_long_word,
    hashed_tail,
    integer_key,
    is_long,
    place_of,
    term_tail,
    text_tail,
    words_of,
)
from cases.index.tree import WORD_FIELDS, Field

#: Core fields with a term of their own. Not the case: a shard belongs to one. Not the event id:
#: `id64` finds it.
TERM_FIELDS: Final = (
    "host",
    "user",
    "source",
    "category",
    "type",
    "timestamp_desc",
    "time_precision",
    "evidence_uid",
    "position",
)
#: Core fields whose presence a shape tells, by bit.
CORE: Final = ("timestamp", "message", "tags", "score", "event_id", "case_id", *TERM_FIELDS)

_ALWAYS: Final = sum(1 << CORE.index(name) for name in ("message", "event_id", "case_id"))
_TIMESTAMP, _TAGS, _SCORE = (1 << CORE.index(name) for name in ("timestamp", "tags", "score"))
#: Values remembered of one field, and in one part altogether.
_VALUES: Final = 1024
_ALL_VALUES: Final = 100_000
#: Words a part calls common: those seen twice, up to this many.
_COMMON: Final = 20_000
_ONCE: Final = 50_000
_COMMON_LENGTH: Final = 64
#: Combinations of fields a part tells apart; the events of others name their fields one by one.
_SHAPES: Final = 2000

#: A term (or several), and the words with a space on either side.
_Shaped = tuple[tuple[str, ...], str]


class _Place:
    """One field of the part: what its terms begin with, and the values seen first."""

    __slots__ = ("integers", "marks", "place", "texts", "worded")

    def __init__(self, field: Field, first_mark: int = 0) -> None:
        self.place = place_of(field)
        self.worded = field.attribute or field.name in WORD_FIELDS
        self.texts: dict[str, _Shaped] = {}
        self.integers: dict[int, _Shaped] = {}
        self.marks = {"text": first_mark, "number": first_mark + 1, "boolean": first_mark + 2}


class Shaper:
    """Turns documents into fields, and knows afterwards what the part is made of."""

    def __init__(self) -> None:
        self.common: set[str] = set()
        self._once: set[str] = set()
        self._remembered = 0
        self._core = [(name, 1 << CORE.index(name), _Place(Field(name))) for name in TERM_FIELDS]
        self._tags, self._score = _Place(Field("tags")), _Place(Field("score"))
        self._attributes: dict[str, _Place] = {}
        self.shapes: dict[tuple[int, ...], list[Any]] = {}  # marks -> [term, events]
        self.rest: dict[int, int] = {}  # events beside the shapes, by attribute; core bits below zero
        self.rest_marks: set[int] = set()

    def shape(self, document: Document) -> dict[str, Any]:
        """Return the fields of a document."""
        folded = text.fold(document["message"])
        words = words_of(folded)
        said = f" {' '.join(words)} "
        terms: list[str] = []
        others: list[str] = []
        present = self._core_terms(document, said, terms, others)
        marks = [present]
        places = self._attributes
        for name, value in document["attributes"].items():
            kind = type(value)
            place = places.get(name) or self._attribute(name)
            if kind is str:
                shaped = place.texts.get(value) or self._text(place, value)
                marks.append(place.marks["text"])
            elif kind is int:
                shaped = place.integers.get(value) or self._integer(place, value)
                marks.append(place.marks["number"])
            elif value is None:
                continue
            else:
                self._nested(name, value, terms, others, marks)
                continue
            terms += shaped[0]
            if shaped[1] not in said:
                others.append(shaped[1])
        if len(folded) > 200 and has_long_word(words):
            terms.append(LONG_WORD)
        fields: dict[str, Any] = {
            "id64": int(document["event_id"][:16], 16),
            "s": self._shape_term(tuple(marks), terms),
            "x": terms,
            "m": said,
            "t": self._uncommon(folded, words),
            "src": text.dump(document),
        }
        if document["timestamp"] is not None:
            fields["ts"] = document["timestamp"]
        if others:
            fields["o"] = GAP.join([other for other in others if other not in said])
        return fields

    def _core_terms(self, document: Document, said: str, terms: list[str], others: list[str]) -> int:
        present = _ALWAYS
        for name, bit, place in self._core:
            value = document[name]
            if value is None:
                continue
            present |= bit
            shaped = place.texts.get(value) or self._text(place, value)
            terms += shaped[0]
            if shaped[1] not in said:
                others.append(shaped[1])
        if document["timestamp"] is not None:
            present |= _TIMESTAMP
        if document["tags"]:
            present |= _TAGS
            for tag in document["tags"]:
                shaped = self._tags.texts.get(tag) or self._text(self._tags, tag)
                terms += shaped[0]
                others.append(shaped[1])
        score = document["score"]
        if score is not None:
            present |= _SCORE
            terms.append(self._score.place + term_tail(score))
        return present

    def _attribute(self, name: str) -> _Place:
        place = self._attributes[name] = _Place(Field(name, attribute=True), 1 + 3 * len(self._attributes))
        return place

    def _text(self, place: _Place, value: str) -> _Shaped:
        keep = len(place.texts) < _VALUES and self._remembered < _ALL_VALUES and len(value) <= LONG
        words = _spaced(value) if place.worded else " "
        shaped: _Shaped = ((place.place + text_tail(value),), words)
        if is_long(value) and not keep:
            shaped = ((place.place + hashed_tail(value), place.place + MARK), words)
        if keep:
            place.texts[value] = shaped
            self._remembered += 1
        return shaped

    def _integer(self, place: _Place, value: int) -> _Shaped:
        if not 0 <= value < 10**15:
            return self._scalar(place, value)
        digits = str(value)
        shaped = ((f"{place.place}{INTEGER}{integer_key(digits)}{END}",), f" {digits} ")
        if len(place.integers) < _VALUES and self._remembered < _ALL_VALUES:
            place.integers[value] = shaped
            self._remembered += 1
        return shaped

    @staticmethod
    def _scalar(place: _Place, value: Any) -> _Shaped:
        spelled = text.value_text(value)
        if is_long(spelled):
            return (place.place + hashed_tail(value), place.place + MARK), _spaced(spelled)
        return (place.place + term_tail(value),), _spaced(spelled)

    def _nested(self, name: str, value: Any, terms: list[str], others: list[str], marks: list[int]) -> None:
        """Lists, objects and what is neither text nor integer, the long way round."""
        for inner, scalar in text.flatten({name: value}):
            place = self._attributes.get(inner) or self._attribute(inner)
            if type(scalar) is str:
                shaped = place.texts.get(scalar) or self._text(place, scalar)
                mark = place.marks["text"]
            else:
                shaped = self._scalar(place, scalar)
                mark = place.marks["boolean" if isinstance(scalar, bool) else "number"]
            terms += shaped[0]
            others.append(shaped[1])
            if mark not in marks:
                marks.append(mark)

    def _uncommon(self, folded: str, words: list[str]) -> str:
        """Return the words that three-letter sequences are kept of: those that are not common."""
        common = self.common
        rare = [word for word in words if word not in common]
        if not rare:
            return ""
        if len(folded) > 200 and has_long_word(rare):
            rare = [word for word in text.split(folded) if word not in common]
        if len(common) < _COMMON:
            once = self._once
            for word in rare:
                if word in once:
                    if len(word) <= _COMMON_LENGTH:
                        common.add(word)
                else:
                    once.add(word)
            if len(once) > _ONCE:
                once.clear()
        return " ".join(rare)

    def _shape_term(self, marks: tuple[int, ...], terms: list[str]) -> str:
        known = self.shapes.get(marks)
        if known is None:
            if len(self.shapes) >= _SHAPES:
                return self._loose(marks, terms)
            known = self.shapes[marks] = [f"{len(self.shapes):x}", 0]
        known[1] += 1
        term: str = known[0]
        return term

    def _loose(self, marks: tuple[int, ...], terms: list[str]) -> str:
        """Name the fields of an event one by one: there are too many combinations."""
        for bit, name in enumerate(CORE):
            if marks[0] >> bit & 1:
                terms.append(place_of(Field(name)) + PRESENT)
                self.rest[-1 - bit] = self.rest.get(-1 - bit, 0) + 1
        places = list(self._attributes.values())
        for number in {(mark - 1) // 3 for mark in marks[1:]}:
            terms.append(places[number].place + PRESENT)
            self.rest[number] = self.rest.get(number, 0) + 1
        self.rest_marks.update(marks[1:])
        return ""

    def facts(self) -> dict[str, Any]:
        """Return what a reader of the part has to know; JSON."""
        return {
            "common": "\n".join(self.common),
            "names": list(self._attributes),
            "shapes": [[events, marks] for marks, (_, events) in self.shapes.items()],
            "rest": [[place, events] for place, events in self.rest.items()],
            "rest_marks": list(self.rest_marks),
        }


def _spaced(value: str) -> str:
    words = words_of(text.fold(value))
    return f" {' '.join(words)} " if words else " "
