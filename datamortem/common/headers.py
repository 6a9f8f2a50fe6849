"""What a browser may do with our answers: one set of headers on each of them, whoever made it.

Evidence is hostile: pages of ours run no script at all and load nothing from elsewhere, so that
text which slips through an escape still does nothing (Content-Security-Policy, W3C CSP level 3).
Strict-Transport-Security comes from Django's SecurityMiddleware, over HTTPS alone (RFC 6797).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from django.http import HttpRequest, HttpResponse

_COMMON: Final = "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
#: Our pages: a style sheet and pictures, no script.
PAGES: Final = f"default-src 'none'; style-src 'self'; img-src 'self'; {_COMMON}"
#: The admin's theme evaluates the expressions in its markup (Alpine), which needs 'unsafe-eval'.
#: Scripts and styles come from files of this site only; inline ones are refused.
ADMIN: Final = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self'; "
    f"img-src 'self' data:; font-src 'self'; connect-src 'self'; {_COMMON}"
)
#: The page that shows the API runs the scripts it comes with.
DOCS: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    f"connect-src 'self'; {_COMMON}"
)
#: A page whose address holds a token tells the next page no more than where the site is.
TOKEN_IN_ADDRESS: Final = "strict-origin"  # noqa: S105

#: On every answer that does not say otherwise. Only files of the site itself say how long they may
#: be kept; whatever else is shown may be somebody's evidence or account.
EVERYWHERE: Final = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class ContentSecurity:
    """Puts the headers on every answer that did not bring its own."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request under its policy."""
        response = self.get_response(request)
        match = request.resolver_match
        is_admin = match is not None and "admin" in match.app_names
        response.headers.setdefault("Content-Security-Policy", ADMIN if is_admin else PAGES)
        for name, value in EVERYWHERE.items():
            response.headers.setdefault(name, value)
        return response
