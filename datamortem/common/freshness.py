"""Answers of parts that may hang: asked in a thread of their own, waited for as long as agreed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from django.db import connections

T = TypeVar("T")


class Asked(Generic[T]):
    """What one part answers to one question, at most `fresh` seconds old.

    However many ask, and however long it hangs, one thread waits for it.
    """

    def __init__(self, question: Callable[[], T], *, fresh: float) -> None:
        self.question = question
        self.fresh = fresh
        self._lock = threading.Lock()
        self._answer: T | None = None
        self._answered = float("-inf")
        self._done: threading.Event | None = None

    def begin(self) -> None:
        """Have it asked, unless it was just now or still is."""
        with self._lock:
            if self._done or time.monotonic() - self._answered < self.fresh:
                return
            self._done = threading.Event()
            threading.Thread(target=self._ask, args=(self._done,), name="asked", daemon=True).start()

    def answer(self, *, by: float) -> T | None:
        """Return what it answers, None if it has not by then (of `time.monotonic`) or cannot."""
        self.begin()
        with self._lock:
            done = self._done
        if done and not done.wait(max(0.0, by - time.monotonic())):
            return None
        return self._answer

    def forget(self) -> None:
        """Ask anew the next time."""
        self._answered = float("-inf")

    def _ask(self, done: threading.Event) -> None:
        answer: T | None = None
        try:
            answer = self.question()
        finally:
            connections.close_all()
            with self._lock:
                self._answer, self._answered, self._done = answer, time.monotonic(), None
            done.set()
