"""Logs of web servers, proxies and load balancers.

The form is told line by line, so several in one file are all read.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from typing import Any, ClassVar, Final

from cases.parsers.base import HEAD_SIZE, Damage, ParseError, Parser, Piece, Record, Source
from cases.parsers.clock import check_options
from cases.parsers.cutting import cut_where
from cases.parsers.following import find_span, followed
from cases.parsers.lines import Line, decode, read_lines
from cases.parsers.spans import read_span
from cases.parsers.times import zone_named
from cases.parsers.weblog_access import read_access
from cases.parsers.weblog_other import read_other
from cases.parsers.weblog_w3c import W3C, is_w3c

#: So many lines of the head decide whether this is a web log.
_LOOKED_AT: Final = 100


class Weblog(Parser):
    """Access and error logs of web servers, IIS and other W3C logs, load balancers of AWS."""

    name: ClassVar[str] = "weblog"
    version: ClassVar[str] = "1"
    description: ClassVar[str] = "Web logs: Apache, nginx, IIS and other W3C, AWS load balancers"
    kinds: ClassVar[tuple[str, ...]] = ("access.log", "error.log", "W3C extended log", "load balancer log")

    def accepts(self, source: Source) -> bool:
        """Say whether the head names W3C fields, or at least half of its lines are those of a web log."""
        head = source.head
        if is_w3c(head):
            return True
        if len(head) >= HEAD_SIZE:
            head = head[: head.rfind(b"\n") + 1] or head
        reader = _LogReader("UTC")
        known = unknown = 0
        for line in islice(read_lines(BytesIO(head)), _LOOKED_AT):
            if isinstance(line, Damage) or line.raw[:1] == b"#":
                continue
            if all(isinstance(found, Record) for found in reader.read(line)):
                known += 1
            else:
                unknown += 1
        return known > 0 and known >= unknown

    def parse(self, source: Source) -> Iterator[Record | Damage]:
        """Yield every line, in order."""
        return self._read(source, None)

    def cuts(self, source: Source, size: int) -> list[Piece]:
        """Cut before lines that are records, by following the directives of W3C."""
        return cut_where(source, size, _LogReader(source.context.time_zone))

    def read_piece(self, source: Source, piece: Piece) -> Iterator[Record | Damage]:
        """Yield every line of a piece."""
        return self._read(source, piece)

    def _read(self, source: Source, piece: Piece | None) -> Iterator[Record | Damage]:
        check_options(source.context.options, ())
        reader = _LogReader(source.context.time_zone, piece.state if piece else None)
        with source.open_at(piece) if piece else source.open() as stream:
            try:
                yield from followed(read_lines(stream, piece=piece), reader.read)
            except ParseError:
                yield from reader.rest()
                raise
        yield from reader.rest()

    def locate(self, source: Source, position: str, span: tuple[int, int] | None) -> bytes:
        """Return the line of a record."""
        return read_span(source, span or find_span(self.parse(source), position))


class _LogReader:
    """Turns lines of one source into records; `state` is what stands before a piece."""

    def __init__(self, time_zone: str, state: dict[str, Any] | None = None) -> None:
        try:
            self._zone = zone_named(time_zone)
        except ValueError as error:
            raise ParseError(f"The time zone of the evidence is none: {error}.") from error
        self._w3c = W3C(self._zone, state)

    def state(self) -> dict[str, Any]:
        """Return what the directives so far have said."""
        return self._w3c.state()

    def follow(self, line: Line) -> None:
        """Take a line for what it says about those below it."""
        if line.raw[:1] == b"#":
            self.read(line)

    def begins(self, line: Line) -> bool:
        """Take a line; say whether it is a record that depends on nothing but the directives."""
        found = self.read(line)
        return line.raw[:1] != b"#" and all(isinstance(entry, Record) for entry in found)

    def read(self, line: Line) -> list[Record | Damage]:
        """Return the record of a line, after the directives before it."""
        text = decode(line.raw)
        if self._w3c.takes(text):
            return list(self._w3c.directive(line, text))
        return [*self._w3c.flush(), self._entry(line, text)]

    def rest(self) -> list[Record]:
        """Return what still waits at the end."""
        return self._w3c.flush()

    def _entry(self, line: Line, text: str) -> Record | Damage:
        try:
            found = read_access(text, line.position, line.span, self._zone) or read_other(
                text, line.position, line.span, self._zone
            )
            if found is not None:
                return found
            if self._w3c.is_set:
                return self._w3c.read(line, text)
        except ValueError as error:
            return line.damage(f"Its time cannot be read: {error}.")
        return line.damage("No form that a line of a web log has.")
