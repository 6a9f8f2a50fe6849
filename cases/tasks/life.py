"""Signs of life: how this worker is called, and which others there are.

A worker keeps a file fresh on its own machine. Those of other machines are known by the runs they
hold, by the one that keeps house, and, where a broker carries runs, by their answers.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from cases import carrier
from cases.models import RunStatus, TaskRun
from cases.tasks import office
from datamortem.celery import WHO

_BEAT_EVERY: Final = 2.0
#: A worker that has said nothing for so many seconds is taken for gone.
_SILENCE: Final = 15.0
#: How long answers over the broker are waited for, and how long they are good for, in seconds.
_PATIENCE: Final = 0.5
_GOOD_FOR: Final = 10.0


@dataclass(frozen=True, slots=True)
class WorkerState:
    """Whether any worker is at work, how many are known, and what to tell the operator."""

    alive: bool
    workers: int
    detail: str


def worker_name() -> str:
    """Return a name for this process that no other has, on whichever machine or in which container."""
    process = os.getpid()
    return f"{socket.gethostname()[:100]}-{_mark(process)}:{process}"


@lru_cache(maxsize=1)
def _mark(process: int) -> str:
    """Containers share process numbers, and their hosts may share a name."""
    return secrets.token_hex(4)


@contextmanager
def sign_of_life() -> Iterator[None]:
    """Keep a file fresh while this worker lives."""
    place: Path = settings.WORK_ROOT / "workers" / f"{uuid.uuid4().hex}.json"
    for directory in (settings.WORK_ROOT, place.parent):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in _signs(fresh=False):
        old.unlink(missing_ok=True)
    place.write_text(json.dumps({"worker": worker_name()}), "utf-8")
    gone = threading.Event()
    thread = threading.Thread(target=_keep_fresh, args=(place, gone), daemon=True)
    thread.start()
    try:
        yield
    finally:
        gone.set()
        thread.join()
        place.unlink(missing_ok=True)


def _keep_fresh(place: Path, gone: threading.Event) -> None:
    while not gone.wait(_BEAT_EVERY):
        place.touch()


def _signs(*, fresh: bool) -> list[Path]:
    return [sign for sign in (settings.WORK_ROOT / "workers").glob("*.json") if _is_fresh(sign) == fresh]


def _is_fresh(place: Path) -> bool:
    try:
        return time.time() - place.stat().st_mtime < _SILENCE
    except FileNotFoundError:
        return False


def worker_state() -> WorkerState:
    """Say which workers of this installation are alive, as far as can be known from here.

    Without a broker an idle worker of another machine is known only if it is the one that keeps house.
    """
    here = _local()
    answers = _answers()
    try:
        now = timezone.now()
        busy = set(
            TaskRun.objects.filter(status=RunStatus.RUNNING, lease_until__gte=now)
            .exclude(worker="")
            .values_list("worker", flat=True)
        )
        kept = office.is_held()
    except DatabaseError:
        busy, kept = set(), False
    known = here | busy | set(answers or ())
    elsewhere = len(known - here)
    unseen = kept and not known
    said = [f"{len(here)} at work on this machine"] if here else []
    said += [f"{elsewhere} elsewhere"] if elsewhere else []
    said += ["one keeps house elsewhere"] if unseen else []
    said = said or ["no worker runs: start one with `manage.py worker`"]
    if answers is None:
        said.append("the broker of TASKS does not answer")
    return WorkerState(bool(known or kept), len(known) + unseen, ", ".join(said))


def _local() -> set[str]:
    """Return the workers of this machine, by their files."""
    found = set()
    for sign in _signs(fresh=True):
        with suppress(OSError, ValueError):
            told = json.loads(sign.read_text("utf-8"))
            found.add(str(told.get("worker") or sign.stem))
    return found


class _Asked:
    """The last answers of workers of the broker, so that they are not asked at every look."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.url = ""
        self.until = 0.0
        self.answers: frozenset[str] | None = None


_asked = _Asked()


def _answers() -> frozenset[str] | None:
    """Return the workers that answer over the broker; None when the broker does not answer."""
    if not carrier.has_broker():
        return frozenset()
    with _asked.lock:
        if _asked.url != settings.TASKS or time.monotonic() >= _asked.until:
            _asked.answers = carrier.ask(WHO, _PATIENCE)
            _asked.url, _asked.until = settings.TASKS, time.monotonic() + _GOOD_FOR
        return _asked.answers
