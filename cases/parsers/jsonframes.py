"""Records inside one big JSON document: a list, an object that holds a list, objects in a row.

A document is never held as a whole: its brackets are followed as it is read, and one record after
another is cut out. A record that is broken is passed over up to the next that begins like it.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO, Final, NamedTuple

from cases.parsers.fields import plan_for
from cases.parsers.jsontext import DEPTH_LIMIT, ObjectReader
from cases.parsers.lines import LINE_LIMIT, UTF16_MARKS, as_utf8
from cases.records import RAW_LIMIT, Damage, ParseError

_BLOCK: Final = 256 * 1024
#: What may be read again while looking for the next whole record; more is no document but noise.
_REREAD_LIMIT: Final = 2 * LINE_LIMIT
_ENVELOPE_LIMIT: Final = 64 * 1024

_STRING: Final = rb'"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+"'
_TOKEN: Final = re.compile(_STRING + rb'|[{}\[\]"]')
_OPENING: Final = re.compile(rb"\{\s*(" + _STRING + rb")\s*:")
_FRESH: Final = re.compile(rb"(?<=\n)[ \t,]*+\{")
_EVENT: Final = re.compile(rb'\{\s*"event_[0-9]+"\s*:\s*\{')
_KEY: Final = re.compile(rb'"(\w{1,32})"\s*:\s*$')

#: Names of the lists in which services hand out their records: CloudTrail, Azure Monitor, Microsoft
#: Graph, CloudWatch Logs and others that page through an API.
_LISTS: Final = frozenset(
    ("records", "value", "logevents", "events", "results", "entries", "items", "data", "rows")
)


class Frame(NamedTuple):
    """How the records stand in a document: below how many brackets, and in the list of which name.

    `is_named` says that each record has a name of its own instead (psort -o json).
    """

    depth: int
    key: str | None = None
    is_named: bool = False


class Element(NamedTuple):
    """One record as found, and read. `envelope` holds the members of the object around its list."""

    number: int
    span: tuple[int, int] | None
    raw: bytes
    value: dict[str, Any]
    envelope: dict[str, Any]

    @property
    def position(self) -> str:
        """The record's name for people."""
        return f"record {self.number}"


