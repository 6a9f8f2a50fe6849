"""Unpacking as it is read: gzip, bzip2, xz and Zstandard, member after member, within bounds."""

from __future__ import annotations

import bz2
import io
import lzma
import os
import zlib
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Final, Protocol

import zstandard

from cases.records import ParseError

_BLOCK: Final = 256 * 1024
#: Hostile headers ask for gigabytes; what packers really use is far below.
_UNPACKING_MEMORY: Final = 256 * 1024**2
#: A content that grows beyond both is no log but a bomb: zeros packed by gzip reach 1,030 to 1,
#: real logs 5 to 60; the best packers reach thousands on very repetitive ones.
RATIO_LIMIT: Final = 2_000
RATIO_FREE: Final = 1024**3
#: A place where unpacking can begin is noted once in so many bytes of the content.
_ENTRIES: Final = 1024 * 1024


class _Unpacker(Protocol):
    """What the decompressors of the standard library have in common."""

    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


class _Zlib:
    """zlib's decompressor in the shape of the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)  # gzip header and checksum
        self._tail = b""

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._tail

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        unpacked = self._inner.decompress(self._tail + data, max(max_length, 0))
        self._tail = self._inner.unconsumed_tail
        return unpacked


_UNPACKERS: Final[dict[str, Callable[[], Any]]] = {
    "gzip": _Zlib,
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(memlimit=_UNPACKING_MEMORY),
}
_FAULTS: Final = (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, zstandard.ZstdError)


class Counted(io.RawIOBase):
    """The stored bytes, counted; fewer than there were at the start is an error."""

    def __init__(self, file: io.RawIOBase, size: int) -> None:
        self._file = file
        self._size = size
        self.total = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.total = self._file.seek(offset, whence)
        return self.total

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        try:
            count = self._file.readinto(buffer) or 0
        except OSError as error:
            raise ParseError(f"The stored file cannot be read on: {error.strerror}.") from error
        if not count and self.total < self._size:
            raise ParseError(
                f"The file ended after {self.total} of {self._size} bytes: it shrank while read."
            )
        self.total += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class Inflating(io.RawIOBase):
    """Unpacked content: a raw stream that watches how it grows."""

    def __init__(self, packed: io.RawIOBase, name: str, stored: Counted) -> None:
        self._packed = packed
        self._name = name
        self._stored = stored
        self._given = 0
        #: Where in the content the next byte is.
        self.place = 0
        #: Where in the stored file and in the content members begin; a few of them.
        self.entries: list[tuple[int, int]] = []

    def readable(self) -> bool:
        return True

    def _note_entry(self, waiting: int) -> None:
        """Note that a member begins, of which so many bytes wait."""
        if not self.entries or self.place - self.entries[-1][1] >= _ENTRIES:
            self.entries.append((self._stored.total - waiting, self.place))

    def _take(self) -> bytes:
        return self._packed.read(_BLOCK) or b""

    @abstractmethod
    def _unpack(self, size: int) -> bytes:
        """Return up to `size` bytes of content, none at the end."""

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._unpack(len(buffer))
        except _FAULTS as error:
            reason = str(error) or type(error).__name__
            raise ParseError(
                f"The {self._name} stream is damaged after {self._given} bytes: {reason}."
            ) from error
        buffer[: len(data)] = data
        self._given += len(data)
        self.place += len(data)
        if self._given > RATIO_FREE and self._given > RATIO_LIMIT * self._stored.total:
            raise ParseError(
                f"The {self._name} stream grows more than {RATIO_LIMIT} times its size "
                f"({self._given} bytes so far): unpack it outside if this is no bomb, and take in the result."
            )
        return len(data)

    def close(self) -> None:
        self._packed.close()
        super().close()


class Unpacked(Inflating):
    """gzip, bzip2 or xz, member after member."""

    def __init__(self, packed: io.RawIOBase, name: str, stored: Counted) -> None:
        super().__init__(packed, name, stored)
        self._make = _UNPACKERS[name]
        self._unpacker: Any = None
        self._waiting = b""

    def _unpack(self, size: int) -> bytes:
        while True:
            if self._unpacker is None and not self._begin_member():
                return b""
            is_fed = self._waiting or not self._unpacker.needs_input
            data = self._waiting if is_fed else self._take()
            self._waiting = b""
            unpacked: bytes = self._unpacker.decompress(data, size)
            # At the end zlib is asked once more: it holds back what did not fit the last time.
            if not (is_fed or data or unpacked or self._unpacker.eof):
                raise EOFError("it ends in the middle")
            if self._unpacker.eof:
                self._waiting = self._unpacker.unused_data
                self._unpacker = None
            if unpacked:
                return unpacked

    def _begin_member(self) -> bool:
        """Start on the next member; False at the end. Padding with zeros ends a file (tapes, xz)."""
        self._waiting = self._waiting.lstrip(b"\0")
        while not self._waiting:
            block = self._take()
            if not block:
                return False
            self._waiting = block.lstrip(b"\0") if self._given else block
        self._unpacker = self._make()
        self._note_entry(len(self._waiting))
        return True


class Zstd(Inflating):
    """Zstandard, frame after frame."""

    def __init__(self, packed: io.RawIOBase, stored: Counted) -> None:
        super().__init__(packed, "zstd", stored)
        self._unpacker = zstandard.ZstdDecompressor(max_window_size=_UNPACKING_MEMORY)
        self._frame: Any = None
        self._waiting = b""
        self._ready = b""

    def _unpack(self, size: int) -> bytes:
        while not self._ready:
            data = self._waiting or self._take()
            self._waiting = b""
            if not data:
                if self._frame is not None:
                    raise EOFError("it ends in the middle")
                return b""
            if self._frame is None:
                self._note_entry(len(data))
                self._frame = self._unpacker.decompressobj(write_size=_BLOCK)
            # In small steps: what one step unpacks is held in memory.
            self._ready, self._waiting = self._frame.decompress(data[:4096]), data[4096:]
            if self._frame.eof:
                self._waiting = self._frame.unused_data + self._waiting
                self._frame = None
        ready, self._ready = self._ready[:size], self._ready[size:]
        return ready
