"""`/healthz`: the process is alive. `/readyz`: what it stands on answers, part by part."""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.views.page import half_open
from cases import tasks
from cases.engines import engine


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

    Without a worker everything is served, and what comes in waits. Why a part is down is for
    the operator: `manage.py doctor`.
    """
    parts = {"database": _database(), "index": _index(), "worker": _worker()}
    ready = all(parts[name]["ok"] for name in ("database", "index"))
    status = "ok" if ready else "unavailable"
    response = JsonResponse({"status": status, **parts}, status=200 if ready else 503)
    if not ready:
        response.headers["Retry-After"] = "10"
    return response


def _state(ok: bool, **facts: Any) -> dict[str, Any]:
    return {"ok": ok, "state": "ok" if ok else "down", **facts}


def _database() -> dict[str, Any]:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return _state(False)
    return _state(True)


def _index() -> dict[str, Any]:
    return _state(engine().health().ok)


def _worker() -> dict[str, Any]:
    state = tasks.worker_state()
    return _state(state.alive, workers=state.workers)
