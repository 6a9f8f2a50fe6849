"""The embedded engine: tantivy in this process, an index in a directory.

Every shard consists of parts that never change; questions go to all parts of the cases and the
answers are merged. See `embedded_store` for the disk, `embedded_terms` for what is indexed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from cases.index import embedded_counts as counts
from cases.index.document import Document
from cases.index.embedded_compile import Compiler
from cases.index.embedded_pages import Order
from cases.index.embedded_parts import OpenPart, Pictures, numbered
from cases.index.embedded_select import Selection, Verdicts
from cases.index.embedded_store import LAYOUT, CaseDirectory
from cases.index.embedded_write import EmbeddedWriter
from cases.index.engine import (
    INTERVALS,
    Cursor,
    FieldInfo,
    Health,
    Histogram,
    IndexUnavailable,
    InvalidCursor,
    Page,
    Terms,
)
from cases.index.tree import And, Exists, Node, TimeRange, all_of

#: Threads that a question is spread over; tantivy searches without Python's lock.
_THREADS: Final = min(os.cpu_count() or 1, 4)


class EmbeddedEngine:
    """Writes, searches and deletes the events of cases below one directory; see `engine.Engine`."""

    erases_at_once = True

    def __init__(self, root: Path) -> None:
        self._root = root
        self._pictures = Pictures(root)
        self._verdicts = Verdicts()

    def writer(
        self, *, case_id: str, shard: str, run: str, append: bool = False, part: int = 0
    ) -> EmbeddedWriter:
        """Open a writer."""
        held = self._pictures.of_shard(case_id, shard) if append else []
        case = CaseDirectory(self._root, case_id)
        with _changing():
            return EmbeddedWriter(case, shard=shard, run=run, held=held, part=part)

    def publish(self, *, case_id: str, shard: str, run: str, append: bool = False) -> None:
        """Make what was sealed visible."""
        with _changing():
            CaseDirectory(self._root, case_id).publish(shard, run=run, append=append)

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
        """Return one page."""
        _check(after)
        selections = self._select(case_ids, query)
        total = _count(selections) if count else -1
        found = Order(selections, _spread, descending=descending).page(limit + 1, after)
        documents = found[:limit]
        last = documents[-1] if len(found) > limit and documents else None
        following = Cursor(last["timestamp"], last["event_id"]) if last else None
        return Page(documents, total, following)

    def count(self, *, case_ids: Sequence[str], query: Node) -> int:
        """Return the number of matching events."""
        return _count(self._select(case_ids, query))

    def histogram(self, *, case_ids: Sequence[str], query: Node, interval: str = "auto") -> Histogram:
        """Count by interval."""
        if interval not in ("auto", *INTERVALS):
            raise ValueError(f"There is no interval {interval!r}.")
        return counts.histogram(self._select(case_ids, query), _spread, interval)

    def terms(self, *, case_ids: Sequence[str], query: Node, field: str, size: int) -> Terms:
        """Count the values of a field."""
        named = counts.field_named(field)
        parts = self._parts(case_ids, query)
        selections = self._selections(parts, query)
        having = self._selections(parts, all_of(query, Exists(named)))
        return counts.terms(selections, having, _spread, named, size)

    def fields(self, *, case_ids: Sequence[str]) -> list[FieldInfo]:
        """Return the fields that events have."""
        return counts.fields(self._pictures.of(case_ids))

    def get(self, *, case_ids: Sequence[str], event_id: str) -> Document | None:
        """Return one event."""
        if not _is_event_id(event_id):
            return None
        query = numbered(event_id)
        for part in self._pictures.of(case_ids):
            for document in part.with_number(query):
                if document["event_id"] == event_id:
                    return document
        return None

    def stream(self, *, case_ids: Sequence[str], query: Node, descending: bool = False) -> Iterator[Document]:
        """Yield every match; what cannot be answered is refused at once, not at the first event."""
        return Order(self._select(case_ids, query), _spread, descending=descending).stream()

    def shards(self, *, case_id: str) -> dict[str, int]:
        """Return the number of events of every shard."""
        manifests = self._pictures.manifests(CaseDirectory(self._root, case_id))
        return {manifest.shard: manifest.events for manifest in manifests}

    def delete(self, *, case_id: str, shard: str) -> None:
        """Remove a shard."""
        with _changing():
            CaseDirectory(self._root, case_id).delete(shard)

    def drop(self, *, case_id: str) -> None:
        """Remove everything of a case."""
        with _changing():
            CaseDirectory(self._root, case_id).drop()

    def erase(self, *, case_id: str, shard: str = "") -> bool:
        """Remove what a crash left of a deletion; all else left the disk at once, with its files."""
        with _changing():
            CaseDirectory(self._root, case_id).erase(shard)
        return True

    def renew(self, *, case_id: str) -> None:
        """Nothing to do: every run is built aside."""

    def sweep(self, *, case_id: str, keep: Iterable[str]) -> list[str]:
        """Remove what does not belong; return what was removed."""
        with _changing():
            return CaseDirectory(self._root, case_id).sweep(set(keep))

    def health(self) -> Health:
        """Say whether the directory can be read and written."""
        facts = {"engine": f"tantivy {version('tantivy')}", "layout": LAYOUT, "directory": str(self._root)}
        place = self._root
        while not place.exists() and place != place.parent:
            place = place.parent
        if not place.is_dir() or not os.access(place, os.R_OK | os.W_OK | os.X_OK):
            return Health(False, f"The index directory {self._root} cannot be used.", facts)
        return Health(True, "The embedded index answers.", facts)

    def _parts(self, case_ids: Sequence[str], query: Node) -> list[OpenPart]:
        low, high = _span(query)
        return [
            part
            for part in self._pictures.of(case_ids)
            if (low is None and high is None) or _reaches(part, low, high)
        ]

    def _select(self, case_ids: Sequence[str], query: Node) -> list[Selection]:
        return self._selections(self._parts(case_ids, query), query)

    def _selections(self, parts: list[OpenPart], query: Node) -> list[Selection]:
        compiler, verdicts = Compiler(query), self._verdicts.of(query)
        return [Selection(part, compiler, verdicts) for part in parts]


@contextmanager
def _changing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise IndexUnavailable(f"The index cannot be changed: {error.strerror}.") from error


def _count(selections: list[Selection]) -> int:
    return sum(_spread(Selection.count, [selection for selection in selections if not selection.nothing]))


def _span(query: Node) -> tuple[int | None, int | None]:
    """Return the time that every match lies in, as far as the tree says so at its top."""
    if isinstance(query, TimeRange):
        return query.lower, query.upper
    low = high = None
    for child in query.children if isinstance(query, And) else ():
        if isinstance(child, TimeRange | And):
            lower, upper = _span(child)
            low = lower if low is None or (lower is not None and lower > low) else low
            high = upper if high is None or (upper is not None and upper < high) else high
    return low, high


def _reaches(part: OpenPart, low: int | None, high: int | None) -> bool:
    first, last = part.facts.first, part.facts.last
    if first is None or last is None:
        return False
    return (high is None or first <= high) and (low is None or last >= low)


def _is_event_id(text: str) -> bool:
    return len(text) == 64 and all(char in "0123456789abcdef" for char in text)


def _check(after: Cursor | None) -> None:
    if after is not None and not _is_event_id(after.event_id):
        raise InvalidCursor("The cursor names no event.")
    if after is not None and after.timestamp is not None and abs(after.timestamp) >= 2**62:
        raise InvalidCursor("The cursor names no time.")


def _spread(work: Callable[[Any], Any], over: Sequence[Any]) -> list[Any]:
    """Return the results of the work over all, in order, by several threads."""
    if len(over) < 2 or _THREADS == 1:
        return [work(each) for each in over]

    def share(number: int) -> list[Any]:
        return [work(each) for each in over[number::_THREADS]]

    # One errand a thread, not one a part: handing over takes longer than many a part's answer.
    results: list[Any] = [None] * len(over)
    for number, found in enumerate(_pool(os.getpid()).map(share, range(_THREADS))):
        results[number::_THREADS] = found
    return results


@lru_cache(maxsize=1)
def _pool(process: int) -> ThreadPoolExecutor:
    """One pool a process: threads do not survive a fork."""
    return ThreadPoolExecutor(_THREADS, f"search-{process}")
