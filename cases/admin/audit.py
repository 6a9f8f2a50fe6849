"""The audit record in the admin: to be read and searched.

It lies with the cases, because entries of a restricted case are for its people alone.
"""

from __future__ import annotations

from typing import Any

import orjson
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import FieldTextFilter
from unfold.decorators import display

from accounts import policy
from accounts.models import AuditEntry, User
from cases.admin.base import ReadOnlyAdmin, shown_time
from cases.models import Case
from cases.visible import visible


@admin.register(AuditEntry)
class AuditAdmin(ReadOnlyAdmin):
    """Who did what on the platform, the newest first."""

    list_display = ("when", "who", "action", "shown_outcome", "on", "in_case", "address")
    list_filter = (
        "outcome",
        "at",
        ("action", FieldTextFilter),
        ("actor", FieldTextFilter),
        ("case_id", FieldTextFilter),
        ("address", FieldTextFilter),
    )
    search_fields = ("action", "actor", "target", "case_id", "address", "request_id")
    search_help_text = "Action, actor, target, case, address or id of a request"
    ordering = ("-pk",)
    fields = (
        "when", "who", "action", "shown_outcome", "on", "in_case", "facts",
        "address", "shown_agent", "request_id", "session_id", "token_id",
    )  # fmt: skip

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Admins and superadmins."""
        return isinstance(request.user, User) and policy.sees_all_cases(request.user)

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEntry]:
        """Return all entries but those of restricted cases that the admin has not joined."""
        found = AuditEntry.objects.order_by("-pk")
        if not isinstance(request.user, User):
            return found.none()
        return found.exclude(case_id__in=Case.objects.barred_to(request.user).values("case_id"))

    @display(description="Time (UTC)", ordering="at")
    def when(self, entry: AuditEntry) -> SafeString:
        """Return when it was done."""
        return shown_time(entry.at)

    @display(description="Actor", ordering="actor")
    def who(self, entry: AuditEntry) -> SafeString:
        """Return who acted."""
        return visible(entry.actor)

    @display(description="Outcome", ordering="outcome", label={"ok": "success", "refused": "danger"})
    def shown_outcome(self, entry: AuditEntry) -> str:
        """Return how it ended."""
        return entry.outcome

    @display(description="On")
    def on(self, entry: AuditEntry) -> SafeString:
        """Return what it was done to."""
        return visible(entry.target or "–")

    @display(description="Case", ordering="case_id")
    def in_case(self, entry: AuditEntry) -> SafeString:
        """Return the case it is about."""
        return visible(entry.case_id or "–")

    @display(description="Agent")
    def shown_agent(self, entry: AuditEntry) -> SafeString:
        """Return what asked, as it calls itself."""
        return visible(entry.agent or "–")

    @display(description="Details")
    def facts(self, entry: AuditEntry) -> SafeString:
        """Return the details as JSON."""
        text = orjson.dumps(entry.details, option=orjson.OPT_INDENT_2).decode()
        return format_html('<pre class="dm-json">{}</pre>', visible(text)) if entry.details else visible("–")

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Allow the links that narrow to an actor, a case or a request."""
        narrow = ("user_id", "case_id", "request_id", "session_id", "token_id")
        return lookup in narrow or super().lookup_allowed(lookup, value, request)
