"""What both engines keep: the one door between the product and its index.

A *shard* is the events of one evidence (its `evidence_uid`), or those posted to a case
(POSTED). Case ids are a required argument of every question; an empty list finds nothing.
Every answer is whole: an engine that cannot answer wholly raises.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Protocol, Self

from cases.index.document import Document
from cases.index.tree import Node

#: The shard of a case that holds what was posted as events; no evidence may take this name.
POSTED: Final = "posted"

INTERVALS: Final = ("second", "minute", "hour", "day", "week", "month", "year")


class IndexUnavailable(Exception):
    """The engine cannot answer now; the message says why. Nothing was lost."""


class TooBroad(Exception):
    """The question is too large to be answered wholly; the message says how to narrow it."""


class InvalidCursor(ValueError):
    """The cursor was not issued for this order, or somebody edited it."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last event of a page, from which the next one goes on.

    `timestamp` in microseconds since 1970 UTC, None within the undated tail.
    """

    timestamp: int | None
    event_id: str


@dataclass(frozen=True, slots=True)
class Page:
    """Events in order, the exact number of all that match, and where to go on (None: at the end)."""

    documents: list[Document]
    total: int
    next: Cursor | None


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by interval; `buckets` holds (start in microseconds, count) without empty ones.

    The counts and `undated` sum to the number of matching events.
    """

    interval: str
    buckets: list[tuple[int, int]]
    undated: int


@dataclass(frozen=True, slots=True)
class Terms:
    """The most frequent values of a field, exactly counted, most frequent first, then by value.

    `other` counts the values left out, `missing` the events without a value.
    """

    buckets: list[tuple[str, int]]
    other: int
    missing: int


@dataclass(frozen=True, slots=True)
class FieldInfo:
    """A field seen in a case: "text", "number", "boolean" or "mixed", and how many events have it."""

    name: str
    type: str
    events: int
    attribute: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """A document that the engine does not take, and why, for people."""

    document: Document
    reason: str


@dataclass(slots=True)
class Written:
    """What a writer has taken so far. `duplicate` counts ids that were there already.

    `refused` holds documents that were not taken, until the caller has taken them from the list;
    they are neither in `indexed` nor in `duplicate`. After `seal` none follow.
    """

    indexed: int = 0
    duplicate: int = 0
    refused: list[Refused] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the engine answers, and what it says about itself."""

    ok: bool
    detail: str
    facts: dict[str, str] = field(default_factory=dict)


class ShardWriter(Protocol):
    """Takes the events of one run; nothing is visible before `Engine.publish`.

    Leaving the context discards everything that is not published by then.
    """

    written: Written

    #: How often a batch had to be sent again, for the statistics of the run.
    retries: int

    def add(self, documents: Sequence[Document]) -> None:
        """Take a batch. An id that was already added counts as duplicate and is not added again."""

    def seal(self) -> None:
        """Make everything added durable, still invisible. Idempotent. Raises IndexUnavailable."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Engine(Protocol):
    """Writes, searches and deletes the events of cases."""

    #: Whether text has left the disk when `delete` and `drop` return; otherwise `erase` says when.
    erases_at_once: bool

    def writer(
        self, *, case_id: str, shard: str, run: str, append: bool = False, part: int = 0
    ) -> ShardWriter:
        """Open a writer; `run` names the attempt and is unique among attempts.

        Several processes may write one run, each under a `part` of its own (from 0) and with ids
        that no other part has. What earlier attempts left unpublished in this shard is removed.
        """

    def publish(self, *, case_id: str, shard: str, run: str, append: bool = False) -> None:
        """Make what all writers of a run have sealed visible at once, in place of what the shard held.

        With `append` (as its writers were opened) it is added to what is there instead. May be
        called by any process, best while the writers are open, and again after a call whose answer
        was lost. Raises IndexUnavailable, also when a later attempt has removed what was written.
        """

    def search(
        self,
        *,
        case_ids: Sequence[str],
        query: Node,
        limit: int,
        after: Cursor | None = None,
        descending: bool = True,
        count: bool = True,
    ) -> Page:
        """Return one page in order of (timestamp, event_id), both in the asked direction.

        Undated events come last in either direction, themselves by event_id in the asked one.
        `total` is -1 without `count`.
        """

    def count(self, *, case_ids: Sequence[str], query: Node) -> int:
        """Return the exact number of matching events."""

    def histogram(self, *, case_ids: Sequence[str], query: Node, interval: str = "auto") -> Histogram:
        """Count by interval, one of INTERVALS in UTC (weeks begin on Monday), or "auto".

        "auto" is the finest interval with at most 120 buckets between the first and last event.
        Raises ValueError when an asked interval would give more than 10,000 buckets with events.
        """

    def terms(self, *, case_ids: Sequence[str], query: Node, field: str, size: int) -> Terms:
        """Count the values of a field, `attributes.NAME` or a core field other than the message.

        A value is counted once an event, as text in its own spelling.
        """

    def fields(self, *, case_ids: Sequence[str]) -> list[FieldInfo]:
        """Return the core fields with values and every attribute seen, by name."""

    def get(self, *, case_ids: Sequence[str], event_id: str) -> Document | None:
        """Return one event, or None."""

    def stream(self, *, case_ids: Sequence[str], query: Node, descending: bool = False) -> Iterator[Document]:
        """Yield every match in order from one consistent picture, in flat memory."""

    def shards(self, *, case_id: str) -> dict[str, int]:
        """Return the number of events of every shard of a case."""

    def delete(self, *, case_id: str, shard: str) -> None:
        """Take a shard out of sight for good. Idempotent. Its text may be on the disk until `erase`."""

    def drop(self, *, case_id: str) -> None:
        """Take everything of a case out of sight for good. Idempotent."""

    def erase(self, *, case_id: str, shard: str = "") -> bool:
        """Go on removing the text of what was deleted; say whether it has left the disk.

        A shard, or all of a case. Takes seconds at most; False: call again later.
        Raises IndexUnavailable.
        """

    def renew(self, *, case_id: str) -> None:
        """Have whatever is written to the case from now on built aside, in the present format.

        Shards move over one by one as they are published; readers see each exactly once.
        """

    def sweep(self, *, case_id: str, keep: Iterable[str]) -> list[str]:
        """Remove shards not in `keep` and what crashed attempts left; return what was removed."""

    def health(self) -> Health:
        """Look whether the engine answers; never raises. `facts` has engine, version, disk and the like."""
