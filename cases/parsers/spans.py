"""The bytes of one record, read again from the evidence."""

from __future__ import annotations

from typing import Final

from cases.parsers.base import Source
from cases.records import ParseError

_BLOCK: Final = 1024 * 1024


def read_span(source: Source, span: tuple[int, int]) -> bytes:
    """Return the bytes at an offset and length of the content. Raises ParseError if they are not there.

    Costs as much as unpacking the content up to there, and next to nothing where there is none.
    """
    offset, length = span
    with source.open() as stream:
        left = offset if source.compression else offset - stream.seek(offset)
        while left and (block := stream.read(min(left, _BLOCK))):
            left -= len(block)
        found = b"" if left else stream.read(length)
    if len(found) != length:
        raise ParseError(f"The content has no {length} bytes at {offset}.")
    return found
