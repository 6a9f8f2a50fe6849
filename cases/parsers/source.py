"""Evidence as parsers see it: opened for reading only, unpacked as it is read, within bounds.

Compression is recognised by its magic bytes: gzip (RFC 1952), bzip2, xz (.xz format 1.2.1) and
Zstandard (RFC 8878); several members in a row are one content, and one inside another is
unpacked twice.
"""

from __future__ import annotations

import bz2
import io
import lzma
import os
import stat
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import zstandard

from cases.parsers.base import HEAD_SIZE, Context, Source
from cases.records import ParseError

_BLOCK: Final = 256 * 1024
#: Hostile headers ask for gigabytes; what packers really use is far below.
_UNPACKING_MEMORY: Final = 256 * 1024**2
#: A content that grows beyond both is no log but a bomb: zeros packed by gzip reach 1,030 to 1,
#: real logs 5 to 60; the best packers reach thousands on very repetitive ones.
RATIO_LIMIT: Final = 2_000
RATIO_FREE: Final = 1024**3
_LAYERS: Final = 2

_MAGIC: Final = (
    ("gzip", b"\x1f\x8b\x08"),
    ("bzip2", b"BZh"),
    ("xz", b"\xfd7zXZ\x00"),
    ("zstd", b"\x28\xb5\x2f\xfd"),
)


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


def compression_of(head: bytes) -> str | None:
    """Return "gzip", "bzip2", "xz" or "zstd" if the content begins like one, else None."""
    return next((name for name, magic in _MAGIC if head.startswith(magic)), None)


class FileSource(Source):
    """A stored evidence file. Raises ParseError for what is no readable regular file."""

    def __init__(self, path: Path, name: str, context: Context | None = None) -> None:
        self.path = path
        self.name = name
        self.context = context or Context()
        self._newest: _Counted | None = None
        self._layers: list[str] = []
        with self._stored() as file:
            head = file.read(16)
            self._size = os.fstat(file.fileno()).st_size
        while (found := compression_of(head)) and len(self._layers) < _LAYERS:
            self._layers.append(found)
            head = self._first(16)
        self.compression = "+".join(self._layers) or None
        self._head = self._first(HEAD_SIZE) if self._layers else self._plain_head()

    @property
    def head(self) -> bytes:
        """The first bytes of the content."""
        return self._head

    @property
    def size(self) -> int:
        """The stored size in bytes, before unpacking."""
        return self._size

    def open(self) -> BinaryIO:
        """Return a new stream over the content."""
        stored = _Counted(self._stored())
        self._newest = stored
        stream: io.RawIOBase = stored
        for layer in self._layers:
            stream = _Zstd(stream, stored) if layer == "zstd" else _Unpacked(stream, layer, stored)
        return io.BufferedReader(stream, _BLOCK)

    def progress(self) -> float:
        """Return the part of the stored bytes that was read, 0 to 1."""
        if self._newest is None or not self._size:
            return 0.0
        return min(self._newest.total / self._size, 1.0)

    def _stored(self) -> io.FileIO:
        try:
            # Non-blocking, or a FIFO put in our way would hold us for ever.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise ParseError(f"The file cannot be opened: {error.strerror}.") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ParseError("This is no regular file but a directory, a device, a pipe or a socket.")
        return io.FileIO(descriptor, "rb")

    def _plain_head(self) -> bytes:
        with io.BufferedReader(self._stored()) as file:
            return file.read(HEAD_SIZE)

    def _first(self, size: int) -> bytes:
        """Return up to `size` bytes of the content, as many as can be unpacked."""
        found = b""
        with self.open() as stream:
            try:
                while len(found) < size and (block := stream.read1(size - len(found))):  # type: ignore[attr-defined]
                    found += block
            except ParseError:
                pass  # reading the whole says so; a head is what there is
        self._newest = None
        return found


class _Counted(io.RawIOBase):
    """The stored bytes, counted; fewer than there were at the start is an error."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
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


class _Inflating(io.RawIOBase):
    """Unpacked content: a raw stream that watches how it grows."""

    def __init__(self, packed: io.RawIOBase, name: str, stored: _Counted) -> None:
        self._packed = packed
        self._name = name
        self._stored = stored
        self._given = 0

    def readable(self) -> bool:
        return True

    def _take(self) -> bytes:
        return self._packed.read(_BLOCK) or b""

    def _unpack(self, size: int) -> bytes:
        raise NotImplementedError

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
        if self._given > RATIO_FREE and self._given > RATIO_LIMIT * self._stored.total:
            raise ParseError(
                f"The {self._name} stream grows more than {RATIO_LIMIT} times its size "
                f"({self._given} bytes so far): unpack it outside if this is no bomb, and take in the result."
            )
        return len(data)

    def close(self) -> None:
        self._packed.close()
        super().close()


class _Unpacked(_Inflating):
    """gzip, bzip2 or xz, member after member."""

    def __init__(self, packed: io.RawIOBase, name: str, stored: _Counted) -> None:
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
        return True


class _Zstd(_Inflating):
    """Zstandard, frame after frame."""

    def __init__(self, packed: io.RawIOBase, stored: _Counted) -> None:
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
                self._frame = self._unpacker.decompressobj(write_size=_BLOCK)
            # In small steps: what one step unpacks is held in memory.
            self._ready, self._waiting = self._frame.decompress(data[:4096]), data[4096:]
            if self._frame.eof:
                self._waiting = self._frame.unused_data + self._waiting
                self._frame = None
        ready, self._ready = self._ready[:size], self._ready[size:]
        return ready
