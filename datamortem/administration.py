"""The admin site: our own models only, one way to sign in, the look of it.

Nobody enters on a password alone whose account has, or must have, a second factor. What changes
somebody's access or ends something needs it shown within the last five minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import update_wrapper
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from unfold.sites import UnfoldAdminSite

from accounts import policy
from accounts.models import User
from accounts.views import signin
from accounts.views.page import half_open, to_step_up

_OURS: Final = ("accounts", "cases", "scripts_marketplace")
#: Forms that are done with a fresh second factor or not at all, so it is asked for before they show.
_ASKED_FIRST: Final = ("_add", "_delete", "_password_change")
#: What may be sent without a fresh one: everyday work, which ends nothing and lets nobody in.
_EVERYDAY: Final = frozenset({"cases_case_change", "jsi18n", "login", "logout"})
#: The same among the buttons of a case's page and the actions of lists.
_EVERYDAY_ACTS: Final = frozenset({"cancel", "check", "check_record", "reopen", "retry", "run-again"})


class Site(UnfoldAdminSite):
    """Shows what our apps register; packages would add keys of second factors and unused groups."""

    def register(
        self,
        model_or_iterable: type[Model] | Iterable[type[Model]],
        admin_class: type[ModelAdmin[Any]] | None = None,
        **options: Any,
    ) -> None:
        """Take a model of ours, pass over any other."""
        models = [model_or_iterable] if isinstance(model_or_iterable, type) else model_or_iterable
        ours = [model for model in models if model._meta.app_label in _OURS]
        if ours:
            super().register(ours, admin_class, **options)

    def has_permission(self, request: HttpRequest) -> bool:
        """Whether the admin opens: to staff who have shown the second factor that is due."""
        user = request.user
        return isinstance(user, User) and user.is_staff and not policy.second_factor_missing(user)

    def admin_view(self, view: Callable[..., HttpResponse], cacheable: bool = False) -> Any:
        """Return the view as the admin guards it, with what is dangerous behind a fresh second factor."""
        guarded: Callable[..., HttpResponse] = super().admin_view(view, cacheable)

        def asked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not all(map(_is_key, request.POST.getlist(ACTION_CHECKBOX_NAME))):
                raise SuspiciousOperation("What was chosen is no row.")  # Django would look it up as it is
            if self.has_permission(request) and _needs_fresh(request) and not _is_fresh(request):
                return to_step_up(request, _form_of(request))
            return guarded(request, *args, **kwargs)

        return update_wrapper(asked, view)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Return what every page needs; the theme's colours are a file of ours, not an inline style."""
        return {**super().each_context(request), "colors": None}

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Begin with the cases."""
        return HttpResponseRedirect(reverse("admin:cases_case_changelist"))

    @half_open
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Send to the one page where people sign in; refuse those who have, and may not enter."""
        wanted = request.GET.get("next") or reverse("admin:index")
        user = request.user
        if not isinstance(user, User):
            return redirect_to_login(wanted)
        if self.has_permission(request) or not user.is_staff:
            raise PermissionDenied
        page = reverse("second-factor-verify" if user.otp_enabled else "second-factor")
        return HttpResponseRedirect(f"{page}?{urlencode({'next': wanted})}")

    @half_open
    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Sign out as from any page."""
        return signin.logout(request)

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Send to the one page where people change their password."""
        return HttpResponseRedirect(reverse("account-password"))

    def password_change_done(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Send to the same page."""
        return HttpResponseRedirect(reverse("account-password"))


def _needs_fresh(request: HttpRequest) -> bool:
    """Whether the request wants the second factor shown just now. What is not known here does."""
    match = request.resolver_match
    name = (match.url_name if match else None) or ""
    if request.method in ("GET", "HEAD"):
        return name.endswith(_ASKED_FIRST)
    if name == "cases_case_act":
        return not _EVERYDAY_ACTS.issuperset(request.POST.getlist("do"))
    if name.endswith("_changelist"):
        return not _EVERYDAY_ACTS.issuperset(request.POST.getlist("action"))
    return name not in _EVERYDAY


def _is_key(text: str) -> bool:
    """Whether this may be the key of a row: keys here are 32-bit integers."""
    return text.isascii() and text.isdecimal() and len(text) < 10


def _is_fresh(request: HttpRequest) -> bool:
    user = request.user
    if not isinstance(user, User) or not (user.otp_enabled or policy.needs_second_factor(user)):
        return True
    return user.access is not None and user.access.is_fresh()


def _form_of(request: HttpRequest) -> str:
    """Return the page that the request came from, or is for; a button's own address shows nothing."""
    if request.method in ("GET", "HEAD"):
        return request.get_full_path()
    before = request.headers.get("Referer", "")
    is_ours = url_has_allowed_host_and_scheme(before, {request.get_host()}, require_https=request.is_secure())
    address = urlsplit(before)._replace(scheme="", netloc="").geturl() if is_ours else ""
    return address or reverse("admin:index")
