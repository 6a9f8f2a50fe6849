"""The custody record in the admin: to be read, and checked."""

from __future__ import annotations

from typing import Any, Final

import orjson
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from cases import custody
from cases.admin.base import ScopedAdmin, shown_time
from cases.models import CustodyEntry
from cases.visible import plain, visible

_SHORT: Final = 120


@admin.register(CustodyEntry)
class CustodyAdmin(ScopedAdmin):
    """Who did what, in the order in which it was chained."""

    list_display = ("place", "when", "who", "action", "in_short", "short_hash")
    list_filter = ("action",)
    search_fields = ("case_id", "actor", "evidence_uid", "action")
    search_help_text = "Case, actor, evidence or action"
    ordering = ("case_id", "-sequence")
    actions = ("check_record",)
    fields = (
        "case_id", "sequence", "when", "who", "action", "evidence_uid",
        "facts", "previous_hash", "hash",
    )  # fmt: skip

    @display(description="Entry", ordering="sequence")
    def place(self, entry: CustodyEntry) -> str:
        """Return the case and the number of the entry."""
        return f"{entry.case_id} #{entry.sequence}"

    @display(description="Time (UTC)", ordering="at")
    def when(self, entry: CustodyEntry) -> SafeString:
        """Return when it was done."""
        return shown_time(entry.at)

    @display(description="Actor")
    def who(self, entry: CustodyEntry) -> SafeString:
        """Return who acted."""
        return visible(entry.actor)

    @display(description="Details")
    def in_short(self, entry: CustodyEntry) -> SafeString:
        """Return the beginning of the details."""
        said = (f"{name} {orjson.dumps(value).decode()}" for name, value in entry.details.items())
        text = ", ".join(said) or "–"
        shown = text if len(text) <= _SHORT else text[:_SHORT] + "…"
        return format_html('<span class="dm-wrap">{}</span>', visible(shown))

    @display(description="Details")
    def facts(self, entry: CustodyEntry) -> SafeString:
        """Return the details as JSON."""
        text = orjson.dumps(entry.details, option=orjson.OPT_INDENT_2).decode()
        return format_html('<pre class="dm-json">{}</pre>', visible(text)) if entry.details else visible("–")

    @display(description="Hash")
    def short_hash(self, entry: CustodyEntry) -> SafeString:
        """Return the beginning of the hash, the whole of it on pointing."""
        return format_html('<code title="{}">{}…</code>', entry.hash, entry.hash[:12])

    @action(description="Check the chain of these cases", permissions=["view"])
    def check_record(self, request: HttpRequest, entries: QuerySet[CustodyEntry]) -> None:
        """Tell for every case among the entries whether its record is intact."""
        for case_id in sorted(set(entries.order_by().values_list("case_id", flat=True))):
            tell_check(request, case_id)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Allow the links that narrow to a case."""
        return lookup.startswith("case_id") or super().lookup_allowed(lookup, value, request)


def tell_check(request: HttpRequest, case_id: str) -> None:
    """Check the record of a case and say what was found."""
    if faults := custody.verify(case_id):
        messages.error(request, plain(" ".join(faults)))
        return
    last = CustodyEntry.objects.filter(case_id=case_id).order_by("-sequence").first()
    if last:
        messages.success(
            request, plain(f"Custody of {case_id}: {last.sequence} entries intact, last hash {last.hash}.")
        )
