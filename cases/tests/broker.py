"""A Redis server for the length of a test, which may be stopped, emptied and started again."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from cases.tests.worker_process import wait_until

needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="no redis-server here: apt install redis-server"
)


class Broker:
    """A private server on a free port of this machine; nothing of it outlives the test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "save": "",
            "appendonly": "no",
            "dir": self.directory,
        }
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        self.process = subprocess.Popen(
            ["redis-server", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self._answers)

    def stop(self) -> None:
        """End it at once; what it held is lost."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def waiting(self, queue: str) -> int:
        """Return how many messages wait in a queue."""
        found: Any = self.client.llen(f"datamortem:{queue}")
        return int(found)

    def _answers(self) -> bool:
        with suppress(redis.ConnectionError):
            return bool(self.client.ping())
        return False


@contextmanager
def a_broker() -> Iterator[Broker]:
    """Start a server, and end it with the block."""
    with tempfile.TemporaryDirectory() as directory:
        broker = Broker(Path(directory))
        broker.start()
        try:
            yield broker
        finally:
            broker.client.close()
            broker.stop()
