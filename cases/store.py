"""The evidence store: bytes come in once, are read back, and never change.

Content lies at `sha256/ab/<hash>` below EVIDENCE_ROOT, readable by the owner alone and
writable by nobody, once however many cases hold it. What is still arriving lies in `incoming/`
under a lock that ends with its process, so that the sweep can tell it from what was cut off.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from django.conf import settings

from datamortem.common.errors import Conflict, Invalid, TooLarge, Unavailable

logger = logging.getLogger(__name__)

BLOCK: Final = 1024 * 1024
_CHECK_EVERY: Final = 64 * BLOCK
_GRACE: Final = 60.0  # seconds; a file is made a moment before it is locked
_KEY: Final = re.compile(r"sha256/([0-9a-f]{2})/(\1[0-9a-f]{62})", re.ASCII)


class Readable(Protocol):
    """Anything that hands out its bytes by `read`."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end."""


class NoSpace(Unavailable):
    """The volume of the evidence store would not hold it."""

    code = "no_space"


class Incomplete(Invalid):
    """Fewer bytes arrived than were announced."""

    code = "incomplete"


class NotSealed(Conflict):
    """This evidence has no bytes in the store."""

    code = "not_sealed"


@dataclass(frozen=True, slots=True)
class Stored:
    """Content that is safe in the store; `key` is its place there."""

    sha256: str
    size: int
    key: str


@contextmanager
def admit(
    content: Readable | Iterable[bytes],
    *,
    expected_size: int | None = None,
    limit: int | None = None,
    room: int = 0,
    is_held: Callable[[str], bool] = lambda sha256: False,
) -> Iterator[Stored]:
    """Take bytes in, hash them on arrival and again from the disk, and yield where they are.

    `room` is about how much will arrive, where the size is not known to the byte. Memory stays
    flat at any size. The caller registers the content inside the block; if that fails, content
    that was not there before is removed again, unless `is_held` says that it was registered
    nevertheless.
    Raises NoSpace before the first byte when the announced size cannot fit, TooLarge past
    `limit`, Incomplete when fewer bytes arrive than announced. Nothing is left behind then.
    """
    if limit is not None and (expected_size or 0) > limit:
        raise TooLarge(f"The file has {expected_size} bytes; {limit} are accepted.", field="file")
    _make_directories()
    _check_space(expected_size or room)
    draft = settings.EVIDENCE_ROOT / "incoming" / uuid.uuid4().hex
    try:
        with _open_draft(draft) as file:
            sha256, size = _write(content, file, limit=limit)
            if expected_size is not None and size != expected_size:
                raise Incomplete(f"{expected_size} bytes were announced, {size} arrived.", field="file")
            _check_read_back(draft, sha256)
            stored = Stored(sha256=sha256, size=size, key=f"sha256/{sha256[:2]}/{sha256}")
            with _only_one(sha256):
                is_new = _settle(draft, stored)
                try:
                    yield stored
                except BaseException:
                    # A commit may have been done and its answer lost, or Ctrl-C come after it.
                    if is_new and not is_held(sha256):
                        path(stored.key).unlink(missing_ok=True)
                    raise
    finally:
        draft.unlink(missing_ok=True)


def path(key: str | None) -> Path:
    """Return where the content of a key lies. Raises NotSealed for what is no key of ours."""
    if key is None or not _KEY.fullmatch(key):
        raise NotSealed("The bytes of this evidence were never taken into the evidence store.")
    place: Path = settings.EVIDENCE_ROOT / key
    return place


def hash_file(place: Path) -> str:
    """Return the SHA-256 of a file as it lies on the disk."""
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def matches(key: str | None, sha256: str | None) -> bool:
    """Read stored content and say whether it still has this hash; missing content has not."""
    place = path(key)
    return place.is_file() and hash_file(place) == sha256


@contextmanager
def removal(sha256: str) -> Iterator[Path]:
    """Yield the place of content while nobody can begin to hold it, for removing it."""
    _make_directories()
    with _only_one(sha256):
        yield path(f"sha256/{sha256[:2]}/{sha256}")


def sweep() -> int:
    """Remove what arrived in part from processes that are gone; return how many files."""
    removed = 0
    for draft in (settings.EVIDENCE_ROOT / "incoming").glob("*"):
        try:
            with draft.open("rb") as file:
                young = time.time() - os.fstat(file.fileno()).st_mtime < _GRACE
                if not young and _is_free(file):
                    draft.unlink()
                    removed += 1
        except OSError:
            continue  # it settled, or was swept, meanwhile; or is none of ours
    return removed


def contents() -> Iterator[str]:
    """Yield the key of everything in the store."""
    root: Path = settings.EVIDENCE_ROOT
    for place in sorted((root / "sha256").glob("*/*")):
        yield place.relative_to(root).as_posix()


def _make_directories() -> None:
    for name in (".", "incoming", "locks", "sha256"):  # the root first: parents get no mode
        (settings.EVIDENCE_ROOT / name).mkdir(mode=0o700, parents=True, exist_ok=True)


def _check_space(needed: int) -> None:
    free = shutil.disk_usage(settings.EVIDENCE_ROOT).free
    if free - settings.EVIDENCE_RESERVE < needed:
        raise NoSpace(
            f"The evidence store has {free} bytes free and keeps {settings.EVIDENCE_RESERVE} in reserve: "
            "make room on its volume, then send the file again."
        )


@contextmanager
def _open_draft(draft: Path) -> Iterator[BinaryIO]:
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _blocks(content: Readable | Iterable[bytes]) -> Iterator[bytes]:
    if hasattr(content, "read"):
        while block := content.read(BLOCK):
            yield block
    else:
        yield from content


def _write(content: Readable | Iterable[bytes], file: BinaryIO, *, limit: int | None) -> tuple[str, int]:
    digest, size, checked = hashlib.sha256(), 0, 0
    try:
        for block in _blocks(content):
            size += len(block)
            if limit is not None and size > limit:
                raise TooLarge(f"The file has more than {limit} bytes.", field="file")
            digest.update(block)
            _write_all(file, block)
            if size - checked >= _CHECK_EVERY:
                _check_space(0)
                checked = size
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace("The evidence store is full: make room, then send the file again.") from error
        raise
    return digest.hexdigest(), size


def _write_all(file: BinaryIO, block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[file.write(rest) :]


def _check_read_back(draft: Path, sha256: str) -> None:
    """Hash what the disk holds, not what the kernel still remembers."""
    with draft.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise Unavailable("The disk of the evidence store gave back other bytes than were written.")


def _settle(draft: Path, stored: Stored) -> bool:
    """Put the content in its place; return whether it was not there before."""
    place = path(stored.key)
    place.parent.mkdir(mode=0o700, exist_ok=True)
    draft.chmod(0o400)
    try:
        os.link(draft, place)
    except FileExistsError:
        if not matches(stored.key, stored.sha256):
            # The copy on the disk rotted; the same content has just come in whole.
            logger.error("Stored content %s had changed and was replaced by an intact copy.", stored.sha256)
            os.replace(draft, place)  # noqa: PTH105
        return False
    for directory in (place.parent, place.parent.parent):
        _sync(directory)
    return True


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _only_one(sha256: str) -> Iterator[None]:
    """Let one process at a time begin or end to hold contents that share two digits."""
    with (settings.EVIDENCE_ROOT / "locks" / sha256[:2]).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_free(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
