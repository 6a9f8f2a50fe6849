"""The process that a run happens in: limits first, then one job, then the end.

`python -m cases.child` takes a job as one line of JSON on stdin and speaks JSON lines on
stdout: {"progress": …}, then {"sealed": …} or {"failed": …}. Once sealed it waits, holding the
locks of what it wrote, until its parent has published that and ends it. The end of stdin is the
end of the parent, and of this process. It knows no Django and no secrets; a parser that prints,
prints to stderr.

Where evidence is cut, the first child says {"pieces": …}, of which it has written the facts into
its work directory. Each says {"ready": true} and gets {"piece": …, "number": …} on stdin until it
gets {"piece": null}, and seals. {"whole": …} asks for the evidence to be read by one alone.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import json
import os
import queue
import resource
import signal
import sys
import threading
from dataclasses import asdict
from io import FileIO
from pathlib import Path
from typing import Any, Final

from cases import pipeline
from cases.exchange import Counts, Job, Reading, piece_from, write_pieces
from cases.index.engine import IndexUnavailable
from cases.parsers.base import Piece
from cases.records import ParseError

_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_INTERVAL: Final = 0.5
_OPEN_FILES: Final = 4096
_LAST_WORDS: Final = 5  # seconds of processor time
_MESSAGE_LIMIT: Final = 4000
_BLOCK: Final = 64 * 1024
#: Containers alive beyond those of the last collection before Python looks for cycles among them.
#: A batch of documents has some 20,000 and leaves none; the default is to look at every 700 new ones.
_CONTAINERS: Final = 50_000
_FULL: Final[dict[int | None, str]] = {
    errno.EFBIG: "The output limit of one reading (RUN_OUTPUT) was reached.",
    errno.ENOSPC: "The volume of the index is full: make room, then retry.",
    errno.EDQUOT: "The quota of the volume of the index is used up: make room, then retry.",
}


class Wire:
    """What is said to the parent, by several threads one at a time.

    Pipes are used without buffers: at the end of the interpreter a thread may hold the lock of
    a buffer, and Python aborts.
    """

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._lock = threading.Lock()

    def say(self, **message: Any) -> None:
        """Send one message."""
        line = json.dumps(message).encode() + b"\n"
        with self._lock:
            self._file.write(line)


class Orders:
    """What the parent says, and what is said to it about pieces; see `pipeline.Talk`."""

    def __init__(self, wire: Wire, job: Job) -> None:
        self._wire = wire
        self._job = job
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def listen(self, file: FileIO) -> None:
        """Hear the parent to its end, which is that of this process."""
        rest = b""
        while block := file.read(_BLOCK):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                self._lines.put(line)
        os._exit(1)

    def plan(self, pieces: list[Piece]) -> None:
        """Tell the pieces; from now on this process has but its share of the memory."""
        _bound(resource.RLIMIT_DATA, self._job.memory // self._job.parts)
        sizes = write_pieces(Path(self._job.work), pieces)
        self._wire.say(pieces=sizes)

    def next_piece(self) -> tuple[int, Piece] | None:
        """Ask for a piece and wait for it."""
        self._wire.say(ready=True)
        said = json.loads(self._lines.get())
        return None if said["piece"] is None else (said["number"], piece_from(said["piece"]))


def main() -> int:
    """Do the job on stdin; return the exit code."""
    wire = _take_stdout()
    stdin = FileIO(0, closefd=False)
    facts = json.loads(stdin.readline())
    _die_with_parent(facts.pop("parent"))
    job = Job(**facts)
    _limit(job)
    gc.freeze()
    gc.set_threshold(_CONTAINERS)
    counts = Counts()
    orders = Orders(wire, job)
    threading.Thread(target=orders.listen, args=(stdin,), daemon=True).start()
    threading.Thread(target=_report, args=(wire, counts), daemon=True).start()

    def sealed(reading: Reading) -> None:
        wire.say(sealed=reading.facts())
        threading.Event().wait()

    try:
        pipeline.run(job, counts=counts, talk=orders, sealed=sealed)
    except pipeline.HashMismatch as error:
        wire.say(failed=str(error)[:_MESSAGE_LIMIT], mismatch=True)
        return 1
    except pipeline.PieceStopped as error:
        wire.say(whole=str(error)[:_MESSAGE_LIMIT])
        return 1
    except ParseError as error:
        wire.say(failed=str(error)[:_MESSAGE_LIMIT])
        return 1
    except IndexUnavailable as error:
        wire.say(failed=f"The index could not be written: {error}"[:_MESSAGE_LIMIT])
        return 1
    except OSError as error:
        if error.errno not in _FULL:
            raise
        wire.say(failed=_FULL[error.errno])
        return 1
    except MemoryError:
        wire.say(failed="", memory=True)
        return 1
    return 0


def _take_stdout() -> Wire:
    """Keep stdout for the wire; whatever else writes to file descriptor 1 goes to stderr."""
    wire = Wire(FileIO(os.dup(1), "wb"))
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return wire


def _die_with_parent(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)


def _limit(job: Job) -> None:
    """Bound what a parser can take from the machine, before the first byte of evidence is read.

    RLIMIT_DATA, not RLIMIT_AS: the index maps its files into the address space.
    """
    limits = {
        resource.RLIMIT_DATA: job.memory,
        resource.RLIMIT_FSIZE: job.output,
        resource.RLIMIT_CPU: job.cpu,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_CORE: 0,
    }
    os.umask(0o077)  # what it writes holds evidence
    for kind, value in limits.items():
        _bound(kind, value)


def _bound(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    # Past the soft limit of time comes SIGXCPU, which says why; past the hard one SIGKILL, which
    # looks like a lost process.
    wanted = value + _LAST_WORDS if kind == resource.RLIMIT_CPU else value
    bound = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(kind, (min(value, bound), bound))


def _report(wire: Wire, counts: Counts) -> None:
    pause = threading.Event()
    while not pause.wait(_INTERVAL):
        wire.say(progress=asdict(counts))


if __name__ == "__main__":
    sys.exit(main())
