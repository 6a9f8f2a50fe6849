"""Bytes as people read them: offset, hexadecimal, and what is printable ASCII."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_ROW: Final = 16


def hex_lines(data: bytes) -> Iterator[str]:
    """Yield a line for every 16 bytes: `00000010  70 72 …  pr…`."""
    for offset in range(0, len(data), _ROW):
        row = data[offset : offset + _ROW]
        shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        pairs = row[:8].hex(" ").ljust(23) + "  " + row[8:].hex(" ")
        yield f"{offset:08x}  {pairs:<48}  {shown}"
