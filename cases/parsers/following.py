"""Records of more than one line: an indented line goes on with the record before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from cases.parsers.lines import Line
from cases.records import Damage, ParseError, Record

#: One record takes in no more than this; further lines are damage, so that memory stays flat.
RECORD_LIMIT: Final = 256 * 1024
INDENT: Final = (b" ", b"\t")


class Held:
    """The newest record, kept back until it is sure that no line continues it."""

    def __init__(self) -> None:
        self._record: Record | None = None
        self._more: list[str] = []
        self._full = ""

    def swap(self, record: Record | None) -> Record | None:
        """Keep the record and return the one kept before, with the lines that continued it."""
        before, self._record = self._record, record
        if record is not None:
            self._full = ""
        if before is not None and self._more:
            before.message = "\n".join((before.message, *self._more))
            self._more = []
        return before

    def refusal(self, line: Line, text: str) -> str | None:
        """Append an indented line to the record kept and return None; else the reason why not."""
        record = self._record
        if record is None or record.span is None:
            return self._full or "An indented line without a record that it could continue."
        start = record.span[0]
        length = line.offset + line.length - start
        if length > RECORD_LIMIT:
            self._full = f"It continues {record.position}, which has {RECORD_LIMIT} bytes already."
            return self._full
        self._more.append(text)
        record.span = (start, length)
        return None


def followed(
    lines: Iterator[Line | Damage], read: Callable[[Line], list[Record | Damage]]
) -> Iterator[Record | Damage]:
    """Yield what lines say, each record with the indented lines that go on with it.

    `read` returns what stands in a line that does not begin with a space.
    """
    held = Held()
    swap = held.swap
    try:
        for item in _items(lines, read, held):
            before = swap(item if isinstance(item, Record) else None)
            if before is not None:
                yield before
            if isinstance(item, Damage):
                yield item
    except ParseError:
        if (last := swap(None)) is not None:
            yield last
        raise
    if (last := swap(None)) is not None:
        yield last


def _items(
    lines: Iterator[Line | Damage], read: Callable[[Line], list[Record | Damage]], held: Held
) -> Iterator[Record | Damage]:
    """Yield what begins with each line; lines that go on are appended to what is held."""
    for line in lines:
        if isinstance(line, Damage):
            yield line
        elif line.raw[:1] not in INDENT:
            yield from read(line)
        elif reason := held.refusal(line, line.text()):
            yield line.damage(reason)


def find_span(items: Iterable[Record | Damage], position: str) -> tuple[int, int]:
    """Return where a position is, for whoever knows its name alone. Raises ParseError."""
    for item in items:
        if item.position == position and item.span is not None:
            return item.span
    raise ParseError(f"There is no {position} in this evidence.")
