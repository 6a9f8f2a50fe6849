"""How templates show what comes from evidence: escaped, complete, and with nothing hidden."""

from __future__ import annotations

from typing import Final

from django import template
from django.db.models import Model
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from cases.index.document import Document
from cases.visible import plain as _plain
from cases.visible import visible as _visible

register = template.Library()

#: How much of an RFC 3339 time with microseconds the precision of a source vouches for.
_VOUCHED: Final = {
    "ns": 26, "100ns": 26, "us": 26, "ms": 23, "s": 19, "min": 16, "h": 13, "day": 10, "month": 7, "year": 4,
}  # fmt: skip
_WORDS: Final = {
    "ns": "nanosecond", "100ns": "100 nanoseconds", "us": "microsecond", "ms": "millisecond",
    "s": "second", "min": "minute", "h": "hour", "day": "day", "month": "month", "year": "year",
}  # fmt: skip


@register.filter
def visible(value: object) -> SafeString:
    """Return text in which characters that hide or reorder others are shown by their code."""
    return _visible("" if value is None else value)


@register.filter
def plain(value: object) -> str:
    """Return the same as text, for titles and labels, which take no markup."""
    return _plain("" if value is None else value)


@register.filter
def named(thing: object) -> SafeString:
    """Return the name of a thing as it is, or of a kind of things with a capital letter."""
    return _visible(thing) if isinstance(thing, Model) else _visible(capfirst(str(thing)))


@register.filter
def moment(document: Document) -> str:
    """Return the time of an event in UTC, as finely as its source knew it; empty when undated."""
    written = document["timestamp"] or ""
    return written[: _VOUCHED.get(document["time_precision"], 26)].replace("T", " ")


@register.filter
def precision(document: Document) -> str:
    """Return in words how finely the source knew the time."""
    return _WORDS.get(document["time_precision"], "microsecond")


@register.filter
def percent(share: float) -> int:
    """Return a share of 1 in percent."""
    return round(100 * share)
