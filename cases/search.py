"""The one door for finding: what a question is, and what the index answers to it.

A question is framed over a queryset of cases, which says who asks: `Case.objects.visible_to(user)`,
or narrower. Whatever the engine refuses or cannot do leaves here as a DomainError.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any, Final

from django.core import signing
from django.db.models import QuerySet

from cases import annotated, parsers, store
from cases.engines import IndexDown, engine
from cases.index.document import Document, public
from cases.index.engine import (
    INTERVALS,
    Cursor,
    FieldInfo,
    Histogram,
    IndexUnavailable,
    InvalidCursor,
    Terms,
    TooBroad,
)
from cases.index.query import QueryError, parse
from cases.index.times import read_time
from cases.index.tree import (
    KEYWORD_FIELDS,
    Equals,
    Field,
    Node,
    TimeRange,
    all_of,
    any_of,
)
from cases.models import Case, Event, Evidence, RunStatus
from cases.models.evidence import POSTED
from cases.parsers.base import Context
from cases.parsers.source import RemoteSource
from cases.records import ParseError
from cases.remarks import each_with_annotations, with_annotations
from datamortem.common import measures
from datamortem.common.errors import Conflict, Invalid, Missing

#: How many events one page may hold, and how many values one list of terms.
PAGE_LIMIT: Final = 1000
TERMS_LIMIT: Final = 1000
#: What the values of can be counted, beside every attribute.
TERM_FIELDS: Final = (*KEYWORD_FIELDS, "score")

_EVENT_ID: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class InvalidQuery(Invalid):
    """The query does not parse; `at` is the offset in it where the fault lies, from 0."""

    code = "invalid_query"

    def __init__(self, detail: str, *, at: int) -> None:
        super().__init__(detail, field="q")
        self.at = at


class CursorRefused(Invalid):
    """The cursor was issued for another question, or somebody edited it."""

    code = "invalid_cursor"


class TooManyEvents(Conflict):
    """More events match than may be annotated at once."""

    code = "too_many_events"

    def __init__(self, total: int, limit: int) -> None:
        super().__init__(
            f"{total:,} events match, and up to {limit:,} were to be annotated, so none was. Narrow the "
            "query, or raise `limit`.",
            field="limit",
        )


class SourceGone(Conflict):
    """The bytes that an event was read from cannot be shown."""

    code = "source_unavailable"


@dataclass(frozen=True, slots=True)
class Question:
    """A checked query within named cases. `asked` is how it was put; cursors are bound to it."""

    case_ids: tuple[str, ...]
    query: Node
    asked: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """One page of events as the API shows them, the exact number of all, and how to go on."""

    documents: list[Document]
    total: int
    next_cursor: str | None
    took_ms: int


def frame(
    *,
    cases: QuerySet[Case],
    q: str = "",
    start: str = "",
    end: str = "",
    evidence: Sequence[str] = (),
    source: Sequence[str] = (),
) -> Question:
    """Return the question, or refuse what does not parse.

    `start` and `end` are dates or RFC 3339; a date as `end` means its last microsecond.
    Raises InvalidQuery, and Invalid for the fields "from" and "to".
    """
    asked, between = check(q=q, start=start, end=end)
    case_ids = tuple(cases.order_by("case_id").values_list("case_id", flat=True))
    query = all_of(
        annotated.resolve(asked, cases, several=len(case_ids) > 1),
        *between,
        *_one_of("evidence_uid", evidence),
        *_one_of("source", source),
    )
    return Question(case_ids, query, json.dumps([q, start, end, sorted(evidence), sorted(source)]))


def frame_asked(cases: QuerySet[Case], asked: Mapping[str, Any]) -> Question:
    """Return the question of a body that asks by `q, from, to, evidence, source`. Raises as `frame` does."""
    return frame(
        cases=cases,
        q=asked["q"],
        start=asked["from"],
        end=asked["to"],
        evidence=asked["evidence"],
        source=asked["source"],
    )


def check(*, q: str, start: str = "", end: str = "") -> tuple[Node, list[Node]]:
    """Return what is asked, and between which times, without asking it. Raises as `frame` does."""
    try:
        asked = parse(q)
    except QueryError as error:
        raise InvalidQuery(error.message, at=error.at) from error
    return asked, list(_time_between(start, end))


def search_events(question: Question, *, limit: int, cursor: str = "", newest_first: bool = True) -> Found:
    """Return one page, in order of time; undated events come last.

    Raises Invalid for "limit" and CursorRefused.
    """
    if not 1 <= limit <= PAGE_LIMIT:
        raise Invalid(f"limit: expected a number from 1 to {PAGE_LIMIT}.", field="limit")
    signer = _signer(question, newest_first=newest_first)
    after = _read_cursor(cursor, signer) if cursor else None
    started = time.perf_counter()
    with _answering("search", question.asked):
        page = engine().search(
            case_ids=question.case_ids,
            query=question.query,
            limit=limit,
            after=after,
            descending=newest_first,
        )
    return Found(
        documents=with_annotations([public(document) for document in page.documents]),
        total=page.total,
        next_cursor=_write_cursor(page.next, signer) if page.next else None,
        took_ms=round((time.perf_counter() - started) * 1000),
    )


def count_events(question: Question) -> int:
    """Return the exact number of matching events."""
    with _answering("count", question.asked):
        return engine().count(case_ids=question.case_ids, query=question.query)


def histogram(question: Question, interval: str = "auto") -> Histogram:
    """Count by interval; the buckets and `undated` sum to the total. Raises Invalid."""
    if interval not in ("auto", *INTERVALS):
        raise Invalid(f"interval: one of auto, {', '.join(INTERVALS)}.", field="interval")
    with _answering("histogram", question.asked):
        try:
            return engine().histogram(case_ids=question.case_ids, query=question.query, interval=interval)
        except ValueError as error:
            raise Invalid(str(error), field="interval") from error


def terms(question: Question, field: str, size: int = 10) -> Terms:
    """Count the values of a core field or an attribute, most frequent first. Raises Invalid.

    A name that is no core field is an attribute's, as in the query language.
    """
    if not 1 <= size <= TERMS_LIMIT:
        raise Invalid(f"size: expected a number from 1 to {TERMS_LIMIT}.", field="size")
    name = _term_field(field)
    with _answering("terms", question.asked):
        return engine().terms(case_ids=question.case_ids, query=question.query, field=name, size=size)


def fields(cases: QuerySet[Case]) -> list[FieldInfo]:
    """Return the fields and attributes that the events of the cases have."""
    with _answering("fields"):
        return engine().fields(case_ids=_ids(cases))


def events_up_to(question: Question, limit: int) -> list[tuple[str, str]]:
    """Return (event id, evidence id) of every match. Raises TooManyEvents when they are more than `limit`."""
    total = count_events(question)
    if total > limit:
        raise TooManyEvents(total, limit)
    with _answering("listing", question.asked):
        stream = engine().stream(case_ids=question.case_ids, query=question.query)
        found = [(document["event_id"], document["evidence_uid"]) for document in islice(stream, limit + 1)]
    if len(found) > limit:  # more came in between
        raise TooManyEvents(len(found), limit)
    return found


def get_event(cases: QuerySet[Case], event_id: str) -> Document:
    """Return one event as the index keeps it (`document.public` shows it). Raises Missing."""
    document = None
    if _EVENT_ID.fullmatch(event_id):
        with _answering("event"):
            document = engine().get(case_ids=_ids(cases), event_id=event_id)
    if document is None:
        raise Missing("There is no such event.")
    return document


def export(question: Question, *, newest_first: bool = False) -> Iterator[Document]:
    """Yield every match as the API shows it, from one consistent picture, in flat memory.

    What can be refused is refused before the first event; an engine that fails midway raises
    from the iterator, so that nobody takes a part for the whole.
    """
    found = _stream(question, newest_first=newest_first)
    first = next(found, None)
    return iter(()) if first is None else chain([first], found)


def _stream(question: Question, *, newest_first: bool) -> Iterator[Document]:
    with _answering("export", question.asked):
        found = engine().stream(case_ids=question.case_ids, query=question.query, descending=newest_first)
        yield from each_with_annotations(map(public, found))


def source_of(document: Document) -> bytes:
    """Return the bytes of an event's record as found in the evidence.

    Of a posted event, that is its JSON as posted. Raises Missing and SourceGone.
    """
    evidence = Evidence.objects.filter(
        evidence_uid=document["evidence_uid"], case=document["case_id"]
    ).first()
    if evidence is None:
        raise Missing("There is no such event.")
    if evidence.kind == POSTED:
        return _as_posted(document)
    if evidence.sealed_at is None:
        raise SourceGone("The stored bytes are not those that came in, so none are shown.")
    span = document.get("span")
    try:
        parser = parsers.by_name(document["source"])
        content = RemoteSource(
            partial(store.open_content, evidence.local_path), evidence.original_name, _context(evidence)
        )
        return parser.locate(content, document["position"], tuple(span) if span else None)
    except KeyError as error:
        raise SourceGone(f"The parser {document['source']} is not part of this version.") from error
    except (ParseError, OSError, store.Absent) as error:
        raise SourceGone(f"The record cannot be read from the evidence: {error}") from error


def _as_posted(document: Document) -> bytes:
    row = Event.objects.filter(case=document["case_id"], event_id=document["event_id"]).first()
    if row is None:
        raise Missing("There is no such event.")
    return (row.raw or "").lstrip().encode("utf-8", "backslashreplace")


def _context(evidence: Evidence) -> Context:
    """What the parser was told when it read the evidence."""
    read = evidence.task_runs.filter(status=RunStatus.SUCCEEDED).first()
    options = read.options if read else {}
    return Context(
        time_zone=evidence.time_zone,
        reference=evidence.modified_at or evidence.added_at_utc,
        host=evidence.host or None,
        options={str(name): str(value) for name, value in options.items()},
    )


@contextmanager
def _answering(kind: str, asked: str = "") -> Iterator[None]:
    """Time a question, and turn what an engine raises into refusals that everybody knows."""
    try:
        with measures.query(kind, asked, may_be_long=kind in ("export", "listing")):
            yield
    except TooBroad as error:
        raise Invalid(f"q: {error}", field="q") from error
    except IndexUnavailable as error:
        raise IndexDown(str(error)) from error
    except InvalidCursor as error:
        raise CursorRefused(_CURSOR_HINT, field="cursor") from error


def _ids(cases: QuerySet[Case]) -> tuple[str, ...]:
    return tuple(cases.values_list("case_id", flat=True))


def _time_between(start: str, end: str) -> Iterator[Node]:
    if not start and not end:
        return
    lower = _instant(start, field="from")[0] if start else None
    upper = _instant(end, field="to")[1] if end else None
    if lower is not None and upper is not None and lower > upper:
        raise Invalid("from: this is later than `to`, so nothing could be found.", field="from")
    yield TimeRange(lower, upper)


def _instant(text: str, *, field: str) -> tuple[int, int]:
    try:
        return read_time(text)
    except ValueError as error:
        raise Invalid(f"{field}: {error}", field=field) from error


def _one_of(field: str, values: Iterable[str]) -> Iterator[Node]:
    wanted = [Equals(Field(field), value) for value in values if value]
    if wanted:
        yield any_of(wanted)


def _term_field(field: str) -> str:
    if field in TERM_FIELDS or (field.startswith("attributes.") and field != "attributes."):
        return field
    if field in ("", "attributes.", "message", "timestamp"):
        raise Invalid(
            f"field: expected one of {', '.join(TERM_FIELDS)}, or the name of an attribute.", field="field"
        )
    return f"attributes.{field}"


_CURSOR_HINT: Final = (
    "cursor: this one was not issued for this question and order. Begin again without a cursor, and "
    "change nothing else while paging."
)


def _signer(question: Question, *, newest_first: bool) -> signing.Signer:
    """Return what signs the cursors of this question in this order, and of no other."""
    asked = repr((question.case_ids, question.asked or repr(question.query), newest_first))
    return signing.Signer(salt=f"cases.search.cursor:{hashlib.sha256(asked.encode()).hexdigest()}")


def _write_cursor(cursor: Cursor, signer: signing.Signer) -> str:
    return signer.sign_object([cursor.timestamp, cursor.event_id])


def _read_cursor(text: str, signer: signing.Signer) -> Cursor:
    try:
        timestamp, event_id = signer.unsign_object(text)
    except (signing.BadSignature, ValueError) as error:
        raise CursorRefused(_CURSOR_HINT, field="cursor") from error
    return Cursor(timestamp, event_id)
