"""What a timeline page shows: the answer to a search, or why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from django.db.models import QuerySet
from django.utils.safestring import SafeString

from cases import search
from cases.asked import Asked, exact
from cases.charts import Bar, Chart, draw
from cases.highlight import Sought, sought, stretches
from cases.index.document import Document
from cases.models import Case, Evidence
from cases.search import Found, InvalidQuery, Question
from cases.visible import marked
from datamortem.common.errors import DomainError, Invalid, Unavailable

#: How much of a message a row shows; the event's own page shows more.
_ROW_TEXT: Final = 400
#: A hit further in is looked for so far, and shown with so much before it.
_LOOKED_AT: Final = 20_000
_LEAD: Final = 60
_VALUES: Final = 8
_PIECES: Final = 50
#: How many tags and comments of people a row shows; the event's own page shows all.
_SAID: Final = 8


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is no answer: `status` for HTTP, the input at fault, the text around the fault."""

    status: int
    detail: str
    field: str = ""
    before: str = ""
    fault: str = ""
    after: str = ""

    @property
    def stands_at_input(self) -> bool:
        """Whether the page tells it beside the input that is at fault."""
        return self.field in ("q", "from", "to")


@dataclass(frozen=True, slots=True)
class Row:
    """An event with the part of its message that was sought, as markup with the hits marked.

    `tags`, `comments` and the stars are what people said; `own_star` is the reader's.
    """

    event: Document
    message: SafeString
    begins_late: bool
    ends_early: bool
    tags: list[str]
    comments: list[str]
    starred: bool
    own_star: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """A way to narrow (or to undo it): its name, how many events it leaves, where it leads."""

    text: str
    address: str
    count: int | None = None
    chosen: bool = False


@dataclass(slots=True)
class Timeline:
    """Everything of one page; what the index did not say is empty."""

    asked: Asked
    reader: str = ""
    problem: Problem | None = None
    found: Found | None = None
    rows: list[Row] = field(default_factory=list)
    chart: Chart | None = None
    bars: list[tuple[Bar, str]] = field(default_factory=list)
    sources: list[Choice] = field(default_factory=list)
    hosts: list[Choice] = field(default_factory=list)
    evidence: list[Choice] = field(default_factory=list)
    limits: list[Choice] = field(default_factory=list)

    @property
    def next_page(self) -> str:
        """The address of the events that follow; empty on the last page."""
        cursor = self.found.next_cursor if self.found else None
        return self.asked.but(cursor=cursor).address() if cursor else ""


def read(cases: QuerySet[Case], asked: Asked, refusal: Invalid | None, *, reader: str = "") -> Timeline:
    """Return the page of one case (a queryset of one) for what was asked; `reader` is who will see it."""
    shown = Timeline(asked, reader, limits=list(_limits(cases, asked)))
    try:
        if refusal:
            raise refusal
        question = _frame(cases, asked)
        shown.found = search.search_events(
            question, limit=asked.limit, cursor=asked.cursor, newest_first=asked.newest_first
        )
        _fill(shown, cases, question)
    except DomainError as error:
        shown.problem = _problem(error, asked)
        shown.found = None
    return shown


def _frame(cases: QuerySet[Case], asked: Asked) -> Question:
    return search.frame(
        cases=cases, q=asked.q, start=asked.start, end=asked.end, evidence=asked.evidence, source=asked.source
    )


def _fill(shown: Timeline, cases: QuerySet[Case], question: Question) -> None:
    asked = shown.asked
    wanted = sought(question.query)
    shown.rows = [_row(event, wanted, shown.reader) for event in shown.found.documents] if shown.found else []
    shown.chart = draw(search.histogram(question))
    shown.bars = [(bar, asked.but(start=bar.start, end=bar.end).address()) for bar in shown.chart.bars]
    _offer(shown, cases, question)


