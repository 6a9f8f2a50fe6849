"""Everything of a case in order: events per second as documents and as JSON lines, and memory."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from benchmarks.installation import home, memory, peak_memory, timed
from benchmarks.prototype import Prototype
from benchmarks.search import CASE, engine_root, fill
from cases.index.document import public
from cases.index.embedded import EmbeddedEngine
from cases.index.query import parse


def run(*, events: int) -> Iterator[str]:
    """Yield the rates and what the export adds to the memory."""
    yield from fill(events)
    engine = EmbeddedEngine(engine_root())
    total = engine.count(case_ids=[CASE], query=parse("*"))
    before = memory()
    with peak_memory() as peak:
        seconds = timed(lambda: sum(1 for _ in engine.stream(case_ids=[CASE], query=parse("*"))))
    yield f"documents {total / seconds:,.0f} events/s ({total:,} in {seconds:.1f} s)"
    yield f"memory {before / 1e6:,.0f} MB before, peak {peak[0] / 1e6:,.0f} MB, mapped pages included"
    target = home() / "export.jsonl"
    seconds = timed(lambda: _write(engine))
    yield f"JSON lines {total / seconds:,.0f} events/s, {target.stat().st_size / total:,.0f} bytes an event"
    target.unlink()
    prototype = Prototype(home() / "search-prototype")
    sample = min(total, 200_000)
    seconds = timed(lambda: prototype.export(sample))
    yield f"prototype {sample / seconds:,.0f} events/s ({sample:,} of them, ties of a slice's end lost)"


def _write(engine: EmbeddedEngine) -> None:
    with (home() / "export.jsonl").open("wb") as file:
        for document in engine.stream(case_ids=[CASE], query=parse("*")):
            file.write(orjson.dumps(public(document)))
            file.write(b"\n")