def find_frame(head: bytes) -> Frame | None:
    """Return how the records of a document stand in it; None for one object a line, or no JSON."""
    text = as_utf8(head).lstrip()
    if text.startswith(b"["):
        return Frame(1) if re.match(rb"\[\s*+(?:\{|\]\s*$)", text) else None
    if not text.startswith(b"{"):
        return None
    if _EVENT.match(text):
        return Frame(1, is_named=True)
    key = _list_of_records(text)
    if key is not None:
        return Frame(2, key)
    line, _, rest = text.partition(b"\n")
    try:
        _, end = json.JSONDecoder().raw_decode(shown := line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return Frame(0) if _goes_on(line, rest) else None
    return Frame(0) if shown[end:].lstrip().startswith("{") else None


def _list_of_records(text: bytes) -> str | None:
    """Return the name of the list that holds the records, if the outer object is but an envelope."""
    depth = 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token == b"[" and depth == 1:
            key = _KEY.search(text, max(match.start() - 64, 0), match.start())
            if key is None or key[1].decode().lower() not in _LISTS:
                return None
            if not re.compile(rb"\s*+[{\]]").match(text, match.end()):
                return None
            name = key[1].decode()
            return name if _is_envelope(text, match.start(), name) else None
        if token in (b"{", b"["):
            depth += 1
        elif token in (b"}", b"]", b'"'):
            return None
        if depth > 1:
            return None
    return None


def _is_envelope(text: bytes, at: int, key: str) -> bool:
    """An object with a time of its own is a record, whatever lists it holds."""
    envelope = _envelope(text[:at], key)
    try:
        whole, _ = json.JSONDecoder().raw_decode(text.decode("utf-8", "replace"))
        envelope = {name: value for name, value in whole.items() if name != key}
    except (ValueError, RecursionError):
        pass  # longer than the head: what stands before the list tells
    scalars = not any(isinstance(value, dict) for value in envelope.values())
    return scalars and not any(field.is_certain for field in plan_for(tuple(envelope)).time)


def _envelope(opening: bytes, key: str) -> dict[str, Any]:
    try:
        found = ObjectReader().read(opening + b"[]}")
    except ValueError:
        return {}
    found.pop(key, None)
    return found


def _goes_on(line: bytes, rest: bytes) -> bool:
    """Whether a first line is the beginning of an object written over several."""
    bare = re.sub(_STRING, b"0", line).rstrip()
    following = rest.lstrip()[:1]
    if b'"' in bare or not following or not bare:
        return False
    last = bare[-1:]
    if last == b"{":
        return following in b'"}'
    if last == b",":
        return following == b'"' or bare.rfind(b"[") > bare.rfind(b"{")
    return last in b"[:" or following in b",}]"


def read_elements(stream: BinaryIO, frame: Frame, reader: ObjectReader) -> Iterator[Element | Damage]:
    """Yield every record of a document, or the damage in its place."""
    return _Walk(stream, frame, reader).run()


class _Walk:
    """One way through a document. Offsets count bytes of the content, places those of the buffer."""

    def __init__(self, stream: BinaryIO, frame: Frame, reader: ObjectReader) -> None:
        read = getattr(stream, "read1", stream.read)  # one step at a time: an error takes nothing along
        first = read(_BLOCK)
        name = next((name for mark, name in UTF16_MARKS if first.startswith(mark)), None)
        self._is_utf8 = name is None
        self._offset = len(codecs.BOM_UTF8) if first.startswith(codecs.BOM_UTF8) else 0
        self._buffer = first[self._offset :] if name is None else b""
        self._read: Callable[[], bytes] = (
            partial(read, _BLOCK) if name is None else _recoded(first, read, name)
        )
        self._frame = frame
        self._reader = reader
        self._at = 0  # where to go on
        self._is_hungry = False  # the buffer is used up
        self._has_ended = False
        self._open: list[bytes] = []  # brackets open outside of records
        self._is_in_list = False  # inside the list of the frame's name
        self._start: int | None = None  # of the record being read
        self._inner: list[bytes] = []  # brackets open in it
        self._gap: int | None = None if frame.depth else 0  # where what follows a record begins
        self._outer: int | None = None  # of the object around a list
        self._envelope: dict[str, Any] = {}
        self._number = 0
        self._reread = 0

    def run(self) -> Iterator[Element | Damage]:
        """Yield what the document holds."""
        while True:
            yield from self._tokens()
            if self._start is not None and len(self._buffer) - self._start > LINE_LIMIT:
                yield self._pass_over(f"A record of more than {LINE_LIMIT} bytes.")
            elif not self._is_hungry:
                continue
            elif not self._has_ended:
                self._refill()
            elif self._start is not None:
                yield self._pass_over("The record does not end.")
            else:
                break
        yield from self._close_gap(len(self._buffer))
        if self._open:
            end = len(self._buffer)
            yield self._damage(end, end, "The document ends before its last bracket.")

    def _refill(self) -> None:
        if self._outer is not None and len(self._buffer) - self._outer > _ENVELOPE_LIMIT:
            self._outer = None
        places = (self._start, self._gap, self._outer)
        keep = min(self._at, *(place for place in places if place is not None), len(self._buffer))
        if len(self._buffer) - keep > 2 * LINE_LIMIT:
            raise ParseError("The document has no records where they should be.")
        block = self._read()
        self._has_ended = not block
        self._buffer = self._buffer[keep:] + block
        self._offset += keep
        self._at -= keep
        self._start, self._gap, self._outer = (None if place is None else place - keep for place in places)

    def _tokens(self) -> Iterator[Element | Damage]:
        """Follow the brackets to the end of the buffer, or to a place that needs more bytes."""
        buffer, self._is_hungry = self._buffer, False
        for match in _TOKEN.finditer(buffer, self._at):
            token = match[0]
            self._at = match.end()
            if token == b'"':
                if not self._has_ended and buffer.find(b"\n", match.start()) < 0:
                    self._at, self._is_hungry = match.start(), True
                    return
                if self._start is not None:
                    yield self._pass_over("A text in it does not end.")
                    return
            elif token in (b"{", b"["):
                if self._start is not None:
                    self._inner.append(token)
                else:
                    yield from self._begin(token, match.start())
            elif token in (b"}", b"]"):
                if self._start is None:
                    yield from self._leave(token, match.start())
                    continue
                if (self._inner.pop() == b"{") != (token == b"}"):
                    yield self._pass_over("Its brackets do not match.")
                    return
                if not self._inner:
                    yield self._element(match.end())
                    if self._at != match.end():
                        return
        self._at, self._is_hungry = len(buffer), True

    def _begin(self, token: bytes, place: int) -> Iterator[Damage]:
        """Open a bracket: that of a record where one may stand, else one around records."""
        depth, key = self._frame.depth, self._frame.key
        if len(self._open) == depth and (key is None or self._is_in_list):
            yield from self._close_gap(place)
            self._start, self._inner = place, [token]
            return
        if not self._open:
            self._outer, self._envelope = place, {}
        if len(self._open) == depth - 1 and not self._frame.is_named and token == b"[":
            found = _KEY.search(self._buffer, max(place - 64, 0), place) if key else None
            if key is None or (found is not None and found[1].decode() == key):
                self._is_in_list, self._gap = True, place + 1
                if key is not None and self._outer is not None:
                    self._envelope = _envelope(self._buffer[self._outer : place], key)
        self._open.append(token)
        if len(self._open) > DEPTH_LIMIT:
            raise ParseError(f"The document is nested deeper than {DEPTH_LIMIT} levels around its records.")

    def _leave(self, token: bytes, place: int) -> Iterator[Damage]:
        """Close a bracket around records."""
        if not self._open or (self._open[-1] == b"{") != (token == b"}"):
            if self._gap is None:
                yield self._damage(place, place + 1, "A bracket that closes nothing.")
            return
        self._open.pop()
        if self._frame.depth and self._gap is not None:
            yield from self._close_gap(place)
            self._gap, self._is_in_list = None, False
        if not self._open:
            self._outer = None

    def _close_gap(self, place: int) -> Iterator[Damage]:
        if self._gap is not None and self._buffer[self._gap : place].strip(b" \t\r\n,\x1e"):
            yield self._damage(self._gap, place, "No JSON object.")

    def _element(self, end: int) -> Element | Damage:
        """Read what stands between two brackets; what is no object is passed over."""
        start = self._start or 0
        raw = self._buffer[start:end]
        try:
            value = self._reader.read(raw)
        except ValueError as error:
            return self._pass_over(str(error), end)
        self._start, self._gap = None, None if self._frame.is_named else end
        self._number += 1
        span = (self._offset + start, end - start) if self._is_utf8 else None
        return Element(self._number, span, raw, value, self._envelope)

    def _damage(self, start: int, end: int, reason: str) -> Damage:
        self._number += 1
        span = (self._offset + start, end - start) if self._is_utf8 else None
        raw = self._buffer[start : min(end, start + RAW_LIMIT)]
        return Damage(f"record {self._number}", reason, raw, span)

    def _pass_over(self, reason: str, end: int | None = None) -> Damage:
        """Give a record up, and go on at the next that begins with the same name.

        That may be inside of what its brackets seem to span, of which `end` is the end.
        """
        start, self._start = self._start or 0, None
        opening = _OPENING.match(self._buffer, start)
        alike = re.compile(rb"\{\s*+" + re.escape(opening[1]) + rb"\s*+:") if opening else _FRESH
        damage = self._damage(start, len(self._buffer), reason)
        begun, reached = self._offset + start, self._offset + self._at
        if end is None:
            found = self._search(alike, begun)
            self._is_hungry = found is None
            if found is None:
                self._open = []
            self._at = len(self._buffer) if found is None else found
        else:
            inside = alike.search(self._buffer, start + 1, end) if opening else None
            self._at = inside.start() if inside else end
        self._outer, self._gap = None, None if self._frame.is_named else self._at
        self._reread += max(reached - self._offset - self._at, 0)
        if self._reread > _REREAD_LIMIT:
            raise ParseError("The document is too damaged to find its records.")
        damage.span = (begun, self._offset + self._at - begun) if self._is_utf8 else None
        damage.raw = damage.raw[: self._offset + self._at - begun]
        return damage

    def _search(self, alike: re.Pattern[bytes], begun: int) -> int | None:
        """Return the next place like this behind an offset, having read on for it."""
        found = alike.search(self._buffer, begun - self._offset + 1)
        while found is None and not self._has_ended:
            block = self._read()
            self._has_ended = not block
            keep = max(len(self._buffer) - 4096, 0)
            self._buffer, self._offset = self._buffer[keep:] + block, self._offset + keep
            found = alike.search(self._buffer, max(begun - self._offset + 1, 0))
        return found.start() if found else None


def _recoded(first: bytes, read: Callable[[int], bytes], name: str) -> Callable[[], bytes]:
    """Return a reader that gives UTF-16 as UTF-8."""
    decoder = codecs.getincrementaldecoder(name)("replace")
    waiting = [first[2:]]

    def read_on() -> bytes:
        while True:
            block = waiting.pop() if waiting else read(_BLOCK)
            text = decoder.decode(block, final=not block)
            if text or not block:
                return text.encode()

    return read_on