def _offer(shown: Timeline, cases: QuerySet[Case], question: Question) -> None:
    """Add the ways to narrow; a filter is counted without itself, so that another can be chosen."""
    asked = shown.asked
    any_source = _frame(cases, asked.but(source=())) if asked.source else question
    shown.sources = list(_sources(search.terms(any_source, "source", _VALUES).buckets, asked))
    any_evidence = _frame(cases, asked.but(evidence=())) if asked.evidence else question
    pieces = search.terms(any_evidence, "evidence_uid", _PIECES).buckets
    shown.evidence = list(_pieces(cases, pieces, asked))
    hosts = search.terms(question, "host", _VALUES).buckets
    shown.hosts = [
        Choice(value, asked.narrowed(exact("host", value)).address(), count) for value, count in hosts
    ]


def _row(event: Document, wanted: Sought, reader: str) -> Row:
    text = event["message"]
    start = _first_hit(text[:_LOOKED_AT], wanted) if len(text) > _ROW_TEXT else 0
    end = start + _ROW_TEXT
    said = event["annotations"]
    stars = {one["author"] for one in said if one["star"]}
    return Row(
        event,
        marked(stretches(text[start:end], wanted)),
        start > 0,
        end < len(text),
        list(dict.fromkeys(tag for one in said for tag in one["tags"]))[:_SAID],
        [one["comment"] for one in said if one["comment"]][:_SAID],
        bool(stars),
        reader in stars,
    )


def _first_hit(text: str, wanted: Sought) -> int:
    """Return where a row begins so that the first hit is in it: 0 unless that lies far behind."""
    at = 0
    for piece, is_hit in stretches(text, wanted):
        if is_hit:
            return at - _LEAD if at > _ROW_TEXT // 4 else 0
        at += len(piece)
    return 0


def _sources(buckets: list[tuple[str, int]], asked: Asked) -> Iterator[Choice]:
    for value, count in buckets:
        chosen = value in asked.source
        others = tuple(source for source in asked.source if source != value)
        narrowed = asked.but(source=others if chosen else (*others, value))
        yield Choice(value, narrowed.address(), count, chosen)


def _pieces(cases: QuerySet[Case], counts: list[tuple[str, int]], asked: Asked) -> Iterator[Choice]:
    names = _names(cases, [uid for uid, _ in counts])
    for uid, count in counts:
        chosen = uid in asked.evidence
        others = tuple(piece for piece in asked.evidence if piece != uid)
        address = asked.but(evidence=others if chosen else (*others, uid)).address()
        yield Choice(names.get(uid, uid), address, count, chosen)


def _names(cases: QuerySet[Case], uids: Sequence[str]) -> dict[str, str]:
    """Return the names that evidence came with, by its id."""
    storable = [uid for uid in uids if "\x00" not in uid]
    found = Evidence.objects.filter(case__in=cases, evidence_uid__in=storable)
    return {piece.evidence_uid: piece.original_name or piece.evidence_uid for piece in found}


def _limits(cases: QuerySet[Case], asked: Asked) -> Iterator[Choice]:
    """Offer to take each condition back."""
    if asked.start or asked.end:
        text = f"{asked.start or '…'} – {asked.end or '…'}"
        yield Choice(text, asked.but(start="", end="").address())
    for value in asked.source:
        others = tuple(source for source in asked.source if source != value)
        yield Choice(f"source {value}", asked.but(source=others).address())
    names = _names(cases, asked.evidence) if asked.evidence else {}
    for value in asked.evidence:
        others = tuple(piece for piece in asked.evidence if piece != value)
        yield Choice(f"evidence {names.get(value, value)}", asked.but(evidence=others).address())


def _problem(error: DomainError, asked: Asked) -> Problem:
    if isinstance(error, InvalidQuery):
        at = min(error.at, len(asked.q))
        before, rest = asked.q[max(at - 200, 0) : at], asked.q[at:]
        return Problem(400, error.detail, "q", before, rest[:1], rest[1:200])
    status = 503 if isinstance(error, Unavailable) else 400
    return Problem(status, error.detail, error.field or "")
