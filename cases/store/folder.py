"""Evidence in a folder, of this machine or shared by several (NFS 4, CephFS and the like).

Content is readable by the owner alone and writable by nobody. A hard link puts it in its place:
that never overwrites, on shared folders too, and the whole content is there or none of it.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Final

from cases.store.content import BLOCK, Absent, NoSpace, Place, Stored, StoreDown, is_key

logger = logging.getLogger(__name__)

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)


class Folder(Place):
    """A directory that holds evidence."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = str(root)

    def check(self) -> None:
        """Make the directories if they are not there."""
        with _speaking():
            make_directories(self.root)

    def settle(self, draft: Path, stored: Stored) -> bool:
        """Link the draft into its place."""
        with _speaking():
            make_directories(self.root)
            place = self.root / stored.key
            place.parent.mkdir(mode=0o700, exist_ok=True)
            draft.chmod(0o400)
            try:
                os.link(draft, place)
            except FileExistsError:
                if not self.holds(stored.key):
                    # The copy on the disk rotted; the same content has just come in whole.
                    logger.error(
                        "Stored content %s had changed and was replaced by an intact copy.", stored.sha256
                    )
                    self._replace(draft, place)
                return False
            for directory in (place.parent, place.parent.parent):
                _sync(directory)
            return True

    def _replace(self, draft: Path, place: Path) -> None:
        beside = draft.with_name(f"{draft.name}.{uuid.uuid4().hex}")
        os.link(draft, beside)
        os.replace(beside, place)  # noqa: PTH105
        _sync(place.parent)

    def size(self, key: str) -> int | None:
        """Ask by opening: other machines' removals are seen then, where attributes are cached (NFS)."""
        try:
            with self.open(key) as file, _speaking():
                return os.fstat(file.fileno()).st_size
        except Absent:
            return None

    def open(self, key: str) -> FileIO:
        """Open the file; a link or a pipe put in its place is not followed."""
        try:
            with _speaking(missing=(errno.ENOENT, errno.ENOTDIR, errno.ELOOP)):
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                descriptor = os.open(self.root / key, flags)
        except _Missing:
            if not (self.root / "sha256").is_dir():
                raise StoreDown(
                    "The evidence folder holds nothing at all: is its volume mounted? See EVIDENCE_URL."
                ) from None
            raise Absent("The stored bytes are not there.") from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise Absent("There is no regular file where the bytes should be.")
        return FileIO(descriptor, "rb")

    def blocks(self, key: str, *, start: int = 0) -> Iterator[bytes]:
        """Yield what the file holds."""
        with self.open(key) as file:
            file.seek(start)
            while block := _read(file):
                yield block

    def remove(self, key: str) -> None:
        """Unlink the file."""
        with _speaking():
            (self.root / key).unlink(missing_ok=True)

    def keys(self) -> Iterator[str]:
        """Yield them directory by directory."""
        for place in sorted((self.root / "sha256").glob("*/*")):
            if is_key(key := place.relative_to(self.root).as_posix()):
                yield key

    def sweep(self) -> int:
        """Nothing is left in a folder but drafts, which are swept with those of all places."""
        return 0

    def local(self, key: str) -> Path:
        """Return the file itself."""
        return self.root / key


def make_directories(root: Path) -> None:
    """Make the directories of a store for the owner alone; the root first: parents get no mode."""
    for name in (".", "incoming", "sha256"):
        (root / name).mkdir(mode=0o700, parents=True, exist_ok=True)


def _read(file: FileIO) -> bytes:
    with _speaking():
        return file.read(BLOCK)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Missing(Exception):
    """There is no file, or a link in its place."""


@contextmanager
def _speaking(*, missing: tuple[int, ...] = ()) -> Iterator[None]:
    """Turn errors of the volume into refusals, those that mean a missing file into _Missing."""
    try:
        yield
    except OSError as error:
        if error.errno in missing:
            raise _Missing from error
        if error.errno in _FULL:
            raise NoSpace("The volume of the evidence is full: make room, then try again.") from error
        if error.errno in _NO_LINKS:
            raise StoreDown(
                "The volume of EVIDENCE_URL knows no hard links (FAT, some mounts of SMB and FUSE): "
                "use one that does, or a bucket."
            ) from error
        raise StoreDown(f"The volume of the evidence does not work: {error.strerror}.") from error
