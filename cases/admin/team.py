"""Teams in the admin: who is in one. On which cases a team works is said by the leads of these."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, Model, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from accounts import policy
from accounts.models import Team, User
from accounts.people import active_user
from cases import services
from cases.admin.base import ReadOnlyAdmin, shown_time
from cases.visible import visible
from datamortem.common.errors import Invalid


class TeamForm(forms.ModelForm):  # type: ignore[type-arg]
    """A team, and who is to be in it; the services check, store and record."""

    people = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget,
        help_text="One username or address a line. Who is in a team works on its cases.",
    )

    class Meta:
        model = Team
        fields = ("name", "description")
        widgets = {"name": UnfoldAdminTextInputWidget, "description": UnfoldAdminTextareaWidget}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.there: dict[str, User] = {}
        if self.instance.pk:
            members = self.instance.members.select_related("user").order_by("user__username")
            self.there = {member.user.username: member.user for member in members}
        if "people" in self.fields:
            self.fields["people"].initial = "\n".join(self.there)

    def clean_people(self) -> dict[int, User]:
        """Return who is to be in the team, by id."""
        found = {}
        for line in self.cleaned_data["people"].splitlines():
            if name := line.strip():
                try:  # who is there may stay, also with an account that is not active
                    user = self.there.get(name) or active_user(name)
                except Invalid as refusal:
                    raise forms.ValidationError(f"{name}: {refusal.detail}") from refusal
                found[user.pk] = user
        return found


@admin.register(Team)
class TeamAdmin(ReadOnlyAdmin):
    """Makes teams, and says who is in them."""

    form = TeamForm
    list_display = ("shown_name", "about", "people_in_it", "since")
    search_fields = ("name", "description")
    search_help_text = "Name or description"
    ordering = ("name",)
    fields = ("name", "description", "people")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Team]:
        """Return the teams that the user sees, with their size."""
        if not isinstance(request.user, User):
            return Team.objects.none()
        return Team.objects.visible_to(request.user).annotate(size=Count("members")).order_by("name")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Administrators."""
        return isinstance(request.user, User) and policy.manages_teams(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Administrators."""
        return self.has_add_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Administrators, one team at a time."""
        return self.has_add_permission(request)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Return none: a team is ended on its own page."""
        return {}

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return what may be said; to whom may only look, what is stored."""
        return self.fields if self.has_change_permission(request, obj) else ("name", "description")

    def save_model(self, request: HttpRequest, obj: Team, form: Any, change: bool) -> None:
        """Let the services make or change the team, and put people in and take them out."""
        by: Any = request.user
        said = {name: form.cleaned_data[name] for name in ("name", "description")}
        if change:
            services.change_team(team=obj, by=by, **said)
        else:
            obj.pk = services.create_team(by=by, **said).pk
        wanted, there = form.cleaned_data["people"], {user.pk: user for user in form.there.values()}
        for pk in sorted(wanted.keys() - there.keys()):
            services.add_to_team(team=obj, user=wanted[pk], by=by)
        for pk in sorted(there.keys() - wanted.keys()):
            services.remove_from_team(team=obj, user=there[pk], by=by)

    def delete_model(self, request: HttpRequest, obj: Team) -> None:
        """End the team; the page before this one was the confirmation."""
        services.delete_team(team=obj, by=request.user, confirm=obj.name)  # type: ignore[arg-type]

    @display(description="Name", ordering="name")
    def shown_name(self, team: Team) -> SafeString:
        """Return the name, nothing hidden."""
        return visible(team.name)

    @display(description="Description")
    def about(self, team: Team) -> SafeString:
        """Return what is said about it."""
        return visible(team.description or "–")

    @display(description="People", ordering="size")
    def people_in_it(self, team: Team) -> int:
        """Return how many are in it."""
        return int(getattr(team, "size", 0))

    @display(description="Since", ordering="created_at")
    def since(self, team: Team) -> SafeString:
        """Return when it was made."""
        return shown_time(team.created_at)
