"""One engine with any number of events: rate of writing, bytes an event, times of the standard questions.

A shard of 100,000 events is one evidence, written and published as a run writes it, by two
processes. Every question is timed first as nobody has asked it before, then fifteen times as it
is, and five times after the engine was told to forget what it remembers of questions.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.events import SHARD, documents, evidence
from benchmarks.installation import home, memory, peak_memory
from benchmarks.questions import standard
from cases.index.connect import Address, connect
from cases.index.embedded import EmbeddedEngine
from cases.index.engine import Engine
from cases.index.opensearch import OpenSearchEngine
from cases.index.query import parse

CASE = "growth"
#: Processes that write.
WRITERS = 2
REPEATS, FORGOTTEN = 15, 5
#: Seconds after which a question is repeated no more.
PATIENCE = 20.0
#: Events of a stream that are timed.
STREAMED = 500_000


def run(*, events: int, engine: str = "embedded") -> Iterator[str]:
    """Yield a table in Markdown, and what stands beside it."""
    address = _address(engine)
    written = home() / "growth-written"
    if not written.exists():
        yield from _fill(address, events)
        written.write_text(str(events), "ascii")
    asked = connect(address)
    yield f"| `{asked.health().facts['engine']}`, {_load()} | |"
    yield "|---|---|"
    with peak_memory() as peak:
        total = asked.count(case_ids=[CASE], query=parse("*"))
        yield f"| events | {total:,} |"
        yield f"| bytes an event | {_bytes(asked) / total:,.0f} |"
        start = time.perf_counter()
        streamed = sum(1 for _ in islice(asked.stream(case_ids=[CASE], query=parse("*")), STREAMED))
        yield f"| stream | {streamed / (time.perf_counter() - start):,.0f} events/s |"
        yield ""
        yield "| question | first | p50 | p95 | p50 forgotten |"
        yield "|---|---|---|---|---|"
        for name, question in standard(asked, CASE):
            yield f"| {name.replace('|', '')} | {_times(question, asked)} |"
    yield ""
    yield f"Milliseconds. Memory of the asking process {peak[0] / 1e6:,.0f} MB at most, "
    yield f"{memory() / 1e6:,.0f} MB at the end{_server_memory(asked)}."


def _address(engine: str) -> Address:
    """Return where the events are; on a server, under names that nobody else has."""
    kept = home() / "growth-namespace"
    if not kept.exists():
        kept.write_text(uuid.uuid4().hex, "ascii")
    if engine == "embedded":
        return Address("embedded:", root=str(home() / "growth-index"))
    return Address(engine, namespace=kept.read_text("ascii"), ca=os.environ.get("SEARCH_CA", ""))


def clear(engine: str) -> None:
    """Take away from a server what was written to it."""
    address = _address(engine)
    if engine != "embedded":
        connect(address).drop(case_id=CASE)


def _fill(address: Address, events: int) -> Iterator[str]:
    """Write the shards; yield the rate, and what making the events takes of it."""
    start = time.perf_counter()
    made = sum(1 for _ in islice(documents(0, case_id=CASE), min(events, 20_000)))
    making = (time.perf_counter() - start) / made
    shards = range(-(-events // SHARD))
    counts = [min(SHARD, events - number * SHARD) for number in shards]
    start = time.perf_counter()
    with ProcessPoolExecutor(WRITERS, mp_context=get_context("spawn")) as pool:
        retries = sum(pool.map(_write, [address] * len(shards), shards, counts))
    seconds = time.perf_counter() - start
    yield (
        f"{events:,} events written at {events / seconds:,.0f} events/s by {WRITERS} processes, making them"
        f" ({making * 1e6:.0f} µs each) included; {retries} batches sent again"
    )
    yield ""


def _write(address: Address, shard: int, count: int) -> int:
    """Write one shard as a run does; return how often a batch was sent again."""
    engine = connect(address)
    made = documents(shard, case_id=CASE, count=count)
    with engine.writer(case_id=CASE, shard=evidence(shard), run="1") as writer:
        while batch := list(islice(made, 2000)):
            writer.add(batch)
        writer.seal()
        engine.publish(case_id=CASE, shard=evidence(shard), run="1")
        return writer.retries


def _times(question: Callable[[], object], engine: Engine) -> str:
    first = _timed(question)
    taken: list[float] = []
    begin = time.perf_counter()
    while len(taken) < REPEATS and (len(taken) < 3 or time.perf_counter() - begin < PATIENCE):
        taken.append(_timed(question))
    taken.sort()
    forgotten = []
    for _ in range(FORGOTTEN):
        _forget(engine)
        forgotten.append(_timed(question))
    p95 = taken[min(len(taken) - 1, int(len(taken) * 0.95))]
    shown = (first, taken[len(taken) // 2], p95, sorted(forgotten)[len(forgotten) // 2])
    return " | ".join(f"{each:.1f}" for each in shown)


def _timed(question: Callable[[], object]) -> float:
    start = time.perf_counter()
    question()
    return (time.perf_counter() - start) * 1000


def _forget(engine: Engine) -> None:
    """Have an engine forget earlier questions."""
    if isinstance(engine, EmbeddedEngine):
        engine._verdicts = type(engine._verdicts)()
    elif isinstance(engine, OpenSearchEngine):
        params = {"request": "true", "query": "true"}
        engine.client.ask("POST", "_cache/clear", names=engine.names.alias(CASE), params=params)


def _bytes(engine: Engine) -> int:
    if isinstance(engine, OpenSearchEngine):
        answer = engine.client.ask("GET", "_stats/store", names=engine.names.alias(CASE))
        size: int = answer["_all"]["primaries"]["store"]["size_in_bytes"]
        return size
    files = Path(home() / "growth-index").rglob("*")
    return sum(path.stat().st_size for path in files if path.is_file())


def _server_memory(engine: Engine) -> str:
    if not isinstance(engine, OpenSearchEngine):
        return ""
    answer = engine.client.ask("GET", "_nodes/stats/jvm")
    heaps: list[dict[str, Any]] = [node["jvm"]["mem"] for node in answer["nodes"].values()]
    used, most = (sum(heap[f"heap_{kind}_in_bytes"] for heap in heaps) for kind in ("used", "max"))
    return f"; heap of the server {used / 1e6:,.0f} of {most / 1e6:,.0f} MB"


def _load() -> str:
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start"
