"""What people added to cases, in the admin: to be read; it is changed where it was said."""

from __future__ import annotations

from typing import Any, Final

import orjson
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display

from accounts.models import User
from cases.admin.base import ScopedAdmin, case_link, link, shown_time, timeline_address
from cases.models import Annotation, AnnotationBatch, SavedSearch
from cases.visible import visible

_SHORT: Final = 120


def _short(text: str) -> SafeString:
    return format_html('<span class="dm-wrap">{}</span>', visible(text[:_SHORT] + "…" * (len(text) > _SHORT)))


def _name(user: User | None) -> SafeString:
    return visible(user.username if user else "–")


class _OfPeople(ScopedAdmin):
    """Rows that somebody added to a case."""

    @display(description="Case", ordering="case_ref__case_id")
    def case(self, row: Any) -> SafeString:
        """Return a link to the case."""
        return case_link(row.case_id, row.case_ref_id)

    @display(description="Author", ordering="author__username")
    def who(self, row: Any) -> SafeString:
        """Return who added it."""
        return _name(row.author)

    @display(description="Time (UTC)", ordering="created_at")
    def when(self, row: Any) -> SafeString:
        """Return when it was added."""
        return shown_time(row.created_at)


@admin.register(Annotation)
class AnnotationAdmin(_OfPeople):
    """What people say of events."""

    list_display = ("when", "case", "who", "starred", "tag_list", "in_short", "event")
    list_filter = ("star",)
    search_fields = ("case_ref__case_id", "event_id", "author__username", "comment", "tag_rows__tag")
    search_help_text = "Case, event id, author, comment or tag"
    ordering = ("-pk",)
    fields = ("case", "event", "evidence_uid", "who", "starred", "tag_list", "whole", "when", "changed", "of")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Annotation]:
        """Return them with what a line names."""
        found = super().get_queryset(request)
        return found.select_related("case_ref", "author").prefetch_related("tag_rows")

    @display(description="Star", boolean=True, ordering="star")
    def starred(self, annotation: Annotation) -> bool:
        """Return whether the event got a star by it."""
        return annotation.star

    @display(description="Tags")
    def tag_list(self, annotation: Annotation) -> SafeString:
        """Return the tags."""
        tags = ((visible(tag),) for tag in annotation.tags)
        return format_html_join(", ", "{}", tags) if annotation.tags else visible("–")

    @display(description="Comment")
    def in_short(self, annotation: Annotation) -> SafeString:
        """Return the beginning of the comment."""
        return _short(annotation.comment or "–")

    @display(description="Comment")
    def whole(self, annotation: Annotation) -> SafeString:
        """Return the comment."""
        return format_html('<span class="dm-wrap">{}</span>', visible(annotation.comment or "–"))

    @display(description="Event")
    def event(self, annotation: Annotation) -> SafeString:
        """Return a link to the event's page, which a later reading may no longer yield."""
        address = reverse("event", args=[annotation.case_id, annotation.event_id])
        return link(address, f"{annotation.event_id[:12]}…")

    @display(description="Changed (UTC)")
    def changed(self, annotation: Annotation) -> SafeString:
        """Return when it was last changed."""
        return shown_time(annotation.updated_at)

    @display(description="Batch")
    def of(self, annotation: Annotation) -> SafeString:
        """Return a link to the act that added it with many others."""
        if annotation.batch_id is None:
            return visible("–")
        return link(
            reverse("admin:cases_annotationbatch_change", args=[annotation.batch_id]), annotation.batch_id
        )


@admin.register(AnnotationBatch)
class AnnotationBatchAdmin(_OfPeople):
    """What was said of many events at once."""

    list_display = ("pk", "when", "case", "who", "events", "in_short", "undone")
    search_fields = ("case_ref__case_id", "author__username")
    search_help_text = "Case or author"
    ordering = ("-pk",)
    fields = ("case", "who", "when", "events", "question", "undone", "undoer")

    def get_queryset(self, request: HttpRequest) -> QuerySet[AnnotationBatch]:
        """Return them with what a line names."""
        return super().get_queryset(request).select_related("case_ref", "author", "undone_by")

    @display(description="Asked and said")
    def in_short(self, batch: AnnotationBatch) -> SafeString:
        """Return the beginning of the question."""
        return _short(", ".join(f"{name} {value}" for name, value in batch.asked.items() if value) or "–")

    @display(description="Asked and said")
    def question(self, batch: AnnotationBatch) -> SafeString:
        """Return the question, and what was said, as JSON."""
        text = orjson.dumps(batch.asked, option=orjson.OPT_INDENT_2).decode()
        return format_html('<pre class="dm-json">{}</pre>', visible(text))

    @display(description="Undone (UTC)")
    def undone(self, batch: AnnotationBatch) -> SafeString:
        """Return when it was taken back."""
        return shown_time(batch.undone_at)

    @display(description="Undone by")
    def undoer(self, batch: AnnotationBatch) -> SafeString:
        """Return who took it back."""
        return _name(batch.undone_by)


@admin.register(SavedSearch)
class SavedSearchAdmin(_OfPeople):
    """Searches that cases keep."""

    list_display = ("shown_name", "case", "who", "in_short", "when", "look")
    search_fields = ("name", "q", "case_ref__case_id", "author__username")
    search_help_text = "Name, query, case or author"
    ordering = ("case_ref", "name")
    fields = ("case", "shown_name", "query", "start", "end", "shown_columns", "who", "when", "look")

    def get_queryset(self, request: HttpRequest) -> QuerySet[SavedSearch]:
        """Return them with what a line names."""
        return super().get_queryset(request).select_related("case_ref", "author")

    @display(description="Name", ordering="name")
    def shown_name(self, search: SavedSearch) -> SafeString:
        """Return the name."""
        return visible(search.name)

    @display(description="Query")
    def in_short(self, search: SavedSearch) -> SafeString:
        """Return the beginning of the query."""
        return _short(search.q or "everything")

    @display(description="Query")
    def query(self, search: SavedSearch) -> SafeString:
        """Return the query."""
        return format_html('<pre class="dm-json">{}</pre>', visible(search.q or "everything"))

    @display(description="Columns")
    def shown_columns(self, search: SavedSearch) -> SafeString:
        """Return the columns."""
        return visible(", ".join(search.columns) or "–")

    @display(description="Timeline")
    def look(self, search: SavedSearch) -> SafeString:
        """Return a link to what it finds."""
        asked = {"q": search.q, "from": search.start, "to": search.end}
        if len(search.q) > 2000:
            return visible("too long for an address")
        return link(timeline_address(search.case_id, **{k: v for k, v in asked.items() if v}), "Search")
