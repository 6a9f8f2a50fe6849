"""The frame of an event log: its chunks and the chain of records in each, walked by hand.

Layout after "Windows XML Event Log (EVTX) format" (libevtx documentation): a file header, then
chunks of 64 KiB that need nothing from one another. A record begins with a signature and its
size and ends with the size again, so that the chain can be followed in both directions.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final, NamedTuple

from cases.records import ParseError

FILE_MAGIC: Final = b"ElfFile\x00"
CHUNK_MAGIC: Final = b"ElfChnk\x00"
RECORD_MAGIC: Final = b"**\x00\x00"
CHUNK_SIZE: Final = 65536
#: Header, string table and template table come before the first record.
FIRST_RECORD: Final = 512
_USUAL_SIZE: Final = 4096
#: Record header of 24 bytes and the size once more.
_SMALLEST: Final = 28
#: Records begin at multiples of this.
_ALIGNMENT: Final = 8
#: Set in the flags of a file and of a chunk when no checksums are kept.
_NO_CHECKSUMS: Final = 0x4

_FILE: Final = struct.Struct("<8sQQQIHHHH")
_FLAGS: Final = struct.Struct("<II")
_CHUNK: Final = struct.Struct("<8sQQQQIIII")
_RECORD: Final = struct.Struct("<4sIQQ")
_SIZE: Final = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class FileHeader:
    """What the first block of a log says; `faults` tells what about it is not right."""

    size: int
    chunks: int
    has_checksums: bool
    faults: tuple[str, ...] = ()


class Entry(NamedTuple):
    """A record of the chain; `fault` says why it cannot be one, `offset` is within the chunk.

    `number` is -1 where the header that would tell it is overwritten.
    """

    offset: int
    size: int
    number: int
    filetime: int
    fault: str = ""


@dataclass(slots=True)
class Chain:
    """The records of one chunk: `end` is where the last one ends.

    `lost` is where the chain breaks for good, None if it does not; what lies from there to
    `limit`, where the header says that records end, is unread.
    """

    entries: list[Entry] = field(default_factory=list)
    end: int = FIRST_RECORD
    limit: int = CHUNK_SIZE
    lost: int | None = None
    whole: bool = True


def read_file_header(block: bytes) -> FileHeader:
    """Return what the file header says, of which `block` is the beginning, with the first chunk.

    Raises ParseError for a file that ends inside it.
    """
    if block.startswith(CHUNK_MAGIC):  # chunks carved out of an image, without a file header
        return FileHeader(size=0, chunks=0, has_checksums=True)
    if len(block) < 128:
        raise ParseError(f"The file ends inside its header, after {len(block)} bytes.")
    magic, _, _, _, _, _, major, size, chunks = _FILE.unpack_from(block)
    flags, checksum = _FLAGS.unpack_from(block, 120)
    has_checksums = not flags & _NO_CHECKSUMS
    faults = []
    if magic != FILE_MAGIC:
        faults.append("it has no signature")
    if major != 3:
        faults.append(f"its version is {major}, not 3")
    if size != _USUAL_SIZE and block[size : size + 8] != CHUNK_MAGIC:
        faults.append(f"it claims a size of {size} bytes")
        size = _USUAL_SIZE
    if has_checksums and zlib.crc32(block[:120]) != checksum:
        faults.append("its checksum does not match")
    if faults:  # then it is no witness for what is missing either
        return FileHeader(size, 0, has_checksums, tuple(faults))
    return FileHeader(size, chunks, has_checksums)


def read_blocks(stream: BinaryIO, first: int, end: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield offset and bytes of every 64 KiB from `first` to `end`; the last may be shorter.

    An error of the stream is raised after what came before it was given out.
    """
    read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
    offset = first
    while end is None or offset < end:
        block, error = _fill(read, CHUNK_SIZE)
        if block:
            yield offset, block
        if error:
            raise error
        if len(block) < CHUNK_SIZE:
            return
        offset += CHUNK_SIZE


def _fill(read: Callable[[int], bytes], size: int) -> tuple[bytes, ParseError | None]:
    parts: list[bytes] = []
    missing = size
    try:
        while missing and (part := read(missing)):
            parts.append(part)
            missing -= len(part)
    except ParseError as error:
        return b"".join(parts), error
    return b"".join(parts), None


def header_faults(chunk: bytes, *, has_checksums: bool) -> list[str]:
    """Return what is wrong with the header of a chunk and its checksums, in words for people."""
    faults = []
    if not chunk.startswith(CHUNK_MAGIC):
        return ["it has no signature"]
    free = free_space(chunk)
    if free is None:
        faults.append("its header does not say where the records end")
    flags, checksum = _FLAGS.unpack_from(chunk, 120)
    if not has_checksums or flags & _NO_CHECKSUMS:
        return faults
    if zlib.crc32(chunk[128:512], zlib.crc32(chunk[:120])) != checksum:
        faults.append("the checksum of its header does not match")
    if free is not None and not data_matches(chunk):
        faults.append("the checksum of its records does not match")
    return faults


