"""The queries of the search study through the engine, beside a prototype on the same events.

A shard has 100,000 events. Twenty are written; more are copies of their files, as shards of their
own: what a query costs depends on the shards and their sizes, not on whether two are alike. Each
query is timed after one run that does not count; both sides answer with the documents of a page,
not only their addresses.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tantivy import Occur, Query

from benchmarks import prototype as old
from benchmarks.events import DAY, END, SHARD, documents, evidence
from benchmarks.installation import home, memory, peak_memory
from benchmarks.prototype import Prototype, between, every, holding, phrase, term
from cases.index.embedded import EmbeddedEngine
from cases.index.embedded_store import CaseDirectory, Sealed, file_facts, seal
from cases.index.engine import Cursor
from cases.index.query import parse

CASE = "bench"
#: Shards that are written; those beyond are copies.
WRITTEN = 20
REPEATS = 15
#: Seconds after which a query is repeated no more.
PATIENCE = 12.0

_TEMP = re.compile(r"\\temp\\.*\.exe", re.IGNORECASE)
_NET = re.compile(r"net1?\.exe by (vera|hugo)\.[a-z]+ command line: ", re.IGNORECASE)
_DOOR = re.compile("backdoorx_se", re.IGNORECASE)


def engine_root() -> Path:
    """Return where the engine's index of this run lies."""
    return home() / "search-engine"


