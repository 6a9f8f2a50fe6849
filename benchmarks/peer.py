"""JSON Lines and CSV to a search server, against a bulk client with the mapping of another tool.

The other side is less than that tool does: Timesketch's mapping (each text as words, as a keyword and as a
wildcard, in fields made as they come), but objects that lie in memory, without its reading of times.
Its own importer reaches 0.64 (JSONL) and 0.43 (CSV) of such a client on the same server, measured
in a study of November 2026. Needs TEST_SEARCH_URL.
"""

from __future__ import annotations

import itertools
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson
from django.conf import settings
from opensearchpy import OpenSearch, helpers

from benchmarks.installation import home, lead, new_case, timed
from benchmarks.timelines import write_csv, write_jsonl
from cases.ingest import Described, Intake, Named, Outcome

_SAMPLE: Final = 100_000
_IMPORTER: Final = {"jsonl": 3024 / 4743, "csv": 2047 / 4743}
_MAPPING: Final = {
    "dynamic_templates": [
        {
            "texts": {
                "match_mapping_type": "string",
                "mapping": {
                    "type": "text",
                    "fields": {
                        "keyword": {"type": "keyword", "ignore_above": 256},
                        "wildcard": {"type": "wildcard"},
                    },
                },
            }
        }
    ],
    "properties": {"datetime": {"type": "date"}, "timestamp": {"type": "long"}},
}


def run(*, events: int) -> Iterator[str]:
    """Yield rates and ratios."""
    server = os.environ.get("TEST_SEARCH_URL", "")
    if not server:
        yield "skipped: no TEST_SEARCH_URL; try: .ci/with-search .venv/bin/python -m benchmarks peer"
        return
    settings.SEARCH_URL = server
    rates = {}
    for kind, write in (("jsonl", write_jsonl), ("csv", write_csv)):
        source = home() / f"timeline.{kind}"
        write(source, events, seed=4)
        rates[kind] = _ours(source, events)
        yield f"{kind}: {events:,} events, {source.stat().st_size / 1e6:,.0f} MB: {rates[kind]:,.0f} events/s"
    theirs = _bulk(server, home() / "timeline.jsonl")
    yield f"bulk client with the other mapping: {theirs:,.0f} events/s"
    for kind, rate in rates.items():
        importer = theirs * _IMPORTER[kind]
        yield f"{kind}: {rate / theirs:.1f} times the bulk client, {rate / importer:.1f} times its importer"


def _ours(source: Path, events: int) -> float:
    """Return events a second from the file to searchable, with intake and all hashes."""
    intake = Intake(Described(case=new_case(), by=lead()))
    outcomes: list[Outcome] = []
    seconds = timed(lambda: outcomes.extend(intake.ingest([Named(source)])))
    counts = outcomes[0].counts
    if not outcomes[0].succeeded or counts["read"] != counts["indexed"] or counts["read"] != events:
        raise RuntimeError(f"The evidence was not read whole: {counts} {outcomes[0].error}")
    return events / seconds


def _bulk(server: str, source: Path) -> float:
    client = OpenSearch(server.split(","), timeout=120)
    name = f"bench-peer-{uuid.uuid4().hex}"
    limit = {"index.mapping.total_fields.limit": 5000}
    client.indices.create(index=name, body={"settings": limit, "mappings": _MAPPING})
    try:
        with source.open("rb") as lines:
            rows = [orjson.loads(line) for line in itertools.islice(lines, _SAMPLE)]
        start = time.perf_counter()
        helpers.bulk(client, _actions(name, rows), chunk_size=1000)
        client.indices.refresh(index=name)
        return len(rows) / (time.perf_counter() - start)
    finally:
        client.indices.delete(index=name)


def _actions(name: str, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield {"_index": name, "_source": row}
