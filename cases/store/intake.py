"""How bytes come into the store: written beside, hashed, read back, and put in their place.

What is still arriving lies in `incoming/` below EVIDENCE_ROOT (with a bucket: of this machine),
under a lock that ends with its process, so that the sweep can tell it from what was cut off.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from django.conf import settings

from cases.store import holding
from cases.store.content import BLOCK, Incomplete, NoSpace, Readable, Stored, StoreDown, key_of
from cases.store.folder import make_directories
from cases.store.places import place
from datamortem.common.errors import TooLarge

_CHECK_EVERY: Final = 64 * BLOCK
_GRACE: Final = 60.0  # seconds; a file is made a moment before it is locked
#: Drafts of other machines: some shared volumes keep locks to the machine that took them.
_GRACE_ELSEWHERE: Final = 24 * 3600.0


def _nobody(sha256: str) -> bool:
    return False


@contextmanager
def admit(
    content: Readable | Iterable[bytes],
    *,
    expected_size: int | None = None,
    limit: int | None = None,
    room: int = 0,
    is_held: Callable[[str], bool] = _nobody,
) -> Iterator[Stored]:
    """Take bytes in, hash them on arrival and again from where they lie, and yield that.

    `room` is about how much will arrive, where the size is not known to the byte. Memory stays
    flat at any size. The caller registers the content inside the block, in a transaction that
    begins with `hold`; if that fails, content that was not there before is removed again, unless
    `is_held` says that it was registered nevertheless.
    Raises NoSpace before the first byte when the announced size cannot fit, StoreDown when the
    place does not answer, TooLarge past `limit`, Incomplete when fewer bytes arrive than
    announced. Nothing is left behind then.
    """
    if limit is not None and (expected_size or 0) > limit:
        raise TooLarge(f"The file has {expected_size} bytes; {limit} are accepted.", field="file")
    there = place()
    there.check()
    with draft_of(content, expected_size=expected_size, limit=limit, room=room) as stored:
        assert stored.draft is not None  # noqa: S101
        is_new = there.settle(stored.draft, stored)
        try:
            yield stored
        except BaseException:  # Ctrl-C may come after the commit
            if is_new:
                holding.withdraw(stored, is_held)
            raise


@contextmanager
def draft_of(
    content: Readable | Iterable[bytes],
    *,
    expected_size: int | None = None,
    limit: int | None = None,
    room: int = 0,
    root: Path | None = None,
) -> Iterator[Stored]:
    """Write content to a draft below `root` (EVIDENCE_ROOT), read it back, and yield what it is.

    The draft goes at the end of the block. Raises as `admit` does.
    """
    root = root or settings.EVIDENCE_ROOT
    make_directories(root)
    check_space(root, expected_size or room)
    draft = root / "incoming" / f"{_machine()}-{uuid.uuid4().hex}"
    try:
        with _open_draft(draft) as file:
            sha256, size = _write(content, file, root, limit=limit)
            if expected_size is not None and size != expected_size:
                raise Incomplete(f"{expected_size} bytes were announced, {size} arrived.", field="file")
            _check_read_back(draft, sha256)
            yield Stored(sha256=sha256, size=size, key=key_of(sha256), draft=draft)
    finally:
        draft.unlink(missing_ok=True)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file as it lies on the disk."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sweep_drafts() -> int:
    """Remove what arrived in part from processes that are gone; return how many files."""
    removed = 0
    for draft in (settings.EVIDENCE_ROOT / "incoming").glob("*"):
        grace = _GRACE if draft.name.startswith(f"{_machine()}-") else _GRACE_ELSEWHERE
        try:
            with draft.open("rb") as file:
                young = time.time() - os.fstat(file.fileno()).st_mtime < grace
                if not young and _is_free(file):
                    draft.unlink()
                    removed += 1
        except OSError:
            continue  # it settled, or was swept, meanwhile; or is none of ours
    return removed


def check_space(directory: Path, needed: int, *, what: str = "The evidence store") -> None:
    """Raise NoSpace where so many bytes would eat into the reserve."""
    free = shutil.disk_usage(directory).free
    if free - settings.EVIDENCE_RESERVE < needed:
        raise NoSpace(
            f"{what} has {free} bytes free and keeps {settings.EVIDENCE_RESERVE} in reserve: "
            "make room on its volume, then try again."
        )


def write_out(blocks: Iterable[bytes], file: BinaryIO, directory: Path, *, what: str) -> Iterator[bytes]:
    """Write blocks to an unbuffered file and yield each again, watching the space. Raises NoSpace."""
    size = checked = 0
    try:
        for block in blocks:
            _write_all(file, block)
            size += len(block)
            if size - checked >= _CHECK_EVERY:
                check_space(directory, 0, what=what)
                checked = size
            yield block
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"{what} is full: make room, then try again.") from error
        raise


def _machine() -> str:
    """Return what tells the drafts of this machine from those of others."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


@contextmanager
def _open_draft(draft: Path) -> Iterator[BinaryIO]:
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _blocks(content: Readable | Iterable[bytes], limit: int | None) -> Iterator[bytes]:
    blocks = iter(lambda: content.read(BLOCK), b"") if hasattr(content, "read") else content
    size = 0
    for block in blocks:
        size += len(block)
        if limit is not None and size > limit:
            raise TooLarge(f"The file has more than {limit} bytes.", field="file")
        yield block


def _write(
    content: Readable | Iterable[bytes], file: BinaryIO, root: Path, *, limit: int | None
) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    for block in write_out(_blocks(content, limit), file, root, what="The evidence store"):
        digest.update(block)
        size += len(block)
    os.fsync(file.fileno())
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
            raise StoreDown("The disk of the evidence store gave back other bytes than were written.")


def _is_free(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
