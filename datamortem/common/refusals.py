"""Pages that cannot be shown now: a part is down, or what must be on record cannot be recorded.

The API answers for itself (`common.api`), and pages tell the refusals they know of beside what was
asked; this is for those that stop a page as a whole.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from datamortem.common.errors import Unavailable


class RefusedPages:
    """Answers 503 with the reason where a view raises Unavailable."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return the page that says why, or leave the exception to others."""
        if not isinstance(exception, Unavailable):
            return None
        answer = render(request, "503.html", {"detail": exception.detail}, status=503)
        answer.headers["Retry-After"] = str(exception.retry_after)
        return answer
