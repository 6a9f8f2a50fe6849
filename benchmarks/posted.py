"""Events without files at a steady rate, a worker killed in between: none lost, none double.

A server, a worker and a client of several connections, each in processes of its own on loopback. The
client sends batches at fixed moments; what is refused or cut off it sends again under the same key. In
the middle the worker is killed with what it reads, and another takes its place. At the end the rows,
the index and the sums of the runs are counted.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

from django.db import OperationalError, close_old_connections, connection
from django.db.models import Count, Sum

from benchmarks.installation import home, lead, new_case

# isort: split
from accounts import api_tokens  # once Django is set up
from cases.models import Case, Event, TaskRun

#: Events a second, events a call, connections; and after how many seconds everything is given up.
RATE: Final = int(os.environ.get("DATAMORTEM_RATE", "5000"))
BATCH: Final = int(os.environ.get("DATAMORTEM_BATCH", "500"))
CONNECTIONS: Final = 4
_GIVE_UP: Final = 900.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def run(*, events: int) -> Iterator[str]:
    """Post so many events, kill a worker in the middle, wait for the index and prove the counts."""
    case = new_case()
    token = api_tokens.create(lead(), name="bench", scopes=["read", "write"]).text
    port = _free_port()
    with _process("-m", "gunicorn", *_server(port)) as server, _Workers() as workers:
        _wait_for(port)
        client = _Client(port, case, token, events)
        used = _used(server.pid, workers)
        client.start()
        client.wait_for(events // 2)
        workers.kill()
        client.finish()
        yield from client.said()
        seconds = _until_indexed(case, client.began)
        yield f"all searchable {seconds:.1f} s after the first call, {events / seconds:,.0f} events/s"
        yield _cost(used, _used(server.pid, workers), events)
        yield from _proof(case, client)


def _server(port: int) -> list[str]:
    places = ["--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--workers", "2", "--threads", "4"]
    return ["datamortem.wsgi", *places, "--no-control-socket"]


@dataclass(slots=True)
class _Client:
    """Sends every batch at its moment, from several connections."""

    port: int
    case: Case
    token: str
    events: int
    began: float = 0.0
    seconds: list[float] = field(default_factory=list)
    late: float = 0.0
    accepted: int = 0
    again: dict[str, int] = field(default_factory=dict)
    runs: set[int] = field(default_factory=set)
    used: float = 0.0
    ended: float = 0.0
    batches: Any = None
    threads: list[threading.Thread] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    failed: list[BaseException] = field(default_factory=list)

    def start(self) -> None:
        """Begin to send."""
        self.batches = count()
        self.began = time.monotonic()
        self.threads = [threading.Thread(target=self._work) for _ in range(CONNECTIONS)]
        for thread in self.threads:
            thread.start()

    def wait_for(self, events: int) -> None:
        """Wait until so many events were accepted."""
        while self.accepted < events and not self.failed and any(t.is_alive() for t in self.threads):
            time.sleep(0.01)

    def finish(self) -> None:
        """Wait for the last answer."""
        for thread in self.threads:
            thread.join()
        if self.failed:
            raise self.failed[0]

    def _work(self) -> None:
        try:
            self._send_all()
        except BaseException as error:  # noqa: BLE001 (raised again by `finish`)
            self.failed.append(error)

    def _send_all(self) -> None:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while (number := next(self.batches)) * BATCH < self.events:
            first = number * BATCH
            body = _body(first, min(first + BATCH, self.events))
            due = self.began + first / RATE
            time.sleep(max(0.0, due - time.monotonic()))
            started = time.monotonic()
            answer = self._send(link, number, body)
            with self.lock:
                self.ended = time.monotonic()
                self.seconds.append(self.ended - started)
                self.late = max(self.late, started - due)
                self.accepted += answer["accepted"] + answer["duplicate"]
                self.runs.add(answer["run"])
        with self.lock:
            self.used += time.thread_time()

    def _send(self, link: http.client.HTTPConnection, number: int, body: bytes) -> dict[str, Any]:
        """Send a batch until it is answered; the same key makes it one."""
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "Idempotency-Key": f"batch-{self.case.case_id}-{number}",
        }
        while time.monotonic() - self.began < _GIVE_UP:
            try:
                link.request("POST", f"/api/v1/cases/{self.case.case_id}/events/", body, headers)
                answer = link.getresponse()
                said = answer.read()
            except (OSError, http.client.HTTPException) as error:
                link.close()
                self._note(type(error).__name__)
                continue
            if answer.status == 202:
                found: dict[str, Any] = json.loads(said)
                return found
            if answer.status not in (429, 503):
                raise RuntimeError(f"{answer.status}: {said[:300]!r}")
            self._note(str(answer.status))
            time.sleep(min(float(answer.headers.get("Retry-After", "1")), 2.0))
        raise TimeoutError("given up")

    def _note(self, why: str) -> None:
        with self.lock:
            self.again[why] = self.again.get(why, 0) + 1

    def said(self) -> Iterator[str]:
        """Yield what the client saw."""
        took = self.ended - self.began
        parts = quantiles(self.seconds, n=20) if len(self.seconds) > 1 else self.seconds * 20
        again = ", ".join(f"{times} {why}" for why, times in sorted(self.again.items())) or "none"
        yield (
            f"{connection.vendor}: {self.events:,} events in calls of {BATCH}, {CONNECTIONS} connections, "
            f"{RATE:,} a second asked: {self.events / took:,.0f} a second held for {took:.1f} s"
        )
        yield (
            f"a call took {parts[9] * 1000:.0f} ms (median), {parts[18] * 1000:.0f} ms (p95), "
            f"{max(self.seconds) * 1000:.0f} ms at most; {self.late:.1f} s late at most; sent again: {again}"
        )


_EVENT: Final = (
    '{"timestamp":"2024-03-%02dT%02d:%02d:%02d.%06dZ","message":"Accepted publickey for user%d from'
    ' 10.0.%d.%d port %d ssh2: RSA SHA256:%d","host":"web-%d","user":"user%d","category":"logon",'
    '"type":"sshd","attributes":{"pid":%d,"address":"10.0.%d.%d","method":"publickey","session":"%08x"}}'
)


def _body(first: int, last: int) -> bytes:
    """Return the JSON of events, each of another content; about 330 bytes each."""
    return f"[{','.join(_event(number) for number in range(first, last))}]".encode("ascii")


def _event(n: int) -> str:
    place = (n // 250 % 250, n % 250)
    moment = (n // 86_400 % 28 + 1, n // 3600 % 24, n // 60 % 60, n % 60, n % 1_000_000)
    who = n % 500
    return _EVENT % (*moment, who, *place, n % 60_000, n, n % 40, who, n % 30_000, *place, n)


class _Workers:
    """The worker, and the one that takes its place."""

    def __init__(self) -> None:
        self._log = (home() / "worker.log").open("ab")
        self.process = self._start()
        self.used_before = 0.0

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "manage.py", "worker"], stderr=self._log, stdout=self._log)

    def kill(self) -> None:
        """Kill the worker and whatever it has started, as a machine dies; start another one."""
        tree = _tree(self.process.pid)
        self.used_before = sum(map(_seconds, tree))
        for pid in tree:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process = self._start()

    def used(self) -> float:
        """Return the seconds of processor of all of them."""
        return self.used_before + sum(map(_seconds, _tree(self.process.pid)))

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=60)
        self._log.close()


@contextmanager
def _process(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    with (home() / "server.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, *arguments], stderr=log, stdout=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=60)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    for _ in range(600):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise TimeoutError((home() / "server.log").read_text("utf-8", "replace"))


def _until_indexed(case: Case, began: float) -> float:
    """Wait until no run of the case is left, and return the seconds since the beginning."""
    while _is_behind(case):
        if time.monotonic() - began > _GIVE_UP:
            raise TimeoutError("the index does not catch up")
        time.sleep(0.2)
    return time.monotonic() - began


def _is_behind(case: Case) -> bool:
    try:
        return TaskRun.objects.unfinished().filter(evidence__case=case).exists()
    except OperationalError:  # the server was restarted by whoever watches
        close_old_connections()
        return True


# Processor time ---------------------------------------------------------------------------------


def _tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    found = [pid]
    for one in found:
        with suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text("ascii").split())
    return found


def _seconds(pid: int) -> float:
    """Return the processor time of a process and of its children that have ended."""
    with suppress(OSError):
        facts = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        return sum(map(int, facts[11:15])) / _TICKS
    return 0.0


def _used(server: int, workers: _Workers) -> dict[str, float]:
    used = {"server": sum(map(_seconds, _tree(server))), "worker": workers.used()}
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            backend = cursor.fetchone()[0]
        with suppress(OSError):  # a server elsewhere
            facts = Path(f"/proc/{backend}/stat").read_text("utf-8").rpartition(")")[2].split()
            used["PostgreSQL"] = sum(map(_seconds, _tree(int(facts[1]))))
    return used


def _cost(before: dict[str, float], after: dict[str, float], events: int) -> str:
    each = {name: (after[name] - before[name]) / events * 1e6 for name in after}
    told = ", ".join(f"{name} {cost:.0f}" for name, cost in each.items())
    return f"processor, microseconds an event: {told}; {sum(each.values()):.0f} together"


# The proof --------------------------------------------------------------------------------------


def _proof(case: Case, client: _Client) -> Iterator[str]:
    """Count what there is, in the table, in the index and in the runs. Raises RuntimeError."""
    rows = Event.objects.filter(case=case)
    found = rows.aggregate(all=Count("pk"), ids=Count("event_id", distinct=True))
    found["indexed"] = rows.searchable().count()
    runs = TaskRun.objects.filter(evidence__case=case)
    sums = runs.aggregate(read=Sum("records_read"), indexed=Sum("indexed"), duplicate=Sum("duplicate"))
    told, ids = _told(client), _exported(client)
    yield f"rows: {found['all']:,}, of as many contents: {found['ids']:,}, indexed: {found['indexed']:,}"
    yield f"index: {told:,} by count, {len(ids):,} distinct in {sum(ids.values()):,} lines of the export"
    states = dict(runs.order_by().values_list("status").annotate(n=Count("pk")))
    attempts = runs.filter(attempt__gt=1).count()
    yield (
        f"runs: {states}, {attempts} read again; read {sums['read']:,} = indexed {sums['indexed']:,} "
        f"+ duplicate {sums['duplicate']:,}"
    )
    counts = {*found.values(), told, len(ids), sum(ids.values()), sums["read"], client.accepted}
    if counts != {client.events} or set(states) != {"succeeded"}:
        raise RuntimeError(f"expected {client.events} everywhere: {sorted(counts)}")
    yield f"exactly {client.events:,} everywhere"


def _told(client: _Client) -> int:
    with _asked(client, "count/") as answer:
        total: int = json.loads(answer.read())["total"]
        return total


def _exported(client: _Client) -> dict[str, int]:
    ids: dict[str, int] = {}
    with _asked(client, "export/") as answer:
        for line in answer:
            name = json.loads(line)["event_id"]
            ids[name] = ids.get(name, 0) + 1
    return ids


@contextmanager
def _asked(client: _Client, tail: str) -> Iterator[http.client.HTTPResponse]:
    link = http.client.HTTPConnection("127.0.0.1", client.port, timeout=_GIVE_UP)
    headers = {"Authorization": f"Bearer {client.token}"}
    link.request("GET", f"/api/v1/cases/{client.case.case_id}/events/{tail}", headers=headers)
    answer = link.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"{answer.status}: {answer.read()[:300]!r}")
    try:
        yield answer
    finally:
        link.close()
