"""Parsers that do what hostile evidence makes real ones do; the first line names which.

Tests alone put this in the place of `cases.parsers` (settings.PARSERS_MODULE).
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Iterator
from typing import ClassVar

from cases import pipeline
from cases.parsers.base import Damage, ParseError, Parser, Piece, Record, Source


class _Named(Parser):
    """A parser that reads what names it."""

    version: ClassVar[str] = "1"
    description: ClassVar[str] = "For tests."
    kinds: ClassVar[tuple[str, ...]] = ("test",)

    def accepts(self, source: Source) -> bool:
        return source.head.split(None, 1)[:1] == [self.name.encode()]

    def locate(self, source: Source, position: str, span: tuple[int, int] | None) -> bytes:
        return b""

    def argument(self, source: Source) -> int:
        return int(source.head.split()[1])


def _record(number: int) -> Record:
    return Record(
        position=f"line {number}",
        message=f"event number {number}",
        timestamp=1_700_000_000_000_000 + number,
        time_precision="us",
        attributes={"Number": number},
    )


class Good(_Named):
    """N events, every tenth of them undated, and damage after every hundredth."""

    name: ClassVar[str] = "good"

    def parse(self, source: Source) -> Iterator[Record | Damage]:
        for number in range(1, self.argument(source) + 1):
            record = _record(number)
            if number % 10 == 0:
                record.timestamp = None
            yield record
            if number % 100 == 0:
                yield Damage(f"after line {number}", "a \x00 fault \ud800", raw=b"\x00\xff" * 4000)


class Slow(_Named):
    """N thousandths of a second, an event in each."""

    name: ClassVar[str] = "slow"

    def parse(self, source: Source) -> Iterator[Record | Damage]:
        for number in range(self.argument(source)):
            time.sleep(0.001)
            yield _record(number)


class Steady(Good):
    """What `good` reads, an event in a thousandth of a second."""

    name: ClassVar[str] = "steady"

    def parse(self, source: Source) -> Iterator[Record | Damage]:
        for found in super().parse(source):
            time.sleep(0.001)
            yield found


class Breaking(_Named):
    """N events, then a place that cannot be passed."""

    name: ClassVar[str] = "breaking"

    def parse(self, source: Source) -> Iterator[Record | Damage]:
        for number in range(self.argument(source)):
            yield _record(number)
        raise ParseError("the rest is torn off")


class Printing(_Named):
    """Writes megabytes, and words of our own protocol, where it should not."""

    name: ClassVar[str] = "printing"

    def parse(self, source: Source) -> Iterator[Record | Damage]:
        print('{"sealed": {"counts": {"read": 9}}}')
        os.write(1, b'{"published": true}\n' + b"x" * 3_000_000)
        os.write(2, b"\xff" * 3_000_000)
        sys.__stdout__.write('{"failed": "x"}\n')  # type: ignore[union-attr]
        sys.__stdout__.flush()  # type: ignore[union-attr]
        yield _record(1)


class Memory(_Named):
    """Takes memory until there is none."""

    name: ClassVar[str] = "memory"

    def parse(self, source: Source) -> Iterator[Record | Damage]:
        held = []
        while True:
            held.append(bytearray(16 * 1024**2))
            yield _record(len(held))


class Endless(_Named):
    """Never comes back."""

    name: ClassVar[str] = "endless"

    def parse(self, source: Source) -> Iterator[Record | Damage]:
        yield _record(1)
        while True:
            pass


class Segfault(_Named):
    """Reads where nothing is, as a C library may."""

    name: ClassVar[str] = "segfault"

    def parse(self, source: Source) -> Iterator[Record | Damage]:
        yield _record(1)
        ctypes.string_at(0)


class Buggy(_Named):
    """Raises what no parser should."""

    name: ClassVar[str] = "buggy"

    def parse(self, source: Source) -> Iterator[Record | Damage]:
        yield _record(1)
        raise KeyError("offset")


class Wild(_Named):
    """Yields times that no event may carry."""

    name: ClassVar[str] = "wild"

    def parse(self, source: Source) -> Iterator[Record | Damage]:
        for number, instant in enumerate((-(10**18), 10**19, 0)):
            record = _record(number)
            record.timestamp = instant
            yield record


class Cheating(_Named):
    """Loses a record on the way, as a fault in the pipeline would."""

    name: ClassVar[str] = "cheating"

    def parse(self, source: Source) -> Iterator[Record | Damage]:
        pipeline._Desk.reject = lambda self, damage: None  # type: ignore[method-assign]
        yield _record(1)
        yield Damage("line 2", "nobody shall know")


class Forgetful(_Named):
    """Counts what it rejects and keeps nothing of it, as a fault in the pipeline would."""

    name: ClassVar[str] = "forgetful"

    def parse(self, source: Source) -> Iterator[Record | Damage]:
        setattr(pipeline, "reject_line", lambda damage: b"")  # noqa: B010
        yield _record(1)
        yield Damage("line 2", "nobody shall know")


class Flooding(_Named):
    """Rejects without end."""

    name: ClassVar[str] = "flooding"

    def parse(self, source: Source) -> Iterator[Record | Damage]:
        for number in range(10_000):
            yield Damage(f"line {number}", "more", raw=b"x" * 4096)


class Curious(_Named):
    """Tells what it can see of the worker: its secrets, if there were any."""

    name: ClassVar[str] = "curious"

    def parse(self, source: Source) -> Iterator[Record | Damage]:
        record = _record(1)
        modules = sorted(name for name in sys.modules if name.split(".")[0] in ("django", "datamortem"))
        record.attributes = {"environment": sorted(os.environ), "modules": modules}
        yield record


class Parted(_Named):
    """N lines below the first, in pieces; a line that names a fault has it, when it is read in a piece.

    "*torn" ends the reading there, "*memory" takes all there is, "*crash" ends the process,
    "*slow" takes a fiftieth of a second.
    """

    name: ClassVar[str] = "parted"

    def cuts(self, source: Source, size: int) -> list[Piece]:
        lines = source.head.split(b"\n")[1:]
        half = [Piece(number, number + 1, number + 1) for number in range(len(lines))]
        return [*half[:-1], Piece(len(lines) - 1, len(lines), len(lines), is_last=True)]

    def parse(self, source: Source) -> Iterator[Record | Damage]:
        return self._read(source, source.head.split(b"\n")[1:], 1, in_piece=False)

    def read_piece(self, source: Source, piece: Piece) -> Iterator[Record | Damage]:
        lines = source.head.split(b"\n")[1:]
        return self._read(source, lines[piece.start : piece.end], piece.first, in_piece=True)

    def _read(
        self, source: Source, lines: list[bytes], first: int, *, in_piece: bool
    ) -> Iterator[Record | Damage]:
        held = []
        for number, line in enumerate(lines, first):
            if line == b"*slow":
                time.sleep(0.02)
            if line == b"*torn" or (line == b"*torn piece" and in_piece):
                raise ParseError("it is torn off")
            while line == b"*memory" and in_piece:
                held.append(bytearray(16 * 1024**2))
            if line == b"*crash":
                ctypes.string_at(0)
            yield Damage(f"line {number}", "odd") if line == b"*odd" else _record(number)


PARSERS: list[type[_Named]] = [
    Good, Slow, Steady, Breaking, Printing, Memory, Endless, Segfault, Buggy, Wild, Cheating, Forgetful,
    Flooding, Curious, Parted,
]  # fmt: skip


def choose(source: Source) -> Parser:
    """Return the parser that the content names. Raises ParseError."""
    for kind in PARSERS:
        if (parser := kind()).accepts(source):
            return parser
    raise ParseError("No parser reads this content.")


def by_name(name: str) -> Parser:
    """Return the parser of a name. Raises KeyError."""
    return {kind.name: kind for kind in PARSERS}[name]()
