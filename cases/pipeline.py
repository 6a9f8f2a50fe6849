"""From stored bytes to searchable events: verify, choose, parse, shape, write, seal.

Runs in the child process (`cases.child`) without Django or database. What it takes and says is
plain data, so that the parent trusts nothing but numbers and bounded texts. Large evidence is cut
into pieces, which several such processes read; the first of them verifies and finds the pieces.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from cases.exchange import Counts, Job, Reading, reject_line, rejects_of
from cases.index import text
from cases.index.connect import Address, connect
from cases.index.document import Document, Origin, make_document
from cases.index.engine import Refused, ShardWriter
from cases.parsers.base import Context, Parser, Piece, Source
from cases.parsers.cutting import joined
from cases.parsers.source import FileSource
from cases.records import FIRST_INSTANT, LAST_INSTANT, Damage, ParseError, Record

#: Documents handed to the engine at once; fewer when they are long.
BATCH: Final = 2000
_BATCH_WEIGHT: Final = 8 * 1024 * 1024
#: Pieces for every process that reads, so that none is left with much when the others are done.
_PIECES: Final = 4
_SMALLEST_PIECE: Final = 256 * 1024
#: So many times its stored size a packed text is taken to have, until it has been looked at.
_PACKED: Final = {"gzip": 8, "bzip2": 10, "xz": 12, "zstd": 8}


class HashMismatch(ParseError):
    """The stored bytes are not those that came in."""


class PieceStopped(Exception):
    """A piece could not be read to its end: only a reading of the whole can say what that means."""


class _Registry(Protocol):
    """What a module of parsers offers."""

    def choose(self, source: Source) -> Parser:
        """Return the first parser that accepts the content. Raises ParseError."""

    def by_name(self, name: str) -> Parser:
        """Return the parser of a name. Raises KeyError."""


class Talk(Protocol):
    """How a reading process and its parent agree about pieces."""

    def plan(self, pieces: list[Piece]) -> None:
        """Tell the pieces that the evidence consists of."""

    def next_piece(self) -> tuple[int, Piece] | None:
        """Say that the piece before is done; return the next with its number, None at the end."""


def run(job: Job, *, counts: Counts, talk: Talk, sealed: Callable[[Reading], None]) -> None:
    """Read the evidence, or the pieces of it that fall to this process, into the index.

    `counts` is kept up to date for whoever watches. `sealed` is called when everything is
    durable and still invisible; what is not published when it returns is discarded.
    Raises ParseError when nothing could be read at all, PieceStopped.
    """
    evidence, pieces = None, []
    if not job.documents:
        with _verified(job):
            evidence = _Evidence(job)
            pieces = evidence.pieces()
    if pieces:
        talk.plan(pieces)
    engine = connect(Address(**job.index))
    with (
        engine.writer(
            case_id=job.case_id, shard=job.evidence_uid, run=job.run, append=job.append, part=job.part
        ) as writer,
        _Desk(writer, Path(job.work), counts) as desk,
    ):
        if evidence is None:
            reading = _index_documents(job, desk)
        elif pieces or job.part:
            reading = evidence.read_pieces(desk, talk)
        else:
            reading = evidence.read(desk)
        writer.seal()
        desk.take_stock()
        desk.close()
        counts.progress = 1.0
        sealed(reading)


@contextmanager
def _verified(job: Job) -> Iterator[None]:
    """Hash the bytes while they are looked at: what is read is what came in (or the run says not).

    Nothing that was found out within counts before that; the first process does it for all.
    """
    faults: list[str] = []
    thread = threading.Thread(target=_verify, args=(job, faults), daemon=True)
    if not job.part:
        thread.start()
    try:
        yield
    finally:
        if not job.part:
            thread.join()
        if faults:
            raise HashMismatch(faults[0])


def _verify(job: Job, faults: list[str]) -> None:
    try:
        with Path(job.path).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        faults.append(f"The stored bytes cannot be read: {error.strerror}.")
        return
    if found != job.sha256:
        faults.append(
            "The stored bytes are not those that came in: "
            f"SHA-256 was {job.sha256} on arrival and is {found}."
        )


class _Evidence:
    """One evidence, the parser that reads it, and what its events have in common."""

    def __init__(self, job: Job) -> None:
        self.job = job
        context = Context(
            time_zone=job.time_zone,
            reference=datetime.fromisoformat(job.reference) if job.reference else None,
            host=job.host or None,
            options=job.options,
        )
        self.source = FileSource(path=Path(job.path), name=job.name, context=context)
        self.parser = _choose(job, self.source)
        self.origin = Origin(
            case_id=job.case_id,
            evidence_uid=job.evidence_uid,
            evidence_sha256=job.sha256,
            parser=self.parser.name,
            host=job.host or None,
            clock_offset=job.clock_offset,
        )

    def pieces(self) -> list[Piece]:
        """Return the pieces to read it by; none if it is small, or cannot be cut."""
        job, source = self.job, self.source
        layers = source.compression.split("+") if source.compression else []
        size = source.size
        for layer in layers:
            size *= _PACKED[layer]
        if job.part or not 0 < job.cut <= size:
            return []
        try:
            pieces = self.parser.cuts(
                source, max(min(job.cut, size // (_PIECES * job.parts)), _SMALLEST_PIECE)
            )
        except ParseError:
            return []  # the reading of the whole meets the same, and says what was read before
        if layers and len({piece.entry for piece in pieces}) * 2 < len(pieces):
            # Every piece is reached by unpacking what comes before it: then few are better.
            pieces = [] if "bzip2" in layers else joined(pieces, job.parts)
        return pieces if len(pieces) > 1 else []

    def read(self, desk: _Desk) -> Reading:
        """Read all of it."""
        notice = ""
        desk.begin(0)
        try:
            desk.take(self.parser.parse(self.source), self.source, self.origin)
        except ParseError as error:
            if not desk.counts.read:
                raise
            # Specification: nothing is lost silently. What was read stays true and is kept; the
            # rest is one entry of the ledger, and the run says so.
            notice = f"Reading stopped after {desk.counts.read} records: {error}"
            desk.counts.read += 1
            desk.reject(Damage(position=f"after {desk.counts.read - 1} records", reason=str(error)))
        desk.flush()
        return self._reading(desk, notice)

    def read_pieces(self, desk: _Desk, talk: Talk) -> Reading:
        """Read pieces for as long as there are any."""
        while (ordered := talk.next_piece()) is not None:
            number, piece = ordered
            desk.begin(number)
            try:
                desk.take(self.parser.read_piece(self.source, piece), self.source, self.origin)
            except ParseError as error:
                raise PieceStopped(str(error)) from error
            desk.flush()
        return self._reading(desk, "")

    def _reading(self, desk: _Desk, notice: str) -> Reading:
        return Reading(desk.counts, self.parser.name, self.parser.version, notice)


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
    desk.begin(0)
    with Path(job.path).open("rb") as lines:
        for line in lines:
            desk.add(text.load(line))
    desk.flush()
    return Reading(desk.counts, "", "", "")


class _Desk:
    """Where records become documents, in batches, and every one of them is counted."""

    def __init__(self, writer: ShardWriter, work: Path, counts: Counts) -> None:
        self.writer = writer
        self.work = work
        self.counts = counts
        self.batch: list[Document] = []
        self.rejects: BinaryIO | None = None

    def __enter__(self) -> _Desk:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def begin(self, piece: int) -> None:
        """Begin a piece, or the whole (0): what is rejected from now on is told apart."""
        self.close()
        self.counts.piece, self.counts.progress = piece, 0.0
        self.rejects = rejects_of(self.work, piece).open("xb")

    def close(self) -> None:
        """Hand over what was rejected."""
        if self.rejects is not None:
            self.rejects.close()
            self.rejects = None

    def take(self, records: Iterable[Record | Damage], source: Source, origin: Origin) -> None:
        """Take all records. The loop runs once for every event there is: keep it lean."""
        counts, weight = self.counts, 0
        for record in records:
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
        if self.rejects is not None:
            self.rejects.write(reject_line(damage))
