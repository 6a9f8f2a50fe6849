"""A real search server is killed and starved while a run is written: every event is there once.

Takes minutes: DATAMORTEM_SEARCH_KILLS says how often the server is killed. Needs what
`.ci/opensearch/serve` needs.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cases.index.connect import Address
from cases.index.opensearch import OpenSearchEngine
from cases.tests.index.engines import ALL, event

KILLS = int(os.environ.get("DATAMORTEM_SEARCH_KILLS", "0"))
EVENTS = 20_000
SERVE = Path(__file__).parents[3] / ".ci" / "opensearch" / "serve"
#: One request may wait, and those that are read may take 400 kB together.
TIGHT = (
    "thread_pool.write.queue_size=1",
    "network.breaker.inflight_requests.limit=400kb",
    "http.max_content_length=1mb",
    "cluster.routing.allocation.disk.threshold_enabled=false",
)

pytestmark = pytest.mark.skipif(not KILLS, reason="DATAMORTEM_SEARCH_KILLS says how often to kill the server")


class Server:
    """A search server of this test."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.port = 9340 + os.getpid() % 50
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with (self.place / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(SERVE), str(self.place / "node"), f"http.port={self.port}", *TIGHT],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + 300
        while not self.answers():
            assert time.monotonic() < end, (self.place / "log").read_text("utf-8", "replace")[-2000:]
            time.sleep(0.3)

    def answers(self) -> bool:
        with suppress(OSError):
            url = f"{self.url}/_cluster/health?wait_for_status=yellow&timeout=5s"
            return bool(urllib.request.urlopen(url, timeout=10).status == 200)
        return False

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.kill()


def test_a_server_that_is_killed_again_and_again_holds_every_event_once(server: Server) -> None:
    engine = OpenSearchEngine(Address(server.url, namespace=uuid.uuid4().hex), tried=True)
    chance, finished = random.Random(1), threading.Event()

    def kill() -> None:
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.5, 3))
            server.kill()
            server.start()
        finished.set()

    killer = threading.Thread(target=kill)
    with engine.writer(case_id="case", shard="ev-1", run="1") as writer:
        killer.start()
        number = 0
        while number < EVENTS or not finished.is_set():
            writer.add(
                [event(each, message=f"message {each} {'x' * 300}") for each in range(number, number + 200)]
            )
            number += 200
            time.sleep(0.05)
        killer.join()
        writer.seal()
        assert (writer.written.indexed, writer.written.duplicate) == (number, 0)
        engine.publish(case_id="case", shard="ev-1", run="1")
        assert writer.retries > 0
    assert engine.shards(case_id="case") == {"ev-1": number}
    assert {document["event_id"] for document in engine.stream(case_ids=["case"], query=ALL)} == {
        event(each)["event_id"] for each in range(number)
    }
