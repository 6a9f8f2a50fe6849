"""Runs and what they rejected, in the admin."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from accounts.models import User
from cases import services
from cases.admin.base import (
    STATUS_COLOURS,
    ScopedAdmin,
    case_link,
    evidence_link,
    link,
    listed,
    perform,
    shown_time,
)
from cases.hexview import hex_lines
from cases.models import Case, RejectedRecord, TaskRun
from cases.visible import visible


@admin.register(TaskRun)
class RunAdmin(ScopedAdmin):
    """Every reading, how far it is, and its ledger."""

    list_display = (
        "number", "state", "of_evidence", "in_case", "how_far",
        "read", "was_indexed", "duplicates", "rejects", "without_time",
    )  # fmt: skip
    list_filter = ("status", "parser", "created_at_utc")
    search_fields = ("evidence__evidence_uid", "evidence__original_name", "evidence__case__case_id")
    search_help_text = "Evidence or case"
    ordering = ("-pk",)
    actions = ("cancel", "retry")
    fieldsets = (
        (
            None,
            {"fields": ("state", "of_evidence", "in_case", "how_far", "message", "what_went_wrong")},
        ),
        ("Ledger", {"fields": ("read", "was_indexed", "duplicates", "rejects", "without_time")}),
        (
            "Reading",
            {"fields": ("task_name", "parser", "parser_version", "module", "attempt", "worker", "fence")},
        ),
        ("Time, UTC", {"fields": ("queued", "started", "ended", "lease_until")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[TaskRun]:
        """Return visible runs with their evidence and case."""
        return super().get_queryset(request).select_related("evidence__case", "module")

    @display(description="Run", ordering="pk")
    def number(self, run: TaskRun) -> int:
        """Return its number."""
        return run.pk

    @display(description="State", ordering="status", label=STATUS_COLOURS)
    def state(self, run: TaskRun) -> str:
        """Return where it stands."""
        return run.status

    @display(description="Evidence")
    def of_evidence(self, run: TaskRun) -> SafeString:
        """Return a link to what is read."""
        return evidence_link(run.evidence)

    @display(description="Case")
    def in_case(self, run: TaskRun) -> SafeString:
        """Return a link to its case."""
        return case_link(run.evidence.case_id, run.evidence.case.pk)

    @display(description="Progress", ordering="progress")
    def how_far(self, run: TaskRun) -> SafeString:
        """Return a bar."""
        return progress_bar(run)

    @display(description="Says")
    def message(self, run: TaskRun) -> SafeString:
        """Return what it said last."""
        return visible(run.progress_message or "–")

    @display(description="Error or notice")
    def what_went_wrong(self, run: TaskRun) -> SafeString:
        """Return why it failed, or what it has to say."""
        return format_html('<pre class="dm-json">{}</pre>', visible(run.error_message or "–"))

    @display(description="Queued")
    def queued(self, run: TaskRun) -> SafeString:
        """Return since when it waits."""
        return shown_time(run.created_at_utc)

    @display(description="Started")
    def started(self, run: TaskRun) -> SafeString:
        """Return since when it is read."""
        return shown_time(run.started_at_utc)

    @display(description="Ended")
    def ended(self, run: TaskRun) -> SafeString:
        """Return when it ended."""
        return shown_time(run.ended_at_utc)

    @display(description="Read", ordering="records_read")
    def read(self, run: TaskRun) -> str:
        """Return how many records were read."""
        return f"{run.records_read:,}"

    @display(description="Indexed", ordering="indexed")
    def was_indexed(self, run: TaskRun) -> str:
        """Return how many can be searched."""
        return f"{run.indexed:,}"

    @display(description="Duplicate", ordering="duplicate")
    def duplicates(self, run: TaskRun) -> str:
        """Return how many were there already."""
        return f"{run.duplicate:,}"

    @display(description="Rejected", ordering="rejected")
    def rejects(self, run: TaskRun) -> SafeString | str:
        """Return how many could not be read, with a link to them."""
        if not run.rejected:
            return "0"
        return link(listed("rejectedrecord", run=run.pk), f"{run.rejected:,}")

    @display(description="Undated", ordering="undated")
    def without_time(self, run: TaskRun) -> str:
        """Return how many have no time."""
        return f"{run.undated:,}"

    @action(description="Cancel", permissions=["act"])
    def cancel(self, request: HttpRequest, chosen: QuerySet[TaskRun]) -> None:
        """Ask for the end of each."""
        _each(request, self.allowed(request, chosen), services.cancel_run, "is being cancelled")

    @action(description="Retry", permissions=["act"])
    def retry(self, request: HttpRequest, chosen: QuerySet[TaskRun]) -> None:
        """Queue each failed or cancelled one anew."""
        _each(request, self.allowed(request, chosen), services.retry_run, "is queued again")

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Allow the links that narrow to a case or evidence."""
        return lookup.startswith("evidence") or super().lookup_allowed(lookup, value, request)


def _each(request: HttpRequest, chosen: Iterable[TaskRun], act: Callable[..., TaskRun], done: str) -> None:
    for run in chosen:
        perform(request, partial(act, run=run, by=request.user), f"Run {run.pk} {done}.")


def progress_bar(run: TaskRun) -> SafeString:
    """Return how far a run is, as a bar with its share in words."""
    share = round(100 * run.progress)
    return format_html(
        '<progress class="dm-progress dm-{}" max="100" value="{}">{} %</progress> <span>{} %</span>',
        run.status, share, share, share,
    )  # fmt: skip


@admin.register(RejectedRecord)
class RejectedRecordAdmin(ScopedAdmin):
    """Records that were read and could not be indexed: where, why, and their bytes."""

    list_display = ("place", "of_run", "why")
    search_fields = ("position", "reason")
    search_help_text = "Position or reason"
    ordering = ("pk",)
    fields = ("place", "of_run", "why", "found")

    def get_queryset(self, request: HttpRequest) -> QuerySet[RejectedRecord]:
        """Return what runs of visible cases rejected."""
        user = request.user
        if not isinstance(user, User):
            return RejectedRecord.objects.none()
        cases = Case.objects.visible_to(user)
        found = RejectedRecord.objects.filter(run__evidence__case__in=cases)
        return found.select_related("run__evidence").order_by("pk")

    @display(description="Position")
    def place(self, record: RejectedRecord) -> SafeString:
        """Return where it stands in the evidence."""
        return visible(record.position)

    @display(description="Run")
    def of_run(self, record: RejectedRecord) -> SafeString:
        """Return the run and what it read."""
        run = record.run
        return format_html(
            "{}, {}", link(listed("taskrun", id=run.pk), f"run {run.pk}"), evidence_link(run.evidence)
        )

    @display(description="Reason")
    def why(self, record: RejectedRecord) -> SafeString:
        """Return the reason."""
        return visible(record.reason)

    @display(description="As found")
    def found(self, record: RejectedRecord) -> SafeString:
        """Return the bytes that were kept."""
        return format_html('<pre class="dm-json">{}</pre>', "\n".join(hex_lines(bytes(record.raw))))

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Allow the links that narrow to a run."""
        return lookup.startswith("run") or super().lookup_allowed(lookup, value, request)
