"""Windows event logs (.evtx): every record of every chunk, and what stands where one should be.

The `evtx` library turns binary XML into JSON. It is given one chunk at a time, behind a file
header of our own: memory stays flat, compressed logs need no seeking, and what it cannot read
has a place. Which records there are is told by the chain that `evtx_chunks` walks.
"""

from __future__ import annotations

import io
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import BinaryIO, Final, NamedTuple

from cases.parsers.base import Parser, Piece, Source
from cases.parsers.evtx_chunks import (
    CHUNK_MAGIC,
    CHUNK_SIZE,
    FILE_MAGIC,
    FIRST_RECORD,
    RECORD_MAGIC,
    Chain,
    Entry,
    FileHeader,
    data_matches,
    has_signature,
    header_faults,
    last_number,
    read_blocks,
    read_file_header,
    walk,
)
from cases.parsers.evtx_records import make_record
from cases.parsers.evtx_texts import clean, read_texts
from cases.records import RAW_LIMIT, Damage, ParseError, Record

_SCATTERED: Final = 16
#: A log with more chunks whose numbers come again is none that is worth cutting.
_MANY_AGAIN: Final = 10_000
#: Nobody looks at more than this of a damaged part.
_LONGEST: Final = 64 * 1024 * 1024


class EvtxParser(Parser):
    """Reads Windows event logs.

    The option `recover` ("yes") also reads what nothing vouches for: chunks without a signature
    or cut off by the end of the file, and records behind a gap in the chain.
    """

    name = "evtx"
    version = "1"
    description = "Windows event log (.evtx)"
    kinds = ("evtx",)

    def accepts(self, source: Source) -> bool:
        """Look for the signature of the file or of its first chunk."""
        head = source.head
        return head.startswith((FILE_MAGIC, CHUNK_MAGIC)) or head[4096:4104] == CHUNK_MAGIC

    def parse(self, source: Source) -> Iterator[Record | Damage]:
        """Yield the records chunk by chunk, in the order of the file."""
        header, log = self._begin(source)
        yield from _faults(header, source)
        with source.open() as stream:
            if len(stream.read(header.size)) < header.size:
                raise ParseError("The file ends inside its header.")
            for offset, block in read_blocks(stream, header.size):
                yield from log.read(offset, block)
        yield from log.close()

    def cuts(self, source: Source, size: int) -> list[Piece]:
        """Cut between chunks in use, by walking all chains for numbers that come again."""
        header, log = self._begin(source)
        log.only_walks = True
        pieces: list[Piece] = []
        again: list[int] = []
        state = {"again": again}  # one list for all: what comes before a piece does no harm in it
        start, first = header.size, 0
        with source.open() as stream:
            stream.read(header.size)
            for offset, block in read_blocks(stream, header.size):
                index = log.seen
                deque(log.read(offset, block), 0)
                if log.holds_back:
                    continue
                if log.comes_again:
                    again.append(index)
                    if len(again) > _MANY_AGAIN:
                        return []
                if offset - start >= size:
                    pieces.append(Piece(start, offset, first, entry=source.entry(start), state=state))
                    start, first = offset, index
        return [*pieces, Piece(start, max(log.end, start), first, True, source.entry(start), state)]

    def read_piece(self, source: Source, piece: Piece) -> Iterator[Record | Damage]:
        """Yield the records of the chunks of a piece."""
        header, log = self._begin(source)
        if not piece.first:
            yield from _faults(header, source)
        log.seen, log.again = piece.first, frozenset(piece.state["again"])
        with source.open_at(piece) as stream:
            for offset, block in read_blocks(stream, piece.start, piece.end):
                yield from log.read(offset, block)
        yield from log.close() if piece.is_last else log.report_held()

    def _begin(self, source: Source) -> tuple[FileHeader, _Log]:
        if not self.accepts(source):
            raise ParseError("This is no Windows event log: it has no signature of one.")
        header = read_file_header(source.head)
        recover = source.context.options.get("recover", "").lower() in ("yes", "true", "1")
        return header, _Log(header.chunks, has_checksums=header.has_checksums, recover=recover)

    def locate(self, source: Source, position: str, span: tuple[int, int] | None) -> bytes:
        """Return the binary record, or what stands in its place."""
        if span is None or not 0 <= span[1] <= _LONGEST:
            raise ParseError(f"It is not known where {position} is.")
        offset, length = span
        with source.open() as stream:
            _skip(stream, offset)
            found = stream.read(length)
        if len(found) < length:
            raise ParseError(f"The file ends before {position}.")
        if position.startswith("record ") and not _is_record(found, position):
            raise ParseError(f"There is no {position} at {offset}.")
        return found


def _faults(header: FileHeader, source: Source) -> Iterator[Damage]:
    if header.faults:
        span = (0, min(header.size, len(source.head)))
        yield Damage("file header", _sentence("The file header", header.faults), b"", span)


