"""The admin site: our own models only, one way to sign in, the look of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django.contrib.admin import ModelAdmin
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.sites import UnfoldAdminSite

_OURS: Final = ("accounts", "cases", "scripts_marketplace")


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

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Return what every page needs; the theme's colours are a file of ours, not an inline style."""
        return {**super().each_context(request), "colors": None}

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Begin with the cases."""
        return HttpResponseRedirect(reverse("admin:cases_case_changelist"))

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Send to the one page where people sign in; refuse those who have, and may not enter."""
        if request.user.is_authenticated and not self.has_permission(request):
            raise PermissionDenied
        return redirect_to_login(request.GET.get("next") or reverse("admin:index"))
