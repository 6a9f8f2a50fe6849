"""A case in the admin: its evidence, readings and newest events on one page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from accounts.models import User
from cases import services
from cases.admin.base import ScopedAdmin, link, perform, shown_time, timeline_address
from cases.admin.panels import panels
from cases.admin.records import tell_check
from cases.admin.restricted import restricted_cases
from cases.models import Case, CaseStatus, Evidence, Severity, TaskRun
from cases.overview import with_figures
from cases.permissions import may_guard, may_manage, may_write
from cases.visible import visible
from datamortem.common.errors import Forbidden

_SEVERITY_COLOURS: Final = {"low": "info", "medium": "warning", "high": "danger", "critical": "danger"}
_STATUS_COLOURS: Final = {CaseStatus.OPEN.value: "success", CaseStatus.CLOSED.value: "primary"}


class CaseForm(forms.ModelForm):  # type: ignore[type-arg]
    """What is said about a case; `services.update_case` checks, stores and records it."""

    tag_list = forms.CharField(
        label="Tags",
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="Words, separated by commas.",
    )
    severity = forms.ChoiceField(
        required=False, choices=[("", "–"), *Severity.choices], widget=UnfoldAdminSelectWidget
    )

    class Meta:
        model = Case
        fields = ("title", "severity", "note")
        widgets = {"title": UnfoldAdminTextInputWidget, "note": UnfoldAdminTextareaWidget}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "tag_list" in self.fields:
            self.fields["tag_list"].initial = ", ".join(str(tag) for tag in self.instance.tags or [])

    def facts(self) -> dict[str, Any]:
        """Return what was said, as services take it."""
        said = self.cleaned_data
        tags = [tag for part in said["tag_list"].split(",") if (tag := part.strip())]
        return {
            "title": said["title"],
            "severity": said["severity"],
            "note": said["note"] or "",
            "tags": tags,
        }


@admin.register(Case)
class CaseAdmin(ScopedAdmin):
    """Cases, each with what is known of it. Nothing is deleted here."""

    form = CaseForm
    list_is_a_look = False
    list_display = (
        "name", "shown_title", "state", "access", "shown_severity", "owner",
        "evidence", "events", "activity", "timeline",
    )  # fmt: skip
    list_filter = ("status", "restricted", "severity", "created_at_utc")
    search_fields = ("case_id", "title", "owner__username", "owner__email")
    search_help_text = "Id, title or owner"
    ordering = ("-pk",)
    actions = ("close", "reopen", "check_record")
    fieldsets = (("About", {"fields": ("title", "severity", "tag_list", "note")}),)
    change_form_outer_before_template = "admin/cases/case/panels.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Case]:
        """Return visible cases with their figures."""
        return with_figures(super().get_queryset(request)).select_related("owner", "closed_by")

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """An open case may be described; a closed one stays as it is."""
        is_closed = isinstance(obj, Case) and obj.is_closed
        return not is_closed and self.has_act_permission(request, obj)

    def get_fieldsets(self, request: HttpRequest, obj: Case | None = None) -> Any:
        """Return the facts that may be changed; of a closed case, the same to be read."""
        if self.has_change_permission(request, obj):
            return super().get_fieldsets(request, obj)
        return (("About", {"fields": ("shown_title", "shown_severity", "shown_tags", "shown_note")}),)

    def save_model(self, request: HttpRequest, obj: Case, form: Any, change: bool) -> None:
        """Let the service change and record it."""
        case = Case.objects.get(pk=obj.pk)
        services.update_case(case=case, by=request.user, **form.facts())  # type: ignore[arg-type]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Show the case as it is stored above what is being said about it."""
        answer = super().render_change_form(request, context, *args, **kwargs)
        stored = self.get_object(request, context["object_id"])
        if stored is not None and isinstance(answer, TemplateResponse) and answer.context_data is not None:
            # As they are now that this look is on record.
            answer.context_data.update(panels(stored), **_rights(request, stored))
        return answer

    def get_urls(self) -> list[URLPattern]:
        """Add the door for the buttons of the page, and the list of restricted cases."""
        door, doorbell = self.admin_site.admin_view(self.act), self.admin_site.admin_view(restricted_cases)
        return [
            path("restricted/", doorbell, name="cases_case_restricted"),
            path("<path:object_id>/act/", door, name="cases_case_act"),
            *super().get_urls(),
        ]

    def act(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Do what a button asks for; anything but POST changes nothing."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        case = self.get_object(request, object_id)
        if case is None:
            raise PermissionDenied
        _do(request, case, request.POST.get("do", ""), request.POST.get("to", ""))
        return HttpResponseRedirect(reverse("admin:cases_case_change", args=[case.pk]))

    @display(description="Case", ordering="case_id")
    def name(self, case: Case) -> SafeString:
        """Return its public name."""
        return visible(case.case_id)

    @display(description="Title", ordering="title")
    def shown_title(self, case: Case) -> SafeString:
        """Return the title, nothing hidden."""
        return visible(case.title or "–")

    @display(description="Note")
    def shown_note(self, case: Case) -> SafeString:
        """Return the note, nothing hidden."""
        return visible(case.note or "–")

    @display(description="Tags")
    def shown_tags(self, case: Case) -> SafeString:
        """Return the tags, nothing hidden."""
        return visible(", ".join(str(tag) for tag in case.tags or []) or "–")

    @display(description="Status", ordering="status", label=_STATUS_COLOURS)
    def state(self, case: Case) -> str:
        """Return whether it is open; the old system had free text here."""
        return case.status

    @display(description="Access", ordering="restricted", label={"restricted": "warning"})
    def access(self, case: Case) -> str:
        """Return whether the case is closed to administrators who have not joined it."""
        return "restricted" if case.restricted else ""

    @display(description="Severity", ordering="severity", label=_SEVERITY_COLOURS)
    def shown_severity(self, case: Case) -> str:
        """Return how bad it is."""
        return case.severity

    @display(description="Evidence")
    def evidence(self, case: Case) -> str:
        """Return the number of pieces."""
        return f"{getattr(case, 'evidence_count', 0):,}"

    @display(description="Events")
    def events(self, case: Case) -> str:
        """Return the number of events that can be searched."""
        return f"{getattr(case, 'event_count', 0):,}"

    @display(description="Last activity")
    def activity(self, case: Case) -> SafeString:
        """Return when something was last recorded in its custody."""
        return shown_time(getattr(case, "last_activity", None))

    @display(description="")
    def timeline(self, case: Case) -> SafeString:
        """Return a link to its timeline."""
        return link(timeline_address(case), "Timeline")

    @action(description="Close", permissions=["act"])
    def close(self, request: HttpRequest, chosen: QuerySet[Case]) -> None:
        """Close each."""
        for case in chosen:
            _do(request, case, "close")

    @action(description="Reopen", permissions=["act"])
    def reopen(self, request: HttpRequest, chosen: QuerySet[Case]) -> None:
        """Reopen each."""
        for case in chosen:
            _do(request, case, "reopen")

    @action(description="Check the custody record", permissions=["view"])
    def check_record(self, request: HttpRequest, chosen: QuerySet[Case]) -> None:
        """Tell for each whether its record is intact."""
        for case in chosen:
            tell_check(request, case.case_id)


def _rights(request: HttpRequest, case: Case) -> dict[str, bool]:
    """Return what the template of a case's page may offer to the user."""
    user = request.user
    if not isinstance(user, User):
        return {}
    return {
        "may_write": may_write(user, case),
        "may_manage": may_manage(user, case),
        "may_guard": may_guard(user, case),
    }


def _do(request: HttpRequest, case: Case, what: str, to: str = "") -> None:
    """Do one of the acts of a case's page; `to` names its run or evidence."""
    by: Any = request.user
    if what == "check":
        tell_check(request, case.case_id)
    elif what in _ACTS:
        may, act, done = _ACTS[what]
        allowed = act if may(by, case) else _not_allowed
        perform(request, lambda: allowed(case=case, by=by), f"{case.case_id} {done}.")
    elif not may_write(by, case):
        perform(request, lambda: _not_allowed(case=case, by=by), "")
    elif what == "run-again":
        known = Evidence.objects.none() if "\x00" in to else Evidence.objects.filter(case=case)
        evidence = get_object_or_404(known, evidence_uid=to)  # PostgreSQL refuses to look for a NUL
        done = f"{evidence.original_name or to}: another reading is queued."
        perform(request, lambda: services.run_again(evidence=evidence, by=by), done)
    elif what in ("cancel", "retry"):
        run = get_object_or_404(TaskRun, evidence__case=case, pk=to if to.isdecimal() else None)
        asked = services.cancel_run if what == "cancel" else services.retry_run
        done = "is being cancelled" if what == "cancel" else "is queued again"
        perform(request, lambda: asked(run=run, by=by), f"Run {run.pk} {done}.")
    else:
        raise PermissionDenied


def _not_allowed(*, case: Case, by: User) -> Case:
    raise Forbidden(f"Your role in case {case.case_id} is not enough for this.")


#: What is done to a case as a whole: who may, the service, and what is said then.
_ACTS: Final[dict[str, tuple[Callable[[User, Case], bool], Callable[..., Case], str]]] = {
    "close": (may_manage, services.close_case, "is closed"),
    "reopen": (may_manage, services.reopen_case, "is open again"),
    "restrict": (may_guard, services.restrict_case, "is closed to administrators who have not joined it"),
    "unrestrict": (may_guard, services.unrestrict_case, "is open to administrators again"),
}