def _skip(stream: BinaryIO, offset: int) -> None:
    """Read past what comes before; a compressed log cannot be entered in the middle."""
    if offset and isinstance(stream, io.BufferedReader) and stream.seekable():
        stream.seek(offset)
        return
    left = offset
    while left and (passed := len(stream.read(min(left, CHUNK_SIZE)))):
        left -= passed


def _is_record(found: bytes, position: str) -> bool:
    number = position.split()[1]
    if len(found) < 28 or not number.isdecimal() or int.from_bytes(found[8:16], "little") != int(number):
        return False
    # Of a damaged record one end may be gone.
    return found.startswith(RECORD_MAGIC) or int.from_bytes(found[-4:], "little") == len(found)


class _Held(NamedTuple):
    """A chunk that nothing shows to be in use, and its beginning unless it is all zeros."""

    number: int
    offset: int
    head: bytes


def _unsigned(number: int, head: bytes, span: tuple[int, int]) -> Damage:
    return Damage(f"chunk {number}", _sentence("The chunk", ["it has no signature"]), head, span)


class _Log:
    """One log while it is read: what was seen so far, and names that are given once."""

    def __init__(self, chunks: int, *, has_checksums: bool, recover: bool) -> None:
        self.expected = chunks
        self.has_checksums = has_checksums
        self.recover = recover
        self.seen = 0
        self.end = 0
        #: Chunks whose numbers were there before; None: that is found out on the way.
        self.again: frozenset[int] | None = None
        #: Only follow the chains, and read no record.
        self.only_walks = False
        self.comes_again = False
        self._numbers = _Numbers()
        self._held: list[_Held] = []

    @property
    def holds_back(self) -> bool:
        """Whether the chunk read last was held back."""
        return bool(self._held)

    def are_new(self, index: int, numbers: list[int]) -> bool:
        """Take the numbers of a chunk; return whether none of them was there before."""
        self.comes_again = not self._numbers.are_new(numbers) if self.again is None else index in self.again
        return not self.comes_again

    def read(self, offset: int, block: bytes) -> Iterator[Record | Damage]:
        """Yield what is in one chunk; one that seems to be unused is held back until more is known."""
        index = self.seen
        self.seen += 1
        self.comes_again = False
        self.end = offset + len(block)
        if not block.strip(b"\0"):
            self._held.append(_Held(index, offset, b""))
            return
        if 0 < self.expected <= index and not has_signature(block):
            self._held.append(_Held(index, offset, block[:FIRST_RECORD]))
            return
        yield from self.report_held()
        if len(block) < CHUNK_SIZE:
            whole = block.ljust(CHUNK_SIZE, b"\0")
            yield self._cut(index, offset, block, whole)
            if not self.recover and not data_matches(whole):
                return
            yield from _Chunk(self, index, offset, whole, len(block)).read()
            return
        yield from _Chunk(self, index, offset, block, CHUNK_SIZE).read()

    def close(self) -> Iterator[Damage]:
        """Yield what is missing at the end of the file, by its header.

        Windows makes the file larger before it needs the room: behind the last chunk in use lies
        what the disk held before, and no record.
        """
        self._held = [held for held in self._held if held.number < self.expected]
        yield from self.report_held()
        if missing := max(self.expected - self.seen, 0):
            reason = f"The file header counts {self.expected} chunks; the file ends after {self.seen}."
            yield Damage(f"the last {missing} chunks", reason, b"", (self.end, 0))

    def report_held(self) -> Iterator[Damage]:
        """Yield the damages that held chunks are if others in use follow; zeros in a row are one."""
        held, self._held = self._held, []
        for content, run in groupby(held, key=lambda chunk: bool(chunk.head)):
            if content:
                for number, offset, head in run:
                    yield _unsigned(number, head, (offset, CHUNK_SIZE))
            else:
                yield self._zeros(list(run))

    def _zeros(self, empty: list[_Held]) -> Damage:
        count, first, start = len(empty), empty[0].number, empty[0].offset
        name = f"chunk {first}" if count == 1 else f"chunks {first} to {first + count - 1}"
        reason = f"{count} chunk{'s' * (count > 1)} of zeros among chunks in use: the records are gone."
        return Damage(name, reason, b"", (start, min(start + count * CHUNK_SIZE, self.end) - start))

    def _cut(self, index: int, offset: int, block: bytes, whole: bytes) -> Damage:
        reason = f"The file ends inside a chunk, after {len(block)} of {CHUNK_SIZE} bytes"
        count = (
            len(walk(whole, recover=False, available=len(block)).entries)
            if block.startswith(CHUNK_MAGIC)
            else 0
        )
        if count and not data_matches(whole):
            reason += f"; about {count} records in it cannot be checked (option recover=yes reads them)"
        return Damage(f"chunk {index}, cut off", f"{reason}.", block[:RAW_LIMIT], (offset, len(block)))


