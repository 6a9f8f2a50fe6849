"""Opened parts of shards, and the consistent picture of a case that a question is put to.

A picture holds the searchers it consists of: a shard that is replaced or deleted meanwhile stays
readable through them to the end of the question.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, Final

from tantivy import Occur, Query

from cases.index import text
from cases.index.document import Document
from cases.index.embedded_schema import SCHEMA, open_searcher
from cases.index.embedded_shape import CORE
from cases.index.embedded_store import CaseDirectory, Manifest, PartFacts, check_files
from cases.index.embedded_terms import place_of, spelling
from cases.index.embedded_write import SIDE_FILE
from cases.index.engine import IndexUnavailable
from cases.index.tree import Field

#: Opened parts that are kept; one takes a sleeping thread (of tantivy's) and eight mappings of the
#: 65,530 that Linux allows. A question to more of them opens the rest for its own time.
_OPEN_PARTS: Final = 1000
#: Looked-up lists of terms that a part remembers, and how long such a list may be.
_LOOKUPS: Final = 2000
_LOOKUP_SIZE: Final = 1000
#: A directory changed this recently may change again without its time telling (ns).
_TICK: Final = 100_000_000
_ATTEMPTS: Final = 5
DAY: Final = 86_400_000_000
#: Buckets that tantivy is asked for at once; it refuses 65,000.
_AT_ONCE: Final = 50_000
#: tantivy computes buckets in doubles, exact up to here.
_EXACT: Final = 2**53

#: Where a document lies: segment and number in it.
Address = Any


@dataclass(frozen=True, slots=True)
class Shape:
    """One combination of fields: its term, the core fields by bit, the attributes by mark."""

    term: str
    events: int
    core: int
    marks: tuple[int, ...]


class OpenPart:
    """One part, opened for reading."""

    def __init__(self, directory: Path, facts: PartFacts, case_id: str) -> None:
        self.directory, self.facts, self.case_id = directory, facts, case_id
        check_files(directory, facts.files)
        try:
            self.searcher = open_searcher(directory)
        except (ValueError, OSError) as error:
            raise IndexUnavailable(f"The index is damaged: {error}. Run: manage.py reindex") from error
        if self.searcher.num_docs != facts.events:
            raise IndexUnavailable("The index is damaged: events are missing. Run: manage.py reindex")
        self._lookups: dict[str, list[str]] = {}
        #: What the part has of sets of ids that were asked for (`embedded_named`).
        self.named: OrderedDict[frozenset[str], Any] = OrderedDict()

    def terms(self, beginning: str) -> list[str]:
        """Return the terms of values that begin so; short answers are remembered."""
        found = self._lookups.get(beginning)
        if found is None:
            found = [term for term, _ in self.searcher.terms_with_prefix("x", beginning)]
            if len(found) <= _LOOKUP_SIZE:
                if len(self._lookups) >= _LOOKUPS:
                    self._lookups.clear()
                self._lookups[beginning] = found
        return found

    def counted_terms(self, beginning: str, among: Query | None) -> list[tuple[str, int]]:
        """Return terms that begin so, and how many of the events have each."""
        counted: list[tuple[str, int]] = self.searcher.terms_with_prefix("x", beginning, among)
        return counted

    @cached_property
    def side(self) -> dict[str, Any]:
        """What the writer noted about the part."""
        try:
            found: dict[str, Any] = text.load((self.directory / SIDE_FILE).read_bytes())
        except (OSError, ValueError) as error:
            raise IndexUnavailable(f"The index cannot be read: {error}") from error
        return found

    def countable(self, step: int) -> bool:
        """Say whether tantivy can count exactly by such steps."""
        low, high = self.facts.first or 0, self.facts.last or 0
        return low > -_EXACT and high < _EXACT and (high - low) // step < _AT_ONCE

    def counts_by(self, step: int, query: Query) -> dict[int, int]:
        """Return the number of events by a step of time in microseconds, if it is countable.

        The keys are whole numbers, but doubles.
        """
        asked = {"field": "ts", "interval": float(step), "min_doc_count": 1}
        answer = self.searcher.aggregate(query, {"time": {"histogram": asked}})
        return {bucket["key"]: bucket["doc_count"] for bucket in answer["time"]["buckets"]}

    @cached_property
    def days(self) -> dict[int, int]:
        """The number of events by day; see `counts_by`."""
        return self.counts_by(DAY, Query.all_query())

    @cached_property
    def shapes(self) -> list[Shape]:
        """The combinations of fields that its events have."""
        return [
            Shape(f"{number:x}", events, marks[0], tuple(marks[1:]))
            for number, (events, marks) in enumerate(self.side["shapes"])
        ]

    @cached_property
    def places(self) -> dict[str, int]:
        """The number of every attribute."""
        return {name: number for number, name in enumerate(self.side["names"])}

    def shapes_with(self, wanted: Field) -> list[Shape]:
        """Return the shapes that have a field."""
        if not wanted.attribute:
            bit = CORE.index(wanted.name) if wanted.name in CORE else len(CORE)
            return [shape for shape in self.shapes if shape.core >> bit & 1]
        number = self.places.get(wanted.name)
        if number is None:
            return []
        return [shape for shape in self.shapes if any((mark - 1) // 3 == number for mark in shape.marks)]

    def events_with(self, wanted: Field) -> int:
        """Return how many events have a field."""
        place = self.places.get(wanted.name) if wanted.attribute else -1 - CORE.index(wanted.name)
        rest: int = sum(events for held, events in self.side["rest"] if held == place)
        return rest + sum(shape.events for shape in self.shapes_with(wanted))

    def raw(self, address: Address) -> bytes:
        """Return a document as it is stored."""
        data: bytes = self.searcher.doc(address).get_first("src")
        return data

    def load(self, address: Address) -> Document:
        """Return a document."""
        document: Document = text.load(self.raw(address))
        return document

    def documents(self) -> Iterator[Document]:
        """Yield every document as it lies."""
        hits = self.searcher.search(Query.all_query(), self.facts.events, count=False).hits
        hits.sort(key=lambda hit: (hit[1].segment_ord, hit[1].doc))
        return (self.load(address) for _, address in hits)

    @cached_property
    def evidence(self) -> frozenset[str] | None:
        """The evidence that its events come from; None if its name is too long to be kept."""
        place = place_of(Field("evidence_uid"))
        names = [spelling(name[len(place) :]) for name in self.terms(place)]
        return None if None in names else frozenset(name for name in names if name is not None)

    def with_number(self, query: Query) -> list[Document]:
        """Return the documents that a term of `id64` finds."""
        size = 2
        while len(hits := self.searcher.search(query, size, count=False).hits) == size:
            size *= 10  # ids that share their first characters, which somebody made so
        return [self.load(address) for _, address in hits]

    def with_ids(self, ids: Iterable[str]) -> list[Document]:
        """Return the documents with these ids."""
        wanted = frozenset(ids)
        prefixes = list({int(event_id[:16], 16) for event_id in wanted})
        query = Query.term_set_query(SCHEMA, "id64", prefixes)
        size = len(prefixes) + 1
        while len(hits := self.searcher.search(query, size, count=False).hits) == size:
            size *= 10  # ids that share their first characters, which somebody made so
        found = [self.load(address) for _, address in hits]
        return [document for document in found if document["event_id"] in wanted]

    def ids_among(self, ids: Iterable[str]) -> set[str]:
        """Return which of these ids it holds."""
        return {document["event_id"] for document in self.with_ids(ids)}


class OpenParts:
    """The opened parts of this process, the least recently used closed first."""

    def __init__(self, limit: int = _OPEN_PARTS) -> None:
        #: Counts what was closed: lists of parts made before should be let go.
        self.closed = 0
        self.limit = limit
        self._parts: OrderedDict[Path, OpenPart] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, case: CaseDirectory, facts: PartFacts) -> OpenPart:
        """Return an opened part. Raises IndexUnavailable."""
        directory = case.path / facts.path
        with self._lock:
            part = self._parts.get(directory)
            if part is not None and part.facts == facts:
                self._parts.move_to_end(directory)
                return part
        part = OpenPart(directory, facts, case.case_id)
        with self._lock:
            self._parts[directory] = part
            while len(self._parts) > self.limit:
                self._parts.popitem(last=False)
                self.closed += 1
        return part

    def forget(self, case: CaseDirectory, kept: frozenset[Path]) -> None:
        """Close what a case consists of no longer."""
        with self._lock:
            gone = [
                directory
                for directory in self._parts
                if case.path in directory.parents and directory not in kept
            ]
            for directory in gone:
                del self._parts[directory]


@dataclass(slots=True)
class _Seen:
    """What a case consisted of when last looked at."""

    changed: int = -1
    looked: int = 0
    manifests: dict[str, tuple[tuple[int, int, int], Manifest]] = field(default_factory=dict)
    #: The parts, all opened, while none was closed since (`OpenParts.closed`).
    parts: list[OpenPart] | None = None
    closed: int = 0

    @property
    def known(self) -> list[Manifest]:
        """The manifests."""
        return [manifest for _, manifest in self.manifests.values()]


class Pictures:
    """Takes consistent pictures of cases; looks at the disk for what other processes published."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open = OpenParts()
        self._seen: dict[str, _Seen] = {}
        self._case = lru_cache(maxsize=10_000)(partial(CaseDirectory, root))
        self._lock = threading.Lock()

    def of(self, case_ids: Sequence[str]) -> list[OpenPart]:
        """Return the parts of these cases. Raises IndexUnavailable."""
        return [part for case_id in dict.fromkeys(case_ids) for part in self._parts(case_id)]

    def of_shard(self, case_id: str, shard: str) -> list[OpenPart]:
        """Return the parts of one shard. Raises IndexUnavailable."""
        case = CaseDirectory(self._root, case_id)
        manifest = case.shard(shard)
        return [self._open.get(case, facts) for facts in manifest.parts] if manifest else []

    def _parts(self, case_id: str) -> list[OpenPart]:
        case = self._case(case_id)
        for attempt in range(_ATTEMPTS):
            seen = self._look_at(case)
            held = seen.parts
            if held is not None and seen.closed == self._open.closed:
                return held
            manifests = seen.known
            try:
                parts = [self._open.get(case, facts) for manifest in manifests for facts in manifest.parts]
                return self._remember(seen, parts)
            except IndexUnavailable:
                # Replaced between reading the manifest and opening? Then there is a newer one.
                if attempt == _ATTEMPTS - 1 or self._unchanged(case, manifests):
                    raise
        raise IndexUnavailable("The index changes too fast to be read.")

    def _remember(self, seen: _Seen, parts: list[OpenPart]) -> list[OpenPart]:
        """Keep the list for the next question, unless there are more parts than may stay open."""
        with self._lock:
            for other in self._seen.values():
                if other.closed != self._open.closed:
                    other.parts = None
        if len(parts) <= self._open.limit:
            seen.parts, seen.closed = parts, self._open.closed
        return parts

    def _unchanged(self, case: CaseDirectory, manifests: list[Manifest]) -> bool:
        with self._lock:
            self._seen.pop(case.case_id, None)
        return self.manifests(case) == manifests

    def manifests(self, case: CaseDirectory) -> list[Manifest]:
        """Return the manifests of a case; read again only what has changed."""
        return self._look_at(case).known

    def _look_at(self, case: CaseDirectory) -> _Seen:
        try:
            changed = case.path.stat().st_mtime_ns
        except FileNotFoundError:
            with self._lock:
                self._seen.pop(case.case_id, None)
            return _Seen()
        except OSError as error:
            raise IndexUnavailable(f"The index cannot be read: {error.strerror}.") from error
        with self._lock:
            seen = self._seen.get(case.case_id)
            # Times of directories have the grain of a clock tick: one that was looked at within
            # the tick of its change may have changed again.
            if seen and seen.changed == changed and seen.looked - changed > _TICK:
                return seen
            fresh = self._look(case, changed, seen or _Seen())
            self._seen[case.case_id] = fresh
        self._open.forget(
            case, frozenset(case.path / facts.path for manifest in fresh.known for facts in manifest.parts)
        )
        return fresh

    @staticmethod
    def _look(case: CaseDirectory, changed: int, seen: _Seen) -> _Seen:
        fresh = _Seen(changed, time.time_ns())
        try:
            found = case.manifests()
        except OSError as error:
            raise IndexUnavailable(f"The index cannot be read: {error.strerror}.") from error
        for name, facts in sorted(found.items()):
            held = seen.manifests.get(name)
            manifest = held[1] if held and held[0] == facts else case.read(name)
            if manifest is not None:
                fresh.manifests[name] = (facts, manifest)
        return fresh


def numbered(event_id: str) -> Query:
    """Return the query for the number of an event id."""
    return Query.term_query(SCHEMA, "id64", int(event_id[:16], 16), "basic")


def both(*queries: Query | None) -> Query:
    """Return the conjunction of queries; None is none."""
    kept = [query for query in queries if query is not None]
    if len(kept) == 1:
        return kept[0]
    return Query.boolean_query([(Occur.Must, query) for query in kept]) if kept else Query.all_query()


def in_chunks(first: int, total: int) -> Iterator[tuple[int, int]]:
    """Yield offset and size of ever larger chunks."""
    offset, size = 0, first
    while offset < total:
        yield offset, size
        offset, size = offset + size, size * 4
