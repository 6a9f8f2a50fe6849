"""Where the embedded index lies on the disk, and how a shard becomes visible.

    ROOT/<case>/<shard>.json         the manifest: which parts the shard consists of
    ROOT/<case>/<shard>/<writer>/NNN   a part: one tantivy index, never changed once written

A writer is one of those that write a run: <run>-<number>-<token>. What it sealed is told by a
file in its directory until the run is published.

Names are hashes, so that no text of a user or of evidence becomes a path. A run is visible from
the moment its manifest takes the place of the one before, by one rename. Directories that no
manifest names are what crashed attempts left, or are being written.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from cases.index import text
from cases.index.document import VERSION
from cases.index.engine import IndexUnavailable

#: Raised when the layout or the meaning of the fields changes: such an index is rebuilt.
LAYOUT: Final = f"{VERSION}.1"

_LOCK: Final = "lock"
_SEALED: Final = "sealed.json"
_IGNORED: Final = (".tantivy-writer.lock", ".tantivy-meta.lock", ".managed.json")


@dataclass(frozen=True, slots=True)
class PartFacts:
    """One part as the manifest tells it; `files` holds size, ctime in ns and CRC-32 by name."""

    path: str  # below the case's directory
    events: int
    undated: int
    first: int | None
    last: int | None
    files: dict[str, tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a writer has made durable; `folded` are the parts (by path) that it took up."""

    parts: tuple[PartFacts, ...]
    folded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a shard consists of; `writers` are the directories that were published last."""

    case_id: str
    shard: str
    parts: tuple[PartFacts, ...]
    writers: tuple[str, ...] = ()

    @property
    def events(self) -> int:
        """The number of events."""
        return sum(part.events for part in self.parts)


def name_of(name: str) -> str:
    """Return the file name that stands for a case, a shard or a run."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class CaseDirectory:
    """The shards of one case on the disk."""

    def __init__(self, root: Path, case_id: str) -> None:
        self.case_id = case_id
        self.path = root / name_of(case_id)

    def manifests(self) -> dict[str, tuple[int, int, int]]:
        """Return what tells a manifest apart (inode, mtime in ns, size), by file name."""
        found = {}
        try:
            with os.scandir(self.path) as entries:
                for entry in entries:
                    if entry.name.endswith(".json"):
                        with suppress(FileNotFoundError):  # replaced or deleted in this moment
                            facts = (self.path / entry.name).stat()
                            found[entry.name] = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
        except FileNotFoundError:
            return {}
        return found

    def read(self, name: str) -> Manifest | None:
        """Return a manifest by file name, None if it is gone. Raises IndexUnavailable."""
        try:
            said = json.loads((self.path / name).read_bytes())
            if said["layout"] != LAYOUT:
                raise IndexUnavailable(
                    f"The index was made by another version ({said['layout']}, this one makes {LAYOUT})."
                    " Run: manage.py reindex"
                )
            writers = tuple(said.get("writers", ()))
            manifest = Manifest(said["case_id"], said["shard"], _parts(said["parts"]), writers)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IndexUnavailable(
                f"The index is damaged: the manifest {name} cannot be read. Run: manage.py reindex"
            ) from error
        except OSError as error:
            raise IndexUnavailable(f"The index cannot be read: {error.strerror}.") from error
        if manifest.case_id != self.case_id or name != f"{name_of(manifest.shard)}.json":
            raise IndexUnavailable(f"The index is damaged: the manifest {name} is another one's.")
        return manifest

    def shard(self, shard: str) -> Manifest | None:
        """Return the manifest of a shard, None if there is none. Raises IndexUnavailable."""
        return self.read(f"{name_of(shard)}.json")

    def new_writer(self, shard: str, run: str, part: int = 0) -> Path:
        """Return a new directory to write into; what earlier attempts left is removed."""
        home = self.path / name_of(shard)
        home.mkdir(parents=True, exist_ok=True)
        same = f"{_beginning(run)}{part:03d}-"
        with self.locked():
            self.remove_unnamed(shard, spared=(_beginning(run), same))
            directory = home / f"{same}{secrets.token_hex(4)}"
            directory.mkdir()
        return directory

    def publish(self, shard: str, *, run: str, append: bool) -> None:
        """Make what a run has sealed the shard, or a part of it, by one rename.

        The parts that it took up leave the shard by the same rename. Raises IndexUnavailable.
        """
        if not self.path.is_dir():
            raise IndexUnavailable(_OVERTAKEN)
        with self.locked():
            sealed = self._sealed(shard, run)
            before = self.shard(shard) if append else self._if_readable(shard)
            if not _is_published(before, run, sealed):
                if not sealed:
                    raise IndexUnavailable(_OVERTAKEN)
                self._write(_joined(self.case_id, shard, before if append else None, sealed))
            for name in sealed:
                (self.path / name_of(shard) / name / _SEALED).unlink()
            self.remove_unnamed(shard)

    def _sealed(self, shard: str, run: str) -> dict[str, Sealed]:
        """Return what the writers of a run have sealed, by directory."""
        found = {}
        for place in sorted((self.path / name_of(shard)).glob(f"{_beginning(run)}*/{_SEALED}")):
            said = text.load(place.read_bytes())
            found[place.parent.name] = Sealed(_parts(said["parts"]), tuple(said["folded"]))
        return found

    def _if_readable(self, shard: str) -> Manifest | None:
        """Return a manifest; None for one of another version, or damaged: about to be replaced."""
        try:
            return self.shard(shard)
        except IndexUnavailable:
            return None

    def discard(self, shard: str, writer: Path) -> None:
        """Remove what a writer wrote, unless it was published."""
        with suppress(FileNotFoundError, IndexUnavailable), self.locked():
            manifest = self.shard(shard)
            if manifest is None or writer.name not in (_writer_of(part) for part in manifest.parts):
                remove_tree(writer)

    def _write(self, manifest: Manifest) -> None:
        place = self.path / f"{name_of(manifest.shard)}.json"
        said = {"layout": LAYOUT, **asdict(manifest)}
        fresh = place.with_suffix(".fresh")
        with fresh.open("wb") as file:
            file.write(json.dumps(said, separators=(",", ":")).encode("ascii"))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(place)
        sync_directory(self.path)

    def delete(self, shard: str) -> None:
        """Remove a shard; nobody finds it from the first moment on."""
        with suppress(FileNotFoundError), self.locked():
            (self.path / f"{name_of(shard)}.json").unlink(missing_ok=True)
            sync_directory(self.path)
            remove_tree(self.path / name_of(shard))

    def drop(self) -> None:
        """Remove everything."""
        for name in self.manifests():
            (self.path / name).unlink(missing_ok=True)
        remove_tree(self.path)

    def erase(self, shard: str = "") -> None:
        """Remove what a deletion that crashed left of a shard, or of the case."""
        if not shard:
            self._remove_halves(self.path)
        for home in [self.path / name_of(shard)] if shard else self._homes():
            self._remove_halves(home)
            if not home.with_suffix(".json").exists():
                self._remove_all_but(home, set(), living=False)
                with suppress(OSError):  # somebody writes there just now, or there is nothing
                    home.rmdir()

    def _homes(self) -> list[Path]:
        return [place for place in sorted(self.path.glob("*")) if place.is_dir()]

    @staticmethod
    def _remove_halves(place: Path) -> None:
        for half in place.parent.glob(f".{place.name.lstrip('.')}.*"):
            shutil.rmtree(half, ignore_errors=True)

    def remove_unnamed(
        self, shard: str, *, living: bool = True, spared: tuple[str, str] | None = None
    ) -> list[str]:
        """Remove what a shard's manifest does not name; return the directories of writers.

        Without `living`, those that a process is writing just now are left alone. `spared` are a
        beginning of names that stay, and the beginning of those among them that do not.
        """
        manifest = self._if_readable(shard)
        parts = manifest.parts if manifest else ()
        named, writers = {part.path for part in parts}, {_writer_of(part) for part in parts}
        home = self.path / name_of(shard)
        for place in (place for writer in writers for place in (home / writer).iterdir()):
            if place.is_dir() and str(place.relative_to(self.path)) not in named:
                remove_tree(place)  # folded into a newer part
        if spared:
            others = {place.name for place in home.glob(f"{spared[0]}*")}
            writers |= {name for name in others if not name.startswith(spared[1])}
        return self._remove_all_but(home, writers, living=living)

    def _remove_all_but(self, home: Path, named: set[str], *, living: bool) -> list[str]:
        removed = []
        for directory in sorted(home.iterdir()) if home.is_dir() else ():
            if directory.name in named or (not living and is_being_written(directory)):
                continue
            remove_tree(directory)
            removed.append(directory.name)
        return removed

    def sweep(self, keep: set[str]) -> list[str]:
        """Remove shards not in `keep`, and what crashed; return what was removed."""
        removed: list[str] = []
        gone: set[str] = set()
        kept = {name_of(shard): shard for shard in keep}
        for name in self.manifests():
            if name.removesuffix(".json") in kept:
                continue
            manifest = None
            with suppress(IndexUnavailable):
                manifest = self.read(name)
            (self.path / name).unlink(missing_ok=True)
            removed.append(manifest.shard if manifest else name)
            gone.add(name.removesuffix(".json"))
        for home in sorted(self.path.iterdir()) if self.path.is_dir() else ():
            if home.is_dir() and home.name in kept:
                removed += self.remove_unnamed(kept[home.name], living=False)
            elif home.is_dir():
                left = self._remove_all_but(home, set(), living=False)
                removed += () if home.name in gone else left
                with suppress(OSError):  # somebody writes there just now
                    home.rmdir()
            elif home.suffix == ".fresh":
                home.unlink(missing_ok=True)
        return removed

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one who changes the manifests of the case. Raises FileNotFoundError."""
        with (self.path / _LOCK).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def seal(writer: Path, sealed: Sealed) -> None:
    """Tell durably what a writer has written."""
    write_durably(writer / _SEALED, asdict(sealed))


def _beginning(run: str) -> str:
    return f"{name_of(run)[:16]}-"


def _writer_of(part: PartFacts) -> str:
    return Path(part.path).parts[1]


def _parts(said: list[dict[str, Any]]) -> tuple[PartFacts, ...]:
    return tuple(
        PartFacts(**part | {"files": {name: tuple(held) for name, held in part["files"].items()}})
        for part in said
    )


def _is_published(manifest: Manifest | None, run: str, sealed: Collection[str]) -> bool:
    """Say whether a manifest is the one that these writers of a run were published by."""
    published = manifest.writers if manifest else ()
    return any(name.startswith(_beginning(run)) for name in published) and set(sealed) <= set(published)


def _joined(case_id: str, shard: str, before: Manifest | None, sealed: dict[str, Sealed]) -> Manifest:
    held = before.parts if before else ()
    folded = {path for one in sealed.values() for path in one.folded}
    if not folded <= {part.path for part in held}:
        raise IndexUnavailable("The shard has changed while this was written.")
    kept = [part for part in held if part.path not in folded]
    fresh = [part for one in sealed.values() for part in one.parts]
    return Manifest(case_id, shard, (*kept, *fresh), tuple(sealed))


def is_being_written(directory: Path) -> bool:
    """Say whether a living process holds the lock of a writer's directory."""
    try:
        with (directory / _LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def hold(directory: Path) -> Any:
    """Return the lock of a writer's directory, held until it is closed or the process ends."""
    file = (directory / _LOCK).open("wb")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def remove_tree(directory: Path) -> None:
    """Remove a directory, if it is there; whoever still writes into it finds no place any more.

    What a crash leaves of it is found by its name, by `CaseDirectory.erase`.
    """
    gone = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}")
    with suppress(FileNotFoundError):
        directory.rename(gone)
        shutil.rmtree(gone)


