"""What the pages of accounts share: where to go next, how a refusal is told, what wants a fresh code."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from rest_framework.exceptions import APIException

from accounts.access import Access
from accounts.models import AuthSession, User
from datamortem.common.errors import DomainError, TooMany, Unavailable

#: What a service may refuse with.
REFUSALS: Final = (DomainError, APIException)
_STATUS: Final = {
    "conflict": 409,
    "forbidden": 403,
    "missing": 404,
    "too_large": 413,
    "too_many": 429,
    "unavailable": 503,
}
View = TypeVar("View", bound=Callable[..., HttpResponse])


class SignedIn(HttpRequest):
    """A request of somebody who is signed in."""

    user: User


def half_open(view: View) -> View:
    """Mark a page as one that opens though a second factor is still due."""
    view.open_without_second_factor = True  # type: ignore[attr-defined]
    return view


def signed_in(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Send whoever is not signed in to the door."""
    return login_required(view)


def fresh(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Ask for the second factor again unless it was shown within the last five minutes."""

    @wraps(view)
    def asked(request: SignedIn, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.user.otp_enabled and not access_of(request).is_fresh():
            return to_step_up(request, request.path)
        return view(request, *args, **kwargs)

    return login_required(asked)


def to_step_up(request: HttpRequest, back: str) -> HttpResponse:
    """Send to where the second factor is shown again, and then back to a form that was not taken."""
    if request.method == "POST":
        messages.warning(request, "Nothing was changed yet: show your second factor, then send it again.")
    return HttpResponseRedirect(f"{reverse('second-factor-verify')}?{urlencode({'next': back})}")


def access_of(request: SignedIn) -> Access:
    """Return how this request proved who asks."""
    return request.user.access or Access()


def session_of(request: SignedIn) -> AuthSession | None:
    """Return the sign-in of this browser."""
    return access_of(request).session


def following(request: HttpRequest) -> str:
    """Return the address to go on to, if one was given that is on this site; else an empty text."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    here = {request.get_host()}
    is_ours = url_has_allowed_host_and_scheme(wanted, here, require_https=request.is_secure())
    return wanted if is_ours and wanted.isprintable() else ""


def onward(request: HttpRequest) -> HttpResponse:
    """Go where somebody wanted to go, or to the start."""
    return HttpResponseRedirect(following(request) or resolve_url(settings.LOGIN_REDIRECT_URL))


def told(refusal: Exception, form: Form) -> dict[str, Any]:
    """Write a refusal into the form, at its field if it has one; return the arguments of `shown`."""
    if isinstance(refusal, DomainError):
        detail, field, status = refusal.detail, refusal.field, _STATUS.get(refusal.status, 400)
    else:
        detail, field, status = str(getattr(refusal, "detail", refusal)), None, 400
    form.add_error(field if field in form.fields else None, detail)
    wait = refusal.retry_after if isinstance(refusal, TooMany | Unavailable) else None
    return {"status": status, "wait": wait}


def shown(
    request: HttpRequest,
    template: str,
    context: dict[str, Any] | None = None,
    *,
    status: int | None = None,
    wait: int | None = None,
) -> HttpResponse:
    """Return a page. One that shows a form with errors is a 400 unless something else is said."""
    context = context or {}
    form = context.get("form")
    if status is None:
        status = 400 if isinstance(form, Form) and form.errors else 200
    page = render(request, f"accounts/{template}.html", context, status=status)
    if wait is not None:
        page.headers["Retry-After"] = str(wait)
    return page
