"""Delimited texts (CSV and kin): plaso's, Timesketch's, mactime's, spreadsheets', firewalls'."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, ClassVar, Final

from cases.parsers import layout as layouts
from cases.parsers.base import Parser, Source
from cases.parsers.clock import FIELD_OPTIONS, TIME_OPTIONS, Clock, check_options, time_texts
from cases.parsers.layout import Layout, find_layout
from cases.parsers.rows import Row, read_rows
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
        check_options(source.context.options, OPTIONS)
        layout = _layout(source)
        plan = layout.plan
        clock = Clock(source.context, lambda: time_texts(_holders(source, layout), lambda _: plan))
        width = len(layout.header)
        with source.open() as stream:
            for row in _rows(stream, layout):
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


def _rows(stream: BinaryIO, layout: Layout) -> Iterator[Row | Damage]:
    """Yield what stands below the header; a header that comes again is none of the rows."""
    header: list[str] | None = None
    for row in read_rows(stream, layout.dialect):
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