class _Numbers:
    """Which record numbers chunks had so far, as ranges: a log has few, however long it is."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def are_new(self, numbers: list[int]) -> bool:
        """Take the numbers of a chunk; return whether none of them was there before."""
        return all([self._is_new(low, high) for low, high in _runs(numbers)])  # noqa: C419 - take all

    def _is_new(self, low: int, high: int) -> bool:
        place = bisect_left(self._ends, low)
        if place < len(self._starts) and self._starts[place] <= high:
            return False
        if place and self._ends[place - 1] == low - 1:
            self._ends[place - 1] = high
        else:
            self._starts.insert(place, low)
            self._ends.insert(place, high)
        return True


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Return numbers as ranges; as one of them all if they are too scattered to be a log's."""
    low, high = min(numbers), max(numbers)
    if high - low == len(numbers) - 1:
        return [(low, high)]
    runs: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if runs and number <= runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs if len(runs) <= _SCATTERED else [(low, high)]


class _Chunk:
    """One chunk of a log: walks its chain, has it read, and joins both."""

    def __init__(self, log: _Log, index: int, offset: int, content: bytes, available: int) -> None:
        self.log = log
        self.index = index
        self.offset = offset
        self.content = content
        self.available = available

    def read(self) -> Iterator[Record | Damage]:
        """Yield the records of the chunk and the damages in their places."""
        faults = header_faults(self.content, has_checksums=self.log.has_checksums)
        if faults:
            span = (self.offset, self.available)
            reason = _sentence("The chunk", faults)
            yield Damage(f"chunk {self.index}", reason, self.content[:FIRST_RECORD], span)
            if not (self.content.startswith(CHUNK_MAGIC) or self._is_vouched_for()):
                return
        chain = walk(self.content, recover=self.log.recover, available=self.available)
        yield from self._records(chain)
        if chain.lost is not None:
            yield self._break(chain, chain.lost)

    def _is_vouched_for(self) -> bool:
        return self.log.recover or data_matches(self.content)

    def _records(self, chain: Chain) -> Iterator[Record | Damage]:
        entries = chain.entries
        names = self._names(entries)
        if self.log.only_walks:
            return
        texts, reasons = read_texts(self.content, chain)
        for entry, name, text in zip(entries, names, texts, strict=True):
            if entry.fault:
                yield self._damage(entry, name, f"The record is damaged: {entry.fault}.")
                continue
            if text is None:
                yield self._damage(entry, name, next(reasons, "The record cannot be read."))
                continue
            span = (self.offset + entry.offset, entry.size)
            try:
                yield make_record(text, position=name, span=span, filetime=entry.filetime)
            except (ValueError, TypeError, AttributeError, RecursionError) as error:
                yield self._damage(entry, name, f"The record is no event: {clean(str(error))}")

    def _names(self, entries: list[Entry]) -> list[str]:
        """Return a name for every record that no other of the log has."""
        numbers = [entry.number for entry in entries if entry.number >= 0]
        is_new = not numbers or self.log.are_new(self.index, numbers)
        is_single = len(set(numbers)) == len(numbers)
        if is_new and is_single and len(numbers) == len(entries):
            return [f"record {number}" for number in numbers]
        return [self._name(entry, is_new=is_new, is_single=is_single) for entry in entries]

    def _name(self, entry: Entry, *, is_new: bool, is_single: bool) -> str:
        if entry.number < 0:
            return f"chunk {self.index} at {entry.offset}"
        if not is_single:
            return f"record {entry.number} (chunk {self.index} at {entry.offset})"
        return f"record {entry.number}" if is_new else f"record {entry.number} (chunk {self.index})"

    def _damage(self, entry: Entry, name: str, reason: str) -> Damage:
        found = self.content[entry.offset : entry.offset + entry.size]
        return Damage(name, reason, found[:RAW_LIMIT], (self.offset + entry.offset, entry.size))

    def _break(self, chain: Chain, place: int) -> Damage:
        reason = f"The chain of records breaks at {place}; {chain.limit - place} bytes are not read"
        first = chain.entries[-1].number + 1 if chain.entries else 0
        missing = last_number(self.content) - first + 1
        if chain.entries and 0 < missing <= CHUNK_SIZE:
            reason += f", where by the header {missing} records are ({first} to {first + missing - 1})"
        span = (self.offset + place, chain.limit - place)
        raw = self.content[place : min(chain.limit, place + RAW_LIMIT)]
        return Damage(f"chunk {self.index} from {place}", f"{reason}.", raw, span)


def _sentence(subject: str, faults: Iterable[str]) -> str:
    return f"{subject} is damaged: {', '.join(faults)}."
