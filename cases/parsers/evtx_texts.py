"""What the `evtx` library says about the records of one chunk: the JSON of each, or why not.

It is given one chunk at a time, behind a file header of our own.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from evtx import PyEvtxParser

from cases.parsers.evtx_chunks import CHUNK_MAGIC, FILE_MAGIC, FIRST_RECORD, RECORD_MAGIC, Chain

_REASON_LIMIT: Final = 200


def _single_chunk_header() -> bytes:
    """Return the file header of a log of one chunk."""
    fields = struct.pack("<8sQQQIHHHH", FILE_MAGIC, 0, 0, 1, 128, 1, 3, 4096, 1).ljust(120, b"\0")
    return (fields + struct.pack("<II", 0, zlib.crc32(fields))).ljust(4096, b"\0")


_HEADER: Final = _single_chunk_header()


def read_texts(content: bytes, chain: Chain) -> tuple[Iterable[str | None], Iterator[str]]:
    """Return the JSON of each entry, None for those that cannot be read, and the reasons in order."""
    count = len(chain.entries)
    if not count:
        return [], iter(())
    # The chain was walked: the header's own idea of the last record must not end the reading.
    image = bytearray(_HEADER + content)
    struct.pack_into("<8s", image, 4096, CHUNK_MAGIC)
    struct.pack_into("<Q", image, 4096 + 32, 2**64 - 1)
    struct.pack_into("<I", image, 4096 + 48, chain.end)
    if chain.whole:
        found, _ = _convert(image)
        if len(found) == count:
            return [text for _, text in found], iter(())
    return _read_one_by_one(image, chain)


def _read_one_by_one(image: bytearray, chain: Chain) -> tuple[Iterable[str | None], Iterator[str]]:
    """Read a chunk in which not everything can be read: records are told apart by their places.

    What is damaged in their headers must not end the reading, so they are written anew.
    """
    for number, entry in enumerate(chain.entries):
        struct.pack_into("<4sIQQ", image, 4096 + entry.offset, RECORD_MAGIC, entry.size, number, 0)
    found, reasons = _convert(image)
    if not found:  # the tables of strings and templates can be what is damaged; they only speed reading up
        image[4096 + 128 : 4096 + FIRST_RECORD] = bytes(FIRST_RECORD - 128)
        found, reasons = _convert(image)
    texts = dict(found)
    return [texts.get(number) for number in range(len(chain.entries))], iter(reasons)


def _convert(image: bytes | bytearray) -> tuple[list[tuple[int, str]], list[str]]:
    """Return number and JSON of the records that can be read, and why others cannot."""
    found = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            for record in PyEvtxParser(io.BytesIO(image), skip_errors=True).records_json():
                if record:  # one by one: those before an error stay
                    found.append((record["event_record_id"], record["data"]))  # noqa: PERF401
        except (RuntimeError, ValueError, OSError) as error:
            return found, [clean(str(error))]
    said = [warning.message for warning in caught if warning.category is RuntimeWarning]
    return found, [clean(str(message)) for message in said]


def clean(reason: str) -> str:
    """Return a library's reason without what would move a terminal, and cut."""
    text = reason.removeprefix("Skipping EVTX data: RuntimeError: ")
    text = "".join(char if char.isprintable() else "?" for char in text)
    return text if len(text) <= _REASON_LIMIT else f"{text[:_REASON_LIMIT]}…"
