"""One posted event: whether it is one, what is kept of it, and the id that its content gives it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson

from cases import custody
from cases.index.document import parse_time
from cases.records import FIRST_INSTANT, LAST_INSTANT, PRECISIONS

#: What an event has beside its attributes; anything else that is posted becomes an attribute.
_TEXTS: Final = ("timestamp_desc", "host", "user", "source", "category", "type")
_CORE: Final = ("timestamp", "time_precision", "message", "tags", "score", "attributes", *_TEXTS)
_CORE_SET: Final = frozenset(_CORE)
_NAME_LIMIT: Final = 255
_DEPTH: Final = 32
_SCORE_LIMIT: Final = 2**53
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

_TOO_DEEP: Final = f"Objects and lists nest up to {_DEPTH} levels."
_TOO_GREAT: Final = "Numbers reach up to 1.8e308 either way: send greater ones as text."


@dataclass(frozen=True, slots=True)
class Checked:
    """What is wrong with an event, in words for whoever sent it; and whether it holds a float."""

    faults: list[str]
    floats: bool


def check(event: Any) -> Checked:
    """Say what is wrong with an event; nothing is with a good one."""
    if not isinstance(event, dict):
        return Checked(["An event is a JSON object."], floats=False)
    faults = list(_faults(event))
    fault, floats = _look_inside(event)
    if fault:
        faults.append(fault)
    return Checked(faults, floats)


def _faults(event: dict[str, Any]) -> Iterator[str]:
    if not isinstance(event.get("message"), str) or not event["message"]:
        yield "message: a text that is not empty is required."
    yield from _faults_of_time(event)
    for name in _TEXTS:
        value = event.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            yield f"{name}: expected a text or null."
        elif len(value) > _NAME_LIMIT:
            yield f"{name}: up to {_NAME_LIMIT} characters."
    tags = event.get("tags")
    if tags is not None and not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        yield "tags: expected a list of texts."
    if (score := event.get("score")) is not None and not _is_score(score):
        yield "score: expected a number or null."
    attributes = event.get("attributes")
    if attributes is not None and not isinstance(attributes, dict):
        yield "attributes: expected an object."
    elif attributes and (twice := sorted((event.keys() - _CORE_SET) & attributes.keys())):
        yield f"{custody.storable(twice[0])}: given twice, beside the attributes and among them."


def _faults_of_time(event: dict[str, Any]) -> Iterator[str]:
    timestamp, precision = event.get("timestamp"), event.get("time_precision")
    if precision is not None and precision not in PRECISIONS:
        yield f"time_precision: one of {', '.join(PRECISIONS)}."
    if timestamp is not None and not (isinstance(timestamp, str) and _is_instant(timestamp)):
        yield "timestamp: expected RFC 3339 with a time zone between 1601 and 9999, or null."


def _is_instant(timestamp: str) -> bool:
    try:
        return (
            bool(_RFC3339.fullmatch(timestamp))
            and FIRST_INSTANT <= parse_time(timestamp.upper()) <= LAST_INSTANT
        )
    except (ValueError, OverflowError):
        return False


def _is_score(score: Any) -> bool:
    is_number = isinstance(score, int | float) and not isinstance(score, bool)
    return is_number and abs(score) <= _SCORE_LIMIT  # false for NaN, too


def _look_inside(event: dict[str, Any]) -> tuple[str, bool]:
    """Return what is wrong with the values at any depth, and whether there is a float among them."""
    waiting: list[tuple[Any, int]] = [(event, 1)]  # a stack of ours: JSON nests deeper than calls may
    floats = False
    while waiting:
        held, level = waiting.pop()
        if level >= _DEPTH and held:
            return _TOO_DEEP, floats
        for value in held.values() if isinstance(held, dict) else held:
            if isinstance(value, dict | list):
                waiting.append((value, level + 1))
            elif isinstance(value, float):
                floats = True
                if not math.isfinite(value):
                    return _TOO_GREAT, floats
    return "", floats


def shape(event: dict[str, Any]) -> dict[str, Any]:
    """Return a good event with every core field, and what is none of them among its attributes."""
    kept: dict[str, Any] = {name: event.get(name) for name in _CORE}
    kept["tags"] = list(dict.fromkeys(kept["tags"] or ()))
    others = {name: value for name, value in event.items() if name not in _CORE_SET}
    kept["attributes"] = {**others, **(kept["attributes"] or {})}
    return kept


def event_id(case_id: str, event: dict[str, Any], *, floats: bool = True) -> str:
    """Return the 64 hexadecimal characters that name a shaped event within its case, for ever.

    `floats` says whether there may be one in it (see `canonical`).
    """
    return hashlib.sha256(case_id.encode() + b"\x00" + canonical(event, floats=floats)).hexdigest()


def canonical(event: dict[str, Any], *, floats: bool) -> bytes:
    """Return the JSON that the id is made of: sorted names, no spaces, ASCII.

    It is what the standard library writes. The faster one writes the same bytes, and does the
    work, unless there are floats, which it writes in another way when they are small or large, or
    characters beyond printable ASCII, which it does not escape.
    """
    if not floats:
        with suppress(TypeError):  # lone surrogates, integers beyond 64 bits
            found = orjson.dumps(event, option=orjson.OPT_SORT_KEYS)
            if found.isascii() and b"\x7f" not in found:
                return found
    return json.dumps(event, sort_keys=True, separators=(",", ":")).encode("ascii")
