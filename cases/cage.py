"""The outside of `cases.child`: starts it, hears it, ends it."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from cases.exchange import Job

_ROOT: Final = Path(__file__).resolve().parent.parent
_LINE_LIMIT: Final = 1024 * 1024
_TRACE_LIMIT: Final = 16 * 1024

_SIGNALS: Final[dict[int, str]] = {
    signal.SIGXCPU: "it used up its processor time",
    signal.SIGXFSZ: "it wrote more than it may",
    signal.SIGKILL: "the system ended it (SIGKILL), mostly for want of memory",
    signal.SIGTERM: "somebody ended it (SIGTERM)",
}
_FROM_OUTSIDE: Final = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


#: What may be logged of a trace: places in code and kinds of errors, never words of the evidence.
_PLACE: Final = re.compile(
    r'^ +File "[^"\n]{1,300}", line \d+, in \S+$'
    r"|^thread '[^'\n]{0,100}' .{0,30}panicked at [^\n]{1,300}:\d+:\d+:?$"
    r"|^[A-Za-z_][\w.]{0,200}(?:Error|Exception|Unavailable|Exit)(?=: |$)",
    re.MULTILINE | re.ASCII,
)


class Child:
    """One child at its job. Leaving the context ends it, whatever it does.

    Must be left by the thread that entered: the kernel ends the child with that thread.
    """

    def __init__(self, job: Job, heard: Callable[[dict[str, Any] | None], None] | None = None) -> None:
        """`heard` takes each message, and None at the end, in a thread; without it ask `hear`."""
        self.job = job
        self.messages: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._heard = heard or self.messages.put
        self._trace: deque[bytes] = deque()
        self._trace_size = 0

    def __enter__(self) -> Self:
        """Start it with an environment that holds no secrets."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cases.child"],
            cwd=_ROOT,
            env={"PATH": os.defpath, "LANG": "C.UTF-8", "TZ": "UTC", "TMPDIR": self.job.work},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C at the terminal is for the parent to handle
        )
        self._threads = [
            threading.Thread(target=self._hear, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._drain, args=(self._process.stderr,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        self.tell({**asdict(self.job), "parent": os.getpid()})
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it and every process it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for thread in self._threads:
            thread.join(5)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                _close(pipe)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def hear(self, timeout: float) -> dict[str, Any] | None:
        """Return its next message, an empty one after the timeout, None when it has ended."""
        try:
            return self.messages.get(timeout=timeout)
        except queue.Empty:
            return {}

    def was_killed(self) -> bool:
        """Say whether something outside ended it: an operator, or the system for want of memory."""
        return -self._process.wait() in _FROM_OUTSIDE

    def obituary(self) -> str:
        """Say for people why it ended without a word."""
        code = self._process.wait()
        self._threads[1].join(5)
        trace = self.trace()
        if self.ran_out_of_memory():
            return memory_message(self.job.memory)
        if "File too large" in trace and code != 0:
            return "The output limit of one reading (RUN_OUTPUT) was reached."
        if code < 0:
            return f"The reading process ended: {_SIGNALS.get(-code) or _signal_name(-code)}."
        last = trace.strip().rpartition("\n")[2][:500]
        return f"The parser stopped with an unexpected error: {last or f'exit code {code}'}"

    def ran_out_of_memory(self) -> bool:
        """Say whether it ended for want of memory, by what it wrote last."""
        self._process.wait()
        self._threads[1].join(5)
        trace = self.trace()
        return "MemoryError" in trace or "memory allocation of" in trace

    def trace(self) -> str:
        """Return the end of what it wrote to stderr."""
        return b"".join(self._trace).decode("utf-8", "backslashreplace")

    def places(self) -> str:
        """Return what of the trace may be logged: where in the code, and which kind of error."""
        found = _PLACE.findall(self.trace().rpartition("Traceback (most recent call last)")[2])
        return "\n".join(found[-40:])

    def tell(self, message: dict[str, Any]) -> None:
        """Send it a message."""
        assert self._process.stdin is not None  # noqa: S101
        with suppress(BrokenPipeError):  # it is gone; the end of its stdout says so
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def _hear(self, pipe: IO[bytes]) -> None:
        while line := pipe.readline(_LINE_LIMIT):
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if isinstance(message, dict):
                self._heard(message)
        self._heard(None)

    def _drain(self, pipe: IO[bytes]) -> None:
        """Keep the end of stderr, and never let a parser that prints wait for a reader."""
        while block := pipe.read1(4096):  # type: ignore[attr-defined]
            self._trace.append(block)
            self._trace_size += len(block)
            while self._trace_size - len(self._trace[0]) >= _TRACE_LIMIT:
                self._trace_size -= len(self._trace.popleft())


def _signal_name(number: int) -> str:
    known = number in signal.valid_signals()
    return f"killed by signal {signal.Signals(number).name if known else number}"


def memory_message(limit: int) -> str:
    """Say for people that the memory limit was reached."""
    return f"The memory limit of one reading ({limit / 1024**3:.1f} GB, RUN_MEMORY) was reached."


def _close(pipe: IO[bytes]) -> None:
    with suppress(BrokenPipeError):
        pipe.close()
