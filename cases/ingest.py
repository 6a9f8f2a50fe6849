"""Files of this machine into a case, all the way: taken in, read, and accounted for.

What `manage.py ingest` and the demo do. The runs are done by this process; one that a worker
took first is waited for.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from accounts.models import User
from cases import custody, services, tasks
from cases.models import Case, Evidence, RunStatus, TaskRun
from datamortem.common.errors import DomainError

COUNTS: Final = ("read", "indexed", "duplicate", "rejected", "undated")


@dataclass(frozen=True, slots=True)
class Named:
    """A file to take in; `error` says why it cannot be. `place` is where it lay in a directory."""

    path: Path
    place: str = ""
    error: str = ""
    follow: bool = False


@dataclass(slots=True)
class Outcome:
    """What became of one file."""

    path: str
    evidence_uid: str | None = None
    sha256: str | None = None
    status: str = "refused"
    duplicate: bool = False
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    seconds: float = 0.0
    error: str | None = None
    parser: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether all of it was read."""
        return self.status == RunStatus.SUCCEEDED


@dataclass(frozen=True, slots=True)
class Described:
    """What is said about every file of one call, and by whom."""

    case: Case
    by: User | None
    module: str | None = None
    host: str = ""
    time_zone: str = "UTC"
    options: dict[str, str] = field(default_factory=dict)


def find(paths: Iterable[Path]) -> Iterator[Named]:
    """Yield the files meant: those named, and those in named directories, in order of name.

    Links inside directories are not followed. What is no regular file comes with an error.
    """
    for path in paths:
        try:
            is_directory = path.is_dir()
        except OSError as error:
            yield Named(path, error=f"It cannot be looked at: {error.strerror}.")
            continue
        if is_directory:
            yield from _walk(path)
        else:
            yield Named(path, follow=True)


def _walk(top: Path) -> Iterator[Named]:
    unreadable: list[OSError] = []
    for directory, folders, names in os.walk(top, onerror=unreadable.append):
        folders.sort()
        for name in sorted(names):
            path = Path(directory, name)
            if not path.is_symlink():
                yield Named(path, place=str(path.relative_to(top)))
    for error in unreadable:
        yield Named(Path(str(error.filename)), error=f"The directory cannot be read: {error.strerror}.")


class Intake:
    """Takes files in one after the other while those before are read, `jobs` at once."""

    def __init__(self, described: Described, *, jobs: int = 1) -> None:
        self.described = described
        self.jobs = jobs
        self.run_ids: list[int] = []
        self.stop = threading.Event()

    def ingest(
        self, files: Iterable[Named], *, received: Callable[[int, int], None] = lambda size, run_id: None
    ) -> Iterator[Outcome]:
        """Yield the outcome of every file, in their order, as they end.

        `received` is told the size and run of each as it comes in. KeyboardInterrupt cancels
        what has not ended, and is raised again.
        """
        waiting: list[tuple[Outcome, Future[TaskRun] | None]] = []
        with ThreadPoolExecutor(self.jobs, "ingest") as pool:
            try:
                for named in files:
                    waiting.append(self._begin(named, pool, received))
                    while waiting and _is_done(waiting[0][1]):
                        yield _account(*waiting.pop(0))
                while waiting:
                    yield _account(*waiting.pop(0))
            except BaseException:
                self._cancel()
                raise

    def _begin(
        self, named: Named, pool: ThreadPoolExecutor, received: Callable[[int, int], None]
    ) -> tuple[Outcome, Future[TaskRun] | None]:
        outcome = Outcome(path=custody.storable(str(named.path)))
        try:
            taken = self._receive(named)
            run = self._alive(taken.evidence, taken.run)
        except OSError as error:
            outcome.error = f"It cannot be opened: {error.strerror or error}."
        except (DomainError, NotRegular) as refusal:
            outcome.error = str(refusal)
        else:
            evidence = taken.evidence
            outcome.evidence_uid, outcome.sha256 = evidence.evidence_uid, evidence.sha256
            outcome.duplicate = taken.duplicate
            self.run_ids.append(run.pk)
            received(evidence.size or 0, run.pk)
            return outcome, pool.submit(tasks.see_through, run.pk, self.stop)
        return outcome, None

    def _receive(self, named: Named) -> services.Received:
        if named.error:
            raise NotRegular(named.error)
        said = self.described
        with _open_regular(named) as file:
            facts = os.fstat(file.fileno())
            return services.receive_evidence(
                case=said.case,
                by=said.by,
                content=file,
                name=os.fsdecode(named.path.name),
                size=facts.st_size,
                host=said.host,
                time_zone=said.time_zone,
                description=named.place,
                modified_at=datetime.fromtimestamp(facts.st_mtime, UTC),
                module=said.module,
                options=said.options,
                bounded=False,
            )

    def _alive(self, evidence: Evidence, run: TaskRun | None) -> TaskRun:
        """Return the run to account for; a new one if it failed, was cancelled, or chose otherwise."""
        said = self.described
        ended_badly = run is None or run.status in (RunStatus.FAILED, RunStatus.CANCELLED)
        chose_otherwise = said.options and run and run.status == RunStatus.SUCCEEDED
        if run is None or ended_badly or (chose_otherwise and said.options != run.options):
            return services.run_again(evidence=evidence, by=said.by, module=said.module, options=said.options)
        return run

    def _cancel(self) -> None:
        for run in TaskRun.objects.unfinished().filter(pk__in=self.run_ids):
            try:
                services.cancel_run(run=run, by=self.described.by)
            except DomainError:
                continue  # it ended in this moment
        self.stop.set()  # afterwards: a run that is handed back by now ends as cancelled


class NotRegular(Exception):
    """No regular file: a device, a pipe or a socket has no content to seal."""


def _open_regular(named: Named) -> BinaryIO:
    """Open a file for reading; what is a device or pipe by now is refused, not waited for."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if named.follow else os.O_NOFOLLOW)
    descriptor = os.open(named.path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegular("It is no regular file (a device, pipe or socket), so there is nothing to seal.")
    return os.fdopen(descriptor, "rb")


def _is_done(future: Future[TaskRun] | None) -> bool:
    return future is None or future.done()


def _account(outcome: Outcome, future: Future[TaskRun] | None) -> Outcome:
    if future is None:
        return outcome
    run = future.result()
    outcome.status, outcome.error, outcome.parser = run.status, run.error_message, run.parser
    outcome.counts = counts_of(run)
    if run.started_at_utc and run.ended_at_utc:
        outcome.seconds = round((run.ended_at_utc - run.started_at_utc).total_seconds(), 3)
    return outcome


def counts_of(run: TaskRun) -> dict[str, int]:
    """Return the ledger of a run under its public names."""
    return {"read": run.records_read, **{name: getattr(run, name) for name in COUNTS[1:]}}


def total(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Return the sum of all ledgers."""
    found = dict.fromkeys(COUNTS, 0)
    for outcome in outcomes:
        for name in COUNTS:
            found[name] += outcome.counts[name]
    return found


def ledger(counts: dict[str, Any]) -> str:
    """Return counts as the last line of `ingest` writes them."""
    return " ".join(f"{name}={counts[name]}" for name in COUNTS)
