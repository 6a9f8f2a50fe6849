"""Writes Windows event logs (.evtx) that other programs read: a tool for the demo and for tests.

After MS-EVEN6 2.2.12 and "Windows XML Event Log (EVTX) format" (libevtx documentation): file
header and chunks of 64 KiB with their checksums, tables of names and templates, records.
"""

from __future__ import annotations

import struct
import zlib
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

from cases.demo.evtx_template import CONSTANT, KINDS, Template

CHUNK_SIZE: Final = 65536
HEADER_SIZE: Final = 4096
FIRST_RECORD: Final = 512
_STRING_BUCKETS: Final = 64
_TEMPLATE_BUCKETS: Final = 32
#: Fragment header; template instance: its token, 1, the template's short id and its offset.
_INSTANCE: Final = struct.Struct("<4sBBII")
_RECORD: Final = struct.Struct("<4sIQQ")
_SIZE: Final = struct.Struct("<I")

#: What differs in the System section from event to event: process, thread, user, activity, computer.
System = tuple[int, int, str | None, str | None, str]


class _Packing:
    """How the values of one template become bytes; what never changes is packed once."""

    def __init__(self, template: Template) -> None:
        kinds = [KINDS[kind] for kind in template.kinds]
        self.codes = [code << 16 for code, _ in kinds]
        self.packs = [pack for _, pack in kinds]
        constant = [
            pack(value) for pack, value in zip(self.packs[CONSTANT:], template.constants, strict=False)
        ]
        self.constant = b"".join(constant)
        first = CONSTANT + len(constant)
        self.constant_heads = tuple(
            len(part) | code for part, code in zip(constant, self.codes[CONSTANT:], strict=False)
        )
        self.fields = list(zip(self.packs[first:], self.codes[first:], strict=True))
        self.system = list(zip(self.packs[2:CONSTANT], self.codes[2:CONSTANT], strict=True))
        # Record number and time have a fixed size.
        self.first_heads = (8 | self.codes[0], 8 | self.codes[1])
        self.heads = struct.Struct(f"<I{len(kinds)}I")

    def pack(self, number: int, filetime: int, system: System, values: tuple[Any, ...]) -> bytes:
        """Return count, sizes and types of the values, and the values."""
        heads = [*self.first_heads]
        parts = [struct.pack("<QQ", number, filetime)]
        for (pack, code), value in zip(self.system, system, strict=True):
            if value is None:
                heads.append(0)
            else:
                part = pack(value)
                heads.append(len(part) | code)
                parts.append(part)
        heads += self.constant_heads
        parts.append(self.constant)
        for (pack, code), value in zip(self.fields, values, strict=True):
            if value is None:
                heads.append(0)
            else:
                part = pack(value)
                heads.append(len(part) | code)
                parts.append(part)
        return self.heads.pack(len(heads), *heads) + b"".join(parts)


class _Chunk:
    """64 KiB in the making."""

    def __init__(self, first: int) -> None:
        self.data = bytearray(FIRST_RECORD)
        self.first = first
        self.count = 0
        self.last_offset = 0
        self.names: dict[str, int] = {}
        self.strings = [0] * _STRING_BUCKETS
        self.templates = [0] * _TEMPLATE_BUCKETS
        self.places: dict[Template, int] = {}

    def add(self, template: Template, number: int, filetime: int, values: bytes) -> bool:
        """Append a record; return False, and change nothing, if there is no room for it."""
        start = len(self.data)
        instance = start + _RECORD.size
        place = self.places.get(template)
        definition = b""
        saved = None
        bucket = template.short_id % _TEMPLATE_BUCKETS
        if place is None:
            place = instance + _INSTANCE.size
            saved = (dict(self.names), list(self.strings))
            definition = template.define(place, self.names, self.strings, self.templates[bucket])
        size = _RECORD.size + _INSTANCE.size + len(definition) + len(values) + 1 + 4
        size += -size % 8
        if start + size >= CHUNK_SIZE:  # libevtx passes over a record that ends with the chunk
            if saved is not None:
                self.names, self.strings = saved
            return False
        if definition:
            self.places[template] = self.templates[bucket] = place
        record = b"".join((
            _RECORD.pack(b"**\0\0", size, number, filetime),
            _INSTANCE.pack(b"\x0f\x01\x01\x00", 0x0C, 1, template.short_id, place),
            definition,
            values,
        ))  # fmt: skip
        self.data += record.ljust(size - 4, b"\0")
        self.data += _SIZE.pack(size)
        self.last_offset = start
        self.count += 1
        return True

    def seal(self) -> bytes:
        """Return the chunk with its header, tables and checksums."""
        free = len(self.data)
        last = self.first + self.count - 1 if self.count else 2**64 - 1
        data = self.data
        struct.pack_into(
            "<8sQQQQIIII", data, 0, b"ElfChnk\0", self.first, last, self.first, last, 128,
            self.last_offset, free, zlib.crc32(memoryview(data)[FIRST_RECORD:]),
        )  # fmt: skip
        struct.pack_into(f"<{_STRING_BUCKETS}I", data, 128, *self.strings)
        struct.pack_into(f"<{_TEMPLATE_BUCKETS}I", data, 384, *self.templates)
        header = bytes(data[:FIRST_RECORD])
        struct.pack_into("<II", data, 120, 0, zlib.crc32(header[128:], zlib.crc32(header[:120])))
        return bytes(data).ljust(CHUNK_SIZE, b"\0")


class EvtxWriter:
    """A log that is being written; `target` must be seekable, for the header comes last."""

    def __init__(self, target: BinaryIO, *, first_number: int = 1) -> None:
        self._target = target
        self._next = first_number
        self._chunks = 0
        self._chunk = _Chunk(first_number)
        self._packing: dict[Template, _Packing] = {}
        target.write(bytes(HEADER_SIZE))

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the log, unless something went wrong."""
        if error is None:
            self.close()

    def write(self, template: Template, filetime: int, system: System, values: tuple[Any, ...]) -> int:
        """Append one event and return its number. Raises ValueError if a chunk cannot hold it."""
        packing = self._packing.get(template)
        if packing is None:
            packing = self._packing[template] = _Packing(template)
        number = self._next
        packed = packing.pack(number, filetime, system, values)
        if not self._chunk.add(template, number, filetime, packed):
            if self._chunk.count:
                self._flush()
            if not self._chunk.add(template, number, filetime, packed):
                raise ValueError(f"An event of {len(packed)} bytes does not fit into a chunk.")
        self._next = number + 1
        return number

    def close(self) -> None:
        """Write the last chunk and the file header; a log without events has one empty chunk."""
        if self._chunk.count or not self._chunks:
            self._flush()
        self._target.seek(0)
        self._target.write(_file_header(self._chunks, self._next))
        self._target.seek(0, 2)

    def _flush(self) -> None:
        self._target.write(self._chunk.seal())
        self._chunks += 1
        self._chunk = _Chunk(self._next)


def _file_header(chunks: int, next_number: int) -> bytes:
    # The field for the number of chunks has 16 bits; what is more does not fit.
    fields = struct.pack(
        "<8sQQQIHHHH", b"ElfFile\0", 0, max(chunks - 1, 0), next_number, 128, 1, 3, HEADER_SIZE,
        min(chunks, 0xFFFF),
    ).ljust(120, b"\0")  # fmt: skip
    return (fields + struct.pack("<II", 0, zlib.crc32(fields))).ljust(HEADER_SIZE, b"\0")
