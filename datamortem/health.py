"""`/healthz`: the process is alive. `/readyz`: what it stands on answers, part by part."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.views.page import half_open
from cases import carrier, lag, store, tasks
from cases.engines import engine
from cases.queues import READING
from datamortem.common.errors import DomainError
from datamortem.common.freshness import Asked

#: All parts together have so many seconds; an answer is good for the next second.
PATIENCE: Final = 1.8
_FRESH: Final = 1.0
#: What the engine says of itself that anybody may read; paths and hosts are not in it.
_SHOWN: Final = ("engine", "version", "status", "nodes", "documents", "bytes", "disk_free")
State = dict[str, Any]


@half_open
@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Say that the process answers; asks nothing of anybody."""
    return JsonResponse({"status": "ok"})


@half_open
@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Say how each part is; 503 when database or index do not answer.

    Without store, worker or broker much is served, and what comes in waits. Why a part is down is
    for the operator: `manage.py doctor`. A part that hangs is down after two seconds.
    """
    parts = look()
    ready = all(parts[name]["ok"] for name in ("database", "index"))
    status = "ok" if ready else "unavailable"
    response = JsonResponse({"status": status, **parts}, status=200 if ready else 503)
    if not ready:
        response.headers["Retry-After"] = "10"
    return response


def look() -> dict[str, State]:
    """Return the state of each part, asked at most a second ago."""
    for part in PARTS.values():
        part.begin()
    by = time.monotonic() + PATIENCE
    return {name: part.answer(by=by) or _state(False) for name, part in PARTS.items()}


def _state(ok: bool, **facts: Any) -> State:
    return {"ok": ok, "state": "ok" if ok else "down", **facts}


def _database() -> State:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return _state(False)
    return _state(True, engine=connection.vendor)


def _index() -> State:
    try:
        health = engine().health()
    except DatabaseError:  # which knows the name of our part of a server
        return _state(False)
    return _state(health.ok, **_shown(health.facts))


def _shown(facts: Mapping[str, str]) -> dict[str, str]:
    return {name: facts[name] for name in _SHOWN if name in facts}


def _store() -> State:
    is_bucket = str(settings.EVIDENCE_URL).startswith("s3:")
    kind = "bucket" if is_bucket else "folder"
    try:
        store.place().check()
        free = {} if is_bucket else {"free_bytes": shutil.disk_usage(settings.EVIDENCE_ROOT).free}
    except (DomainError, OSError):
        return _state(False, kind=kind)
    return _state(True, kind=kind, **free)


def _worker() -> State:
    try:
        state = tasks.worker_state()
    except (DatabaseError, OSError):
        return _state(False, workers=0)
    return _state(state.alive, workers=state.workers)


def _broker() -> State:
    if not carrier.has_broker():
        return _state(True, kind="builtin")
    return _state(carrier.depth(READING) is not None, kind=str(settings.TASKS).partition(":")[0])


def _lag() -> State:
    try:
        return _state(True, **asdict(lag.lag()))
    except DatabaseError:
        return _state(False)


PARTS: Final = {
    name: Asked(question, fresh=_FRESH)
    for name, question in (
        ("database", _database),
        ("index", _index),
        ("store", _store),
        ("worker", _worker),
        ("broker", _broker),
        ("lag", _lag),
    )
}
