"""Content for a reading: the file in its folder, or one copy of it on the worker's own disk.

The reading process gets a path and never the keys of a bucket. A copy lies in the directory of
one attempt, is shared by everything that reads for it, and goes with that directory.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from cases.store.content import Absent, Place, StoreDown, checked, hash_of
from cases.store.intake import check_space, write_out
from cases.store.places import place

logger = logging.getLogger(__name__)

_WHAT: Final = "The work directory, which takes a copy of the evidence,"
#: Seconds that a place may be silent while a copy is made, and between two attempts.
PATIENCE: Final = 300.0
_PAUSES: Final = (0.5, 1.0, 2.0, 5.0)


def fetch(key: str | None, copy: Path, *, beat: Callable[[], None]) -> Path:
    """Return a local file that holds the content of a key: its own, or `copy`, made now.

    Other bytes than the key says are fetched a second time and then left to the reading, which
    hashes before it reads; so is a file that is missing. `beat` is called about once a second.
    Raises NotSealed, NoSpace before the first byte when it cannot fit, and StoreDown when the
    place has been silent for PATIENCE.
    """
    key, there = checked(key), place()
    if (local := there.local(key)) is not None:
        return local
    for _ in range(2):
        try:
            if _copied(there, key, copy, beat) == hash_of(key):
                break
        except Absent:
            copy.unlink(missing_ok=True)
            break
        logger.warning("The copy of %s has other bytes than came in.", key)
    return copy


class _Patience:
    """How long a silent place is waited for, beat by beat."""

    def __init__(self, beat: Callable[[], None]) -> None:
        self.beat = beat
        self.spoke()

    def spoke(self) -> None:
        """Begin anew: the place has answered."""
        self.failures, self.heard = 0, time.monotonic()

    def wait(self) -> None:
        """Pause before the next attempt; raise what was raised when it has been silent for too long."""
        if time.monotonic() - self.heard > PATIENCE:
            raise  # noqa: PLE0704
        logger.warning("The evidence store does not answer; the copy goes on when it does.")
        time.sleep(_PAUSES[min(self.failures, len(_PAUSES) - 1)])
        self.failures += 1
        self.beat()


def _copied(there: Place, key: str, copy: Path, beat: Callable[[], None]) -> str:
    """Make the copy; return its SHA-256."""
    patience = _Patience(beat)
    check_space(copy.parent, _size(there, key, patience), what=_WHAT)
    digest = hashlib.sha256()
    descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        beaten = time.monotonic()
        for block in write_out(_blocks(there, key, patience), file, copy.parent, what=_WHAT):
            digest.update(block)
            if time.monotonic() - beaten > 1:
                beat()
                beaten = time.monotonic()
    return digest.hexdigest()


def _size(there: Place, key: str, patience: _Patience) -> int:
    while True:
        try:
            return there.size(key) or 0
        except StoreDown:
            patience.wait()


def _blocks(there: Place, key: str, patience: _Patience) -> Iterator[bytes]:
    """Yield the content, and go on where the place fell silent once it speaks again."""
    position = 0
    while True:
        try:
            for block in there.blocks(key, start=position):
                position += len(block)
                patience.spoke()
                yield block
            return
        except StoreDown:
            patience.wait()
