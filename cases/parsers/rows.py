"""Rows of a delimited text (RFC 4180 and what products make of it), each with its place in bytes.

A quoted cell may hold line breaks. A quote that nothing closes costs its own line and no other.
"""

from __future__ import annotations

import csv
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO, Final, NamedTuple

from cases.parsers.base import Piece
from cases.parsers.lines import Line, read_lines
from cases.records import Damage

#: More cells than this are no row of a log.
COLUMN_LIMIT: Final = 10_000
#: A quoted cell that runs on for longer was never closed.
QUOTED_LIMIT: Final = 1024 * 1024
#: What may be read again because a quote was not closed; after that, quoted cells may go on for
#: a few lines only, or a text made for it would be read a thousand times.
_REREAD_LIMIT: Final = 32 * QUOTED_LIMIT
_FEW: Final = 16
_LINE_COST: Final = 64

#: Stands for a carriage return inside a line, which the csv module would take for an end of line.
#: No text decoded from UTF-8 holds it.
_RETURN: Final = chr(0xDC0D)

# A limit of the whole process; lines are bounded by `lines`, rows by QUOTED_LIMIT.
csv.field_size_limit(2**31 - 1)


class Dialect(NamedTuple):
    """How cells are told apart."""

    delimiter: str = ","
    skips_space: bool = False


class Row(NamedTuple):
    """The cells of one row; `number` is that of its first line."""

    number: int
    offset: int
    length: int
    cells: list[str]

    @property
    def position(self) -> str:
        """The row's name for people."""
        return f"line {self.number}"

    @property
    def span(self) -> tuple[int, int]:
        """Where the row is."""
        return self.offset, self.length


class _NeverClosed(Exception):
    """A quote was opened and the text ended, or went on for too long."""


def read_rows(stream: BinaryIO, dialect: Dialect) -> Iterator[Row | Damage]:
    """Yield every row that is not a blank line, or the damage in its place."""
    return RowReader(stream, dialect).rows()


class RowReader:
    """One way through a text, or from the start of a piece on to the end of the text.

    `reread` is what was read again so far, in bytes; a piece goes on with that of those before it.
    """

    def __init__(
        self, stream: BinaryIO, dialect: Dialect, piece: Piece | None = None, reread: int = 0
    ) -> None:
        onward = replace(piece, end=sys.maxsize) if piece else None
        self._lines = read_lines(stream, keep_blank=True, piece=onward)
        self._dialect = dialect
        self._waiting: deque[Line | Damage] = deque()
        self.reread = reread
        #: Where the last line that was looked at ends.
        self.end = 0

    @property
    def is_clear(self) -> bool:
        """Whether the next row begins with a line that nobody has looked at."""
        return not self._waiting

    def rows(self) -> Iterator[Row | Damage]:
        """Yield the rows."""
        delimiter, skips_space = self._dialect
        mark, blanks = delimiter.encode(), b" \t\r\v\f".replace(delimiter.encode(), b"")
        while (line := self._next()) is not None:
            if isinstance(line, Damage):
                yield line
                continue
            raw = line.raw
            if not raw.strip(blanks):
                continue
            if raw.count(mark) >= COLUMN_LIMIT:
                yield line.damage(f"A row of more than {COLUMN_LIMIT} columns.")
            elif b'"' in raw:
                yield self._quoted(line)
            else:
                cells = line.text().split(delimiter)
                if skips_space:
                    cells = [cell.lstrip(" ") for cell in cells]
                yield Row(line.number, line.offset, line.length, cells)

    def _next(self) -> Line | Damage | None:
        if self._waiting:
            return self._waiting.popleft()
        line = next(self._lines, None)
        if isinstance(line, Line):
            self.end = line.offset + line.length
        elif line is not None and line.span is not None:
            self.end = line.span[0] + line.span[1]
        return line

    def _quoted(self, first: Line) -> Row | Damage:
        taken = [first]
        feed = self._texts(taken)
        delimiter, skips_space = self._dialect
        try:
            cells = next(csv.reader(feed, delimiter=delimiter, skipinitialspace=skips_space))
        except _NeverClosed:
            self.reread += sum(line.length + _LINE_COST for line in taken[1:])
            self._waiting.extendleft(reversed(taken[1:]))
            return first.damage("A quote is opened and never closed.")
        except csv.Error as error:
            self._waiting.extendleft(reversed(taken[1:]))
            return first.damage(f"No row: {error}.")
        if any(_RETURN in line_text for line_text in cells):
            cells = [cell.replace(_RETURN, "\r") for cell in cells]
        last = taken[-1]
        return Row(first.number, first.offset, last.offset + last.length - first.offset, cells)

    def _texts(self, taken: list[Line]) -> Iterator[str]:
        """Yield the text of the first line, and of more for as long as a quote is open."""
        yield _ended(taken[0])
        size = 0
        while size <= QUOTED_LIMIT and (self.reread <= _REREAD_LIMIT or len(taken) <= _FEW):
            line = self._next()
            if not isinstance(line, Line):
                if line is not None:
                    self._waiting.appendleft(line)
                break
            taken.append(line)
            size += line.length + 1
            yield _ended(line)
        raise _NeverClosed


def _ended(line: Line) -> str:
    text = line.text()
    if "\r" in text:
        text = text.replace("\r", _RETURN)
    return text + "\n"
