"""The sidecar of a backup: what the file is, and the hash that tells whether it still is that."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, get_type_hints

from datamortem.revisions.backup.errors import BackupDamaged, BackupForeign

PRODUCT: Final = "datamortem"
#: Raised when a reader of the old format would misread the new one.
FORMAT: Final = 1
_LARGEST: Final = 16 * 1024**2
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """What is written beside a backup, as JSON with these names."""

    product: str
    format: int
    #: "postgresql" or "sqlite".
    vendor: str
    database: str
    server_version: str
    #: Version of the program that wrote the file.
    written_by: str
    revision: str
    #: UTC, ISO 8601.
    made_at: str
    #: In bytes.
    size: int
    sha256: str
    #: Rows of every table, by its quoted name.
    rows: dict[str, int]
    #: Recorded migrations, `app.name`.
    recorded: list[str]
    #: Schemas that were dumped, in the order of the search path (PostgreSQL).
    schemas: list[str]
    #: Roles that owned something there, and roles that were granted something (PostgreSQL).
    owners: list[str]
    grantees: list[str]

    def text(self) -> str:
        """Return the JSON of the file."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"


def sidecar_of(path: Path) -> Path:
    """Return where the sidecar of a backup lies."""
    return path.with_name(f"{path.name}.json")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(path: Path) -> Sidecar:
    """Return what a backup is, once its bytes are known to be those that were written.

    Raises BackupDamaged and BackupForeign.
    """
    path = Path(path)
    sidecar = read(path)
    try:
        size = path.stat().st_size if path.is_file() else None
        found = sha256_of(path) if size == sidecar.size else ""
    except OSError as error:
        raise BackupDamaged(f"{path} cannot be read: {error.strerror}. Nothing was changed.") from error
    if size is None:
        raise BackupDamaged(f"There is no file {path}. Name a backup: the .dump or .sqlite3 file.")
    if size != sidecar.size:
        raise BackupDamaged(
            f"{path} has {size} bytes, its sidecar says {sidecar.size}: the file is damaged or not the one "
            "that was written. Nothing was changed. Take another backup, or another copy of this one."
        )
    if found != sidecar.sha256:
        raise BackupDamaged(
            f"{path} has the SHA-256 {found}, its sidecar says {sidecar.sha256}: the file is damaged or not "
            "the one that was written. Nothing was changed. Take another backup, or another copy of this one."
        )
    return sidecar


def read(path: Path) -> Sidecar:
    """Return the sidecar of a backup, its values of the types they must have. Raises as `verify`."""
    place = sidecar_of(path)
    try:
        if not place.is_file():
            raise BackupDamaged(
                f"{path} has no sidecar ({place}), so nobody can tell whether it is whole. "
                "Nothing was changed. Copy the .json file that was written with it, too."
            )
        with place.open("rb") as file:
            held = json.loads(file.read(_LARGEST))
    except OSError as error:
        raise BackupDamaged(f"The sidecar {place} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise BackupDamaged(f"The sidecar {place} is not JSON: {error}. Nothing was changed.") from error
    if not isinstance(held, dict) or held.get("product") != PRODUCT:
        raise BackupForeign(f"{path} is no backup of dataMortem, says its sidecar. Nothing was changed.")
    if held.get("format") != FORMAT:
        raise BackupForeign(
            f"{path} was written in format {held.get('format')!r}, this version reads format {FORMAT}. "
            "Nothing was changed. Use the version of dataMortem that wrote it, or a newer one."
        )
    return _typed(held, place)


def _typed(held: dict[str, Any], place: Path) -> Sidecar:
    hints = get_type_hints(Sidecar)
    for field in fields(Sidecar):
        if not _is_a(held.get(field.name), hints[field.name]):
            raise BackupDamaged(f"The sidecar {place} has no sensible {field.name!r}. Nothing was changed.")
    if not _SHA256.fullmatch(held["sha256"]):
        raise BackupDamaged(f"The sidecar {place} has no sensible 'sha256'. Nothing was changed.")
    return Sidecar(**{field.name: held[field.name] for field in fields(Sidecar)})


def _is_a(value: object, hint: object) -> bool:
    if hint == dict[str, int]:
        return isinstance(value, dict) and all(type(count) is int for count in value.values())
    if hint == list[str]:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return type(value) is hint
