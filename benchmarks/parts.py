"""One evidence read by one process and by two, in turn: events per second, and the ratio.

The evidence is taken in before, so that what is measured is the run: from its claim to searchable.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from django.conf import settings

from benchmarks.installation import home, lead, new_case, peak_memory
from cases import services, tasks
from cases.demo.windows import write_workstation_security
from cases.models import RunStatus

_ROUNDS = 3
_USERS = ("alice", "bob", "carol", "SYSTEM", "NETWORK SERVICE")


def run(*, events: int) -> Iterator[str]:
    """Yield the rates of each format by one and two processes, and the ratio of each round."""
    for name, write in (("jsonl", _write_lines), ("evtx", _write_log)):
        path = home() / f"parts.{name}"
        if not path.exists():
            write(path, events)
        yield f"{name}: {path.stat().st_size / 1e6:,.0f} MB"
        rounds = [{parts: _read(path, parts) for parts in (1, 2)} for _ in range(_ROUNDS)]
        for parts in (1, 2):
            rates = ", ".join(f"{found[parts][0]:,.0f}" for found in rounds)
            each = statistics.median(found[parts][1] for found in rounds)
            most = max(found[parts][2] for found in rounds) / 1e6
            yield f"  {parts} process(es): {rates} events/s, {each:.0f} µs an event, {most:,.0f} MB at most"
        ratios = [found[2][0] / found[1][0] for found in rounds]
        shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        yield f"  two to one: {shown}; median {statistics.median(ratios):.2f}"


def _read(path: Path, parts: int) -> tuple[float, float, int]:
    """Return events per second, processor time an event in µs, and the memory of all processes."""
    settings.RUN_PARTS = parts
    case = new_case()
    with path.open("rb") as file:
        taken = services.receive_evidence(
            case=case, by=lead(), content=file, name=path.name, size=path.stat().st_size, bounded=False
        )
    run = taken.run
    if run is None:
        raise RuntimeError("The evidence was taken in before.")
    start, before = time.perf_counter(), sum(os.times()[:4])
    with peak_memory() as peak:
        tasks.perform_run(run.pk)
    seconds, worked = time.perf_counter() - start, sum(os.times()[:4]) - before
    run.refresh_from_db()
    if run.status != RunStatus.SUCCEEDED or not run.indexed:
        raise RuntimeError(f"The evidence was not read: {run.error_message}")
    services.delete_evidence(evidence=run.evidence, by=lead())
    return run.indexed / seconds, worked / run.indexed * 1e6, peak[0]


def _write_log(path: Path, events: int) -> None:
    with path.open("wb") as file:
        write_workstation_security(file, events)


def _write_lines(path: Path, events: int) -> None:
    line: Callable[[object], str] = json.JSONEncoder(separators=(",", ":")).encode
    with path.open("w", encoding="ascii") as file:
        file.writelines(line(_event(number)) + "\n" for number in range(events))


def _event(number: int) -> dict[str, object]:
    user, name, pid = _USERS[number % 5], f"file{number % 9973}.dat", number * 7919 % 65_536
    day, hour, minute, second = number // 86_400 % 28 + 1, number // 3600 % 24, number // 60 % 60, number % 60
    return {
        "datetime": f"2024-03-{day:02}T{hour:02}:{minute:02}:{second:02}.{number % 1000:03}Z",
        "timestamp_desc": "Event logged",
        "message": f"Process {pid} of {user} opened \\Device\\{name}",
        "hostname": f"WS-{number % 40:02}",
        "username": user,
        "pid": pid,
        "sha256": f"{number * 2_654_435_761 % 2**64:016x}" * 4,
        "path": f"C:\\Users\\{user}\\AppData\\Local\\Temp\\{name}",
        "action": ("open", "read", "write", "close")[number % 4],
    }
