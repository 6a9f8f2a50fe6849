"""How far a set of runs is, shown while they work: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Self

from django.db import connections
from django.db.models import Sum
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from cases.models import TaskRun

_EVERY_ON_TERMINAL: Final = 0.5
_EVERY_IN_LOG: Final = 5.0


class Watch(AbstractContextManager["Watch"]):
    """Shows on stderr what share of the bytes is read, how many events, how fast and how long yet."""

    def __init__(self, *, total_bytes: int, files: int, quiet: bool) -> None:
        self.total = max(total_bytes, 1)
        self.files = files
        self.quiet = quiet
        self.sizes: dict[int, int] = {}
        self._gone = threading.Event()
        self._started = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=quiet or not sys.stderr.isatty(),
        )
        self._thread = threading.Thread(target=self._show, daemon=True)

    def add(self, size: int, run_id: int) -> None:
        """Watch one more run."""
        self.sizes[run_id] = size

    def __enter__(self) -> Self:
        """Begin to show."""
        if not self.quiet:
            self._bar.start()
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop showing."""
        if not self.quiet:
            self._gone.set()
            self._thread.join()
            self._bar.stop()

    def _show(self) -> None:
        task = self._bar.add_task("Taking in", total=self.total)
        every = _EVERY_IN_LOG if self._bar.disable else _EVERY_ON_TERMINAL
        try:
            while not self._gone.wait(every):
                done, text = self._state()
                self._bar.update(task, completed=done, description=text)
                if self._bar.disable:
                    sys.stderr.write(f"{text}, {100 * done / self.total:.0f} %\n")
                    sys.stderr.flush()
        finally:
            connections.close_all()

    def _state(self) -> tuple[float, str]:
        sizes = dict(self.sizes)
        rows = TaskRun.objects.filter(pk__in=sizes)
        done = sum(sizes[pk] * progress for pk, progress in rows.values_list("pk", "progress"))
        ended = rows.exclude(pk__in=rows.unfinished().values("pk")).count()
        events = rows.aggregate(events=Sum("records_read"))["events"] or 0
        rate = events / max(time.monotonic() - self._started, 0.001)
        return done, f"{ended} of {self.files} files, {events:,} events, {rate:,.0f}/s"
