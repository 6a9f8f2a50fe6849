"""`manage.py worker`: the worker of the carrier that TASKS names."""

from __future__ import annotations

import argparse
import re
import signal
import threading
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from cases import carrier, tasks
from cases.queues import QUEUES
from cases.tasks import carried

_HELP: Final = """\
Read evidence and index events that wait, until it is told to stop (SIGTERM, Ctrl-C): what is being
read then goes back to the queue, and another worker takes it up.

With TASKS=builtin the worker looks for runs in the database. With TASKS=redis://… (or rediss://,
amqp://, amqps://) it is a worker of Celery that hears of them over the broker; `celery -A datamortem
worker` starts the same one. Any number of workers, of both kinds and on any machines that reach
database, evidence and index, divide the work between them.
"""
_QUEUES: Final = """\
queues:
  events    posted events on their way into the index
  reading   evidence, and whatever is read again
  large     evidence of 1 GiB or more

A worker of several queues keeps one slot beside --concurrency for posted events, so that they never
wait behind evidence. Give large evidence workers of its own on machines with much memory:

  manage.py worker --queues large --concurrency 2
  manage.py worker --queues events,reading --concurrency 4 --memory 16G

Each reading may take RUN_MEMORY; with --memory (or WORKER_MEMORY) a worker begins no more of them
than fit.
"""
_UNITS: Final = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


class Command(BaseCommand):
    """Does the runs that wait."""

    help = _HELP

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Keep the lines of the help as they are."""
        parser = super().create_parser(prog_name, subcommand, epilog=_QUEUES, **kwargs)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        """Take how much at once, of which queues, and whether to end when nothing waits."""
        parser.add_argument("--once", action="store_true", help="end when nothing waits any more")
        parser.add_argument("--concurrency", type=int, default=2, metavar="N", help="runs at once (2)")
        parser.add_argument(
            "--queues",
            default=",".join(QUEUES),
            metavar="NAMES",
            help=f"separated by commas ({','.join(QUEUES)})",
        )
        parser.add_argument(
            "--memory",
            default="",
            metavar="SIZE",
            help="what all readings together may take, such as 16G (WORKER_MEMORY; no bound)",
        )

    def handle(
        self, *args: Any, concurrency: int, once: bool, queues: str, memory: str, **options: Any
    ) -> str:
        """Work until told to stop."""
        if not 1 <= concurrency <= 64:
            raise CommandError("--concurrency: expected a number from 1 to 64.")
        chosen, bound = _queues(queues), _bytes(memory)
        try:
            if carrier.has_broker():
                begun = carried.work(concurrency=concurrency, queues=chosen, memory=bound, once=once)
            else:
                begun = _built_in(concurrency, chosen, bound, once=once)
        except tasks.TooMuch as refusal:
            raise CommandError(str(refusal)) from None
        return f"{begun} runs begun."


def _built_in(concurrency: int, queues: tuple[str, ...], memory: int, *, once: bool) -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return tasks.work(concurrency=concurrency, queues=queues, memory=memory, once=once, stop=stop)


def _queues(text: str) -> tuple[str, ...]:
    names = {name.strip() for name in text.split(",") if name.strip()}
    if not names or names - set(QUEUES):
        raise CommandError(f"--queues: expected some of {', '.join(QUEUES)}, separated by commas.")
    return tuple(name for name in QUEUES if name in names)


def _bytes(text: str) -> int:
    if not text:
        return int(settings.WORKER_MEMORY)
    found = re.fullmatch(r"(\d{1,15})([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if found is None:
        raise CommandError("--memory: expected a size such as 16G, or a number of bytes.")
    return int(found[1]) * _UNITS[found[2].upper()]
