"""Bytes as people read them: in hexadecimal, and the texts that are in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_ROW: Final = 16
#: Four printable characters in a row, each a byte, or two as Windows writes them (UTF-16LE).
_RUNS: Final = re.compile(rb"(?:[\x20-\x7e]\x00|[\xa0-\xff]\x00){4,}|[\x20-\x7e\t]{4,}")


def hex_lines(data: bytes) -> Iterator[str]:
    """Yield a line for every 16 bytes: `00000010  70 72 …  pr…`."""
    for offset in range(0, len(data), _ROW):
        row = data[offset : offset + _ROW]
        shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        pairs = row[:8].hex(" ").ljust(23) + "  " + row[8:].hex(" ")
        yield f"{offset:08x}  {pairs:<48}  {shown}"


def as_text(data: bytes) -> str | None:
    """Return bytes that are a text in UTF-8 as such, bytes that are none as None.

    A character that is cut at the end does not make a text binary.
    """
    if b"\x00" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        is_cut = error.reason == "unexpected end of data"
        return data[: error.start].decode() if is_cut else None


def texts_in(data: bytes) -> Iterator[str]:
    """Yield the runs of readable characters in binary data, with their offsets."""
    for run in _RUNS.finditer(data):
        found = run[0]
        shown = found.decode("utf-16-le") if found[1:2] == b"\x00" else found.decode("ascii")
        yield f"{run.start():08x}  {shown}"
