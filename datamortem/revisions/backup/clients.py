"""PostgreSQL's own programs: which ones, and how they are told where the server is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.pq import Conninfo

from datamortem.revisions.backup.errors import BackupFailed

#: Where Debian keeps the programs of each version; the ones on the PATH are a wrapper there.
DEBIAN: Final = Path("/usr/lib/postgresql")
_PROGRAMS: Final = ("pg_dump", "pg_restore", "psql")
_VERSION: Final = re.compile(r"\(PostgreSQL\) (\d+)(\S*)")


@dataclass(frozen=True, slots=True)
class Clients:
    """The programs of one version, and the environment that leads them to a server."""

    directory: Path
    major: int
    version: str
    environment: dict[str, str]
    #: SET ROLE of each session, as Django does it.
    role: str | None

    def command(self, program: str, *arguments: str) -> list[str]:
        """Return a command line; nothing secret is ever on it."""
        return [str(self.directory / program), *arguments]


def clients_for(connection: BaseDatabaseWrapper) -> Clients:
    """Return the programs that fit this server: its own version, else the next newer one.

    Raises BackupFailed: an older pg_dump refuses the server, or would forget what it does not know.
    """
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        server = int(cursor.fetchone()[0]) // 10000
    found = sorted(_installed(), key=lambda entry: entry[0])
    role = connection.settings_dict["OPTIONS"].get("assume_role")
    for major, version, directory in found:
        if major >= server:
            return Clients(directory, major, version, environment_for(connection), role)
    there = f"Found only version {', '.join(str(f[0]) for f in found)}." if found else "Found none."
    raise BackupFailed(
        f"Backups need pg_dump, pg_restore and psql of PostgreSQL {server} or newer. {there} Nothing was "
        f"changed. Install them: apt install postgresql-client-{server}, or put their directory in PG_BIN."
    )


def environment_for(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """Return an environment with what the settings say of the connection, as libpq's variables."""
    parameters = connection.get_connection_params()
    told = {
        option.envvar.decode(): str(parameters[option.keyword.decode()])
        for option in Conninfo.get_defaults()
        if option.envvar and parameters.get(option.keyword.decode()) not in (None, "")
    }
    return {**os.environ, **told, "PGAPPNAME": "datamortem backup", "LC_ALL": "C"}


def _installed() -> Iterator[tuple[int, str, Path]]:
    places = [Path(settings.PG_BIN)] if settings.PG_BIN else []
    if not places:
        places = [path.parent for path in DEBIAN.glob("*/bin/pg_dump")]
        if on_path := shutil.which("pg_dump"):
            places.append(Path(on_path).resolve().parent)
    for place in dict.fromkeys(places):
        if not all(os.access(place / program, os.X_OK) for program in _PROGRAMS):
            continue
        said = subprocess.run([place / "pg_dump", "--version"], capture_output=True, text=True, check=False)  # noqa: S603
        if match := _VERSION.search(said.stdout):
            yield int(match[1]), match[1] + match[2], place
