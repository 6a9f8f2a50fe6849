"""Three search servers, one of which is killed while evidence is imported and searched.

Two rounds: first a server that holds a primary shard dies in the middle of an import, then the
elected cluster manager. Readers ask all the time: an answer must be what was there before or what
is there afterwards, never a part. Counts are compared at the end. Needs what `.ci/with-search` needs.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from benchmarks.installation import home, lead, new_case
from benchmarks.timelines import write_jsonl
from cases.engines import engine
from cases.index.engine import IndexUnavailable
from cases.index.tree import Everything
from cases.ingest import Described, Intake, Named, Outcome
from cases.models import Case, TaskRun

_SERVE: Final = Path(__file__).parents[1] / ".ci" / "opensearch" / "serve"
_NODES: Final = 3
#: Seconds that a killed server stays away.
_AWAY: Final = 20
_PATIENCE: Final = 300


class Cluster:
    """Three servers of this machine as one cluster."""

    def __init__(self, place: Path) -> None:
        self._place = place
        ports = _free_ports(2 * _NODES)
        self._http, self._transport = ports[:_NODES], ports[_NODES:]
        self._servers: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        """The SEARCH_URL of all servers."""
        return ",".join(f"http://127.0.0.1:{port}" for port in self._http)

    def start(self) -> None:
        """Start all, and wait until they are one."""
        for number in range(_NODES):
            self._start(number)
        self.wait_for("yellow")

    def _start(self, number: int) -> None:
        directory = self._place / str(number)
        directory.mkdir(parents=True, exist_ok=True)
        names = ",".join(f"node-{each}" for each in range(_NODES))
        given = {
            "cluster.name": "bench",
            "node.name": f"node-{number}",
            "discovery.type": "zen",
            "discovery.seed_hosts": ",".join(f"127.0.0.1:{port}" for port in self._transport),
            "cluster.initial_cluster_manager_nodes": names,
            "http.port": str(self._http[number]),
            "transport.port": str(self._transport[number]),
            "cluster.routing.allocation.disk.threshold_enabled": "false",
            "action.auto_create_index": "-dm-*",
        }
        with (directory / "log").open("ab") as log:
            self._servers[number] = subprocess.Popen(
                [str(_SERVE), str(directory), *(f"{name}={value}" for name, value in given.items())],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "OPENSEARCH_HEAP": "512m"},
            )

    def kill(self, number: int) -> None:
        """End a server as a power cut would."""
        os.killpg(self._servers[number].pid, signal.SIGKILL)
        self._servers[number].wait()

    def restart(self, number: int) -> None:
        """Start a killed server on what it had."""
        self._start(number)

    def stop(self) -> None:
        """End all."""
        for number, server in self._servers.items():
            if server.poll() is None:
                self.kill(number)

    def ask(self, path: str) -> Any:
        """Return what any living server answers."""
        for port in self._http:
            with (
                suppress(OSError, ValueError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer,
            ):
                return json.load(answer)
        return None

    def wait_for(self, status: str) -> float:
        """Return the seconds until all servers are there and the cluster is well."""
        wanted = {"green": ("green",), "yellow": ("green", "yellow")}[status]
        start = time.monotonic()
        while time.monotonic() - start < _PATIENCE:
            health = self.ask("/_cluster/health") or {}
            if health.get("status") in wanted and health.get("number_of_nodes") == _NODES:
                return time.monotonic() - start
            time.sleep(0.5)
        raise RuntimeError(f"The cluster is not {status} after {_PATIENCE} s; see {self._place}/*/log.")

    def manager(self) -> int:
        """Return the number of the elected cluster manager."""
        (found,) = self.ask("/_cat/cluster_manager?format=json")
        return int(found["node"].removeprefix("node-"))

    def holder_of_a_primary(self, other_than: int) -> int:
        """Return a server with a primary shard of ours, not the manager if possible."""
        shards = self.ask("/_cat/shards/dm-*?format=json")
        holding = {int(shard["node"].removeprefix("node-")) for shard in shards if shard["prirep"] == "p"}
        return min(holding - {other_than} or holding)


@dataclass
class Readers:
    """What two asking threads saw."""

    case: Case
    allowed: set[int]
    answers: int = 0
    wrong: list[int] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    worst: float = 0.0
    stop: threading.Event = field(default_factory=threading.Event)

    def read(self) -> None:
        """Ask until told to stop."""
        while not self.stop.wait(0.02):
            start = time.monotonic()
            try:
                page = engine().search(case_ids=[self.case.case_id], query=Everything(), limit=50)
            except IndexUnavailable as error:
                self.errors.append(str(error))
            else:
                if page.total not in self.allowed:
                    self.wrong.append(page.total)
            self.answers += 1
            self.worst = max(self.worst, time.monotonic() - start)


def run(*, events: int) -> Iterator[str]:
    """Yield what happened in both rounds. Raises RuntimeError where a count is not exact."""
    cluster = Cluster(home() / "cluster")
    try:
        cluster.start()
        settings.SEARCH_URL, settings.SEARCH_SHARDS = cluster.url, 2
        case = new_case()
        there = _ingest(case, home() / "before.jsonl", events // 4, seed=1)
        yield f"{there:,} events there before, 2 shards with a copy each, 3 servers with heaps of 512 MB"
        for seed, who in ((2, "a server with a primary shard"), (3, "the cluster manager")):
            cluster.wait_for("green")
            manager = cluster.manager()
            victim = manager if seed == 3 else cluster.holder_of_a_primary(other_than=manager)
            yield from _round(cluster, case, there, events, seed=seed, victim=victim, who=who)
            there += events
    finally:
        cluster.stop()


def _round(
    cluster: Cluster, case: Case, there: int, events: int, *, seed: int, victim: int, who: str
) -> Iterator[str]:
    readers = Readers(case, {there, there + events})
    threads = [threading.Thread(target=readers.read) for _ in range(2)]
    killing = threading.Thread(target=_kill_in_the_middle, args=(cluster, victim, events))
    for thread in (*threads, killing):
        thread.start()
    start = time.monotonic()
    indexed = _ingest(case, home() / f"round-{seed}.jsonl", events, seed=seed)
    seconds = time.monotonic() - start
    killing.join()
    green = cluster.wait_for("green")
    readers.stop.set()
    for thread in threads:
        thread.join()
    found = engine().count(case_ids=[case.case_id], query=Everything())
    retries = TaskRun.objects.filter(evidence__case=case).order_by("-pk")[0].index_retries
    yield (
        f"{who} killed: {indexed:,} imported in {seconds:.0f} s with {retries} batches sent again; "
        f"{found:,} of {there + events:,} events; green {green:.0f} s after the import"
    )
    yield (
        f"  readers: {readers.answers:,} answers, {len(readers.wrong)} wrong totals, "
        f"{len(readers.errors)} refused as unavailable, worst {readers.worst:.1f} s"
    )
    if found != there + events or indexed != events or readers.wrong:
        raise RuntimeError(f"A count is not exact: {found:,}, {indexed:,}, {readers.wrong[:3]}")


def _kill_in_the_middle(cluster: Cluster, victim: int, events: int) -> None:
    """Kill when a third has been written, and start again after a while."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        run = TaskRun.objects.order_by("-pk").first()
        if run and run.is_unfinished and run.records_read > events // 3:
            break
        time.sleep(0.2)
    cluster.kill(victim)
    time.sleep(_AWAY)
    cluster.restart(victim)


def _ingest(case: Case, place: Path, events: int, *, seed: int) -> int:
    """Return how many events were indexed."""
    write_jsonl(place, events, seed=seed)
    outcomes: list[Outcome] = list(Intake(Described(case=case, by=lead())).ingest([Named(place)]))
    if not outcomes[0].succeeded:
        raise RuntimeError(f"The evidence was not read: {outcomes[0].error}")
    return outcomes[0].counts["indexed"]


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
