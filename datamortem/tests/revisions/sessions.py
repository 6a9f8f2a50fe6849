"""Other sessions of PostgreSQL while a schema changes: a reader that stays, a writer that goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from types import TracebackType
from typing import Self

import psycopg

from datamortem.tests.revisions.scratch import Scratch


@contextmanager
def reader(scratch: Scratch, table: str, *, name: str = "a long report") -> Iterator[psycopg.Connection]:
    """A session that has read a table and then idles in its transaction until the block ends."""
    with psycopg.connect(scratch.url, application_name=name) as session:
        session.execute(f"SELECT count(*) FROM {table}")
        yield session


class Repeated:
    """A thread that executes a statement every 5 ms and remembers how long each took."""

    def __init__(self, url: str, statement: str, *, name: str = "a writer") -> None:
        """Begin with `with`. A `{n}` in the statement is its number."""
        self._url = url
        self._statement = statement
        self._name = name
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._repeat, daemon=True)
        #: When each was done (time.monotonic), and how long it took in seconds.
        self.done: list[tuple[float, float]] = []
        self.error: psycopg.Error | None = None
        #: How often the server ended one to resolve a deadlock.
        self.deadlocks = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(600)

    @property
    def longest_stall(self) -> float:
        """The longest time one took, in seconds."""
        return max((taken for _, taken in self.done), default=0.0)

    def stalled(self, *, over: float = 0.1) -> float:
        """Return the sum of the seconds of all that took longer than that."""
        return sum(taken for _, taken in self.done if taken > over)

    def between(self, start: float, end: float) -> int:
        """Return how many were done between two moments."""
        return sum(start <= at <= end for at, _ in self.done)

    def _repeat(self) -> None:
        try:
            with psycopg.connect(self._url, autocommit=True, application_name=self._name) as session:
                for number in count():
                    if self._stop.wait(0.005):
                        return
                    start = time.monotonic()
                    try:
                        session.execute(self._statement.replace("{n}", str(number)).encode())
                    except psycopg.errors.DeadlockDetected:
                        self.deadlocks += 1
                        continue
                    self.done.append((time.monotonic(), time.monotonic() - start))
        except psycopg.Error as error:
            self.error = error


class Writer(Repeated):
    """Inserts a row into `cases` every 5 ms, whatever revision the table has."""

    def __init__(self, scratch: Scratch) -> None:
        """Begin with `with`."""
        super().__init__(
            scratch.url,
            "INSERT INTO cases (case_id, status, created_at_utc) VALUES ('written-{n}', 'open', now())",
        )
