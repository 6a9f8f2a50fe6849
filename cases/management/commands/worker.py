"""`manage.py worker`: the built-in worker."""

from __future__ import annotations

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cases import tasks


class Command(BaseCommand):
    """Does the runs that wait."""

    help = "Read evidence and index events that wait, until it is told to stop (SIGTERM, Ctrl-C)."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take how many at once, and whether to end when nothing waits."""
        parser.add_argument("--once", action="store_true", help="end when nothing waits any more")
        parser.add_argument("--concurrency", type=int, default=2, metavar="N", help="runs at once (2)")

    def handle(self, *args: Any, concurrency: int, once: bool, **options: Any) -> str:
        """Work until told to stop."""
        if not 1 <= concurrency <= 64:
            raise CommandError("--concurrency: expected a number from 1 to 64.")
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        begun = tasks.work(concurrency=concurrency, once=once, stop=stop)
        return f"{begun} runs begun."
