"""System logs: BSD syslog, RFC 5424, rsyslog's forms, audit, dpkg, vsftpd, the journal's export format.

The form is told line by line, so a log whose format changes midway is followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from itertools import islice, pairwise
from typing import Any, ClassVar, Final

from cases.parsers.base import HEAD_SIZE, Damage, ParseError, Parser, Piece, Record, Source
from cases.parsers.clock import check_options
from cases.parsers.cutting import cut_where
from cases.parsers.following import find_span, followed
from cases.parsers.lines import Line, decode, read_lines
from cases.parsers.spans import read_span
from cases.parsers.syslog_audit import AuditLine, audit_inside, read_audit
from cases.parsers.syslog_export import cut_export, is_export, read_export
from cases.parsers.syslog_forms import Parts, Reader, is_zone, yearless_date
from cases.parsers.syslog_messages import Meaning, meaning_of, plain_meaning
from cases.parsers.syslog_year import YearWalk
from cases.parsers.times import zone_named
from cases.records import RAW_LIMIT

#: So many lines of the head decide whether this is a system log.
_LOOKED_AT: Final = 100
#: A message begins so in a stream that was stored without line ends.
_BEGINNING: Final = re.compile(
    rb"<[0-9]{1,3}>(?:1 )?"
    rb"(?=[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:|[A-Z][a-z]{2} [ 0-3]?[0-9] [0-9]{2}:[0-9]{2}:)"
)
_DESCRIPTION: Final = "Event logged"
_MONTH: Final = re.compile(rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) ")
#: The first word behind a time of ISO 8601.
_ISO_WORD: Final = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.,Z+-]+ ([^ \t]+) ")
#: Has every day, for looking at lines whose year does not matter.
_ANY_YEAR: Final = 2000


class Syslog(Parser):
    """System logs of Unix machines and network devices."""

    name: ClassVar[str] = "syslog"
    version: ClassVar[str] = "1"
    description: ClassVar[str] = (
        "System logs: syslog, auth.log, audit.log, dpkg.log, vsftpd.log, journal export"
    )
    kinds: ClassVar[tuple[str, ...]] = (
        "syslog",
        "auth.log",
        "audit.log",
        "journal export",
        "dpkg.log",
        "vsftpd.log",
    )

    def accepts(self, source: Source) -> bool:
        """Say whether at least half of the first lines are those of a system log."""
        head = source.head
        if is_export(head):
            return True
        reader = _LogReader(source, only_looks=True)
        known = unknown = 0
        for line in islice(_whole_lines(head), _LOOKED_AT):
            if isinstance(line, Damage) or line.raw[:1] in (b" ", b"\t"):
                continue
            if any(isinstance(found, Record) for found in reader.read(line)):
                known += 1
            else:
                unknown += 1
        return known > 0 and known >= unknown

    def parse(self, source: Source) -> Iterator[Record | Damage]:
        """Yield every message in the order of the lines."""
        return self._read(source, None)

    def cuts(self, source: Source, size: int) -> list[Piece]:
        """Cut before lines that are messages, following years and hosts; a journal export between entries."""
        check_options(source.context.options, ("year",))
        if is_export(source.head):
            return cut_export(source, size)
        reader = _LogReader(source)
        pieces = cut_where(source, size, Following(reader))
        for piece in pieces:
            piece.state.update(reader.years())
        return pieces

    def read_piece(self, source: Source, piece: Piece) -> Iterator[Record | Damage]:
        """Yield the messages of a piece."""
        return self._read(source, piece)

    def _read(self, source: Source, piece: Piece | None) -> Iterator[Record | Damage]:
        check_options(source.context.options, ("year",))
        with source.open_at(piece) if piece else source.open() as stream:
            if is_export(source.head):
                yield from read_export(stream, piece)
                return
            reader = _LogReader(source, state=piece.state if piece else None)
            if piece is None:
                reader.prepare()
            yield from followed(read_lines(stream, piece=piece), reader.read)

    def locate(self, source: Source, position: str, span: tuple[int, int] | None) -> bytes:
        """Return the lines of a record."""
        return read_span(source, span or find_span(self.parse(source), position))


def _whole_lines(head: bytes) -> Iterator[Line | Damage]:
    """Yield the lines of a head without the last one if it was cut."""
    if len(head) >= HEAD_SIZE:
        head = head[: head.rfind(b"\n") + 1] or head
    return read_lines(BytesIO(head))


class _LogReader:
    """Turns lines of one source into records; `state` is what stands before a piece."""

    def __init__(
        self, source: Source, *, only_looks: bool = False, state: dict[str, Any] | None = None
    ) -> None:
        self._source = source
        self._year: list[int | None] = state.get("year", []) if state else []
        self._only_looks = only_looks
        try:
            self._zone = zone_named(source.context.time_zone)
        except ValueError as error:
            raise ParseError(f"The time zone of the evidence is none: {error}.") from error
        self.forms = Reader(self._zone, self._first_year, state)
        self.is_unframed = _is_unframed(source.head)

    def years(self) -> dict[str, Any]:
        """Return the first year of the log if it was needed, for the state of its pieces."""
        return {"year": self._year} if self._year else {}

    def prepare(self) -> None:
        """Tell the years before the main reading, where the head shows that they will be needed."""
        lines = islice(_whole_lines(self._source.head), _LOOKED_AT)
        if any(isinstance(line, Line) and any(self._dates(line)) for line in lines):
            self.forms.first_year()

    def read(self, line: Line) -> list[Record | Damage]:
        """Return the messages of a line: one, or several where a stream was stored without line ends."""
        if self.is_unframed and (places := _beginnings(line)):
            return [self._message(piece, position) for piece, position in _pieces(line, places)]
        return [self._message(line, line.position)]

    def _message(self, line: Line, position: str) -> Record | Damage:
        text = decode(line.raw)
        try:
            if (parts := self.forms.read(text)) is not None:
                return _record(parts, position, line.span)
            if (audit := read_audit(text, self._zone)) is not None:
                return _audit_record(audit, text, position, line.span)
        except ValueError as error:
            reason = f"Its time cannot be read: {error}."
        else:
            reason = "No form that a line of a system log has."
        return Damage(position, reason, line.raw[:RAW_LIMIT], line.span)

    def _first_year(self) -> int | None:
        """Return the year of the first line; None where nothing tells it."""
        if self._only_looks:
            return _ANY_YEAR
        if not self._year:
            self._year = [self._source.remember("first year of syslog", self._find_first_year)]
        return self._year[0]

    def _find_first_year(self) -> int | None:
        """Read the log once for its dates alone."""
        if chosen := self._source.context.options.get("year"):
            return _chosen_year(chosen)
        walk = YearWalk()
        with self._source.open() as stream:
            try:
                for line in read_lines(stream):
                    if isinstance(line, Line):
                        for month, day in self._dates(line):
                            walk.step(month, day)
            except ParseError:
                pass  # the main reading comes to the same place and says so
        try:
            return walk.first_year(self._source.context.reference)
        except ValueError:
            return None

    def _dates(self, line: Line) -> Iterator[tuple[int, int]]:
        places = (_beginnings(line) if self.is_unframed else None) or (0,)
        for place in places:
            if date := yearless_date(line.raw, place):
                yield date


class Following:
    """Follows what goes from line to line: New Years, and which words are hosts.

    Nearly all lines are passed over by their looks; those that may change something are read.
    """

    def __init__(self, reader: _LogReader) -> None:
        self._reader = reader
        self._forms = reader.forms
        self._day = b""  # a line that begins so is of the day that was counted last
        self._hosts: set[bytes] = set()
        self._known = 0

    def state(self) -> dict[str, Any] | None:
        """Return it as JSON, None if there are too many hosts."""
        return self._forms.state()

    def follow(self, line: Line) -> None:
        """Take a line."""
        raw = line.raw
        if raw[:6] == self._day or ((match := _ISO_WORD.match(raw)) and match[1] in self._hosts):
            return
        self._take(line)

    def begins(self, line: Line) -> bool:
        """Take a line; say whether it is one message, or several."""
        return self._take(line)

    def _take(self, line: Line) -> bool:
        found = self._reader.read(line)
        self._day = b""
        if not self._reader.is_unframed:
            if _MONTH.match(line.raw) and self._forms.counted_last(yearless_date(line.raw)):
                self._day = line.raw[:6]
            if self._known != len(self._forms.hosts):
                self._known = len(self._forms.hosts)
                self._hosts = {host.encode() for host in self._forms.hosts if not is_zone(host)}
        return all(isinstance(entry, Record) for entry in found)


def _chosen_year(text: str) -> int:
    if not re.fullmatch("[0-9]{4}", text):
        raise ParseError("The option year is the four digits of the year of the first line.")
    return int(text)


def _is_unframed(head: bytes) -> bool:
    """Say whether a forwarded stream was stored without line ends: more messages begin than lines.

    Elsewhere a line stays one message, whatever it contains: a sender must not be able to
    have a record made up by writing the beginning of one.
    """
    if not head.startswith(b"<"):
        return False
    lines = head.rstrip(b"\n").count(b"\n") + 1
    return 2 * len(_BEGINNING.findall(head)) > 3 * lines


def _beginnings(line: Line) -> list[int] | None:
    """Return where messages begin if the line is more than one message."""
    places = [found.start() for found in _BEGINNING.finditer(line.raw)]
    return places if len(places) > 1 or (places and places[0] > 0) else None


def _pieces(line: Line, places: list[int]) -> Iterator[tuple[Line, str]]:
    """Yield the messages of a line, each with its position."""
    raw = line.raw
    starts = places if places[0] == 0 else [0, *places]
    for number, (start, end) in enumerate(pairwise([*starts, len(raw)]), start=1):
        position = line.position if number == 1 else f"{line.position}, message {number}"
        if line.length == len(raw):
            yield Line(line.number, line.offset + start, end - start, raw[start:end]), position
        else:  # UTF-16: a place in the text is none in the bytes
            yield line._replace(raw=raw[start:end]), position


def _record(parts: Parts, position: str, span: tuple[int, int]) -> Record:
    instant, _note, host, program, text, body, attributes = parts
    meaning: Meaning | None
    if program is None and (plain := plain_meaning(body)):
        program, meaning = plain
    else:
        meaning = meaning_of(program, body)
        if meaning is None and "audit(" in body[:256]:
            meaning = audit_inside(body)
    category = user = None
    if meaning is not None:
        category, user, said = meaning
        if said:
            attributes = {**said, **attributes}
    if instant is None:
        timestamp, precision, described = None, "none", ""
    else:
        timestamp, precision, described = instant.timestamp, instant.precision, _DESCRIPTION
    return Record(
        position,
        text or body,
        timestamp=timestamp,
        timestamp_desc=described,
        time_precision=precision,
        host=host,
        user=user,
        category=category,
        type=program,
        attributes=attributes,
        span=span,
    )


def _audit_record(audit: AuditLine, text: str, position: str, span: tuple[int, int]) -> Record:
    record = Record(
        position,
        text,
        host=audit.node,
        user=audit.meaning.user,
        category=audit.meaning.category,
        type=audit.type or None,
        attributes=audit.attributes,
        span=span,
    )
    if audit.instant is not None:
        record.timestamp, record.time_precision = audit.instant.timestamp, audit.instant.precision
        record.timestamp_desc = _DESCRIPTION
    return record
