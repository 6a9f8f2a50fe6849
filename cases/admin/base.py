"""What all our admin pages keep: who may look, that nothing is edited, how a refusal is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, TypeVar
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import SuspiciousOperation
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from accounts.models import User
from cases import audit
from cases.models import Case, Evidence, RejectedRecord, RunStatus, TaskRun
from cases.visible import plain, visible
from datamortem.common.errors import DomainError

Row = TypeVar("Row", bound=Model)

#: Colours of states, by the theme's names.
STATUS_COLOURS: Final = {
    RunStatus.QUEUED.value: "info",
    RunStatus.RUNNING.value: "warning",
    RunStatus.SUCCEEDED.value: "success",
    RunStatus.FAILED.value: "danger",
}


class ReadOnlyAdmin(ModelAdmin):
    """Lists and shows what the user may see; adds, changes and deletes nothing.

    The admin's own permissions are left aside: whoever enters it may look (`User.is_staff`), and
    at what is decided by `visible_to`.
    """

    list_per_page = 50
    show_full_result_count = False
    list_filter_submit = True
    actions: Iterable[Any] = ()

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the list; a NUL in its address is a bad request, which PostgreSQL would choke on."""
        if any("\x00" in value for _, values in request.GET.lists() for value in values):
            raise SuspiciousOperation("A NUL in the address of a list.")
        return super().changelist_view(request, extra_context)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the form and take it; what a service refuses is told on the same page."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)  # type: ignore[no-any-return]
        except DomainError as refusal:
            if request.method != "POST":
                raise
            messages.error(request, plain(refusal.detail))
        return HttpResponseRedirect(request.path)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Show one; the title of the window hides nothing either."""
        context["subtitle"] = plain(context.get("subtitle") or "")
        return super().render_change_form(request, context, *args, **kwargs)  # type: ignore[no-any-return]

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whoever enters the admin sees every section."""
        return bool(getattr(request.user, "is_staff", False))

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Looking is allowed; the queryset says at what."""
        return self.has_module_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nothing is added here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nothing is changed here."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nothing is deleted here."""
        return False

    def has_act_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Whoever may write anything at all may act; admins are the users who enter."""
        return self.has_module_permission(request) and bool(getattr(request.user, "may_write", False))


class ScopedAdmin(ReadOnlyAdmin):
    """Shows rows of the cases that the user sees."""

    #: Whether a list says more of its cases than that they are there.
    list_is_a_look: ClassVar[bool] = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows of visible cases, in the order of the list."""
        found: QuerySet[Any] = self.model.objects.visible_to(request.user)
        ordering = self.get_ordering(request)
        return found.order_by(*ordering) if ordering else found

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the list; rows of cases that the admin does not work on are looked at on record."""
        answer = super().changelist_view(request, extra_context)
        rows = getattr(getattr(answer, "context_data", {}).get("cl"), "result_list", ())
        self.record_look(request, rows if self.list_is_a_look else ())
        return answer

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Show one; of a case that the admin does not work on, on record."""
        shown = kwargs.get("obj")
        self.record_look(request, [shown] if shown is not None else [])
        return super().render_change_form(request, context, *args, **kwargs)

    def has_act_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Whoever may write to the case of a row may act on it; in a list, the actions ask for each row."""
        may = super().has_act_permission(request, obj)
        if obj is None or not may or not isinstance(request.user, User):
            return may
        return Case.objects.writable_by(request.user).filter(case_id=case_id_of(obj)).exists()

    def allowed(self, request: HttpRequest, chosen: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows that the user may act on, and say which cases they may only read."""
        for row in chosen:
            if self.has_act_permission(request, row):
                yield row
            else:
                messages.error(request, plain(f"You may read case {case_id_of(row)}, not write to it."))

    def record_look(self, request: HttpRequest, rows: Iterable[Any]) -> None:
        """Record that these rows are shown. Raises NotRecorded."""
        if isinstance(request.user, User):
            cases = {case_id_of(row) for row in rows}
            audit.looked_at_rows(cases, by=request.user, at=f"{request.method} {request.path}")


def case_id_of(row: Any) -> str:
    """Return the id of the case that a row belongs to."""
    match row:
        case TaskRun():
            return row.evidence.case_id
        case RejectedRecord():
            return row.run.evidence.case_id
        case _:
            return str(row.case_id)


def perform(request: HttpRequest, act: Callable[[], object], done: str) -> bool:
    """Do what somebody asked for and tell how it went; a refusal is a message, not an error."""
    try:
        act()
    except DomainError as refusal:
        messages.error(request, plain(refusal.detail))
        return False
    messages.success(request, plain(done))
    return True


def shown_time(moment: datetime | None) -> SafeString:
    """Return a time in UTC on one line."""
    text = moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if moment else "–"
    return format_html('<span class="dm-line">{}</span>', text)


def link(address: str, text: object) -> SafeString:
    """Return a link whose text hides nothing."""
    return format_html('<a href="{}">{}</a>', address, visible(text))


def case_link(case_id: str, pk: int | None = None) -> SafeString:
    """Return a link to a case in the admin, or to its list narrowed to it."""
    if pk is not None:
        return link(reverse("admin:cases_case_change", args=[pk]), case_id)
    return link(listed("case", case_id=case_id), case_id)


def evidence_link(evidence: Evidence) -> SafeString:
    """Return a link to evidence by the name it came with."""
    address = reverse("admin:cases_evidence_change", args=[evidence.pk])
    return link(address, evidence.original_name or evidence.evidence_uid)


def listed(model: str, **narrow: object) -> str:
    """Return the address of a list in the admin, narrowed by lookups."""
    return reverse(f"admin:cases_{model}_changelist") + (f"?{urlencode(narrow)}" if narrow else "")


def timeline_address(case: Case | str, **asked: str) -> str:
    """Return the address of a case's timeline, asked something."""
    case_id = case if isinstance(case, str) else case.case_id
    return reverse("timeline", args=[case_id]) + (f"?{urlencode(asked)}" if asked else "")
