"""What a browser may load and run on our pages (Content-Security-Policy, W3C CSP level 3).

Evidence is hostile: pages of ours run no script at all and load nothing from elsewhere, so that
text which slips through an escape still does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from django.http import HttpRequest, HttpResponse

_COMMON: Final = "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
#: Our pages: a style sheet and pictures, no script.
PAGES: Final = f"default-src 'none'; style-src 'self'; img-src 'self'; {_COMMON}"
#: The admin's theme evaluates expressions in its markup (Alpine) and sets styles there. Scripts
#: still come from files of this site only, and inline ones are refused.
ADMIN: Final = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    f"img-src 'self' data:; font-src 'self'; connect-src 'self'; {_COMMON}"
)


class ContentSecurity:
    """Puts a policy on every answer that did not bring its own."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request under its policy."""
        response = self.get_response(request)
        match = request.resolver_match
        is_admin = match is not None and "admin" in match.app_names
        response.headers.setdefault("Content-Security-Policy", ADMIN if is_admin else PAGES)
        response.headers.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
        return response
