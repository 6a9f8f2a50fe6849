"""A throw-away installation: Django set up, database migrated, one lead with one case."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import django
from django.core.management import call_command

django.setup()

from accounts.models import User
from cases import services
from cases.models import Case


@cache
def lead() -> User:
    """Return the user who does everything here."""
    call_command("migrate", verbosity=0)
    return User.objects.create_user("lead@bench.example", "lead", "a long enough password")


def new_case() -> Case:
    """Return a new, empty case of the lead."""
    return services.open_case(by=lead(), title="Benchmark")


def home() -> Path:
    """Return the directory of the installation."""
    return Path(os.environ["DATAMORTEM_HOME"])


def timed(work: Callable[[], object]) -> float:
    """Return the seconds the work took."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def memory(pid: int | str = "self") -> int:
    """Return the resident memory of a process in bytes."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pages * resource.getpagesize()


def _children() -> Iterator[int]:
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that ended in this moment
            yield from map(int, (task / "children").read_text("ascii").split())


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Yield a list whose one number is the peak of this process and its children, in bytes."""
    peak = [0]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            peak[0] = max(peak[0], memory() + sum(memory(child) for child in _children()))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()
