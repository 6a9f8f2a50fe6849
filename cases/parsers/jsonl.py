"""JSON: one object a line, and documents that hold a list of objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any, BinaryIO, ClassVar, Final

from cases.parsers.base import HEAD_SIZE, Parser, Piece, Source
from cases.parsers.clock import FIELD_OPTIONS, TIME_OPTIONS, Clock, check_options, time_texts
from cases.parsers.cutting import cut_at_lines
from cases.parsers.fields import Plan, choose_fields, plan_for
from cases.parsers.jsonframes import Element, find_frame, read_elements
from cases.parsers.jsontext import ObjectReader
from cases.parsers.lines import Line, as_utf8, is_utf16, read_lines
from cases.parsers.plaso import is_event, read_event_time
from cases.parsers.shape import READ_NOTE, add_note, make_record
from cases.parsers.spans import read_span
from cases.records import RAW_LIMIT, Damage, ParseError, Record

#: How many lines are looked at for choosing; half of them have to be objects.
_LOOK: Final = 20
#: What a whole object of Elasticsearch's or Splunk's export wraps its event in.
_SPLUNK: Final = frozenset(("preview", "offset", "result", "lastrow"))
_OPTIONS: Final = (*FIELD_OPTIONS, *TIME_OPTIONS)


class JsonLines(Parser):
    """Reads the events of Timesketch, plaso, cloud services, sensors, or of any other shape."""

    name: ClassVar[str] = "jsonl"
    version: ClassVar[str] = "1"
    description: ClassVar[str] = "JSON Lines, and JSON documents that hold a list of records"
    kinds: ClassVar[tuple[str, ...]] = ("jsonl", "json", "timesketch", "plaso")

    def accepts(self, source: Source) -> bool:
        """Look for objects: in the lines, or in a document around them."""
        head = as_utf8(source.head)
        if find_frame(source.head) is not None:
            return True
        lines = [line for line in head.split(b"\n") if line.strip()]
        if len(lines) == 1:
            return lines[0].lstrip()[:1] == b"{" and (_is_object(lines[0]) or _is_cut(source.head, lines[0]))
        # The last line of the head is cut in most files.
        looked = lines[:-1][:_LOOK] if len(lines) <= _LOOK else lines[:_LOOK]
        return bool(looked) and 2 * sum(map(_is_object, looked)) >= len(looked)

    def parse(self, source: Source) -> Iterator[Record | Damage]:
        """Yield an event for each object, with all its fields as attributes."""
        return self._read(source, None)

    def cuts(self, source: Source, size: int) -> list[Piece]:
        """Cut between lines; a document has to be read as a whole."""
        if is_utf16(source.head) or find_frame(source.head) is not None:
            return []
        return cut_at_lines(source, size)

    def read_piece(self, source: Source, piece: Piece) -> Iterator[Record | Damage]:
        """Yield an event for each line of the piece."""
        return self._read(source, piece)

    def _read(self, source: Source, piece: Piece | None) -> Iterator[Record | Damage]:
        check_options(source.context.options, _OPTIONS)
        plan_of = partial(_plan_of, options=source.context.options)
        clock = source.remember(
            "clock of jsonl",
            lambda: Clock(source.context, lambda: time_texts(_bodies(source), plan_of)),
        )
        reader = ObjectReader()
        with source.open_at(piece) if piece else source.open() as stream:
            for entry in _entries(source, stream, reader, piece):
                if isinstance(entry, Damage):
                    yield entry
                    continue
                try:
                    found = _value(entry, reader)
                except ValueError as error:
                    yield Damage(entry.position, str(error), entry.raw[:RAW_LIMIT], entry.span)
                    continue
                if reader.repeated:
                    _note_repeated(found, reader.repeated)
                yield _record(entry, found, clock, plan_of)

    def locate(self, source: Source, position: str, span: tuple[int, int] | None) -> bytes:
        """Return the line, or the object inside its document."""
        if span is not None:
            return read_span(source, span)
        with source.open() as stream:
            for entry in _entries(source, stream, ObjectReader()):
                if not isinstance(entry, Damage) and entry.position == position:
                    return entry.raw
        raise ParseError(f"There is no {position[:64]}.")


def _entries(
    source: Source, stream: BinaryIO, reader: ObjectReader, piece: Piece | None = None
) -> Iterator[Line | Element | Damage]:
    frame = find_frame(source.head) if piece is None else None
    return read_lines(stream, piece=piece) if frame is None else read_elements(stream, frame, reader)


def _value(entry: Line | Element, reader: ObjectReader) -> dict[str, Any]:
    return entry.value if isinstance(entry, Element) else reader.read(entry.raw)


def _bodies(source: Source) -> Iterator[Mapping[str, Any]]:
    """Yield the objects anew, for a look ahead."""
    reader = ObjectReader()
    with source.open() as stream:
        for entry in _entries(source, stream, reader):
            if isinstance(entry, Damage):
                continue
            try:
                yield _body(_value(entry, reader))
            except ValueError:
                continue  # the reading itself reports it


def _plan_of(fields: Mapping[str, Any], options: Mapping[str, str]) -> Plan:
    names = tuple(fields)
    plan = plan_for(names)
    return choose_fields(plan, names, options, must_be_there=False) if options else plan


def _body(found: dict[str, Any]) -> dict[str, Any]:
    """Return the event itself where an export of Elasticsearch or Splunk wraps it."""
    inner = found.get("_source") if "_index" in found else None
    if inner is None and "result" in found and found.keys() <= _SPLUNK:
        inner = found["result"]
    return inner if isinstance(inner, dict) else found


def _record(entry: Line | Element, found: dict[str, Any], clock: Clock, plan_of: Any) -> Record:
    fields: Mapping[str, Any] = _body(found)
    if isinstance(entry, Element) and entry.envelope:
        fields = {**entry.envelope, **fields}
        found.setdefault("envelope", entry.envelope)
    told = read_event_time(fields) if is_event(fields) else None
    return make_record(
        position=entry.position,
        span=entry.span,
        attributes=found,
        fields=fields,
        plan=plan_of(fields),
        clock=clock,
        told=told,
    )


def _note_repeated(found: dict[str, Any], names: list[str]) -> None:
    shown = ", ".join(islice(dict.fromkeys(name[:64] for name in names), 10))
    add_note(found, READ_NOTE, (f"more than one value under the name: {shown}",))


def _is_object(line: bytes) -> bool:
    if line.lstrip()[:1] != b"{":
        return False
    try:
        ObjectReader().read(line)
    except ValueError:
        return False
    return True


def _is_cut(head: bytes, line: bytes) -> bool:
    """Whether a first line that goes on behind the head begins like an object."""
    return len(head) >= HEAD_SIZE and line.lstrip()[1:].lstrip()[:1] == b'"'
