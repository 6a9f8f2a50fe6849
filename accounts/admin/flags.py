"""Feature flags in the admin: a superadmin turns parts of the platform off and on."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from accounts import flags, policy
from accounts.models import FeatureFlag, User


def may_switch(request: HttpRequest) -> bool:
    """Whether somebody may turn parts of the platform off: superadmins."""
    return isinstance(request.user, User) and policy.is_superadmin(request.user)


@admin.register(FeatureFlag)
class FlagAdmin(ModelAdmin):
    """The flags that the code knows. None is added or deleted."""

    list_display = ("key", "enabled", "description", "updated_at", "updated_by")
    fields = ("key", "description", "enabled", "updated_at", "updated_by")
    readonly_fields = ("key", "description", "updated_at", "updated_by")
    actions = ()

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Superadmins alone."""
        return may_switch(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Superadmins alone."""
        return may_switch(request)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Superadmins alone."""
        return may_switch(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """The code says which there are."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """The code says which there are."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[FeatureFlag]:
        """Return the known ones."""
        return flags.rows()

    def save_model(self, request: HttpRequest, obj: FeatureFlag, form: Any, change: bool) -> None:
        """Let the service switch and record it."""
        flags.switch(obj.key, enabled=obj.enabled, by=request.user)  # type: ignore[arg-type]
