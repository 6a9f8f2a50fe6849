"""What a parser is, and the evidence as it sees it.

Parsers turn bytes into records. They know no Django, settings, network or clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, TypeVar

from cases.records import Damage, ParseError, Record

__all__ = ["Context", "Damage", "ParseError", "Parser", "Piece", "Record", "Source"]

T = TypeVar("T")

#: How many bytes of the (decompressed) content `Source.head` offers for choosing a parser.
HEAD_SIZE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Context:
    """What is known about an evidence from outside its bytes.

    `time_zone` is an IANA name that naive local times are read in; `reference` (aware) is the
    latest instant the evidence can speak of: its modification time, else when it was added.
    `options` are choices of the investigator for one parser, such as a CSV's column mapping.
    """

    time_zone: str = "UTC"
    reference: datetime | None = None
    host: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a content that a parser can read by itself: `start` up to `end`, in bytes.

    `first` is the number of its first line, chunk or entry. `entry` is a place in the stored file
    and the place in the content where unpacking can begin there. `state` is what the parser has to
    know of what comes before, as JSON.
    """

    start: int
    end: int
    first: int = 0
    is_last: bool = False
    entry: tuple[int, int] = (0, 0)
    state: dict[str, Any] = field(default_factory=dict)


class Source(ABC):
    """One evidence, opened for reading only: its content after decompression, and its name.

    Implemented in `cases.parsers.source`.
    """

    name: str
    path: Path
    context: Context
    compression: str | None

    @property
    @abstractmethod
    def head(self) -> bytes:
        """The first HEAD_SIZE bytes of the content, fewer if there are fewer."""

    @abstractmethod
    def open(self) -> BinaryIO:
        """Return a new stream over the decompressed content.

        Raises ParseError when the compressed stream is damaged, or grows past its bounds.
        """

    @abstractmethod
    def open_at(self, piece: Piece) -> BinaryIO:
        """Return a new stream that begins where the piece does, and goes on behind its end."""

    @abstractmethod
    def entry(self, offset: int) -> tuple[int, int]:
        """Return the last place at or before an offset of the content where unpacking can begin.

        In the stored file and in the content, as far as the newest stream has been read.
        """

    @abstractmethod
    def progress(self) -> float:
        """Return how much of the content, or of its piece, the newest stream has read, 0 to 1."""

    @abstractmethod
    def remember(self, name: str, make: Callable[[], T]) -> T:
        """Return what was made under a name before, or make it: what is told of the whole content."""


class Parser(ABC):
    """One artefact: recognises it by content and reads its records.

    `name` is what events carry as `source`; `version` is raised whenever the same bytes would
    give other events.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    description: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]

    @abstractmethod
    def accepts(self, source: Source) -> bool:
        """Look at the head and say whether this parser reads such content. Never raises for content."""

    @abstractmethod
    def parse(self, source: Source) -> Iterator[Record | Damage]:
        """Yield every record, or the damage in its place, in the order of the evidence.

        Raises ParseError when the file cannot be read at all, or not any further; what was
        yielded before stays true.
        """

    def cuts(self, source: Source, size: int) -> list[Piece]:
        """Return pieces of some `size` bytes that make up the content, in order; none: read it whole.

        Reading every piece by `read_piece` gives what `parse` gives: the same records under the same
        positions, the same damages, in the same order. It costs little beside reading, and raises
        ParseError where the content cannot be followed to its end.
        """
        return []

    def read_piece(self, source: Source, piece: Piece) -> Iterator[Record | Damage]:
        """Yield what `parse` yields for this piece of `cuts`, which another process may have made."""
        raise ParseError(f"{self.name} reads evidence as a whole.")

    @abstractmethod
    def locate(self, source: Source, position: str, span: tuple[int, int] | None) -> bytes:
        """Return the bytes of a record as found. Raises ParseError when they are not there."""
