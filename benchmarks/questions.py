"""The standard questions of the search study, put to any engine; `events` is what they are about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from cases.index.engine import Cursor, Engine
from cases.index.query import parse
from cases.index.tree import And, Ids

Question = tuple[str, Callable[[], object]]

#: Events that people have marked, in the question about those.
MARKED = 100_000


def standard(engine: Engine, case_id: str) -> Iterator[Question]:
    """Yield the name of each question and what asks it."""

    def page(q: str, *, newest: bool = True, after: Cursor | None = None) -> Callable[[], object]:
        node = parse(q)
        return lambda: engine.search(
            case_ids=[case_id], query=node, limit=100, descending=newest, after=after, count=False
        )

    def count(q: str) -> Callable[[], object]:
        node = parse(q)
        return lambda: engine.count(case_ids=[case_id], query=node)

    def terms(q: str, field: str) -> Callable[[], object]:
        node = parse(q)
        return lambda: engine.terms(case_ids=[case_id], query=node, field=field, size=10)

    def histogram(q: str, interval: str) -> Callable[[], object]:
        node = parse(q)
        return lambda: engine.histogram(case_ids=[case_id], query=node, interval=interval)

    deep = deep_cursor(engine, case_id)
    both = "(powershell OR rundll32) AND category:process AND NOT user:administrator"
    yield "newest 100", page("*")
    yield "oldest 100", page("*", newest=False)
    yield "deep page by cursor", page("*", after=deep)
    yield (
        "one day and host",
        page("timestamp:[2024-05-20 TO 2024-05-20] AND host:WS-0001.corp.example", newest=False),
    )
    yield "rare word", page("mimikatz")
    yield "rare phrase", page('"lateral tool transfer"')
    yield "common phrase", page('"successfully logged on"')
    yield "common phrase, count", count('"successfully logged on"')
    yield r"*\Temp\*.exe", page(r"*\\Temp\\*.exe")
    yield r"*\Temp\*.exe, count", count(r"*\\Temp\\*.exe")
    yield "rare substring", page("*backdoorx_se*")
    yield "expression", page(r"/net1?\.exe by (vera|hugo)\.[a-z]+ command line: /")
    yield "two attributes", page("EventID:4624 AND LogonType:10")
    yield "two attributes, count", count("EventID:4624 AND LogonType:10")
    yield "words, fields and 14 days", page(f"{both} AND timestamp:[2024-05-18 TO *]")
    yield "top hosts", terms("*", "host")
    yield "top IpAddress of 4624", terms("EventID:4624", "attributes.IpAddress")
    yield "histogram by day", histogram("*", "day")
    yield "histogram by hour of failed logons", histogram("type:4625", "hour")
    yield "histogram of a word", histogram("message:powershell", "day")
    yield (
        "count of a source in 7 days",
        count("source:evtx AND timestamp:[2024-05-20 TO 2024-05-26]"),
    )
    yield "one event by id", lambda: engine.get(case_ids=[case_id], event_id=deep.event_id)
    yield "fields", lambda: engine.fields(case_ids=[case_id])
    yield from _marked(engine, case_id)


def _marked(engine: Engine, case_id: str) -> Iterator[Question]:
    stream = engine.stream(case_ids=[case_id], query=parse("*"))
    marked = Ids(frozenset(document["event_id"] for document in islice(stream, MARKED)))
    del stream
    logons = And((marked, parse("EventID:4624")))
    yield (
        f"page of {len(marked.ids):,} marked events",
        lambda: engine.search(case_ids=[case_id], query=marked, limit=100, count=False),
    )
    yield "those that are logons, count", lambda: engine.count(case_ids=[case_id], query=logons)


def deep_cursor(engine: Engine, case_id: str) -> Cursor:
    """Return a place in the middle of the events."""
    node = parse("timestamp:[* TO 2024-05-01]")
    found = engine.search(case_ids=[case_id], query=node, limit=1, count=False).documents[0]
    return Cursor(found["timestamp"], found["event_id"])
