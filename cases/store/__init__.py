"""The evidence store: bytes come in once, are read back, and never change.

This is its door. Content lies under the key `sha256/ab/<hash>`, once however many cases hold it,
in a folder (`folder`) or in a bucket (`bucket`), as EVIDENCE_URL says. The database decides who
holds what (`holding`), whatever machine asks.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from io import RawIOBase
from pathlib import Path

from django.conf import settings

from cases.store.content import (
    Absent,
    Incomplete,
    NoSpace,
    NotSealed,
    Readable,
    Stored,
    StoreDown,
    checked,
    hash_of,
)
from cases.store.copies import fetch
from cases.store.holding import discard, hold
from cases.store.intake import admit, draft_of, hash_file, sweep_drafts
from cases.store.places import place, place_at

logger = logging.getLogger(__name__)

__all__ = [
    "Absent",
    "Incomplete",
    "NoSpace",
    "NotSealed",
    "Readable",
    "StoreDown",
    "Stored",
    "admit",
    "checked",
    "contents",
    "discard",
    "fetch",
    "hash_file",
    "hold",
    "matches",
    "open_content",
    "path",
    "place",
    "place_at",
    "probe",
    "sweep",
]


def matches(key: str | None, sha256: str | None) -> bool:
    """Read stored content and say whether it still has this hash; missing content has not.

    Raises NotSealed for what is no key of ours, StoreDown when it cannot be read at all.
    """
    key = checked(key)
    return sha256 == hash_of(key) and place().holds(key)


def open_content(key: str | None) -> RawIOBase:
    """Return a stream over stored content that can seek and asks only for what is read.

    Raises NotSealed, Absent when it is not there, StoreDown.
    """
    return place().open(checked(key))


def path(key: str | None) -> Path:
    """Return where the content of a key lies in the folder. Raises NotSealed, also with a bucket."""
    key = checked(key)
    local = place().local(key)
    if local is None:
        raise NotSealed("This evidence lies in a bucket and has no path.")
    return local


def sweep() -> int:
    """Remove what uploads left that were cut off; return how many.

    A place that does not answer is asked again by the next sweep.
    """
    removed = sweep_drafts()
    try:
        return removed + place().sweep()
    except StoreDown as silence:
        logger.warning("What uploads left in the store could not be swept: %s", silence)
        return removed


def contents() -> Iterator[str]:
    """Yield the key of everything in the store. Raises StoreDown."""
    yield from place().keys()


def probe() -> str:
    """Put something in, read it, remove it; return what the store is for people.

    Asks no database. Raises DomainError or OSError when the store does not do its work.
    """
    there = place()
    there.check()
    content = b"dataMortem looks whether the evidence store keeps what it is given. "
    with draft_of([content, secrets.token_bytes(16)], root=settings.EVIDENCE_ROOT) as stored:
        assert stored.draft is not None  # noqa: S101
        try:
            there.settle(stored.draft, stored)
            kept = there.holds(stored.key) and there.size(stored.key) == stored.size
        finally:
            there.remove(stored.key)
    if not kept or there.size(stored.key) is not None:
        raise StoreDown("The evidence store does not keep or remove what it is told to. Do not use it.")
    return f"{there.name}: gives back what it is given"
