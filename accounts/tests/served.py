"""The site behind several server processes, on the database of a test; counts what is hashed."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

from django.contrib.auth.hashers import PBKDF2PasswordHasher

ROOT = Path(__file__).parents[2]
#: Where each hash is counted by a byte; the environment names it, as the processes share nothing else.
COUNTED = "DATAMORTEM_TEST_HASHES"
_SETTINGS = "DATAMORTEM_TEST_SETTINGS"


class CountingHasher(PBKDF2PasswordHasher):
    """Takes some milliseconds, and leaves a byte in a file for each password it is asked to hash."""

    algorithm = "counted"
    iterations = 20_000

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        """Return the hash."""
        with Path(os.environ[COUNTED]).open("ab", buffering=0) as file:  # appends whole, whoever else does
            file.write(b".")
        return super().encode(password, salt, iterations)

    def harden_runtime(self, password: str, encoded: str) -> None:
        """Do nothing: it would be counted."""


@dataclass(frozen=True)
class Site:
    """A site that answers."""

    port: int

    def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        """Return status, body and headers of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {"Content-Type": "application/json", **(headers or {})}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, json.loads(content) if content else None, dict(answer.getheaders())
        finally:
            connection.close()

    def text(self, path: str) -> str:
        """Return the body of an answer that is no JSON."""
        with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return str(answer.read().decode())

    def status_of(self, path: str, authorizations: Iterable[str]) -> int:
        """Return the status of an answer to a request with several `Authorization` headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.putrequest("GET", path)
            for authorization in authorizations:
                connection.putheader("Authorization", authorization)
            connection.endheaders()
            return connection.getresponse().status
        finally:
            connection.close()


@contextmanager
def served(*, workers: int = 3, threads: int = 8, **changed: object) -> Iterator[Site]:
    """Serve by gunicorn, with settings changed; the processes end with the block."""
    from django.conf import settings
    from django.db import connection

    held = connection.settings_dict
    if connection.vendor == "sqlite":
        database = f"sqlite:///{held['NAME']}"
    else:
        user = ":".join(quote(str(held[part]), safe="") for part in ("USER", "PASSWORD") if held[part])
        database = f"postgres://{user}@{held['HOST']}:{held['PORT']}/{held['NAME']}"
    environment = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "DATABASE_URL": database,
        "DATAMORTEM_HOME": str(settings.HOME),
        "SECRET_KEY": settings.SECRET_KEY,
        "LOG_LEVEL": "CRITICAL",
        COUNTED: os.environ.get(COUNTED, os.devnull),
        _SETTINGS: json.dumps({"WHITENOISE_AUTOREFRESH": True, **changed}),
    }
    with socket.create_server(("127.0.0.1", 0)) as door:
        command = [sys.executable, "-m", "gunicorn", "accounts.tests.served:application()"]
        process = subprocess.Popen(
            [*command, "--bind", f"fd://{door.fileno()}", "--worker-class", "gthread", "--no-control-socket",
             "--workers", str(workers), "--threads", str(threads), "--log-level", "critical"],
            cwd=ROOT, env=environment, pass_fds=(door.fileno(),), stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        site = Site(door.getsockname()[1])
        try:
            assert site.ask("GET", "/healthz")[0] == 200  # the socket listens: this waits for a worker
            yield site
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def application() -> Any:
    """Return what gunicorn serves."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "datamortem.settings"
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application

    for name, value in json.loads(os.environ[_SETTINGS]).items():
        setattr(settings, name, value)
    return get_wsgi_application()
