"""Evidence, posted events and modules in the admin."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from cases import services
from cases.admin.base import (
    ReadOnlyAdmin,
    ScopedAdmin,
    case_link,
    link,
    listed,
    perform,
    shown_time,
    timeline_address,
)
from cases.models import AnalysisModule, Event, Evidence, RunStatus
from cases.overview import with_events
from cases.visible import visible


@admin.register(Evidence)
class EvidenceAdmin(ScopedAdmin):
    """What came in, with its hash and what was made of it."""

    list_display = ("name", "in_case", "kind", "host", "shown_size", "events", "short_hash", "added")
    list_filter = ("kind", "added_at_utc")
    search_fields = ("evidence_uid", "original_name", "sha256", "host", "case__case_id")
    search_help_text = "Name, id, SHA-256, host or case"
    ordering = ("-pk",)
    actions = ("run_again",)
    fieldsets = (
        (None, {"fields": ("name", "uid", "in_case", "kind", "shown_host", "about", "events", "ways")}),
        ("Integrity", {"fields": ("whole_hash", "shown_size", "sealed", "place")}),
        ("Time", {"fields": ("time_zone", "ahead", "changed")}),
        ("Arrival", {"fields": ("added", "added_by")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Evidence]:
        """Return visible evidence with its number of events."""
        return with_events(super().get_queryset(request)).select_related("case", "added_by")

    @display(description="Name", ordering="original_name")
    def name(self, evidence: Evidence) -> SafeString:
        """Return the name it came with, nothing hidden."""
        return visible(evidence.original_name or evidence.evidence_uid)

    @display(description="Case", ordering="case__case_id")
    def in_case(self, evidence: Evidence) -> SafeString:
        """Return a link to its case."""
        return case_link(evidence.case_id, evidence.case.pk)

    @display(description="Host")
    def shown_host(self, evidence: Evidence) -> SafeString:
        """Return the host it comes from."""
        return visible(evidence.host or "–")

    @display(description="Description")
    def about(self, evidence: Evidence) -> SafeString:
        """Return what people said about it."""
        return visible(evidence.description or "–")

    @display(description="Size", ordering="size")
    def shown_size(self, evidence: Evidence) -> str:
        """Return the size for people."""
        return "–" if evidence.size is None else filesizeformat(evidence.size)

    @display(description="SHA-256")
    def short_hash(self, evidence: Evidence) -> SafeString | str:
        """Return the beginning of the hash, the whole of it on pointing."""
        if not evidence.sha256:
            return "–"
        return format_html('<code title="{}">{}…</code>', evidence.sha256, evidence.sha256[:12])

    @display(description="Events")
    def events(self, evidence: Evidence) -> str:
        """Return the number of events that can be searched."""
        return f"{getattr(evidence, 'event_count', 0):,}"

    @display(description="Look at")
    def ways(self, evidence: Evidence) -> SafeString:
        """Return links to its events and its runs."""
        events = link(timeline_address(evidence.case_id, evidence=evidence.evidence_uid), "its events")
        return format_html(
            "{}, {}", events, link(listed("taskrun", evidence=evidence.evidence_uid), "its runs")
        )

    @display(description="Id")
    def uid(self, evidence: Evidence) -> str:
        """Return its public id."""
        return evidence.evidence_uid

    @display(description="SHA-256")
    def whole_hash(self, evidence: Evidence) -> SafeString:
        """Return the hash taken on arrival."""
        return format_html("<code>{}</code>", evidence.sha256 or "–")

    @display(description="Hash and size taken and read back at")
    def sealed(self, evidence: Evidence) -> SafeString:
        """Return when it was sealed; nothing when the stored bytes are not those that came in."""
        return shown_time(evidence.sealed_at)

    @display(description="Key in the evidence store")
    def place(self, evidence: Evidence) -> SafeString:
        """Return the key of its bytes, which is made of the hash."""
        return format_html("<code>{}</code>", visible(evidence.local_path or "–"))

    @display(description="Added to its times (seconds)")
    def ahead(self, evidence: Evidence) -> float:
        """Return what is added to the times read."""
        return evidence.clock_offset_seconds

    @display(description="File last changed (UTC)")
    def changed(self, evidence: Evidence) -> SafeString:
        """Return the file's own time of last change."""
        return shown_time(evidence.modified_at)

    @display(description="Added (UTC)", ordering="added_at_utc")
    def added(self, evidence: Evidence) -> SafeString:
        """Return when it came in."""
        return shown_time(evidence.added_at_utc)

    @action(description="Run again", permissions=["act"])
    def run_again(self, request: HttpRequest, chosen: QuerySet[Evidence]) -> None:
        """Queue another reading of each."""
        by: Any = request.user
        for evidence in self.allowed(request, chosen):
            ask = partial(services.run_again, evidence=evidence, by=by)
            perform(request, ask, f"{evidence.original_name or evidence.evidence_uid}: reading is queued.")

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Allow the links that narrow to a case."""
        return lookup.startswith("case") or super().lookup_allowed(lookup, value, request)


@admin.register(Event)
class PostedEventAdmin(ScopedAdmin):
    """Events that came without a file, as they were posted."""

    list_display = ("ts", "in_case", "shown_source", "shown_message", "is_indexed")
    search_fields = ("event_id", "case__case_id")
    search_help_text = "Event id or case"
    ordering = ("-pk",)
    fields = (
        "event_id", "in_case", "ts", "shown_source", "shown_message", "posted",
        "created_at_utc", "is_indexed", "run",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        """Return visible events with their case and run."""
        return super().get_queryset(request).select_related("case", "run")

    @display(description="Case")
    def in_case(self, event: Event) -> SafeString:
        """Return a link to its case."""
        return case_link(event.case_id, event.case.pk)

    @display(description="Source")
    def shown_source(self, event: Event) -> SafeString:
        """Return the source as posted."""
        return visible(event.source)

    @display(description="Message")
    def shown_message(self, event: Event) -> SafeString:
        """Return the beginning of the message."""
        return visible(event.message[:300])

    @display(description="As posted")
    def posted(self, event: Event) -> SafeString:
        """Return the JSON as it is kept."""
        return format_html('<pre class="dm-json">{}</pre>', visible((event.raw or "")[:20_000]))

    @display(description="Indexed", boolean=True)
    def is_indexed(self, event: Event) -> bool:
        """Return whether it can be searched."""
        succeeded = event.run is not None and event.run.status == RunStatus.SUCCEEDED
        return succeeded or event.indexed_at is not None

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Allow the links that narrow to a case."""
        return lookup.startswith("case") or super().lookup_allowed(lookup, value, request)


@admin.register(AnalysisModule)
class ModuleAdmin(ReadOnlyAdmin):
    """The parsers. An operator may switch one off; the rest follows the code."""

    list_display = ("name", "description", "version", "enabled")
    list_editable = ("enabled",)
    readonly_fields = ("name", "description", "tool", "version")
    fields = ("name", "description", "tool", "version", "enabled")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Switching on and off is open to whoever may act."""
        return self.has_act_permission(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[AnalysisModule]:
        """Return the parsers of this version."""
        return services.modules()
