"""Evidence to searchable: an event log by the real path, against bare tantivy with the same documents.

The real path takes the file in (hashed twice), starts the child process, hashes again, parses,
shapes, indexes, and publishes. Bare tantivy gets the same documents, in memory, with the same
fields: once as finished fields, once as documents that still have to be made into fields.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tantivy import Document as Fields

from benchmarks.installation import home, lead, new_case, peak_memory, timed
from cases.demo.windows import write_workstation_security
from cases.engines import engine
from cases.index.document import Document
from cases.index.embedded_schema import SCHEMA, create_index
from cases.index.embedded_shape import Shaper
from cases.index.tree import Everything
from cases.ingest import Described, Intake, Named, Outcome

#: Events that bare tantivy is given at most: they are in memory.
SAMPLE = 200_000
#: As many as the engine puts into one index.
PART = 100_000


def run(*, events: int) -> Iterator[str]:
    """Yield rates, their ratios and the memory."""
    source = home() / "security.evtx"
    with source.open("wb") as file:
        write_workstation_security(file, events)
    case = new_case()
    intake = Intake(Described(case=case, by=lead()))
    outcomes: list[Outcome] = []
    before = _processor_time()
    with peak_memory() as peak:
        seconds = timed(lambda: outcomes.extend(intake.ingest([Named(source)])))
    ours = _processor_time() - before
    outcome = outcomes[0]
    indexed = outcome.counts["indexed"]
    if not outcome.succeeded or not indexed:
        raise RuntimeError(f"The evidence was not read: {outcome.error}")
    rate = indexed / seconds
    yield f"{indexed:,} events, {source.stat().st_size / 1e6:,.0f} MB of evidence"
    yield f"evidence to searchable {rate:,.0f} events/s ({seconds:.1f} s, with intake)"
    yield f"peak memory {peak[0] / 1e6:,.0f} MB, all processes"

    stream = engine().stream(case_ids=[case.case_id], query=Everything())
    documents = list(itertools.islice(stream, SAMPLE))
    stream.close() if hasattr(stream, "close") else None
    before = _processor_time()
    bare = len(documents) / _bare(_shaped(documents))
    theirs = _processor_time() - before
    yield (
        f"processor time an event: {ours / indexed * 1e6:.0f} µs with everything, "
        f"bare tantivy {theirs / len(documents) * 1e6:.0f} µs"
    )
    fields = [list(_shaped(documents[start : start + PART])) for start in range(0, len(documents), PART)]
    finished = len(documents) / _bare(itertools.chain(*fields))
    yield f"bare tantivy {bare:,.0f} events/s, ratio {rate / bare:.2f}"
    yield f"bare tantivy, fields made before {finished:,.0f} events/s, ratio {rate / finished:.2f}"


def _processor_time() -> float:
    """Return the seconds that this process and its finished children have worked."""
    return sum(os.times()[:4])


def _shaped(documents: Iterable[Document]) -> Iterator[dict[str, Any]]:
    shaper = Shaper()
    return map(shaper.shape, documents)


def _bare(fields: Iterable[dict[str, Any]]) -> float:
    """Return the seconds that tantivy takes from fields to a durable index."""
    with tempfile.TemporaryDirectory(dir=home()) as directory:
        start = time.perf_counter()
        for number, batch in enumerate(_parts(fields)):
            place = Path(directory, str(number))
            place.mkdir()
            writer = create_index(place).writer(300_000_000, 1)
            for each in batch:
                writer.add_document(Fields.from_dict(each, SCHEMA))
            writer.commit()
            writer.wait_merging_threads()
        return time.perf_counter() - start


def _parts(fields: Iterable[dict[str, Any]]) -> Iterator[Iterator[dict[str, Any]]]:
    remaining = iter(fields)
    while (first := next(remaining, None)) is not None:
        yield itertools.chain([first], itertools.islice(remaining, PART - 1))
