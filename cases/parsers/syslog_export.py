"""The journal's export format, as `journalctl -o export` writes it.

One entry is a run of fields ended by an empty line; a field is NAME=value, or for values with
line ends NAME, the length as 8 bytes little-endian, the value
(https://systemd.io/JOURNAL_EXPORT_FORMATS/).
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from cases.parsers.base import Piece, Source
from cases.parsers.civil import within_range
from cases.parsers.cutting import ended
from cases.parsers.lines import decode
from cases.parsers.syslog_forms import add_value
from cases.parsers.syslog_messages import meaning_of
from cases.records import RAW_LIMIT, Damage, Record

#: One entry is no larger; the journal itself stops at 768 MiB, which no message is.
ENTRY_LIMIT: Final = 16 * 1024 * 1024
_NAME: Final = re.compile(rb"[A-Z_][A-Z0-9_]{0,63}")
_LOOKS: Final = re.compile(rb"(?:\s*[A-Z_][A-Z0-9_]{0,63}=[^\n]*\n){0,8}?\s*__(?:CURSOR|REALTIME_TIMESTAMP)=")
_MICROSECONDS: Final = re.compile(r"[0-9]{1,18}")
_NUMBERS: Final = frozenset(("PRIORITY", "SYSLOG_FACILITY", "_PID", "_UID", "_GID", "SYSLOG_PID"))


def is_export(head: bytes) -> bool:
    """Say whether content begins like a journal export."""
    return _LOOKS.match(head) is not None


def read_export(stream: BinaryIO, piece: Piece | None = None) -> Iterator[Record | Damage]:
    """Yield every entry, or those of a piece. Raises ParseError when the stream is damaged."""
    return _Export(stream, piece).entries()


def cut_export(source: Source, size: int) -> list[Piece]:
    """Return pieces of at least so many bytes, cut between entries. Raises ParseError."""
    pieces: list[Piece] = []
    start = first = 0
    with source.open() as stream:
        export = _Export(stream)
        while not export.skip():
            if export.place - start >= size:
                pieces.append(Piece(start, export.place, first, entry=source.entry(start)))
                start, first = export.place, export.number
    return ended(source, pieces, start, export.place, first, {})


class _Fault(ValueError):
    """The entry being read is damaged."""


class _Export:
    """One reading: counts places, so that every entry has its span."""

    def __init__(self, stream: BinaryIO, piece: Piece | None = None) -> None:
        self._stream = stream
        self.place = piece.start if piece else 0
        self.number = piece.first if piece else 0
        self._end = piece.end if piece and not piece.is_last else sys.maxsize

    def skip(self) -> bool:
        """Pass over an entry; say whether it was the last."""
        _, fields, _, fault, ended = self._entry()
        self.number += bool(fields or fault)
        return ended

    def entries(self) -> Iterator[Record | Damage]:
        while self.place < self._end:
            start, fields, raw, fault, ended = self._entry()
            if fields or fault:
                self.number += 1
                position, span = f"entry {self.number}", (start, self.place - start)
                yield (
                    Damage(position, fault, raw[:RAW_LIMIT], span)
                    if fault
                    else _record(position, fields, span)
                )
            if ended:
                return

    def _line(self) -> bytes:
        """Return the next line with its end, at most ENTRY_LIMIT bytes of it."""
        line = self._stream.readline(ENTRY_LIMIT)
        self.place += len(line)
        return line

    def _entry(self) -> tuple[int, list[tuple[str, str]], bytes, str, bool]:
        """Read to the empty line that ends an entry: start, fields, first bytes, fault, whether all ended."""
        fields: list[tuple[str, str]] = []
        raw, fault, start = b"", "", self.place
        while True:
            line = self._line()
            if not raw:
                start = self.place - len(line)
            if not line:
                return start, fields, raw, fault, True
            if not line.strip(b"\r\n"):
                if raw:
                    return start, fields, raw, fault, False
                continue
            if len(raw) < RAW_LIMIT:
                raw += line[:RAW_LIMIT]
            if not fault and self.place - start > ENTRY_LIMIT:
                fault = f"An entry of more than {ENTRY_LIMIT} bytes."
            if fault:
                continue  # to the end of the entry
            try:
                fields.append(self._field(line, start))
            except _Fault as error:
                fault = str(error)

    def _field(self, line: bytes, start: int) -> tuple[str, str]:
        name, equals, value = line.removesuffix(b"\n").partition(b"=")
        if not _NAME.fullmatch(name):
            raise _Fault("A field whose name is none.")
        if equals:
            if not line.endswith(b"\n"):
                raise _Fault("The entry ends in the middle of a field.")
            return name.decode("ascii"), decode(value)
        header = self._stream.read(8)
        self.place += len(header)
        if len(header) < 8:
            raise _Fault("The entry ends in the middle of a field.")
        (length,) = struct.unpack("<Q", header)
        if self.place - start + length > ENTRY_LIMIT:
            raise _Fault(f"The field {name.decode('ascii')} claims {length} bytes.")
        data = self._stream.read(length + 1)
        self.place += len(data)
        if len(data) <= length or data[length:] != b"\n":
            raise _Fault("The entry ends in the middle of a field, or its length is wrong.")
        return name.decode("ascii"), decode(data[:length])


def _record(position: str, fields: list[tuple[str, str]], span: tuple[int, int]) -> Record | Damage:
    attributes: dict[str, Any] = {}
    for name, value in fields:
        is_number = name in _NUMBERS and value.isdecimal() and value.isascii() and len(value) <= 18
        add_value(attributes, name, int(value) if is_number else value)
    text = dict(fields)
    program = text.get("SYSLOG_IDENTIFIER") or text.get("_COMM")
    pid, body = text.get("SYSLOG_PID") or text.get("_PID"), text.get("MESSAGE", "")
    shown = f"{program}[{pid}]" if program and pid else program
    record = Record(
        position,
        f"{shown}: {body}" if shown else body,
        host=text.get("_HOSTNAME"),
        type=program,
        attributes=attributes,
        span=span,
    )
    _set_time(record, text.get("__REALTIME_TIMESTAMP") or text.get("_SOURCE_REALTIME_TIMESTAMP"))
    if meaning := meaning_of(program, body):
        record.category, record.user = meaning.category, meaning.user
        for name, value in (meaning.attributes or {}).items():
            attributes.setdefault(name, value)
    return record


def _set_time(record: Record, written: str | None) -> None:
    """The journal counts microseconds since 1970 (systemd.journal-fields(7))."""
    if written is None or not _MICROSECONDS.fullmatch(written):
        record.attributes["time_note"] = (
            "the entry has no time" if written is None else "no number of microseconds"
        )
        return
    try:
        record.timestamp = within_range(int(written))
    except ValueError as error:
        record.attributes["time_note"] = str(error)
        return
    record.timestamp_desc, record.time_precision = "Event logged", "us"
