"""The processes that read one evidence: one, or several that take its pieces one after the other.

The first child verifies the evidence and says whether it is cut, and where. Whatever goes wrong
with a piece that only the whole can tell the meaning of, the evidence is read again by one alone.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from cases.cage import Child, memory_message
from cases.exchange import Counts, Job, forget_reading, read_pieces
from cases.places import Place, Places

logger = logging.getLogger(__name__)

_SUMMED: Final = ("read", "indexed", "duplicate", "rejected", "undated", "retries")


class Failed(Exception):
    """The run cannot succeed; the message is for people, `places` (in the code) for the log."""

    def __init__(self, message: str, *, mismatch: bool = False, places: str = "") -> None:
        super().__init__(message)
        self.mismatch = mismatch
        self.places = places


class Killed(Exception):
    """The reading process was ended from outside; the message says how."""


@dataclass(slots=True)
class _Reader:
    """A child, and what is known of it. `piece` is the number of the one it reads, from 1."""

    child: Child
    place: Place | None
    counts: dict[str, Any] = field(default_factory=lambda: asdict(Counts()))
    piece: int = 0
    is_ending: bool = False
    sealed: dict[str, Any] | None = None

    def give_up_place(self) -> None:
        """Let another run have its place."""
        if self.place is not None:
            self.place.close()
            self.place = None


class Crew:
    """The children of one run. Leaving the context ends them all, whatever they do.

    Must be used by one thread. `job` is the one to publish, which changes where pieces came to
    nothing and the evidence is read again as a whole.
    """

    def __init__(self, job: Job, places: Places) -> None:
        self.job = job
        self._places = places
        self._begin()

    def _begin(self) -> None:
        self._heard: queue.SimpleQueue[tuple[_Reader, dict[str, Any] | None]] = queue.SimpleQueue()
        self._stack = ExitStack()
        self._readers: list[_Reader] = []
        self._want: Place | None = None
        self._sizes: list[int] = []  # of the pieces, once the evidence is cut
        self._left: Iterator[dict[str, Any]] = iter(())
        self._given = 0  # pieces handed out

    def __enter__(self) -> Self:
        """Start the first child."""
        self._hire(self._places.take())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all children."""
        self._stack.close()

    def attend(self, timeout: float) -> dict[str, Any] | None:
        """Hear a child for so many seconds; return what was read once all of it is durable.

        Raises Failed, Killed.
        """
        self._balance_places()
        try:
            reader, message = self._heard.get(timeout=timeout)
        except queue.Empty:
            return None
        if message is None:
            self._mourn(reader)
        elif "failed" in message:
            self._despair(reader, message)
        elif "whole" in message:
            self._read_whole(f"A piece could not be read to its end: {message['whole']}")
        elif "pieces" in message:
            self._cut(message["pieces"])
        elif "ready" in message:
            self._order(reader)
        elif "sealed" in message:
            reader.sealed = message["sealed"]
            reader.counts = message["sealed"]["counts"]
            reader.give_up_place()
        elif "progress" in message:
            reader.counts = message["progress"]
        return self._reading()

    def counts(self) -> dict[str, Any]:
        """Return what has been read so far, of which `progress` is the part, 0 to 1."""
        found = {name: sum(reader.counts[name] for reader in self._readers) for name in _SUMMED}
        return {**found, "progress": self._progress()}

    def _progress(self) -> float:
        if not self._sizes:
            return float(self._readers[0].counts["progress"])
        read = float(sum(self._sizes[: self._given]))
        for reader in self._readers:
            if reader.piece:
                said = reader.counts
                part = said["progress"] if said["piece"] == reader.piece else 0.0
                read -= self._sizes[reader.piece - 1] * (1.0 - part)
        return min(max(read / max(sum(self._sizes), 1), 0.0), 1.0)

    def _reading(self) -> dict[str, Any] | None:
        """Return what all found together, None while any of them reads."""
        if not all(reader.sealed for reader in self._readers) or self._given < len(self._sizes):
            return None
        return {**(self._readers[0].sealed or {}), "counts": self.counts()}

    def _cut(self, sizes: list[int]) -> None:
        self._sizes = [max(int(size), 0) for size in sizes]
        self._left = read_pieces(Path(self.job.work))

    def _order(self, reader: _Reader) -> None:
        """Give a child the next piece; none if there is none, or another run has to be let in."""
        reader.piece = 0
        gives_way = len(self._active()) > 1 and self._want is None and self._places.are_wanted()
        facts = None if gives_way else next(self._left, None)
        if facts is None:
            reader.is_ending = True
        else:
            self._given += 1
            reader.piece = self._given
        reader.child.tell({"piece": facts, "number": self._given})

    def _active(self) -> list[_Reader]:
        return [reader for reader in self._readers if not reader.is_ending]

    def _balance_places(self) -> None:
        """Take a place for a child that has none; have another child help where one is free."""
        first = self._readers[0]
        if self._want is not None:
            if (place := self._places.take()) is not None:
                first.place = place
                self._want.close()
                self._want = None
            return
        waits = self._given < len(self._sizes) and len(self._active()) < self.job.parts
        if waits and not self._places.are_wanted() and (place := self._places.take()) is not None:
            self._hire(place)

    def _hire(self, place: Place | None) -> None:
        """Start a child: the first, or one that helps."""
        job, part = self.job, len(self._readers)
        if part:
            job = replace(job, part=part, memory=job.memory // job.parts)
        elif place is None:
            self._want = self._stack.enter_context(self._places.want())
        heard = self._heard
        child = Child(job, lambda message: heard.put((reader, message)))
        reader = _Reader(child, place)
        self._stack.callback(reader.give_up_place)
        self._readers.append(reader)
        self._stack.enter_context(child)

    def _mourn(self, reader: _Reader) -> None:
        child = reader.child
        if child.was_killed():
            raise Killed(child.obituary())
        if self._sizes and child.ran_out_of_memory():
            self._read_whole("A piece wants more than its share of the memory.")
        else:
            raise Failed(child.obituary(), places=child.places())

    def _despair(self, reader: _Reader, message: dict[str, Any]) -> None:
        if "memory" not in message:
            raise Failed(message["failed"], mismatch="mismatch" in message, places=reader.child.places())
        if not self._sizes:
            raise Failed(memory_message(self.job.memory), places=reader.child.places())
        self._read_whole("A piece wants more than its share of the memory.")

    def _read_whole(self, reason: str) -> None:
        """Begin again with one child that reads everything, under another name for the index."""
        logger.warning("The evidence is read again as a whole. %s", reason)
        self._stack.close()
        forget_reading(Path(self.job.work))
        self.job = replace(self.job, cut=0, run=f"{self.job.run}-whole")
        self._begin()
        self._hire(self._places.take())
