"""A stream over content that is elsewhere: it asks for the ranges that are read, and no more."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any, Final

#: The first question after a jump, and the largest one, in bytes. Reading on doubles it.
_LEAST: Final = 64 * 1024
_MOST: Final = 8 * 1024 * 1024


class Ranges(io.RawIOBase):
    """Bytes asked for by `fetch(start, end)`, which gives exactly that many or raises."""

    def __init__(self, fetch: Callable[[int, int], bytes], size: int) -> None:
        self._fetch = fetch
        self._size = size
        self._position = 0
        self._start = 0
        self._window = b""

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Return where the next byte is read."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go elsewhere; asks for nothing."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("There is nothing before the beginning.")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as the bytes at hand go; 0 at the end."""
        offset = self._position - self._start
        if not 0 <= offset < len(self._window):
            if self._position >= self._size:
                return 0
            self._ask(len(buffer))
            offset = 0
        piece = memoryview(self._window)[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _ask(self, wanted: int) -> None:
        reads_on = bool(self._window) and self._position == self._start + len(self._window)
        length = max(2 * len(self._window) if reads_on else _LEAST, min(wanted, _MOST))
        end = min(self._position + min(length, _MOST), self._size)
        self._window = self._fetch(self._position, end)
        self._start = self._position