def fill(events: int) -> Iterator[str]:
    """Write the shards with both, unless they are there, by two processes; yield the rates."""
    wanted = -(-events // SHARD)
    shards = range(min(wanted, WRITTEN))
    if not engine_root().exists():
        yield from _write_both(shards, events)
    for number in range(WRITTEN, wanted):
        _copy(number % WRITTEN, number)


def _copy(written: int, number: int) -> None:
    """Make a shard of both out of one that was written, unless it is there."""
    place = home() / "search-prototype" / f"{number:05d}"
    if place.exists():
        return
    shutil.copytree(home() / "search-prototype" / f"{written:05d}", place)
    case = CaseDirectory(engine_root(), CASE)
    manifest = case.shard(evidence(written))
    if manifest is None or len(manifest.parts) != 1:
        raise RuntimeError(f"Shard {written} is not as it was written.")
    writer = case.new_writer(evidence(number), "copy")
    part = writer / "000"
    shutil.copytree(case.path / manifest.parts[0].path, part)
    facts = replace(manifest.parts[0], path=str(part.relative_to(case.path)), files=file_facts(part))
    seal(writer, Sealed((facts,)))
    case.publish(evidence(number), run="copy", append=False)


def _write_both(shards: range, events: int) -> Iterator[str]:
    for name, work in (("engine", _write), ("prototype", _write_prototype)):
        start = time.perf_counter()
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            list(pool.map(work, shards, [str(home())] * len(shards), [min(events, SHARD)] * len(shards)))
        seconds = time.perf_counter() - start
        size = sum(path.stat().st_size for path in (home() / f"search-{name}").rglob("*") if path.is_file())
        total = len(shards) * min(events, SHARD)
        yield (
            f"{name} written at {total / seconds:,.0f} events/s by two processes (making the events"
            f" included), {size / total:,.0f} bytes an event"
        )


def _write(shard: int, root: str, count: int) -> None:
    engine = EmbeddedEngine(Path(root, "search-engine"))
    made = documents(shard, case_id=CASE, count=count)
    with engine.writer(case_id=CASE, shard=evidence(shard), run="1") as writer:
        while batch := list(islice(made, 2000)):
            writer.add(batch)
        writer.seal()
        engine.publish(case_id=CASE, shard=evidence(shard), run="1")


def _write_prototype(shard: int, root: str, count: int) -> None:
    old.write(Path(root, "search-prototype", f"{shard:05d}"), documents(shard, case_id=CASE, count=count))


def run(*, events: int) -> Iterator[str]:
    """Yield p50 and p95 of each query, the prototype's, and their ratio."""
    yield from fill(events)
    with peak_memory() as peak:
        engine, prototype = EmbeddedEngine(engine_root()), Prototype(home() / "search-prototype")
        start = time.perf_counter()
        total = engine.count(case_ids=[CASE], query=parse("*"))
        yield f"{total:,} events, first question (opens {len(engine.shards(case_id=CASE))} shards) in"
        yield f"  {(time.perf_counter() - start) * 1000:.0f} ms"
        yield f"{'query':44s} {'p50':>8s} {'p95':>8s} {'prototype':>9s} {'p95':>8s}  ratio"
        for name, ours, theirs in _questions(engine, prototype):
            (mine, mine95), (its, its95) = _timed(ours, theirs)
            ratio = mine / its if its else 0
            yield f"{name:44s} {mine:8.1f} {mine95:8.1f} {its:9.1f} {its95:8.1f}  {ratio:5.2f}"
    yield f"peak memory of both {peak[0] / 1e6:,.0f} MB, mapped pages included; now {memory() / 1e6:,.0f} MB"


def _timed(*works: Callable[[], object]) -> list[tuple[float, float]]:
    """Return the median and the 95th percentile of each in milliseconds, taken in turn."""
    for work in works:
        work()
    taken: list[list[float]] = [[] for _ in works]
    begin = time.perf_counter()
    while len(taken[0]) < REPEATS and (len(taken[0]) < 3 or time.perf_counter() - begin < PATIENCE):
        for work, own in zip(works, taken, strict=True):
            start = time.perf_counter()
            work()
            own.append((time.perf_counter() - start) * 1000)
    ordered = [sorted(own) for own in taken]
    return [(own[len(own) // 2], own[min(len(own) - 1, int(len(own) * 0.95))]) for own in ordered]


_Question = tuple[str, Callable[[], object], Callable[[], object]]


def _questions(engine: EmbeddedEngine, prototype: Prototype) -> Iterator[_Question]:
    everything = Query.all_query()

    def page(q: str, *, newest: bool = True, after: Cursor | None = None) -> Callable[[], object]:
        node = parse(q)
        return lambda: engine.search(
            case_ids=[CASE], query=node, limit=100, descending=newest, after=after, count=False
        )

    def count(q: str) -> Callable[[], object]:
        node = parse(q)
        return lambda: engine.count(case_ids=[CASE], query=node)

    def fresh(q: str) -> Callable[[], object]:
        """Count without what is remembered of the last time."""
        node = parse(q)

        def work() -> object:
            engine._verdicts = type(engine._verdicts)()
            return engine.count(case_ids=[CASE], query=node)

        return work

    deep = _deep_cursor(engine)
    event_id = deep.event_id
    day, host = "[2024-05-20 TO 2024-05-20]", "WS-0001.corp.example"
    one_day = between(END - 12 * DAY, END - 11 * DAY - 1)
    two_weeks = between(END - 14 * DAY, END)
    attributes = every(term("a.EventID", 4624), term("a.LogonType", 10))
    common = phrase("successfully", "logged", "on")
    temp, door = holding("\\Temp\\", ".exe"), holding("backdoorx_se")
    net = holding(".exe by ", " command line: ")
    both = "(powershell OR rundll32) AND category:process AND NOT user:administrator"
    combined = Query.boolean_query(
        [
            (
                Occur.Must,
                Query.boolean_query(
                    [(Occur.Should, term("message", word)) for word in ("powershell", "rundll32")]
                ),
            ),
            (Occur.Must, term("category", "process")),
            (Occur.MustNot, term("user", "administrator")),
            (Occur.Must, two_weeks),
        ]
    )
    yield "newest 100", page("*"), lambda: prototype.page(everything)
    yield "oldest 100", page("*", newest=False), lambda: prototype.page(everything, newest=False)
    yield (
        "deep page by cursor",
        page("*", after=deep),
        lambda: prototype.page(between(None, deep.timestamp)),
    )
    yield (
        "one day and host",
        page(f"timestamp:{day} AND host:{host}", newest=False),
        lambda: prototype.page(every(one_day, term("host", host)), newest=False),
    )
    yield "rare word", page("mimikatz"), lambda: prototype.page(term("message", "mimikatz"))
    yield (
        "rare phrase",
        page('"lateral tool transfer"'),
        lambda: prototype.page(phrase("lateral", "tool", "transfer")),
    )
    yield "common phrase", page('"successfully logged on"'), lambda: prototype.page(common)
    yield "common phrase, count", count('"successfully logged on"'), lambda: prototype.count(common)
    yield r"*\Temp\*.exe", page(r"*\\Temp\\*.exe"), lambda: prototype.page_where(temp, _TEMP)
    yield (
        r"*\Temp\*.exe, count",
        fresh(r"message:*\\Temp\\*.exe"),
        lambda: prototype.count_where(temp, _TEMP),
    )
    yield r"*\Temp\*.exe, count again", count(r"*\\Temp\\*.exe"), lambda: prototype.count_where(temp, _TEMP)
    yield "rare substring", page("*backdoorx_se*"), lambda: prototype.page_where(door, _DOOR)
    yield (
        "expression",
        page(r"/net1?\.exe by (vera|hugo)\.[a-z]+ command line: /"),
        lambda: prototype.page_where(net, _NET),
    )
    yield "two attributes", page("EventID:4624 AND LogonType:10"), lambda: prototype.page(attributes)
    yield "two attributes, count", count("EventID:4624 AND LogonType:10"), lambda: prototype.count(attributes)
    yield (
        "words, fields and 14 days",
        page(f"{both} AND timestamp:[2024-05-18 TO *]"),
        lambda: prototype.page(combined),
    )
    yield from _counted(engine, prototype)
    yield (
        "count of a source in 7 days",
        count("source:evtx AND timestamp:[2024-05-20 TO 2024-05-26]"),
        lambda: prototype.count(every(term("source", "evtx"), between(END - 12 * DAY, END - 5 * DAY - 1))),
    )
    yield (
        "one event by id",
        lambda: engine.get(case_ids=[CASE], event_id=event_id),
        lambda: prototype.get(event_id),
    )


def _counted(engine: EmbeddedEngine, prototype: Prototype) -> Iterator[_Question]:
    everything, failed = Query.all_query(), term("type", "4625")

    def terms(q: str, field: str) -> Callable[[], object]:
        node = parse(q)
        return lambda: engine.terms(case_ids=[CASE], query=node, field=field, size=10)

    def histogram(q: str, interval: str) -> Callable[[], object]:
        node = parse(q)
        return lambda: engine.histogram(case_ids=[CASE], query=node, interval=interval)

    yield "top hosts", terms("*", "host"), lambda: prototype.terms(everything, "host")
    yield (
        "top IpAddress of 4624 (prototype: nearly)",
        terms("EventID:4624", "attributes.IpAddress"),
        lambda: prototype.terms(term("a.EventID", 4624), "a.IpAddress"),
    )
    yield (
        "top IpAddress of 4624, both exactly",
        terms("EventID:4624", "attributes.IpAddress"),
        lambda: prototype.terms(term("a.EventID", 4624), "a.IpAddress", 65_000),
    )
    yield "histogram by day", histogram("*", "day"), lambda: prototype.histogram(everything, float(DAY))
    yield (
        "histogram by hour of failed logons",
        histogram("type:4625", "hour"),
        lambda: prototype.histogram(failed, DAY / 24),
    )
    yield (
        "histogram of a word",
        histogram("message:powershell", "day"),
        lambda: prototype.histogram(term("message", "powershell"), float(DAY)),
    )


def _deep_cursor(engine: EmbeddedEngine) -> Cursor:
    node = parse("timestamp:[* TO 2024-05-01]")
    found: dict[str, Any] = engine.search(case_ids=[CASE], query=node, limit=1, count=False).documents[0]
    return Cursor(found["timestamp"], found["event_id"])
