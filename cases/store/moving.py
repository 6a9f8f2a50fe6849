"""From one place to another: every content read, hashed, put, and read back there; nothing removed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from cases.store.content import Absent, Place, Stored, hash_of
from cases.store.folder import Folder
from cases.store.intake import draft_of


class Outcome(StrEnum):
    """What became of one content."""

    COPIED = "copied"
    THERE = "there"
    CHANGED = "changed"


#: Outcomes after which the target holds content that was read there and has its hash.
VERIFIED: Final = (Outcome.COPIED, Outcome.THERE)


@dataclass(frozen=True, slots=True)
class Moved:
    """One content, and what became of it; `changed` was not copied: it is not what came in."""

    key: str
    outcome: Outcome


def copy_contents(source: Place, target: Place) -> Iterator[Moved]:
    """Yield every content of the source once the target holds it, or could not be given it.

    May be stopped and begun again at any time: what the target holds is read there and not
    copied again. Raises StoreDown and NoSpace.
    """
    target.check()
    for key in source.keys():  # noqa: SIM118
        if target.holds(key):
            yield Moved(key, Outcome.THERE)
        else:
            yield Moved(key, _copy(source, target, key))


def _copy(source: Place, target: Place, key: str) -> Outcome:
    root: Path | None = target.root if isinstance(target, Folder) else None
    try:
        with draft_of(source.blocks(key), room=source.size(key) or 0, root=root) as stored:
            if stored.sha256 != hash_of(key):
                return Outcome.CHANGED
            _settle(target, stored)
    except Absent:
        return Outcome.CHANGED
    return Outcome.COPIED


def _settle(target: Place, stored: Stored) -> None:
    assert stored.draft is not None  # noqa: S101
    target.settle(stored.draft, stored)