def sync_directory(directory: Path) -> None:
    """Make names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, value: Any) -> None:
    """Write JSON (`text.dump`) to a new file."""
    with path.open("xb") as file:
        file.write(text.dump(value))
        file.flush()
        os.fsync(file.fileno())


def file_facts(directory: Path) -> dict[str, tuple[int, int, int]]:
    """Return size, ctime and CRC-32 of the files of a part, which is complete."""
    found = {}
    for path in sorted(directory.iterdir()):
        if path.name not in _IGNORED:
            checksum = checksum_of(path)
            facts = path.stat()
            found[path.name] = (facts.st_size, facts.st_ctime_ns, checksum)
    return found


def check_files(directory: Path, files: dict[str, tuple[int, int, int]]) -> None:
    """Raise IndexUnavailable unless the files are those that were written.

    Only what was touched since (a restored copy, a flipped bit) is read to the end.
    """
    try:
        for name, (size, changed, checksum) in files.items():
            facts = (directory / name).stat()
            if facts.st_size != size:
                raise IndexUnavailable(f"The index is damaged: {name} has changed in size.{_REMEDY}")
            if facts.st_ctime_ns != changed and checksum_of(directory / name) != checksum:
                raise IndexUnavailable(f"The index is damaged: {name} is not as it was written.{_REMEDY}")
    except OSError as error:
        raise IndexUnavailable(f"The index cannot be read: {error.strerror}.{_REMEDY}") from error


_REMEDY: Final = " Run: manage.py reindex"
_OVERTAKEN: Final = "A later attempt has removed what this one wrote."


def checksum_of(path: Path) -> int:
    """Return the CRC-32 of a file."""
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return checksum
