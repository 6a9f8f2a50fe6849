"""The id of a request: taken from a proxy if it looks like one, else made here; on every answer."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Final

from django.http import HttpRequest, HttpResponse

from datamortem.common import logs

_ID: Final = re.compile(r"[A-Za-z0-9._-]{8,64}")


class RequestId:
    """Names each request in its answer (`X-Request-Id`) and in every log line about it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request under its id."""
        given = request.headers.get("X-Request-Id", "")
        name = given if _ID.fullmatch(given) else uuid.uuid4().hex
        token = logs.context.set({"request_id": name})
        try:
            response = self.get_response(request)
        finally:
            logs.context.reset(token)
        response["X-Request-Id"] = name
        return response
