"""Evidence as parsers see it: opened for reading only, unpacked as it is read, within bounds.

Compression is recognised by its magic bytes: gzip (RFC 1952), bzip2, xz (.xz format 1.2.1) and
Zstandard (RFC 8878); several members in a row are one content, and one inside another is
unpacked twice.
"""

from __future__ import annotations

import io
import os
import stat
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

from cases.parsers.base import HEAD_SIZE, Context, Piece, Source
from cases.parsers.unpacking import Counted, Inflating, Unpacked, Zstd
from cases.records import ParseError

T = TypeVar("T")

_BLOCK: Final = 256 * 1024
_LAYERS: Final = 2

_MAGIC: Final = (
    ("gzip", b"\x1f\x8b\x08"),
    ("bzip2", b"BZh"),
    ("xz", b"\xfd7zXZ\x00"),
    ("zstd", b"\x28\xb5\x2f\xfd"),
)


def compression_of(head: bytes) -> str | None:
    """Return "gzip", "bzip2", "xz" or "zstd" if the content begins like one, else None."""
    return next((name for name, magic in _MAGIC if head.startswith(magic)), None)


class FileSource(Source):
    """A stored evidence file. Raises ParseError for what is no readable regular file."""

    def __init__(self, path: Path, name: str, context: Context | None = None) -> None:
        self.path = path
        self.name = name
        self.context = context or Context()
        self._newest: Counted | None = None
        self._outermost: Inflating | None = None
        self._piece: Piece | None = None
        self._remembered: dict[str, Any] = {}
        self._layers: list[str] = []
        with self._stored() as file:
            head = file.read(16) or b""
            self._size = file.seek(0, os.SEEK_END)
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
        return self._open((0, 0))

    def open_at(self, piece: Piece) -> BinaryIO:
        """Return a new stream that begins where the piece does."""
        stream = self._open(piece.entry if self._layers else (piece.start, piece.start))
        self._piece = piece
        left = piece.start - (piece.entry[1] if self._layers else piece.start)
        while left > 0:
            passed = len(stream.read(min(left, _BLOCK)))
            if not passed:
                stream.close()
                raise ParseError(f"The content ends before byte {piece.start}.")
            left -= passed
        return stream

    def _open(self, entry: tuple[int, int]) -> BinaryIO:
        """Return a stream from a place in the stored file on, which is another in the content."""
        stored = Counted(self._stored(), self._size)
        self._newest, self._outermost, self._piece = stored, None, None
        if entry[0]:
            stored.seek(entry[0])
        stream: io.RawIOBase = stored
        for layer in self._layers:
            made = Zstd(stream, stored) if layer == "zstd" else Unpacked(stream, layer, stored)
            made.place = entry[1]
            stream = self._outermost = made
        return io.BufferedReader(stream, _BLOCK)

    def entry(self, offset: int) -> tuple[int, int]:
        """Return the last place before an offset where unpacking can begin; at the start if in doubt."""
        if self._outermost is None or len(self._layers) > 1:
            return (0, 0)
        entries = self._outermost.entries
        place = bisect_right(entries, offset, key=lambda entry: entry[1])
        return entries[place - 1] if place else (0, 0)

    def progress(self) -> float:
        """Return the part of the stored bytes, or of the piece, that was read, 0 to 1."""
        if self._newest is None or not self._size:
            return 0.0
        if self._piece is None:
            return min(self._newest.total / self._size, 1.0)
        read = (self._outermost.place if self._outermost else self._newest.total) - self._piece.start
        return min(max(read, 0) / max(self._piece.end - self._piece.start, 1), 1.0)

    def remember(self, name: str, make: Callable[[], T]) -> T:
        """Return what was made under a name, made now if it is asked for the first time."""
        if name not in self._remembered:
            self._remembered[name] = make()
        found: T = self._remembered[name]
        return found

    def _stored(self) -> io.RawIOBase:
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


class RemoteSource(FileSource):
    """Stored evidence that is not on this machine: `opener` gives a stream that can seek."""

    def __init__(self, opener: Callable[[], io.RawIOBase], name: str, context: Context | None = None) -> None:
        self._opener = opener
        super().__init__(Path(name), name, context)

    def _stored(self) -> io.RawIOBase:
        return self._opener()
