"""What a parser is, and the evidence as it sees it.

Parsers turn bytes into records. They know no Django, settings, network or clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, ClassVar

from cases.records import Damage, ParseError, Record

__all__ = ["Context", "Damage", "ParseError", "Parser", "Record", "Source"]

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
    def progress(self) -> float:
        """Return the part of the stored bytes that the newest stream has read, 0 to 1."""


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

    @abstractmethod
    def locate(self, source: Source, position: str, span: tuple[int, int] | None) -> bytes:
        """Return the bytes of a record as found. Raises ParseError when they are not there."""
