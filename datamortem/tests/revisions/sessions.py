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


class Writer:
    """A thread that inserts a row into `cases` every 5 ms and remembers how long each took."""

    def __init__(self, scratch: Scratch) -> None:
        """Begin with `with`."""
        self._url = scratch.url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        #: When each row was stored (time.monotonic), and how long it took in seconds.
        self.stored: list[tuple[float, float]] = []
        self.error: psycopg.Error | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(60)

    @property
    def longest_stall(self) -> float:
        """The longest time one insert took, in seconds."""
        return max((taken for _, taken in self.stored), default=0.0)

    def between(self, start: float, end: float) -> int:
        """Return how many rows were stored between two moments."""
        return sum(start <= at <= end for at, _ in self.stored)

    def _write(self) -> None:
        try:
            with psycopg.connect(self._url, autocommit=True, application_name="a writer") as session:
                for number in count():
                    if self._stop.wait(0.005):
                        return
                    start = time.monotonic()
                    session.execute(
                        "INSERT INTO cases (id, case_id, status, created_at_utc)"
                        " VALUES (%s, %s, 'open', now())",
                        [1_000_000 + number, f"written-{number}"],
                    )
                    self.stored.append((time.monotonic(), time.monotonic() - start))
        except psycopg.Error as error:
            self.error = error
