"""Where a text can be cut so that its parts are read by themselves, with every line's number kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Protocol

from cases.parsers.base import Piece, Source
from cases.parsers.following import INDENT
from cases.parsers.lines import Line, is_utf16, read_lines
from cases.records import Damage

_BLOCK: Final = 1024 * 1024


def cut_at_lines(source: Source, size: int) -> list[Piece]:
    """Return pieces of at least so many bytes, each but the last ended by a line feed.

    For formats in which no line depends on another. Raises ParseError.
    """
    pieces: list[Piece] = []
    start = place = feeds = 0
    first = 1
    with source.open() as stream:
        while block := stream.read(_BLOCK):
            counted = 0
            while (begin := max(start + size - 1 - place, counted)) < len(block):
                feed = block.find(b"\n", begin)
                if feed < 0:
                    break
                feeds += block.count(b"\n", counted, feed + 1)
                counted = feed + 1
                pieces.append(Piece(start, place + counted, first, entry=source.entry(start)))
                start, first = place + counted, feeds + 1
            feeds += block.count(b"\n", counted)
            place += len(block)
    return ended(source, pieces, start, place, first, {})


def ended(
    source: Source, pieces: list[Piece], start: int, end: int, first: int, state: dict[str, Any]
) -> list[Piece]:
    """Return pieces with the last one, which ends with the content."""
    if start < end or not pieces:
        return [*pieces, Piece(start, end, first, True, source.entry(start), state)]
    last = pieces[-1]
    return [*pieces[:-1], Piece(last.start, last.end, last.first, True, last.entry, last.state)]


class Follower(Protocol):
    """What goes from line to line in a format, followed without reading the lines."""

    def state(self) -> dict[str, Any] | None:
        """Return it as JSON, None if it is too much to be carried."""

    def follow(self, line: Line) -> None:
        """Take a line."""

    def begins(self, line: Line) -> bool:
        """Take a line; say whether it is a record, or several, whatever stands before it."""


def cut_where(source: Source, size: int, follower: Follower) -> list[Piece]:
    """Return pieces of at least so many bytes that begin with lines which go on with none before.

    Raises ParseError.
    """
    if is_utf16(source.head):
        return []
    pieces: list[Piece] = []
    start, first = 0, 1
    state = follower.state()
    follow, is_torn, wanted, end = follower.follow, False, size, 0
    with source.open() as stream:
        for line in read_lines(stream):
            if isinstance(line, Damage):
                is_torn = True  # the next line may be the rest of this one
                end = _end(line)
                continue
            if line.offset < wanted or is_torn or line.raw[:1] in INDENT:
                follow(line)
            else:
                before = follower.state()
                if before is None or state is None:
                    return []
                if follower.begins(line):
                    pieces.append(Piece(start, line.offset, first, entry=source.entry(start), state=state))
                    start, first, state = line.offset, line.number, before
                    wanted = start + size
            is_torn = False
            end = line.offset + line.length
    if state is None:
        return []
    return ended(source, pieces, start, max(end, start + 1), first, state)


def _end(damage: Damage) -> int:
    return sum(damage.span) if damage.span else 0


def joined(pieces: list[Piece], count: int) -> list[Piece]:
    """Return the same content in so many pieces, or fewer."""
    return list(_joined(pieces, -(-len(pieces) // max(count, 1)))) if pieces else []


def _joined(pieces: list[Piece], at_once: int) -> Iterator[Piece]:
    for place in range(0, len(pieces), at_once):
        first, last = pieces[place], pieces[min(place + at_once, len(pieces)) - 1]
        yield Piece(first.start, last.end, first.first, last.is_last, first.entry, first.state)
