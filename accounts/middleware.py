"""Browsers: each session belongs to a sign-in, and ends with it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from accounts import policy, sessions
from accounts.access import Access
from accounts.models import AuthSession, User

_API: Final = "/api/"


class BrowserSessions:
    """Sets `request.user.access`, and shows the door to sessions whose sign-in has ended.

    People who owe a second factor are sent to its page from wherever they go, unless the view
    says `open_without_second_factor`. The API answers for itself (`accounts.permissions`).
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request as far as its sign-in is good."""
        user = request.user
        if isinstance(user, User):
            session = _session(request, user)
            if session is None or policy.must_verify_email(user):
                logout(request)
            else:
                user.access = Access(session=session)
                sessions.seen(session)
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        """Send people who owe a second factor to where they show it, or set one up."""
        user = request.user
        if not isinstance(user, User) or not policy.second_factor_missing(user):
            return None
        if getattr(view, "open_without_second_factor", False) or request.path.startswith(_API):
            return None
        page = reverse("second-factor-verify" if user.otp_enabled else "second-factor")
        back = urlencode({"next": request.get_full_path()}) if request.method == "GET" else ""
        return HttpResponseRedirect(f"{page}?{back}" if back else page)


def _session(request: HttpRequest, user: User) -> AuthSession | None:
    """Return the good sign-in of this browser; one that was signed in without a row gets it now."""
    held = request.session.get(sessions.KEY)
    if held is None:
        session = sessions.begin(user, method=AuthSession.Method.BROWSER, second_factor=False)
        request.session[sessions.KEY] = str(session.pk)
        return session if sessions.is_good(session, user) else None
    found = AuthSession.objects.filter(pk=uuid.UUID(held)).first()
    if found is None or not sessions.is_good(found, user):
        return None
    found.user = user
    return found
