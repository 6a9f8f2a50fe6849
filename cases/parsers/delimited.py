"""Delimited texts (CSV and kin): plaso's, Timesketch's, mactime's, spreadsheets', firewalls'."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, ClassVar, Final

from cases.parsers import layout as layouts
from cases.parsers.base import Parser, Piece, Source
from cases.parsers.clock import FIELD_OPTIONS, TIME_OPTIONS, Clock, check_options, time_texts
from cases.parsers.layout import Layout, find_layout
from cases.parsers.lines import is_utf16
from cases.parsers.rows import Row, RowReader
from cases.parsers.shape import READ_NOTE, add_note, make_record
from cases.parsers.spans import read_span
from cases.records import Damage, ParseError, Record

OPTIONS: Final = (*FIELD_OPTIONS, *TIME_OPTIONS, "delimiter")


class Delimited(Parser):
    """Reads rows of cells below a header; the header tells which column holds what."""

    name: ClassVar[str] = "csv"
    version: ClassVar[str] = "1"
    description: ClassVar[str] = "Rows of cells told apart by comma, semicolon, tab or bar"
    kinds: ClassVar[tuple[str, ...]] = ("csv", "tsv", "l2tcsv", "timesketch", "mactime")

    def accepts(self, source: Source) -> bool:
        """Look for rows of one width, and a header or times."""
        if layouts.is_other(source.head):
            return False
        try:
            return _layout(source).is_sure
        except ParseError:
            return False

    def parse(self, source: Source) -> Iterator[Record | Damage]:
        """Yield an event for each row, with all its cells as attributes."""
        return self._read(source, None)

    def cuts(self, source: Source, size: int) -> list[Piece]:
        """Cut between rows below the header, by following the quotes of all rows."""
        check_options(source.context.options, OPTIONS)
        if is_utf16(source.head):
            return []
        layout = _layout(source)
        with source.open() as stream:
            return _cut(source, RowReader(stream, layout.dialect), layout.header_line, size)

    def read_piece(self, source: Source, piece: Piece) -> Iterator[Record | Damage]:
        """Yield an event for each row that begins in the piece."""
        return self._read(source, piece)

    def _read(self, source: Source, piece: Piece | None) -> Iterator[Record | Damage]:
        check_options(source.context.options, OPTIONS)
        layout = source.remember("layout of csv", lambda: _layout(source))
        plan = layout.plan
        clock = source.remember(
            "clock of csv",
            lambda: Clock(source.context, lambda: time_texts(_holders(source, layout), lambda _: plan)),
        )
        width = len(layout.header)
        with source.open_at(piece) if piece else source.open() as stream:
            for row in _rows(stream, layout, piece):
                if isinstance(row, Damage):
                    yield row
                    continue
                held = layout.holder(row.cells)
                record = make_record(
                    position=row.position, span=row.span, attributes=held, plan=plan, clock=clock
                )
                if len(row.cells) != width:
                    add_note(held, READ_NOTE, (f"{len(row.cells)} cells in a table of {width} columns",))
                yield record

    def locate(self, source: Source, position: str, span: tuple[int, int] | None) -> bytes:
        """Return the row, with its line breaks."""
        if span is None:
            raise ParseError(f"There is no {position[:64]}.")
        return read_span(source, span)


def describe(source: Source) -> dict[str, Any]:
    """Return how a text is read: delimiter, header, and which column became what.

    Raises ParseError for a choice that does not fit it.
    """
    check_options(source.context.options, OPTIONS)
    return layouts.describe(_layout(source))


def _layout(source: Source) -> Layout:
    return find_layout(source, Clock(source.context, tuple))


def _cut(source: Source, reader: RowReader, header_line: int, size: int) -> list[Piece]:
    """Return pieces that begin with rows; where each one begins, no row before it is open."""
    pieces: list[Piece] = []
    state: dict[str, Any] = {"reread": 0, "header": None}
    start, first = 0, 1
    header: list[str] | None = None
    is_clear, reread = False, 0
    for row in reader.rows():
        if isinstance(row, Row):
            if is_clear and row.number > header_line and row.offset >= start + size:
                pieces.append(Piece(start, row.offset, first, entry=source.entry(start), state=state))
                start, first, state = row.offset, row.number, {"reread": reread, "header": header}
            if row.number == header_line:
                header = row.cells
        # The line after a damage may be the rest of one.
        is_clear, reread = isinstance(row, Row) and reader.is_clear, reader.reread
    end = max(reader.end, start + 1)
    return [*pieces, Piece(start, end, first, True, source.entry(start), state)]


def _rows(stream: BinaryIO, layout: Layout, piece: Piece | None = None) -> Iterator[Row | Damage]:
    """Yield what stands below the header; a header that comes again is none of the rows.

    Of a piece what begins in it: a row may have to be followed beyond, to see that it does not end.
    """
    state: dict[str, Any] = piece.state if piece else {}
    header: list[str] | None = state.get("header")
    end = piece.end if piece and not piece.is_last else None
    for row in RowReader(stream, layout.dialect, piece, state.get("reread", 0)).rows():
        if end is not None and row.span is not None and row.span[0] >= end:
            return
        if isinstance(row, Damage):
            yield row
        elif row.number > layout.header_line:
            if row.cells != header:
                yield row
        elif row.number == layout.header_line:
            header = row.cells
        elif row.cells[0][:4].lower().strip('"') != "sep=" or row.number > 1:
            yield Damage(row.position, "A line before the header.", b"", row.span)


def _holders(source: Source, layout: Layout) -> Iterator[Mapping[str, Any]]:
    """Yield the rows anew, for a look ahead."""
    with source.open() as stream:
        for row in _rows(stream, layout):
            if not isinstance(row, Damage):
                yield layout.holder(row.cells)
