"""How many processes read on this machine at once, whichever runs and workers they are of.

A place is a locked file: it is free again when its holder dies. Every run reads with one process,
with a place or without; it takes further ones only with places, and gives them up between two
pieces when a run that came later has none.
"""

from __future__ import annotations

import fcntl
from io import BufferedWriter
from pathlib import Path

from django.conf import settings

#: A place, held until it is closed.
Place = BufferedWriter


class Places:
    """The places below a directory, shared by all that read on a machine."""

    def __init__(self, root: Path, count: int) -> None:
        self._root = root
        self._count = count

    def take(self) -> Place | None:
        """Return a place, None if all are taken."""
        return next((place for name in range(self._count) if (place := self._lock(str(name)))), None)

    def want(self) -> Place:
        """Say that a run reads without a place, until what is returned is closed."""
        file = self._open("wanted")
        fcntl.flock(file, fcntl.LOCK_SH)
        return file

    def are_wanted(self) -> bool:
        """Say whether any run reads without a place."""
        file = self._lock("wanted")
        if file is None:
            return True
        file.close()
        return False

    def _lock(self, name: str) -> Place | None:
        file = self._open(name)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return file

    def _open(self, name: str) -> Place:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        return (self._root / name).open("ab")


def of_this_machine() -> Places:
    """Return the places that the settings give."""
    return Places(settings.WORK_ROOT / "places", settings.RUN_PARTS)
