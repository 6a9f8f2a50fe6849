"""Damages event logs in the ways that disks, crashes and people do: for tests of what reads them.

python -m cases.demo.evtx_damage zero-chunk WHOLE.evtx DAMAGED.evtx --chunk 2
"""

from __future__ import annotations

import argparse
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cases.demo.evtx_writer import CHUNK_SIZE, FIRST_RECORD, HEADER_SIZE

_JUNK: Final = bytes(range(0x80, 0xC0))


def _start(chunk: int) -> int:
    return HEADER_SIZE + chunk * CHUNK_SIZE


def _spoil(data: bytes, offset: int, junk: bytes) -> bytes:
    if offset + len(junk) > len(data):
        raise ValueError(f"The log ends before {offset}.")
    return data[:offset] + junk + data[offset + len(junk) :]


def record_place(data: bytes, chunk: int, record: int) -> tuple[int, int]:
    """Return offset and size of a record of a whole log. Raises ValueError if there is none."""
    offset = _start(chunk) + FIRST_RECORD
    for _ in range(record):
        offset += int.from_bytes(data[offset + 4 : offset + 8], "little")
    if data[offset : offset + 4] != b"**\0\0":
        raise ValueError(f"Chunk {chunk} has no record {record}.")
    return offset, int.from_bytes(data[offset + 4 : offset + 8], "little")


def break_checksum(data: bytes, chunk: int, record: int) -> bytes:
    """Return the log with a wrong checksum of a chunk's records, which are untouched."""
    place = _start(chunk) + 52
    (checksum,) = struct.unpack_from("<I", data, place)
    return _spoil(data, place, struct.pack("<I", checksum ^ 1))


def break_magic(data: bytes, chunk: int, record: int) -> bytes:
    """Return the log with a chunk that has no signature."""
    return _spoil(data, _start(chunk), b"\xff" * 8)


def zero_chunk(data: bytes, chunk: int, record: int) -> bytes:
    """Return the log with a chunk of zeros, as a lost cluster leaves it."""
    return _spoil(data, _start(chunk), bytes(CHUNK_SIZE))


def overwrite_record(data: bytes, chunk: int, record: int) -> bytes:
    """Return the log with the first half of a record overwritten, its header with it."""
    offset, size = record_place(data, chunk, record)
    return _spoil(data, offset, (_JUNK * (size // len(_JUNK) + 1))[: size // 2])


def overwrite_content(data: bytes, chunk: int, record: int) -> bytes:
    """Return the log with the binary XML of a record overwritten; its header still stands."""
    offset, size = record_place(data, chunk, record)
    return _spoil(data, offset + 24, (_JUNK * (size // len(_JUNK) + 1))[: size - 28])


def cut(data: bytes, chunk: int, record: int) -> bytes:
    """Return the log up to the middle of a record."""
    offset, size = record_place(data, chunk, record)
    return data[: offset + size // 2]


KINDS: Final[dict[str, Callable[[bytes, int, int], bytes]]] = {
    "bad-checksum": break_checksum,
    "bad-magic": break_magic,
    "zero-chunk": zero_chunk,
    "overwritten-record": overwrite_record,
    "overwritten-content": overwrite_content,
    "cut": cut,
}


def main() -> None:
    """Damage one log as the command line says."""
    parser = argparse.ArgumentParser(description="Write a damaged copy of a Windows event log.")
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("whole", type=Path)
    parser.add_argument("damaged", type=Path)
    parser.add_argument("--chunk", type=int, default=0, help="counted from 0")
    parser.add_argument("--record", type=int, default=0, help="within the chunk, counted from 0")
    said = parser.parse_args()
    said.damaged.write_bytes(KINDS[said.kind](said.whole.read_bytes(), said.chunk, said.record))


if __name__ == "__main__":
    main()
