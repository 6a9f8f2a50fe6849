"""One event as its page shows it: every field and attribute, each a way to search on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from django.utils.safestring import SafeString

from cases.asked import Asked, exact
from cases.highlight import sought, stretches
from cases.index.document import Document, format_time
from cases.index.query import QueryError, parse
from cases.index.text import flatten, value_text
from cases.index.tree import Everything
from cases.records import FIRST_INSTANT, LAST_INSTANT
from cases.visible import marked

#: How much of one value, and how many values, a page shows; the API gives all.
VALUE_TEXT: Final = 20_000
VALUES: Final = 2_000
#: Addresses longer than this are not offered: servers refuse them (gunicorn at 4,094 bytes).
_ADDRESS: Final = 3_500
_CORE: Final = ("host", "user", "source", "category", "type", "timestamp_desc", "time_precision", "score")
_EXACT: Final = ("host", "user", "source", "category", "type", "timestamp_desc", "time_precision")
_AROUND: Final = 5 * 60 * 1_000_000


@dataclass(frozen=True, slots=True)
class Value:
    """A named value; the addresses ask for events that have it, and for those that do not."""

    name: str
    text: str
    only: str = ""
    without: str = ""
    cut: int = 0


def message(document: Document, asked: Asked) -> SafeString:
    """Return the message as markup, marked where the search it was found by hit."""
    try:
        wanted = sought(parse(asked.q))
    except QueryError:
        wanted = sought(Everything())
    return marked(stretches(document["message"][:VALUE_TEXT], wanted))


def core_values(document: Document, asked: Asked) -> Iterator[Value]:
    """Yield the fields that every event may have, those with a value."""
    for name in _CORE:
        if document[name] is not None and document[name] != "":
            yield _value(name, document[name], asked, attribute=False, offered=name in _EXACT)
    for tag in document["tags"]:
        yield _value("tags", tag, asked, attribute=False)


def attribute_values(document: Document, asked: Asked) -> Iterator[Value]:
    """Yield the artefact's own values under dotted names, lists one by one."""
    for count, (name, value) in enumerate(flatten(document["attributes"])):
        if count == VALUES:
            return
        yield _value(name, value, asked, attribute=True)


def around(document: Document) -> str:
    """Return the query string for what else happened within five minutes; empty when undated."""
    at = document["timestamp"]
    if at is None:
        return ""
    first, last = max(at - _AROUND, FIRST_INSTANT), min(at + _AROUND, LAST_INSTANT)
    return Asked(start=format_time(first) or "", end=format_time(last) or "", newest_first=False).address()


def _value(name: str, value: Any, asked: Asked, *, attribute: bool, offered: bool = True) -> Value:
    text = value_text(value)
    shown, cut = text[:VALUE_TEXT], max(len(text) - VALUE_TEXT, 0)
    if not offered or len(text) > _ADDRESS or not _is_typeable(name + text):
        return Value(name, shown, cut=cut)
    term = exact(name, text, attribute=attribute)
    only = asked.narrowed(term).address()
    without = asked.narrowed(f"NOT {term}").address()
    if len(without) > _ADDRESS:
        return Value(name, shown, cut=cut)
    return Value(name, shown, only, without, cut)


def _is_typeable(text: str) -> bool:
    """Whether an address can carry it: a lone surrogate has no UTF-8."""
    return not any("\ud800" <= char <= "\udfff" for char in text)
