"""The services of docker/compose.yml as processes of this machine, by the commands that it gives them.

What differs from containers: addresses are of loopback with free ports, directories are below one
of ours, and of the images of others it is Debian's PostgreSQL and Redis and the OpenSearch of
`.ci/opensearch/serve` that run.
"""

from __future__ import annotations

import http.client
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
_STACK: Final = yaml.safe_load((ROOT / "docker/compose.yml").read_text())["services"]
_PORTS: Final = {"db": 5432, "redis": 6379, "search": 9200, "web": 8000}
_OURS: Final = ("migrate", "web", "worker")


def missing() -> str:
    """Return what this machine lacks to run the stack, or an empty text."""
    if not os.environ.get("TEST_SEARCH_URL"):
        return "make test-services runs it"
    if not postgres_bin():
        return "apt install postgresql"
    return "" if shutil.which("redis-server") else "apt install redis-server"


def postgres_bin() -> Path | None:
    """Return the directory of the newest PostgreSQL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]))
    return found[-1].parent if found else None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as door:
        return int(door.getsockname()[1])


class Stack:
    """The services, started and ended one by one."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="datamortem-stack-"))
        self.ports = {name: _free_port() for name in _PORTS}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        # The database refuses to run as root.
        self.user = "postgres" if os.geteuid() == 0 else None
        self._make_database()

    def _make_database(self) -> None:
        home = self.home / "db"
        home.mkdir()
        if self.user:
            found = pwd.getpwnam(self.user)
            os.chown(home, found.pw_uid, found.pw_gid)
            self.home.chmod(0o711)  # the server's user must be able to enter
        arguments = _STACK["db"]["environment"]["POSTGRES_INITDB_ARGS"].split()
        initdb = [f"{postgres_bin()}/initdb", "-D", f"{home}/data", "-U", "datamortem", "-A", "trust"]
        subprocess.run([*initdb, *arguments], check=True, capture_output=True, cwd="/", user=self.user)

    def _local(self, text: str) -> str:
        """Return a word of the compose file as it must be here."""
        text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
        text = re.sub(r"\$\{\w+:\?[^}]*\}", "password", text)
        for name, port in _PORTS.items():
            text = re.sub(
                rf"\b(?:{name}|127\.0\.0\.1|0\.0\.0\.0):{port}\b", f"127.0.0.1:{self.ports[name]}", text
            )
        return text.replace("/var/lib/", f"{self.home}/")

    def environment(self, **more: str) -> dict[str, str]:
        """Return what the compose file sets for our services, and nothing of this machine's."""
        given = {name: self._local(str(value)) for name, value in _STACK["web"]["environment"].items()}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {"PATH": path, "LANG": "C.UTF-8", "HOME": str(self.home), **given, **more}

    def command(self, name: str) -> list[str]:
        """Return the command of a service."""
        words = [self._local(str(word)) for word in _STACK[name].get("command", ())]
        if name == "db":
            own = ["-D", f"{self.home}/db/data", "-k", f"{self.home}/db", "-p", str(self.ports["db"])]
            return [f"{postgres_bin()}/{words[0]}", *own, *words[1:]]
        if name == "redis":
            return [
                *words,
                "--port",
                str(self.ports["redis"]),
                "--bind",
                "127.0.0.1",
                "--dir",
                str(self.home),
            ]
        if name == "search":
            given = _STACK["search"]["environment"]
            settings = {key: str(value) for key, value in given.items() if "." in key}
            settings |= {"network.host": "127.0.0.1", "http.port": str(self.ports["search"])}
            settings["cluster.routing.allocation.disk.threshold_enabled"] = "false"
            serve = [str(ROOT / ".ci/opensearch/serve"), f"{self.home}/search"]
            return [*serve, *(f"{key}={value}" for key, value in settings.items())]
        return words

    def start(self, name: str) -> None:
        """Start a service, without waiting for it."""
        with (self.home / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                self.command(name),
                cwd="/" if name == "db" else ROOT,
                env=self.environment() if name in _OURS else None,
                stdin=subprocess.PIPE if name == "search" else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self.user if name == "db" else None,
            )

    def wait_for(self, name: str, seconds: float = 120) -> None:
        """Wait until the health check of the compose file is content."""
        check = [self._local(word) for word in _STACK[name]["healthcheck"]["test"][1:]]
        extra = {"PGHOST": "127.0.0.1", "PGPORT": str(self.ports["db"])}
        if name == "redis":
            check[1:1] = ["-p", str(self.ports["redis"])]
        if name == "db":
            check[0] = f"{postgres_bin()}/{check[0]}"

        def well() -> bool:
            assert self.running[name].poll() is None, self.log(name)
            done = subprocess.run(
                check, cwd=ROOT, env=self.environment(**extra), capture_output=True, check=False
            )
            return done.returncode == 0

        until(well, seconds, lambda: f"{name} is not well:\n{self.log(name)}")

    def log(self, name: str) -> str:
        """Return the end of what a service said."""
        return (self.home / f"{name}.log").read_text("utf-8", "replace")[-3000:]

    def manage(self, *arguments: str) -> str:
        """Run a command of manage.py in the stack and return what it said."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=self.environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def kill(self, name: str) -> None:
        """End a service as a power cut would."""
        process = self.running.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin:
            process.stdin.close()

    def stop(self, name: str, seconds: float = 60) -> int:
        """End a service as `docker compose stop` does, and return its exit code."""
        process = self.running.pop(name)
        process.terminate()
        if process.stdin:
            process.stdin.close()
        return process.wait(seconds)

    def ask(
        self, method: str, path: str, body: object = None, *, token: str = "", file: bytes | None = None
    ) -> tuple[int, Any, http.client.HTTPMessage]:
        """Return status, body and headers of what the site answers."""
        sent, content = {"Host": f"127.0.0.1:{self.ports['web']}"}, None
        if token:
            sent["Authorization"] = f"Bearer {token}"
        if file is not None:
            edge = uuid.uuid4().hex
            head = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{edge}.jsonl"\r\n\r\n'
            content = head.encode() + file + f"\r\n--{edge}--\r\n".encode()
            sent["Content-Type"] = f"multipart/form-data; boundary={edge}"
        elif body is not None:
            content, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["web"], timeout=60)
        try:
            connection.request(method, path, content, sent)
            answer = connection.getresponse()
            said = answer.read()
            is_json = "json" in (answer.headers["Content-Type"] or "")
            return answer.status, json.loads(said) if is_json else said.decode(), answer.headers
        finally:
            connection.close()

    def end(self) -> None:
        """End whatever still runs, and remove what it left."""
        for name in list(self.running):
            self.kill(name)
        shutil.rmtree(self.home, ignore_errors=True)


def until(reached: Callable[[], object], seconds: float, why: Callable[[], str]) -> None:
    """Wait for something that comes true within so many seconds."""
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, why()
        time.sleep(0.25)
