"""Events as documents of the server, as `opensearch_shape` says. Runs once for every event: kept lean.

One Shaper serves one writer and remembers what repeats: values of a field with their terms and
words, and which fields of which kinds come together.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from itertools import compress
from operator import getitem, itemgetter
from types import NoneType
from typing import Any, Final

import orjson

from cases.index import text
from cases.index.document import Document
from cases.index.opensearch_shape import (
    BOUNDARY,
    CORE,
    HASHED,
    LONG,
    LONG_MESSAGE,
    MESSAGE_PLACE,
    NUMBER,
    OTHER,
    TEXT,
    digest,
    id_numbers,
    number_tail,
    place_of,
    shown_tail,
    slot_of,
    words_of,
)
from cases.index.text import flatten, fold, number, value_number, value_text
from cases.index.tree import WORD_FIELDS, Field

#: Values remembered of one field and altogether, and how long such a value may be.
_VALUES: Final = 1024
_ALL_VALUES: Final = 100_000
_KEPT: Final = 200
#: Combinations of fields that are remembered, and attributes of one that is.
_PLANS: Final = 2000
_PLANNED: Final = 500
#: Brackets in the JSON of an event, and its bytes, beyond which it travels as a text: the server
#: reads neither a thousand levels nor a name of 50,000 characters.
_BRACKETS: Final = 100
_BYTES: Final = 30_000
#: Integers that a double holds exactly end here; the first digit of one with its sign changed.
_EXACT: Final = 2**53
_SIGNED: Final = dict(zip("01234567", "89abcdef", strict=True))
_double: Final = struct.Struct(">d").pack
_NUMERIC: Final = frozenset("-0123456789")

_core_values: Final = itemgetter(*CORE)

#: What a value becomes: its term of `exact`, its term in the slot, its words.
_Shaped = tuple[str, str, str]
_Kinds = tuple[tuple[str, ...], tuple[type, ...]]


class _Memory:
    """What the fields of a writer share: how much more may be remembered, and what an event has besides."""

    __slots__ = ("exact", "free", "long")

    def __init__(self) -> None:
        self.free = _ALL_VALUES
        self.exact: list[str] = []  # further terms of the event at hand
        self.long: list[str] = []


class _Values(dict[Any, _Shaped]):
    """The values of one field and one type, each shaped when it is looked up; the first are remembered."""

    __slots__ = ("memory", "place", "worded")

    def __init__(self, place: str, memory: _Memory, *, worded: bool) -> None:
        self.place, self.memory, self.worded = place, memory, worded

    def __missing__(self, value: Any) -> _Shaped:
        memory = self.memory
        before = len(memory.exact) + len(memory.long)
        shaped = _shaped(self.place, value, memory, worded=self.worded)
        if (
            len(self) < _VALUES
            and memory.free
            and len(memory.exact) + len(memory.long) == before
            and not isinstance(value, float)  # 0.0 and -0.0 are one key and two spellings
            and len(shaped[1]) <= _KEPT
        ):
            self[value] = shaped
            memory.free -= 1
        return shaped


class _Place:
    """One field: what its terms begin with, and the values seen first, by type."""

    __slots__ = ("kinds", "memory", "place", "slot", "worded")

    def __init__(self, field: Field, memory: _Memory) -> None:
        self.place, self.slot, self.memory = place_of(field), slot_of(field), memory
        self.worded = field.attribute or field.name in WORD_FIELDS
        self.kinds: dict[type, _Values] = {}

    def values(self, kind: type) -> _Values:
        """Return what is remembered of the values of a type; 1, 1.0 and True are one key otherwise."""
        found = self.kinds.get(kind)
        if found is None:
            found = self.kinds[kind] = _Values(self.place, self.memory, worded=self.worded)
        return found


class _Plan:
    """How events with the same fields of the same kinds are shaped; `nested` is looked at in each."""

    __slots__ = ("has", "kept", "lookups", "nested", "shared", "slots")

    def __init__(self) -> None:
        self.kept: list[bool] = []
        self.lookups: list[_Values] = []
        self.slots: list[str] = []
        self.shared = False  # whether two fields stand in one slot
        self.has: list[str] = []
        self.nested: list[str] = []


class Shaper:
    """Turns the events of one part into documents of the server."""

    def __init__(self, part: str) -> None:
        self.part = part
        self._key = hashlib.blake2b(part.encode("utf-8", "surrogatepass"), digest_size=32).digest()
        self._memory = memory = _Memory()
        self._core = [_Place(Field(name), memory) for name in CORE]
        self._tags, self._score = (_Place(Field(name), memory) for name in ("tags", "score"))
        self._attributes: dict[str, _Place] = {}
        self._plans: dict[_Kinds, _Plan] = {}

    def id_of(self, event_id: str) -> bytes:
        """Return 15 bytes that name the event within this part alone."""
        return hashlib.blake2b(event_id.encode(), digest_size=15, key=self._key).digest()

    def shape(self, document: Document) -> dict[str, Any]:
        """Return the fields of an event."""
        attributes, memory = document["attributes"], self._memory
        values: Iterable[Any] = [*_core_values(document), *attributes.values()]
        kinds = tuple(attributes), tuple(map(type, values))
        plan = self._plans.get(kinds) or self._plan(kinds)
        # No code of ours runs for a value that is remembered.
        shaped = list(map(getitem, plan.lookups, compress(values, plan.kept)))
        folded = fold(document["message"])
        said = " ".join(words_of(folded))
        e1, e2 = id_numbers(document["event_id"])
        exact = [each[0] for each in shaped]
        fields: dict[str, Any] = {"part": self.part, "e1": e1, "e2": e2, "message": said, "exact": exact}
        has, slots = plan.has, plan.slots
        if plan.nested or document["tags"] or document["score"] is not None:
            has, slots = [*has], [*slots]
            self._others(document, plan, shaped, slots, has)
            exact += [each[0] for each in shaped[len(exact) :]]
            _fill(fields, slots, shaped)
        elif plan.shared:
            _fill(fields, slots, shaped)
        else:
            fields |= zip(slots, [each[1] for each in shaped], strict=True)
        fields["has"] = has
        instant = document["timestamp"]
        if instant is not None:
            fields["timestamp"], fields["sec"] = instant, instant // 1_000_000
        if len(folded) <= LONG_MESSAGE:
            fields["raw"] = folded
        else:
            memory.long.append(f"{MESSAGE_PLACE}{TEXT}{folded}")
        spaced = f" {said} "
        if unsaid := [each for each in dict.fromkeys([each[2] for each in shaped]) if each not in spaced]:
            fields["words"] = BOUNDARY.join(unsaid)
        if memory.exact or memory.long:
            exact += memory.exact
            if memory.long:
                fields["long"] = memory.long
            memory.exact, memory.long = [], []
        fields["src"] = carried(document)
        return fields

    def _plan(self, kinds: _Kinds) -> _Plan:
        """Return a new plan; remembered unless there are too many or it is too large."""
        names, types = kinds
        plan = _Plan()
        places = [*self._core, *(self._place(name) for name in names)]
        plan.kept = [kind is not NoneType and kind is not dict and kind is not list for kind in types]
        for place, kind, kept in zip(places, types, plan.kept, strict=True):
            if kept:
                plan.lookups.append(place.values(kind))
                plan.slots.append(place.slot)
                plan.has.append(_kind(kind) + place.place)
        plan.shared = len(set(plan.slots)) < len(plan.slots)
        of_attributes = types[len(self._core) :]
        plan.nested = [
            name for name, kind in zip(names, of_attributes, strict=True) if kind is dict or kind is list
        ]
        if len(self._plans) < _PLANS and len(names) <= _PLANNED:
            self._plans[kinds] = plan
        return plan

    def _place(self, name: str) -> _Place:
        place = self._attributes.get(name)
        if place is None:
            place = self._attributes[name] = _Place(Field(name, attribute=True), self._memory)
        return place

    def _others(
        self, document: Document, plan: _Plan, shaped: list[_Shaped], slots: list[str], has: list[str]
    ) -> None:
        """Add tags, score, and what stands in lists and objects."""
        found = [(self._tags, tag) for tag in document["tags"]]
        if document["score"] is not None:
            found.append((self._score, document["score"]))
        attributes = document["attributes"]
        for name in plan.nested:
            found += ((self._place(dotted), value) for dotted, value in flatten({name: attributes[name]}))
        for place, value in found:
            kind = type(value)
            shaped.append(place.values(kind)[value])
            slots.append(place.slot)
            if (there := _kind(kind) + place.place) not in has:
                has.append(there)


def _fill(fields: dict[str, Any], slots: list[str], shaped: list[_Shaped]) -> None:
    """Put the terms into their slots, several into some."""
    for slot, each in zip(slots, shaped, strict=True):
        if slot in fields:
            held = fields[slot]
            if type(held) is not list:
                held = fields[slot] = [held]
            held.append(each[1])
        else:
            fields[slot] = each[1]


def _kind(kind: type) -> str:
    return "t" if kind is str else "b" if kind is bool else "n"


def _shaped(place: str, value: Any, memory: _Memory, *, worded: bool) -> _Shaped:
    """Return what a value becomes; what it has besides goes into the memory."""
    if type(value) is int and 0 <= value < _EXACT:
        digits, double = str(value), _double(value).hex()
        sorted_by = f"{_SIGNED[double[0]]}{double[1:]}"  # `sortable`, for a number without a sign
        term = f"{place}{NUMBER}{sorted_by}:{digits}"
        return term, f"{place}{TEXT}{digits}", f" {digits} " if worded else " "
    spelled = value if type(value) is str else value_text(value)
    if spelled.isascii():
        folded, shown = spelled.lower(), spelled
        plain = len(spelled) <= LONG and "\x00" not in spelled
    else:
        folded, plain = fold(spelled), False
    tail = spelled if plain else shown_tail(spelled, folded)
    shown = f"{place}{TEXT}{tail}"
    words = f" {' '.join(words_of(folded))} " if worded else " "
    canonical = _number(value, spelled)
    if canonical is None:
        return _text_term(place, folded, memory), shown, words if words != "  " else " "
    if canonical == folded and len(canonical) <= LONG:
        return f"{place}{NUMBER}{number_tail(canonical)}", shown, words
    memory.exact.append(_text_term(place, folded, memory))
    return f"{place}{OTHER}{number_tail(canonical)}", shown, words


def _text_term(place: str, folded: str, memory: _Memory) -> str:
    if len(folded) <= LONG:
        return f"{place}{TEXT}{folded}"
    memory.long.append(f"{place}{TEXT}{folded}")
    return f"{place}{HASHED}{digest(folded)}"


def _number(value: Any, spelled: str) -> str | None:
    """`text.value_number`, quickly for most texts."""
    if type(value) is not str:
        return value_number(value)
    return number(value) if spelled[:1] in _NUMERIC and spelled[-1:] in _NUMERIC else None


def carried(document: Document) -> Any:
    """Return the event as the server can carry it: as it is, or as a text."""
    data = text.dump(document)
    if data[:1] != b" " and len(data) <= _BYTES and data.count(b"[") + data.count(b"{") <= _BRACKETS:
        return orjson.Fragment(data)
    return data.decode()
