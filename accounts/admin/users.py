"""Users in the admin: who may sign in, with which role. Password hashes and secrets are never shown.

Whatever changes an account goes through `accounts.users`, as in the API: nobody gives or takes what
is above their own role, and what somebody was signed in by ends.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.forms import AdminPasswordChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminSelectWidget

from accounts import policy, users
from accounts.models import Role, User
from datamortem.common.errors import DomainError

_SAID: Final = ("email", "username", "full_name", "role", "is_active")


class _RoleField(forms.ChoiceField):
    def __init__(self, *roles: Role) -> None:
        choices = [(role.value, role.label) for role in roles or Role]
        super().__init__(choices=choices, initial=Role.ANALYST, widget=UnfoldAdminSelectWidget)


class UserForm(forms.ModelForm):  # type: ignore[type-arg]
    """What may be said about a user; the password has a page of its own."""

    role = _RoleField()

    class Meta:
        model = User
        fields = _SAID
        labels = {"email": "E-mail", "is_active": "May sign in"}

    def clean_email(self) -> str:
        """Return the address, unlike any other even in other case: sign-in does not look at case."""
        email = str(self.cleaned_data["email"])
        if User.objects.filter(email__iexact=email).exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError("Another user has this address.")
        return email


class NewUserForm(UserCreationForm):
    """A user who is about to be added; without a password they get a mail to set one."""

    role = _RoleField()

    class Meta:
        model = User
        fields = ("email", "username", "full_name", "role")

    clean_email = UserForm.clean_email

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields.pop("usable_password", None)
        for name in ("password1", "password2"):
            self.fields[name].required = False
        self.fields["password2"].help_text = "Leave both empty to have a link mailed by which they set one."

    def validate_passwords(self, *args: Any, **kwargs: Any) -> None:
        """Check that the password was given twice, or not at all."""
        self.cleaned_data["set_usable_password"] = False
        if self.cleaned_data.get("password1") or self.cleaned_data.get("password2"):
            super().validate_passwords(*args, **kwargs)


class NewPasswordForm(AdminPasswordChangeForm):
    """A new password for somebody."""

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(user, *args, **kwargs)
        self.fields.pop("usable_password", None)  # who must not sign in is made inactive
        for name in ("password1", "password2"):
            self.fields[name].required = True


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):  # type: ignore[type-arg]
    """Adds users, changes their role, sets a password; deletes nobody: their acts stay theirs."""

    form = UserForm
    add_form = NewUserForm
    change_password_form = NewPasswordForm
    list_display = ("shown_email", "username", "shown_role", "is_active", "has_second_factor", "last_login")
    list_filter = ("role", "is_active", "otp_enabled")
    search_fields = ("email", "username", "full_name")
    ordering = ("email",)
    actions = ("end_sessions", "reset_second_factor")
    filter_horizontal = ()
    readonly_fields = ("password_page", "last_login", "added", "is_verified", "has_second_factor")
    fieldsets = (
        (None, {"fields": ("email", "username", "full_name", "password_page")}),
        ("Access", {"fields": ("role", "is_active")}),
        ("Known", {"fields": ("is_verified", "has_second_factor", "last_login", "added")}),
    )
    add_fieldsets = (
        (None, {"fields": ("email", "username", "full_name", "role", "password1", "password2")}),
    )

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whoever enters the admin sees the users."""
        return bool(getattr(request.user, "is_staff", False))

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Whoever enters the admin sees the users."""
        return self.has_module_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Whoever enters the admin adds users, with roles below their own."""
        return self.has_module_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Users are changed by those above them."""
        return self.has_module_permission(request) and (obj is None or policy.manages(_by(request), obj))

    def has_act_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Whoever enters may try; the services say on whom."""
        return self.has_module_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody is deleted; who leaves becomes inactive."""
        return False

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Return the theme's field, where Django's user admin would leave the theme out."""
        return ModelAdmin.formfield_for_dbfield(self, db_field, request, **kwargs)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Return the form, with the roles that this user may give."""
        form = super().get_form(request, obj, change=change, **kwargs)
        if "role" in form.base_fields:
            may_give = [role for role in Role if policy.may_give(_by(request), role)]
            form.base_fields["role"] = _RoleField(*may_give)
        return form

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Let the service add or change, end what must end, and record it. Raises DomainError."""
        said = {name: form.cleaned_data[name] for name in _SAID if name in form.changed_data}
        by = _by(request)
        if change:
            users.change(user=obj, by=by, **said)
        else:
            facts = {name: form.cleaned_data[name] for name in NewUserForm.Meta.fields}
            obj.pk = users.create(by=by, password=form.cleaned_data["password1"] or None, **facts).pk
        obj.refresh_from_db()

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show the form and take it; what the service refuses is told on the same page."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except DomainError as refusal:
            said = "user.changed" if object_id else "user.created"
            # The transaction that the refusal undid held the entry about it.
            users.refused(said, refusal, by=_by(request), target=request.POST.get("email", ""))
            messages.error(request, refusal.detail)
        return HttpResponseRedirect(request.path)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """Show the form of a new password, and let the service set it."""
        user = self.get_object(request, unquote(id))
        if request.method == "POST" and user and self.has_change_permission(request, user):
            form = self.change_password_form(user, request.POST)
            if form.is_valid():
                password = form.cleaned_data["password1"]
                set_it = partial(users.set_password, user=user, password=password, by=_by(request))
                _perform(request, set_it, f"{user.username} has a new password, and is signed out.")
                return HttpResponseRedirect(reverse("admin:accounts_user_change", args=[user.pk]))
        return super().user_change_password(request, id, form_url)

    @action(description="Sign out everywhere", permissions=["act"])
    def end_sessions(self, request: HttpRequest, chosen: QuerySet[User]) -> None:
        """End the sign-ins and API tokens of each."""
        for user in chosen:
            end = partial(users.end_sessions, user=user, by=_by(request))
            _perform(request, end, f"{user.username} is signed out everywhere.")

    @action(description="Take away a lost second factor", permissions=["act"])
    def reset_second_factor(self, request: HttpRequest, chosen: QuerySet[User]) -> None:
        """Take the second factor from each."""
        for user in chosen:
            reset = partial(users.reset_second_factor, user=user, by=_by(request))
            _perform(request, reset, f"{user.username} has no second factor any more.")

    @display(description="E-mail", ordering="email")
    def shown_email(self, user: User) -> str:
        """Return the address."""
        return user.email

    @display(
        description="Role",
        ordering="role",
        label={Role.SUPERADMIN.value: "danger", Role.ADMIN.value: "warning", Role.ANALYST.value: "info"},
    )
    def shown_role(self, user: User) -> str:
        """Return the role; the old system may have left a word we do not know."""
        return user.role

    @display(description="Address verified", boolean=True)
    def is_verified(self, user: User) -> bool:
        """Return whether the address was confirmed."""
        return user.email_verified

    @display(description="Second factor", boolean=True)
    def has_second_factor(self, user: User) -> bool:
        """Return whether signing in asks for a second factor."""
        return user.otp_enabled

    @display(description="Added", ordering="created_at_utc")
    def added(self, user: User) -> Any:
        """Return since when the user exists."""
        return user.created_at_utc

    @display(description="Password")
    def password_page(self, user: User) -> SafeString:
        """Return the link to where it is set anew; the hash stays unseen."""
        return format_html('<a href="{}">{}</a>', "../password/", "Set a new password")


def _by(request: HttpRequest) -> User:
    user = request.user
    if not isinstance(user, User):
        raise TypeError("The admin lets nobody in who is not signed in.")
    return user


def _perform(request: HttpRequest, act: Callable[[], object], done: str) -> None:
    """Do what somebody asked for and tell how it went; a refusal is a message, not an error."""
    try:
        act()
    except DomainError as refusal:
        messages.error(request, refusal.detail)
    else:
        messages.success(request, done)
