"""A document as the fields of the embedded index. Runs once for every event: kept lean.

One Shaper serves one part of a shard and remembers what repeats: values of a field with their
terms and words, which words are common, and which fields come together.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import compress
from operator import getitem, itemgetter
from types import NoneType
from typing import Any, Final

from cases.index import text
from cases.index.document import Document
from cases.index.embedded_terms import (
    END,
    GAP,
    INTEGER,
    LONG,
    LONG_WORD,
    LONG_WORD_SIZE,
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

#: Attributes of an event whose combination is remembered.
_PLANNED: Final = 500

_core_values: Final = itemgetter(*TERM_FIELDS)

#: The term of a value, and its words with a space on either side.
_Shaped = tuple[str, str]
#: The names of an event's attributes, and the kinds of its values, those of the core first.
_Kinds = tuple[tuple[str, ...], tuple[type, ...]]


class _Memory:
    """What the fields of a part share: how many more values may be remembered, and marks of hashed ones."""

    __slots__ = ("free", "marks")

    def __init__(self) -> None:
        self.free = _ALL_VALUES
        self.marks: list[str] = []  # of the event at hand


class _Texts(dict[str, _Shaped]):
    """The texts of one field, each shaped when it is looked up; those seen first are remembered."""

    __slots__ = ("memory", "place", "worded")

    def __init__(self, place: str, memory: _Memory, *, worded: bool) -> None:
        self.place, self.memory, self.worded = place, memory, worded

    def __missing__(self, value: str) -> _Shaped:
        keep = len(self) < _VALUES and self.memory.free and len(value) <= LONG
        if keep or not is_long(value):
            tail = text_tail(value)
        else:
            tail = hashed_tail(value)
            self.memory.marks.append(self.place + MARK)
        shaped = self.place + tail, _spaced(value) if self.worded else " "
        if keep:
            self[value] = shaped
            self.memory.free -= 1
        return shaped


class _Integers(dict[int, _Shaped]):
    """The integers of one field, in the same way."""

    __slots__ = ("memory", "place")

    def __init__(self, place: str, memory: _Memory) -> None:
        self.place, self.memory = place, memory

    def __missing__(self, value: int) -> _Shaped:
        if not 0 <= value < 10**15:
            return _scalar(self.place, value, self.memory)
        digits = str(value)
        shaped = f"{self.place}{INTEGER}{integer_key(digits)}{END}", f" {digits} "
        if len(self) < _VALUES and self.memory.free:
            self[value] = shaped
            self.memory.free -= 1
        return shaped


class _Place:
    """One field of the part: what its terms begin with, and the values seen first."""

    __slots__ = ("integers", "marks", "place", "texts")

    def __init__(self, field: Field, memory: _Memory, first_mark: int = 0) -> None:
        self.place = place_of(field)
        self.texts = _Texts(self.place, memory, worded=field.attribute or field.name in WORD_FIELDS)
        self.integers = _Integers(self.place, memory)
        self.marks = {"text": first_mark, "number": first_mark + 1, "boolean": first_mark + 2}


class _Plan:
    """How events with the same fields of the same kinds are shaped.

    `lookups` has one table for each value that `kept` lets through, which is all of them if None.
    The attributes in `nested` are looked at in each event; `shapes` is then of no use.
    """

    __slots__ = ("kept", "lookups", "marks", "nested", "present", "shapes")

    def __init__(self) -> None:
        self.kept: list[bool] | None = []
        self.lookups: list[_Texts | _Integers] = []
        self.marks: list[int] = []
        self.nested: list[str] = []
        self.present = _ALWAYS
        self.shapes: dict[int, list[Any]] = {}  # by the bits that are not planned


class Shaper:
    """Turns documents into fields, and knows afterwards what the part is made of."""

    def __init__(self) -> None:
        self.common: set[str] = set()
        self._once: set[str] = set()
        self._memory = memory = _Memory()
        self._core = [(1 << CORE.index(name), _Place(Field(name), memory)) for name in TERM_FIELDS]
        self._tags, self._score = (_Place(Field(name), memory) for name in ("tags", "score"))
        self._attributes: dict[str, _Place] = {}
        self._plans: dict[_Kinds, _Plan] = {}
        self.shapes: dict[tuple[int, ...], list[Any]] = {}  # marks -> [term, events]
        self.rest: dict[int, int] = {}  # events beside the shapes, by attribute; core bits below zero
        self.rest_marks: set[int] = set()

    def shape(self, document: Document) -> dict[str, Any]:
        """Return the fields of a document."""
        attributes = document["attributes"]
        values: Iterable[Any] = [*_core_values(document), *attributes.values()]
        kinds = tuple(attributes), tuple(map(type, values))
        plan = self._plans.get(kinds) or self._plan(kinds)
        if plan.kept is not None:
            values = compress(values, plan.kept)
        # No code of ours runs for a value that is remembered.
        terms, others = map(list, zip(*map(getitem, plan.lookups, values), strict=True))
        bits = self._unplanned(document, terms, others)
        known = plan.shapes.get(bits) or self._shape(plan, bits, attributes, terms, others)
        known[1] += 1
        folded = text.fold(document["message"])
        words = words_of(folded)
        said = f" {' '.join(words)} "
        if len(folded) > LONG_WORD_SIZE and has_long_word(words):
            terms.append(LONG_WORD)
        if self._memory.marks:
            terms += self._memory.marks
            self._memory.marks.clear()
        fields: dict[str, Any] = {
            "id64": int(document["event_id"][:16], 16),
            "s": known[0],
            "x": terms,
            "m": said,
            "t": self._uncommon(folded, words),
            "src": text.dump(document),
        }
        if document["timestamp"] is not None:
            fields["ts"] = document["timestamp"]
        if unsaid := [other for other in dict.fromkeys(others) if other not in said]:
            fields["o"] = GAP.join(unsaid)
        return fields

    def _plan(self, kinds: _Kinds) -> _Plan:
        """Return a new plan; remembered unless there are too many or it is too large."""
        names, types = kinds
        plan = _Plan()
        kept = [kind is str for kind in types[: len(self._core)]]
        for (bit, place), there in zip(self._core, kept, strict=True):
            if there:
                plan.present |= bit
                plan.lookups.append(place.texts)
        for name, kind in zip(names, types[len(self._core) :], strict=True):
            kept.append(kind is str or kind is int)
            if kind is not NoneType and not kept[-1]:
                plan.nested.append(name)
            if kept[-1]:
                place = self._attributes.get(name) or self._attribute(name)
                plan.lookups.append(place.texts if kind is str else place.integers)
                plan.marks.append(place.marks["text" if kind is str else "number"])
        plan.kept = None if all(kept) else kept
        if len(self._plans) < _SHAPES and len(names) <= _PLANNED:
            self._plans[kinds] = plan
        return plan

    def _unplanned(self, document: Document, terms: list[str], others: list[str]) -> int:
        """Add tags and score; return the bits of core fields that are there beside the planned ones."""
        bits = 0 if document["timestamp"] is None else _TIMESTAMP
        if document["tags"]:
            bits |= _TAGS
            for tag in document["tags"]:
                term, words = self._tags.texts[tag]
                terms.append(term)
                others.append(words)
        if document["score"] is not None:
            bits |= _SCORE
            terms.append(self._score.place + term_tail(document["score"]))
        return bits

    def _shape(
        self, plan: _Plan, bits: int, attributes: dict[str, Any], terms: list[str], others: list[str]
    ) -> list[Any]:
        """Return term and count of the shape, after adding what is nested."""
        marks = dict.fromkeys(plan.marks)
        for name in plan.nested:
            self._nested(name, attributes[name], terms, others, marks)
        key = (plan.present | bits, *marks)
        known = self.shapes.get(key)
        if known is None:
            if len(self.shapes) >= _SHAPES:
                self._loose(key, terms)
                return ["", 0]
            known = self.shapes[key] = [f"{len(self.shapes):x}", 0]
        if not plan.nested:
            plan.shapes[bits] = known
        return known

    def _attribute(self, name: str) -> _Place:
        field, first_mark = Field(name, attribute=True), 1 + 3 * len(self._attributes)
        place = self._attributes[name] = _Place(field, self._memory, first_mark)
        return place

    def _nested(
        self, name: str, value: Any, terms: list[str], others: list[str], marks: dict[int, None]
    ) -> None:
        """Lists, objects and what is neither text nor integer, the long way round."""
        for inner, scalar in text.flatten({name: value}):
            place = self._attributes.get(inner) or self._attribute(inner)
            if type(scalar) is str:
                term, words = place.texts[scalar]
                mark = "text"
            else:
                term, words = _scalar(place.place, scalar, self._memory)
                mark = "boolean" if isinstance(scalar, bool) else "number"
            terms.append(term)
            others.append(words)
            marks[place.marks[mark]] = None

    def _uncommon(self, folded: str, words: list[str]) -> str:
        """Return the words that three-letter sequences are kept of: those that are not common."""
        common = self.common
        if common.issuperset(words):
            return ""
        rare = [word for word in words if word not in common]
        if len(folded) > LONG_WORD_SIZE and has_long_word(rare):
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

    def _loose(self, marks: tuple[int, ...], terms: list[str]) -> None:
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

    def facts(self) -> dict[str, Any]:
        """Return what a reader of the part has to know; JSON."""
        return {
            "common": "\n".join(self.common),
            "names": list(self._attributes),
            "shapes": [[events, marks] for marks, (_, events) in self.shapes.items()],
            "rest": [[place, events] for place, events in self.rest.items()],
            "rest_marks": list(self.rest_marks),
        }


def _scalar(place: str, value: Any, memory: _Memory) -> _Shaped:
    spelled = text.value_text(value)
    if is_long(spelled):
        memory.marks.append(place + MARK)
        return place + hashed_tail(value), _spaced(spelled)
    return place + term_tail(value), _spaced(spelled)


def _spaced(value: str) -> str:
    if value.isalnum() and value.isascii() and len(value) <= LONG_WORD_SIZE:
        return f" {value.lower()} "
    words = words_of(text.fold(value))
    return f" {' '.join(words)} " if words else " "
