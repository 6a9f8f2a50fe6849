"""From stored bytes to searchable events: verify, choose, parse, shape, write, close.

Runs in the child process (`cases.child`) without Django or database. What it takes and says is
plain data, so that the parent trusts nothing but numbers and bounded texts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from cases.exchange import REJECTS, Counts, Job, Reading, reject_line
from cases.index import text
from cases.index.connect import Address, connect
from cases.index.document import Document, Origin, make_document
from cases.index.engine import Refused, ShardWriter
from cases.parsers.base import Context, Parser, Source
from cases.parsers.source import FileSource
from cases.records import FIRST_INSTANT, LAST_INSTANT, Damage, ParseError

#: Documents handed to the engine at once; fewer when they are long.
BATCH: Final = 2000
_BATCH_WEIGHT: Final = 8 * 1024 * 1024


class HashMismatch(ParseError):
    """The stored bytes are not those that came in."""


class _Registry(Protocol):
    """What a module of parsers offers."""

    def choose(self, source: Source) -> Parser:
        """Return the first parser that accepts the content. Raises ParseError."""

    def by_name(self, name: str) -> Parser:
        """Return the parser of a name. Raises KeyError."""


def run(job: Job, *, counts: Counts, sealed: Callable[[Reading], None]) -> None:
    """Read the evidence into the index.

    `counts` is kept up to date for whoever watches. `sealed` is called when everything is
    durable and still invisible; what is not published when it returns is discarded.
    Raises ParseError when nothing could be read at all.
    """
    _verify(job)
    engine = connect(Address(**job.index))
    with (
        engine.writer(case_id=job.case_id, shard=job.evidence_uid, run=job.run, append=job.append) as writer,
        (Path(job.work) / REJECTS).open("xb") as rejects,
    ):
        desk = _Desk(writer, rejects, counts)
        reading = _index_documents(job, desk) if job.documents else _read_evidence(job, desk)
        writer.seal()
        desk.take_stock()
        rejects.flush()
        counts.progress = 1.0
        sealed(reading)


def _verify(job: Job) -> None:
    """Hash the bytes again: what is read is what came in (or the run says that it is not)."""
    if job.documents:
        return
    try:
        with Path(job.path).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise HashMismatch(f"The stored bytes cannot be read: {error.strerror}.") from error
    if found != job.sha256:
        raise HashMismatch(
            "The stored bytes are not those that came in: "
            f"SHA-256 was {job.sha256} on arrival and is {found}."
        )


def _read_evidence(job: Job, desk: _Desk) -> Reading:
    context = Context(
        time_zone=job.time_zone,
        reference=datetime.fromisoformat(job.reference) if job.reference else None,
        host=job.host or None,
        options=job.options,
    )
    source = FileSource(path=Path(job.path), name=job.name, context=context)
    parser = _choose(job, source)
    origin = Origin(
        case_id=job.case_id,
        evidence_uid=job.evidence_uid,
        evidence_sha256=job.sha256,
        parser=parser.name,
        host=job.host or None,
        clock_offset=job.clock_offset,
    )
    notice = ""
    try:
        desk.take(parser, source, origin)
    except ParseError as error:
        if not desk.counts.read:
            raise
        # Specification: nothing is lost silently. What was read stays true and is kept; the rest
        # is one entry of the ledger, and the run says so.
        notice = f"Reading stopped after {desk.counts.read} records: {error}"
        desk.counts.read += 1
        desk.reject(Damage(position=f"after {desk.counts.read - 1} records", reason=str(error)))
    desk.flush()
    return Reading(desk.counts, parser.name, parser.version, notice)


def _choose(job: Job, source: Source) -> Parser:
    registry: _Registry = import_module(job.parsers)
    try:
        parser = registry.by_name(job.module) if job.module else registry.choose(source)
    except KeyError:  # a run of an older version may name one that is gone
        raise ParseError(f"This version has no module called {job.module}.") from None
    if parser.name in job.disabled:
        raise ParseError(f"The module {parser.name}, which reads this, is disabled.")
    return parser


def _index_documents(job: Job, desk: _Desk) -> Reading:
    """Index posted events, which are documents already, one a line."""
    with Path(job.path).open("rb") as lines:
        for line in lines:
            desk.add(text.load(line))
    desk.flush()
    return Reading(desk.counts, "", "", "")


class _Desk:
    """Where records become documents, in batches, and every one of them is counted."""

    def __init__(self, writer: ShardWriter, rejects: BinaryIO, counts: Counts) -> None:
        self.writer = writer
        self.rejects = rejects
        self.counts = counts
        self.batch: list[Document] = []

    def take(self, parser: Parser, source: Source, origin: Origin) -> None:
        """Read to the end. The loop runs once for every event there is: keep it lean."""
        counts, weight = self.counts, 0
        for record in parser.parse(source):
            counts.read += 1
            if isinstance(record, Damage):
                self.reject(record)
                continue
            instant = record.timestamp
            if instant is None:
                counts.undated += 1
            elif not FIRST_INSTANT <= instant <= LAST_INSTANT:
                self.reject(Damage(record.position, f"Its time is outside 1601 to 9999: {instant} µs."))
                continue
            self.batch.append(make_document(record, origin))
            weight += record.span[1] if record.span else len(record.message)
            if len(self.batch) >= BATCH or weight >= _BATCH_WEIGHT:
                self.flush()
                counts.progress, weight = source.progress(), 0

    def add(self, document: Document) -> None:
        """Take one document."""
        self.counts.read += 1
        self.counts.undated += document["timestamp"] is None
        self.batch.append(document)
        if len(self.batch) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Hand what has gathered to the engine."""
        if self.batch:
            self.writer.add(self.batch)
            self.batch = []
        self.take_stock()

    def take_stock(self) -> None:
        """Count what the engine says it has; it is not derived from what was handed over."""
        written = self.writer.written
        for refused in written.refused:
            self.refuse(refused)
        written.refused.clear()
        self.counts.indexed = written.indexed
        self.counts.duplicate = written.duplicate
        self.counts.retries = self.writer.retries

    def refuse(self, refused: Refused) -> None:
        """Keep a document that the engine did not take as what it is: a rejected record."""
        document = refused.document
        self.counts.undated -= document["timestamp"] is None
        self.reject(Damage(document["position"], refused.reason, text.dump(document)))

    def reject(self, damage: Damage) -> None:
        """Keep a record that could not be read, with where and why, for whoever asks."""
        self.counts.rejected += 1
        self.rejects.write(reject_line(damage))
