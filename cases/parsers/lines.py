"""Lines of a text, each with its place in bytes, whatever the bytes are.

A line ends with LF or CR LF. A CR alone ends none: no log has ended its lines so for decades, but
whoever writes one into a log hides from a terminal what stands before it. Memory stays flat: of
a line longer than LINE_LIMIT the first part is kept and the rest passed over, and the line says so.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, NamedTuple

from cases.parsers.base import Piece
from cases.records import RAW_LIMIT, Damage

#: The longest line that is read as one, in bytes.
LINE_LIMIT: Final = 4 * 1024 * 1024
_BLOCK: Final = 256 * 1024
_UTF8_BOM: Final = codecs.BOM_UTF8
#: Stands for a character of which the end is missing.
_UNKNOWN: Final = "\ufffd".encode()
UTF16_MARKS: Final = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


class Line(NamedTuple):
    """One line as found: `raw` without its end, `offset` and `length` in bytes of the content.

    `length` counts the whole line without its end, also where `raw` was cut (`is_cut`).
    """

    number: int
    offset: int
    length: int
    raw: bytes
    is_cut: bool = False

    @property
    def position(self) -> str:
        """The line's name for people."""
        return f"line {self.number}"

    @property
    def span(self) -> tuple[int, int]:
        """Where the line is."""
        return self.offset, self.length

    def text(self) -> str:
        """Return the line as text; bytes that are no UTF-8 are kept as \\xNN."""
        return decode(self.raw)

    def damage(self, reason: str) -> Damage:
        """Return the record that this line should have been and is not."""
        return Damage(self.position, reason, self.raw[:RAW_LIMIT], self.span)


def decode(raw: bytes) -> str:
    """Return UTF-8 as text; bytes that are none are kept as \\xNN."""
    return raw.decode("utf-8", "backslashreplace")


def as_utf8(head: bytes) -> bytes:
    """Return the beginning of a text in UTF-8, without its byte order mark."""
    for mark, name in UTF16_MARKS:
        if head.startswith(mark):
            return head[2:].decode(name, "replace").encode()
    return head.removeprefix(_UTF8_BOM)


def read_lines(
    stream: BinaryIO, *, keep_blank: bool = False, piece: Piece | None = None
) -> Iterator[Line | Damage]:
    """Yield every line that is not blank (or every line), or the damage in its place.

    Of a piece, at whose start the stream stands, the lines that begin in it.

    A byte order mark is passed over; UTF-16 is recognised by its mark and turned into UTF-8,
    with places still counted in bytes of the content. Lines too long, and runs of NUL bytes
    that a crash left in a log, are Damage; what follows a run on the same line is a line.
    """
    end = piece.end if piece else None
    for line in _raw_lines(stream, piece):
        if end is not None and line.offset >= end:
            return
        raw = line.raw
        if line.is_cut:
            yield line.damage(f"A line of {line.length} bytes; up to {LINE_LIMIT} are read.")
        elif raw[:1] == b"\0":
            rest = raw.lstrip(b"\0")
            run = len(raw) - len(rest)
            run *= 1 if line.length == len(raw) else 2  # in UTF-16 each has two
            yield Damage(line.position + " (NUL bytes)", f"{run} NUL bytes", b"", (line.offset, run))
            if rest.strip():
                yield Line(line.number, line.offset + run, line.length - run, rest)
        elif keep_blank or (raw and not raw.isspace()):
            yield line


def is_utf16(head: bytes) -> bool:
    """Whether a text says that it is UTF-16, which has to be read from its beginning."""
    return head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def _raw_lines(stream: BinaryIO, piece: Piece | None) -> Iterator[Line]:
    read = getattr(stream, "read1", stream.read)  # one step at a time: an error takes nothing along
    if piece is not None and piece.start:
        yield from _lines_from(read, b"", piece.first, piece.start)
        return
    first = b""
    while len(first) < len(_UTF8_BOM) and (block := read(_BLOCK)):  # unpackers may give single bytes
        first += block
    if is_utf16(first):
        yield from _utf16_lines(read, first)
        return
    offset = len(_UTF8_BOM) if first.startswith(_UTF8_BOM) else 0
    yield from _lines_from(read, first[offset:], 1, offset)


def _lines_from(read: Callable[[int], bytes], first: bytes, number: int, offset: int) -> Iterator[Line]:
    block = first or read(_BLOCK)
    pieces, held = [block], len(block)
    while block:
        if b"\n" in block:
            lines = b"".join(pieces).split(b"\n")
            rest = lines.pop()
            skipped = held - sum(map(len, pieces))
            for raw in lines:
                yield _line(number, offset, raw, skipped)
                offset += len(raw) + skipped + 1
                number, skipped = number + 1, 0
            pieces, held = [rest], len(rest)
        block = read(_BLOCK)
        held += len(block)
        if held - len(block) <= LINE_LIMIT or b"\n" in block:
            pieces.append(block)
    if held:
        yield _line(number, offset, b"".join(pieces), held - sum(map(len, pieces)))


def _line(number: int, offset: int, raw: bytes, skipped: int) -> Line:
    length = len(raw) + skipped
    if length > LINE_LIMIT:
        return Line(number, offset, length, raw[:RAW_LIMIT], is_cut=True)
    if raw.endswith(b"\r"):
        raw = raw[:-1]
    return Line(number, offset, len(raw), raw)


def _utf16_lines(read: Callable[[int], bytes], first: bytes) -> Iterator[Line]:
    """Yield the lines of UTF-16. Places are counted in bytes: a character has two, or four."""
    name = "utf-16-le" if first.startswith(codecs.BOM_UTF16_LE) else "utf-16-be"
    decoder = codecs.getincrementaldecoder(name)("surrogatepass")
    number, offset, rest, skipped = 1, 2, "", 0
    block = first[2:] or read(_BLOCK)
    while block:
        *lines, rest = (rest + decoder.decode(block)).split("\n")
        for text in lines:
            yield _utf16_line(number, offset, text, skipped)
            offset += _size(text) + skipped + 2
            number, skipped = number + 1, 0
        if _size(rest) + skipped > LINE_LIMIT:  # of a line too long the first part is enough
            skipped += _size(rest[RAW_LIMIT:])
            rest = rest[:RAW_LIMIT]
        block = read(_BLOCK)
    half, _ = decoder.getstate()  # a character that was cut
    if rest or half:
        yield _utf16_line(number, offset, rest, skipped, half)


def _size(text: str) -> int:
    return 2 * len(text) + 2 * sum(char > "\uffff" for char in text)


def _utf16_line(number: int, offset: int, text: str, skipped: int, half: bytes = b"") -> Line:
    shown = text.removesuffix("\r") if not half else text
    raw = shown.encode("utf-8", "surrogatepass") + (_UNKNOWN if half else b"")
    length = _size(shown) + skipped + len(half)
    if length > LINE_LIMIT:
        return Line(number, offset, length, raw[:RAW_LIMIT], is_cut=True)
    return Line(number, offset, length, raw)