def has_signature(block: bytes) -> bool:
    """Return whether anything in it says that it is a chunk, or a record where records can begin."""
    if CHUNK_MAGIC in block:
        return True
    place = block.find(RECORD_MAGIC)
    while place >= 0 and place % _ALIGNMENT:
        place = block.find(RECORD_MAGIC, place + 1)
    return place >= 0


def data_matches(chunk: bytes) -> bool:
    """Return whether the records are those that the chunk's checksum was made of."""
    free = free_space(chunk)
    if free is None or free > len(chunk) or free == FIRST_RECORD:
        return False
    return zlib.crc32(memoryview(chunk)[FIRST_RECORD:free]) == int(_CHUNK.unpack_from(chunk)[8])


def free_space(chunk: bytes) -> int | None:
    """Return where the records of the chunk end by its header; None if that cannot be."""
    free: int = _CHUNK.unpack_from(chunk)[7]
    return free if FIRST_RECORD <= free <= CHUNK_SIZE else None


def last_number(chunk: bytes) -> int:
    """Return the number that the last record has by the header of the chunk."""
    return int(_CHUNK.unpack_from(chunk)[4])


def walk(chunk: bytes, *, recover: bool, available: int = CHUNK_SIZE) -> Chain:
    """Return the records of a chunk, in order, with those that are damaged.

    Only the first `available` bytes are evidence: what follows in a chunk that was cut is filling.

    Where the chain breaks it is taken up again if the sizes at the ends of the records lead
    back to the break; with `recover` at the next whole record, whatever lies between.
    """
    free = free_space(chunk)
    chain = Chain(limit=min(free or CHUNK_SIZE, available))
    limit, offset = chain.limit, FIRST_RECORD
    entries = chain.entries
    while offset + _SMALLEST <= limit:
        magic, size, number, filetime = _RECORD.unpack_from(chunk, offset)
        after = offset + size
        if magic == RECORD_MAGIC and _SMALLEST <= size <= limit - offset:
            if _SIZE.unpack_from(chunk, after - 4)[0] == size:
                entries.append(Entry(offset, size, number, filetime))
                offset = after
                continue
            if after == limit or chunk.startswith(RECORD_MAGIC, after):
                entries.append(Entry(offset, size, number, filetime, "its two sizes differ"))
                offset = after
                continue
        if free is None and magic != RECORD_MAGIC:
            break  # nothing says where the records end, so this may be it
        found = _take_up(chunk, offset, limit, recover=recover)
        if not found:
            chain.lost = offset
            break
        entries += found
        offset = found[-1].offset + found[-1].size
    else:
        if free is not None and offset < limit:
            chain.lost = offset
    chain.end = offset
    chain.whole = all(not entry.fault for entry in entries)
    return chain


def _take_up(chunk: bytes, start: int, limit: int, *, recover: bool) -> list[Entry]:
    """Return the damaged records between a break and where the chain goes on; none if it does not."""
    dead: set[int] = set()
    for place in _candidates(chunk, start + _SMALLEST, limit):
        if back := _lead_back(chunk, place, start, dead):
            return [Entry(offset, size, -1, 0, "its header is overwritten") for offset, size in back]
        if recover and place < limit:
            return [Entry(start, place - start, -1, 0, "the chain of records has a gap here")]
    return []


def _candidates(chunk: bytes, start: int, limit: int) -> Iterator[int]:
    """Yield where whole records begin, and last the end of all."""
    place = chunk.find(RECORD_MAGIC, start, limit)
    while place >= 0:
        if place + _SMALLEST <= limit:
            size = _SIZE.unpack_from(chunk, place + 4)[0]
            if _SMALLEST <= size <= limit - place and chunk.startswith(_SIZE.pack(size), place + size - 4):
                yield place
        place = chunk.find(RECORD_MAGIC, place + 4, limit)
    yield limit


def _lead_back(chunk: bytes, place: int, start: int, dead: set[int]) -> list[tuple[int, int]]:
    """Return the records that end at `place`, from `start` on, if their sizes lead there.

    `dead` collects places that lead nowhere, so that hostile bytes cost linear time.
    """
    found: list[tuple[int, int]] = []
    while place > start:
        size = _SIZE.unpack_from(chunk, place - 4)[0]
        if place in dead or not _SMALLEST <= size <= place - start:
            dead.update(offset + size for offset, size in found)
            dead.add(place)
            return []
        place -= size
        found.append((place, size))
    return found[::-1]
