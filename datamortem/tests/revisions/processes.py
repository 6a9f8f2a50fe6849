"""Real `manage.py` processes: several at once, killed at random, killed at a chosen point."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from datamortem.tests.revisions.scratch import Scratch


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that ended: with an exit status, or by a signal (negative)."""

    command: str
    status: int
    said: str

    def __str__(self) -> str:
        return f"{self.command} -> {self.status}\n{self.said}"


class Process:
    """A command in a process, and a process group, of its own; what it says goes to a file."""

    def __init__(self, scratch: Scratch, *args: str, lab: Sequence[str] = ()) -> None:
        """Start `manage.py` with these arguments, or the lab (see lab.py) around it."""
        self.command = " ".join([*lab, *args])
        self._said = Path(scratch.home, f"said-{time.monotonic_ns()}-{random.getrandbits(32)}")
        start = ["-m", "datamortem.tests.revisions.lab", *lab, "--"] if lab else ["manage.py"]
        with self._said.open("wb") as out:
            self._popen = subprocess.Popen(
                [sys.executable, *start, *args],
                cwd=settings.BASE_DIR,
                env=scratch.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self._started

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._popen.poll() is None

    @property
    def said(self) -> str:
        """What it wrote so far, errors included."""
        return self._said.read_text("utf-8", "replace")

    def kill(self, *, children: bool = False) -> None:
        """SIGKILL it, or it and its children."""
        if self.is_running:
            (os.killpg if children else os.kill)(self._popen.pid, signal.SIGKILL)

    def killed(self, *, after: float, children: bool) -> Ended:
        """Kill it that many seconds after its start, unless it ends before; return how it ended."""
        while self.is_running and self.age < after:
            time.sleep(0.002)
        self.kill(children=children)
        return self.wait()

    def wait(self, seconds: float = 180) -> Ended:
        """Return how it ended."""
        try:
            status = self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill(children=True)
            raise AssertionError(f"{self.command} did not end in {seconds} s:\n{self.said}") from None
        return Ended(self.command, status, self.said)

    def timed(self) -> float:
        """Return after how many seconds it ended well."""
        ended = self.wait()
        assert ended.status == 0, ended
        return self.age


def together(scratch: Scratch, *commands: Sequence[str]) -> list[Ended]:
    """Start all of these at once and return how each ended."""
    running = [Process(scratch, *command) for command in commands]
    return [process.wait() for process in running]


def wait_until(holds: Callable[[], Any], *, seconds: float = 60, what: str = "it") -> None:
    """Return as soon as it holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"{what} did not come to pass in {seconds} s"
        time.sleep(0.02)
