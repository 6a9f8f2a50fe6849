"""What the evidence store holds, what it refuses, and what a place for it must be able to do."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import RawIOBase
from pathlib import Path
from typing import Final, Protocol

from datamortem.common.errors import Conflict, Invalid, Unavailable

BLOCK: Final = 1024 * 1024
_KEY: Final = re.compile(r"sha256/([0-9a-f]{2})/(\1[0-9a-f]{62})", re.ASCII)


class Readable(Protocol):
    """Anything that hands out its bytes by `read`."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end."""


class NoSpace(Unavailable):
    """A volume would not hold it."""

    code = "no_space"


class StoreDown(Unavailable):
    """The place where evidence lies does not answer, or refuses us."""

    code = "store_unavailable"


class Incomplete(Invalid):
    """Fewer bytes arrived than were announced."""

    code = "incomplete"


class NotSealed(Conflict):
    """This evidence has no bytes in the store."""

    code = "not_sealed"


class Absent(Conflict):
    """The store does not hold this content, or holds another than a moment ago."""

    code = "source_unavailable"


@dataclass(frozen=True, slots=True)
class Stored:
    """Content that is safe in the store; `key` is its place there.

    `draft` holds its bytes on this machine while the intake lasts.
    """

    sha256: str
    size: int
    key: str
    draft: Path | None = field(default=None, compare=False, repr=False)


def key_of(sha256: str) -> str:
    """Return the key of content. Raises NotSealed for what is no SHA-256 in lower case."""
    return checked(f"sha256/{sha256[:2]}/{sha256}")


def is_key(key: str) -> bool:
    """Say whether this is a key as we make them."""
    return _KEY.fullmatch(key) is not None


def checked(key: str | None) -> str:
    """Return the key. Raises NotSealed for what is no key of ours."""
    if key is None or not is_key(key):
        raise NotSealed("The bytes of this evidence were never taken into the evidence store.")
    return key


def hash_of(key: str) -> str:
    """Return the SHA-256 that a key names."""
    return key.rpartition("/")[2]


class Place(ABC):
    """Where evidence lies: every content once, under its key, never changed.

    Each method raises StoreDown when the place does not answer. A key is one that was checked.
    """

    #: How people name it; without secrets.
    name: str

    @abstractmethod
    def check(self) -> None:
        """Ask whether the place answers, at the cost of one question. Raises StoreDown."""

    @abstractmethod
    def settle(self, draft: Path, stored: Stored) -> bool:
        """Put content in its place, read back there; return whether it was not there before.

        What is there is never overwritten, unless it is not what its key says. The draft stays.
        """

    @abstractmethod
    def size(self, key: str) -> int | None:
        """Return the size in bytes, None when nothing is there; never from a cache."""

    @abstractmethod
    def open(self, key: str) -> RawIOBase:
        """Return a stream that can seek, and asks for what is read of it. Raises Absent."""

    @abstractmethod
    def blocks(self, key: str, *, start: int = 0) -> Iterator[bytes]:
        """Yield the bytes from `start` to the end. Raises Absent."""

    @abstractmethod
    def remove(self, key: str) -> None:
        """Remove content, if it is there."""

    @abstractmethod
    def keys(self) -> Iterator[str]:
        """Yield the key of everything in the place, in order."""

    @abstractmethod
    def sweep(self) -> int:
        """Remove what cut-off uploads left in the place; return how many."""

    def local(self, key: str) -> Path | None:
        """Return the file that holds content, where processes of this machine can read it."""
        return None

    def digest(self, key: str) -> str | None:
        """Read content and return its SHA-256; None when it is missing, or changes meanwhile."""
        digest = hashlib.sha256()
        try:
            for block in self.blocks(key):
                digest.update(block)
        except Absent:
            return None
        return digest.hexdigest()

    def holds(self, key: str) -> bool:
        """Read content and say whether it is what its key says; missing content is not."""
        return self.digest(key) == hash_of(key)
