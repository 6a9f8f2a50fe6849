"""The restricted cases that an administrator has not joined, and the form by which they join one."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from accounts import policy
from accounts.models import User
from cases import services
from cases.admin.base import perform
from cases.models import Case, CaseMember, CaseRole


class JoinForm(forms.Form):
    """Which case, why, and as what."""

    case_id = forms.CharField(widget=forms.HiddenInput)
    reason = forms.CharField(max_length=1000, widget=UnfoldAdminTextInputWidget)
    role = forms.ChoiceField(
        choices=CaseRole.choices, initial=CaseRole.READER, widget=UnfoldAdminSelectWidget
    )


def may_join(request: HttpRequest) -> bool:
    """Whether somebody may join restricted cases: administrators."""
    return isinstance(request.user, User) and policy.sees_all_cases(request.user)


def restricted_cases(request: HttpRequest) -> HttpResponse:
    """List them, with whom to ask; a POST joins one, and goes on to it."""
    if not isinstance(request.user, User) or not may_join(request):
        raise PermissionDenied
    form = JoinForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        said = form.cleaned_data
        case = get_object_or_404(Case.objects.barred_to(request.user), case_id=said["case_id"])
        if perform(request, lambda: _join(case, request.user, said), f"You have joined {case.case_id}."):
            return HttpResponseRedirect(reverse("admin:cases_case_change", args=[case.pk]))
    leads = CaseMember.objects.filter(role=CaseRole.LEAD).select_related("user")
    barred = Case.objects.barred_to(request.user).select_related("owner").order_by("case_id")
    context = {
        **admin.site.each_context(request),
        "title": "Restricted cases",
        "cases": barred.prefetch_related(Prefetch("members", leads, to_attr="lead_members")),
        "refused": form if form.is_bound and form.errors else None,
        "roles": CaseRole.choices,
    }
    return render(request, "admin/cases/case/restricted.html", context)


def _join(case: Case, by: Any, said: dict[str, Any]) -> None:
    services.join_case(case=case, by=by, reason=said["reason"], role=said["role"])
