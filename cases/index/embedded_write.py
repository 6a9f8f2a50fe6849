"""Writing a shard: documents in, parts out, sealed at the end for the run to be published.

A part is one tantivy index with up to PART events. While one is brought to the disk by a thread,
the next one fills.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tantivy import Document as Fields

from cases.index.document import Document
from cases.index.embedded_fold import foldable
from cases.index.embedded_schema import SCHEMA, create_index
from cases.index.embedded_shape import Shaper
from cases.index.embedded_store import (
    CaseDirectory,
    PartFacts,
    Sealed,
    file_facts,
    hold,
    seal,
    sync_directory,
    write_durably,
)
from cases.index.engine import IndexUnavailable, Written

#: Events of one part, and bytes of its documents.
PART: Final = 100_000
_PART_BYTES: Final = 512 * 1024**2
#: Memory that tantivy gathers terms in before it writes a segment.
_HEAP: Final = 300_000_000
#: What the shaper knows about the part, beside tantivy's files.
SIDE_FILE: Final = "facts.json"


class Known:
    """The event ids that were added, by 16 of the 32 bytes of each, in 14 bytes and little more.

    Ids are SHA-256: nobody makes two that share 128 bits.
    """

    _TAIL: Final = 14

    def __init__(self) -> None:
        self._tails = [bytearray() for _ in range(65_536)]

    def add(self, event_id: str) -> bool:
        """Take an id (64 hexadecimal characters); say whether it is new."""
        name = bytes.fromhex(event_id)
        tails, tail = self._tails[name[0] << 8 | name[1]], name[2:16]
        at = tails.find(tail)
        while at > 0 and at % self._TAIL:
            at = tails.find(tail, at + 1)
        if at >= 0:
            return False
        tails += tail
        return True


class Part:
    """A part that fills."""

    def __init__(self, directory: Path, case: CaseDirectory) -> None:
        directory.mkdir()
        self.directory = directory
        self.path = str(directory.relative_to(case.path))
        self._writer: Any = create_index(directory).writer(_HEAP, 1)
        self._shaper = Shaper()
        self.events = self.undated = self.size = 0
        self.first: int | None = None
        self.last: int | None = None

    @property
    def full(self) -> bool:
        """Whether the next document belongs into another part."""
        return self.events >= PART or self.size >= _PART_BYTES

    def add(self, document: Document) -> None:
        """Take a document."""
        fields = self._shaper.shape(document)
        self._writer.add_document(Fields.from_dict(fields, SCHEMA))
        self.events += 1
        self.size += len(fields["src"])
        instant = document["timestamp"]
        if instant is None:
            self.undated += 1
        elif self.first is None or self.last is None:
            self.first = self.last = instant
        elif instant > self.last:
            self.last = instant
        elif instant < self.first:
            self.first = instant

    def close(self) -> PartFacts:
        """Bring it to the disk and say what it is. Raises IndexUnavailable."""
        try:
            self._writer.commit()
            self._writer.wait_merging_threads()
            write_durably(self.directory / SIDE_FILE, self._shaper.facts())
            sync_directory(self.directory)
            files = file_facts(self.directory)
        except (OSError, ValueError) as error:
            raise IndexUnavailable(f"The index cannot be written: {error}") from error
        return PartFacts(self.path, self.events, self.undated, self.first, self.last, files)


class EmbeddedWriter:
    """Takes the events of one run; see `engine.ShardWriter`."""

    def __init__(
        self, case: CaseDirectory, *, shard: str, run: str, held: Sequence[Any] = (), part: int = 0
    ) -> None:
        self.written = Written()
        self.retries = 0
        self._case, self._shard = case, shard
        self._held = held
        self._place = case.new_writer(shard, run, part)
        self._lock = hold(self._place)
        self._known = Known()
        self._part: Part | None = None
        self._closing: list[Future[PartFacts]] = []
        self._pool = ThreadPoolExecutor(1, "close-part")
        self._folded: list[PartFacts] = []
        self._sealing = self._sealed = False

    def add(self, documents: Sequence[Document]) -> None:
        """Take a batch; ids that are there already are counted as duplicates."""
        if self._sealed:
            raise ValueError("The shard is sealed.")
        there = self._already_there(documents) if self._held else ()
        known, case_id, part = self._known, self._case.case_id, self._part
        for document in documents:
            event_id = document["event_id"]
            if document["case_id"] != case_id:
                raise ValueError("The document belongs to another case.")
            if event_id in there or not known.add(event_id):
                self.written.duplicate += 1
                continue
            if part is None or part.full:
                part = self._next_part()
            part.add(document)
            self.written.indexed += 1

    def _already_there(self, documents: Sequence[Document]) -> set[str]:
        ids = frozenset(document["event_id"] for document in documents)
        return {found for part in self._held for found in part.ids_among(ids)}

    def _next_part(self) -> Part:
        self._close_part()
        number = len(self._closing)
        if number > 1:
            self._closing[-2].result()  # no more than two in memory: one that fills, one that closes
        self._part = Part(self._place / f"{number:03d}", self._case)
        return self._part

    def _close_part(self) -> None:
        if self._part is not None:
            self._closing.append(self._pool.submit(self._part.close))
            self._part = None

    def _fold(self) -> None:
        """Take up small parts that were appended before, so that they never become many."""
        self._folded = foldable([part.facts for part in self._held], self.written.indexed)
        for part in self._held:
            if part.facts in self._folded:
                for document in part.documents():
                    open_part = self._part
                    if open_part is None or open_part.full:
                        open_part = self._next_part()
                    open_part.add(document)

    def seal(self) -> None:
        """Make everything durable."""
        if self._sealed:
            return
        if self._sealing:  # what failed half way is neither here nor there
            raise IndexUnavailable("The shard could not be made durable; write it again.")
        self._sealing = True
        if self.written.indexed:
            self._fold()
        self._close_part()
        parts = tuple(closing.result() for closing in self._closing)
        try:
            seal(self._place, Sealed(parts, tuple(part.path for part in self._folded)))
            sync_directory(self._place)
            sync_directory(self._place.parent)
        except OSError as error:
            raise IndexUnavailable(f"The index cannot be written: {error.strerror}.") from error
        self._sealed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._part = None
        self._case.discard(self._shard, self._place)
        self._lock.close()
