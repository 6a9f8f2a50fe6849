"""From the fields of a record to the record: time, message and who, by a plan.

The fields themselves become the attributes, unchanged.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cases.parsers.clock import Clock, Reading
from cases.parsers.fields import Path, Plan, dig
from cases.records import Record

#: Attributes that a parser adds: what had to be assumed for the time, and anything else to know.
TIME_NOTE: Final = "time_note"
READ_NOTE: Final = "read_note"

#: A message put together from fields ends here; the attributes hold everything.
MESSAGE_LIMIT: Final = 2000
_EMPTY: Final = "(empty)"
_NOTHING: Final = frozenset(("", "-", "n/a", "none", "null", "(null)", "not available"))
_NOTHING_LENGTH: Final = max(map(len, _NOTHING))


def add_note(attributes: dict[str, Any], name: str, notes: tuple[str, ...]) -> None:
    """Say something in an attribute, beside one of the artefact's own that has its name."""
    free = name
    number = 2
    while free in attributes:
        free = f"{name} ({number})"
        number += 1
    attributes[free] = "; ".join(notes)


def make_record(
    *,
    position: str,
    span: tuple[int, int] | None,
    attributes: dict[str, Any],
    plan: Plan,
    clock: Clock,
    fields: Mapping[str, Any] | None = None,
    told: Reading | None = None,
) -> Record:
    """Return the record of these attributes; the plan is for `fields`, by default the same.

    `told` is the time where it is known otherwise.
    """
    held = attributes if fields is None else fields
    instant, name, notes = told or clock.read(held, plan)
    described = _first_text(held, plan.timestamp_desc) if plan.timestamp_desc else None
    # By place, not by name: this is called for every event, and names cost as much as the rest.
    record = Record(
        position,
        _message(held, plan),
        instant.timestamp if instant else None,
        described or name,
        instant.precision if instant else "none",
        _first_text(held, plan.host) if plan.host else None,
        _first_text(held, plan.user) if plan.user else None,
        _first_text(held, plan.category) if plan.category else None,
        _first_text(held, plan.type) if plan.type else None,
        _tags(held, plan) if plan.tags else [],
        _score(held, plan) if plan.score else None,
        attributes,
        span,
    )
    if notes:
        add_note(attributes, TIME_NOTE, notes)
    return record


def _first_text(holder: Mapping[str, Any], paths: tuple[Path, ...]) -> str | None:
    """Return the first value that says something, as text."""
    for path in paths:
        value = holder.get(path[0]) if len(path) == 1 else dig(holder, path)
        if isinstance(value, str):
            if len(value) > _NOTHING_LENGTH or value.strip().lower() not in _NOTHING:
                return value
        elif isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    return None


def _message(holder: Mapping[str, Any], plan: Plan) -> str:
    for path in plan.message:
        value = holder.get(path[0]) if len(path) == 1 else dig(holder, path)
        if isinstance(value, str):
            if value and not value.isspace():
                return value
        elif isinstance(value, list) and value and all(type(code) is int for code in value):
            return _from_bytes(value)
        elif isinstance(value, int | float | dict | list) and value not in ({}, []):
            return render({path[0]: value})
    return render(holder, first=plan.headline) or _EMPTY


def _from_bytes(codes: list[int]) -> str:
    """journalctl -o json writes a text that is no printable UTF-8 as a list of its bytes."""
    if all(0 <= code < 256 for code in codes):
        return bytes(codes).decode("utf-8", "backslashreplace")
    return json.dumps(codes)[:MESSAGE_LIMIT]


def render(holder: Mapping[str, Any], first: tuple[Path, ...] = ()) -> str:
    """Return the fields in one line, what names the event first, up to MESSAGE_LIMIT characters."""
    pieces: list[str] = []
    left = MESSAGE_LIMIT
    for piece in _all_pieces(holder, first):
        pieces.append(piece)
        left -= len(piece) + 2
        if left < 0:
            return ", ".join(pieces)[: MESSAGE_LIMIT - 1] + "…"
    return ", ".join(pieces)


def _all_pieces(holder: Mapping[str, Any], first: tuple[Path, ...]) -> Iterator[str]:
    lead = next((path for path in first if isinstance(dig(holder, path), str | int)), None)
    if lead is not None:
        yield from _pieces(".".join(lead), dig(holder, lead))
    for name, value in holder.items():
        if lead != (name,):
            yield from _pieces(name, value)


def _pieces(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner, held in value.items():
            yield from _pieces(f"{name}.{inner}", held)
    elif isinstance(value, list):
        for element in value:
            yield from _pieces(name, element)
    elif isinstance(value, str):
        if value:
            yield f"{name}: {value[:MESSAGE_LIMIT]}"
    elif value is not None:
        yield f"{name}: {json.dumps(value)}"


def _tags(holder: Mapping[str, Any], plan: Plan) -> list[str]:
    """Return the tags: a list of texts, plaso's labels, or a text of several."""
    tags: list[str] = []
    for path in plan.tags:
        value = holder.get(path[0])
        if isinstance(value, dict):
            value = value.get("labels")
        if isinstance(value, str):
            value = value.split() if plan.spaced_tags else value.split(",")
        if isinstance(value, list):
            tags += [tag.strip() for tag in value if isinstance(tag, str)]
    return [tag for tag in dict.fromkeys(tags) if tag and tag != "-"]


def _score(holder: Mapping[str, Any], plan: Plan) -> float | None:
    value = holder.get(plan.score[0][0])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        score = float(value)
    except OverflowError:
        return None
    return score if math.isfinite(score) else None
