"""Files that are whole or not there: written as `.part`, made to last, then renamed."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from datamortem.revisions.backup.errors import BackupFailed
from datamortem.revisions.backup.sidecar import sidecar_of

_PREFIX: Final = "datamortem-"


def made_ready(directory: Path) -> Path:
    """Return the directory of the backups, made for its owner alone if missing, without old leftovers."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep(directory)
    except OSError as error:
        raise BackupFailed(
            f"The directory {directory} cannot be used for backups: {error.strerror}. Nothing was changed. "
            "Name another with BACKUP_URL, or make this one writable."
        ) from error
    return directory


@contextmanager
def claimed(directory: Path, revision: str, now: datetime, suffix: str) -> Iterator[tuple[Path, BinaryIO]]:
    """Give the name of a new backup, and its empty `.part`, open and locked; removed if still there.

    The lock tells a `.part` that is being written from one that a killed process left.
    """
    stem = f"{_PREFIX}{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{_harmless(revision)}"
    for number in range(1, 1000):
        path = directory / f"{stem}{f'-{number}' if number > 1 else ''}{suffix}"
        part = part_of(path)
        try:
            handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            continue
        except OSError as error:
            raise BackupFailed(
                f"{part} cannot be written: {error.strerror}. Nothing was changed. "
                "Name another directory with BACKUP_URL, or make this one writable."
            ) from error
        with os.fdopen(handle, "w+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                if path.exists() or sidecar_of(path).exists():
                    continue  # made in the same second, and done by now
                yield path, file
                return
            finally:
                _remove(part)
                _remove(part_of(sidecar_of(path)))
    raise BackupFailed(f"A thousand backups of {now:%H:%M:%S} lie in {directory}. Nothing was changed.")


def publish(path: Path, sidecar: str) -> None:
    """Give a written `.part` its name, and the sidecar its place first: no backup is without one."""
    beside = sidecar_of(path)
    draft = part_of(beside)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(sidecar)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(beside)
    _make_last(path.parent)
    part_of(path).rename(path)
    _make_last(path.parent)


def part_of(path: Path) -> Path:
    """Return what a file is called until it is whole."""
    return path.with_name(f"{path.name}.part")


def _harmless(revision: str) -> str:
    """Return a revision as part of a file name."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", revision).strip("-")[:80] or "none"


def _sweep(directory: Path) -> None:
    """Remove what killed processes left: a `.part` that nobody holds, and what lies beside it."""
    for part in directory.glob(f"{_PREFIX}*.part"):
        try:
            handle = os.open(part, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            continue  # gone meanwhile, or a link that is none of ours
        with os.fdopen(handle, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            _remove(part)


def _remove(part: Path) -> None:
    for place in (part, *(part.with_name(part.name + end) for end in ("-journal", "-wal", "-shm"))):
        with suppress(FileNotFoundError):
            place.unlink()


def _make_last(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
