"""Events as lines: JSON for programs, CSV that a spreadsheet shows and never executes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from cases.index import text
from cases.index.document import Document

FORMATS: Final = ("jsonl", "csv")
MEDIA_TYPES: Final = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}

COLUMNS: Final = (
    "timestamp",
    "timestamp_desc",
    "time_precision",
    "message",
    "host",
    "user",
    "source",
    "category",
    "type",
    "tags",
    "score",
    "case_id",
    "evidence_uid",
    "position",
    "event_id",
    "attributes",
    "annotation_tags",
    "annotation_star",
    "annotation_comments",
)
_AT_ONCE: Final = 500
#: What makes a spreadsheet take a cell for a formula, also in full width (OWASP, CSV injection).
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def lines(events: Iterable[Document], format: str) -> Iterator[bytes]:
    """Yield the events in a format, some hundred at a time. `events` are as the API shows them."""
    return _csv(events) if format == "csv" else _jsonl(events)


def _jsonl(events: Iterable[Document]) -> Iterator[bytes]:
    found = iter(events)
    while batch := list(islice(found, _AT_ONCE)):
        # `dump` marks some lines by a space in front, which is ours alone.
        yield b"".join(text.dump(event).lstrip() + b"\n" for event in batch)


def _csv(events: Iterable[Document]) -> Iterator[bytes]:
    yield _rows([COLUMNS])
    found = iter(events)
    while batch := list(islice(found, _AT_ONCE)):
        yield _rows([_row(event) for event in batch])


def _rows(rows: Iterable[Iterable[Any]]) -> bytes:
    sheet = io.StringIO()
    csv.writer(sheet, quoting=csv.QUOTE_MINIMAL).writerows(rows)
    return sheet.getvalue().encode("utf-8", "backslashreplace")  # a lone surrogate is no UTF-8


def _row(event: Document) -> list[Any]:
    cells = {**event, **_of_people(event["annotations"])}
    return [_cell(cells[name]) for name in COLUMNS]


def _of_people(annotations: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return what all people say of an event: each tag once, whether anybody gave a star, each comment."""
    said = list(annotations)
    return {
        "annotation_tags": list(dict.fromkeys(tag for one in said for tag in one["tags"])),
        "annotation_star": "true" if any(one["star"] for one in said) else "",
        "annotation_comments": [
            f"{one['author'] or '?'}: {one['comment']}" for one in said if one["comment"]
        ],
    }


def _cell(value: Any) -> Any:
    if isinstance(value, list | dict):
        value = text.dump(value).decode().lstrip() if value else ""
    return safe_cell(value) if isinstance(value, str) else value


def safe_cell(value: str) -> str:
    """Return a text that no spreadsheet takes for a formula: with an apostrophe before it."""
    return f"'{value}" if value.lstrip(" \u00a0\ufeff\x00").startswith(_FORMULA) else value
