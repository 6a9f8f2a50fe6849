"""Empty throw-away databases, of the vendor the tests run on, for tests that destroy or restore one."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True)
class Scratch:
    """A database of a test's own, under an alias of its own."""

    alias: str
    #: DATABASE_URL of other processes.
    url: str
    #: A private directory: DATAMORTEM_HOME of other processes, and room for a test's files.
    home: Path
    python: str = sys.executable

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """The connection of this thread."""
        return connections[self.alias]

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which `manage.py` works on this database."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        return {**kept, "DATABASE_URL": self.url, "DATAMORTEM_HOME": str(self.home)}

    def manage(
        self, *args: str, check: bool = True, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `manage.py` with these arguments in a process of its own; with `check`, it must exit 0."""
        done = subprocess.run(
            [self.python, "manage.py", *args],
            cwd=settings.BASE_DIR,
            env=self.environment,
            input=input,
            stdin=None if input is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"manage.py {' '.join(args)}\n{done.stdout}\n{done.stderr}"
        return done


@contextmanager
def scratch_database() -> Iterator[Scratch]:
    """Make an empty database beside the default one; it is closed and dropped afterwards.

    pytest-django must let the test reach databases: use the `scratch` fixture, and this for a
    second one beside it.
    """
    alias = f"scratch_{os.getpid()}_{secrets.token_hex(4)}"
    default = connections[DEFAULT_DB_ALIAS]
    with tempfile.TemporaryDirectory(prefix="datamortem-") as directory:
        home = Path(directory)
        name = alias if default.vendor == "postgresql" else str(home / "scratch.sqlite3")
        connections.settings[alias] = {**deepcopy(default.settings_dict), "NAME": name}
        try:
            with _created(default, name):
                yield Scratch(alias, _url(connections.settings[alias]), home)
        finally:
            connections[alias].close()
            del connections[alias]
            del connections.settings[alias]


@contextmanager
def _created(default: BaseDatabaseWrapper, name: str) -> Iterator[None]:
    if default.vendor != "postgresql":
        yield  # SQLite makes the file
        return
    with default._nodb_cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{name}"')
    try:
        yield
    finally:
        if name in connections:
            connections[name].close()
        with default._nodb_cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _url(parameters: dict[str, str]) -> str:
    if "sqlite3" in parameters["ENGINE"]:
        return f"sqlite:///{parameters['NAME']}"
    user = quote(parameters["USER"], safe="")
    password = f":{quote(parameters['PASSWORD'], safe='')}" if parameters["PASSWORD"] else ""
    port = f":{parameters['PORT']}" if parameters["PORT"] else ""
    return f"postgres://{user}{password}@{quote(parameters['HOST'], safe='')}{port}/{parameters['NAME']}"
