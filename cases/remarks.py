"""What people said of events, beside the events: one question a page, none an event."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from cases.index.document import Document
from cases.models import Annotation
from datamortem.common.wire import format_moment

#: How many events are looked up at once.
_AT_ONCE: Final = 500
_COLUMNS: Final = (
    "pk",
    "case_ref__case_id",
    "event_id",
    "star",
    "comment",
    "author__username",
    "created_at",
    "updated_at",
    "tag_rows__tag",
)


def with_annotations(events: Sequence[Document]) -> list[Document]:
    """Return the events, as the API shows them, each with its `annotations`, the oldest first."""
    said = _said(events)
    return [{**event, "annotations": said.get((event["case_id"], event["event_id"]), [])} for event in events]


def each_with_annotations(events: Iterable[Document]) -> Iterator[Document]:
    """Yield the events, each with its `annotations`, in flat memory.

    The first is not kept waiting for others: whether there is an answer shows with it.
    """
    coming, size = iter(events), 1
    while batch := list(islice(coming, size)):
        yield from with_annotations(batch)
        size = _AT_ONCE


def _said(events: Sequence[Document]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    if not events:
        return {}
    rows = Annotation.objects.filter(
        case_ref__case_id__in={event["case_id"] for event in events},
        event_id__in=[event["event_id"] for event in events],
    ).order_by("pk", "tag_rows__pk")
    found: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
    for pk, case_id, event_id, star, comment, author, created, updated, tag in rows.values_list(*_COLUMNS):
        said = found.setdefault((case_id, event_id), {})
        if pk not in said:
            said[pk] = {
                "id": pk,
                "tags": [],
                "star": star,
                "comment": comment,
                "author": author,
                "created_at": format_moment(created),
                "updated_at": format_moment(updated),
            }
        if tag is not None:
            said[pk]["tags"].append(tag)
    return {event: list(said.values()) for event, said in found.items()}
