"""Users in the admin: who may sign in, with which role. Password hashes and secrets are never shown.

Nobody gives or takes what is above their own role: an admin manages analysts and viewers, a
superadmin everybody.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.db.models import F, Model
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminSelectWidget

from accounts.models import Role, User


class _RoleField(forms.ChoiceField):
    def __init__(self, *roles: Role) -> None:
        choices = [(role.value, role.label) for role in roles or Role]
        super().__init__(choices=choices, initial=Role.ANALYST, widget=UnfoldAdminSelectWidget)


class UserForm(forms.ModelForm):  # type: ignore[type-arg]
    """What may be said about a user; the password has a page of its own."""

    role = _RoleField()

    class Meta:
        model = User
        fields = ("email", "username", "full_name", "role", "is_active")
        labels = {"email": "E-mail", "is_active": "May sign in"}

    def clean_email(self) -> str:
        """Return the address, unlike any other even in other case: sign-in does not look at case."""
        email = str(self.cleaned_data["email"])
        if User.objects.filter(email__iexact=email).exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError("Another user has this address.")
        return email if self.instance.pk else email.lower()


class NewUserForm(UserCreationForm):
    """A user who is about to be added, with a first password."""

    role = _RoleField()

    class Meta:
        model = User
        fields = ("email", "username", "full_name", "role")

    clean_email = UserForm.clean_email


class NewPasswordForm(AdminPasswordChangeForm):
    """A new password; tokens that were issued under the old one end with it."""

    def save(self, commit: bool = True) -> User:
        """Store the password and end what was issued before."""
        user: User = super().save(commit)
        User.objects.filter(pk=user.pk).update(token_epoch=F("token_epoch") + 1)
        return user


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
        return self.has_module_permission(request) and (obj is None or _manages(request.user, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody is deleted; who leaves becomes inactive."""
        return False

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Return the theme's field, where Django's user admin would leave the theme out."""
        return ModelAdmin.formfield_for_dbfield(self, db_field, request, **kwargs)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Return the form, with the roles that this user may give."""
        form = super().get_form(request, obj, change=change, **kwargs)
        if "role" in form.base_fields and not _is_top(request.user):
            form.base_fields["role"] = _RoleField(Role.ANALYST, Role.VIEWER)
        return form

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Store the user; a changed role or an end of access ends the tokens issued before."""
        if change and {"role", "is_active", "email"} & set(form.changed_data):
            obj.token_epoch = F("token_epoch") + 1
        super().save_model(request, obj, form, change)
        obj.refresh_from_db(fields=["token_epoch"])

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


def _is_top(user: Any) -> bool:
    return bool(user.is_superuser or user.role == Role.SUPERADMIN)


def _manages(user: Any, other: User) -> bool:
    if _is_top(user):
        return True
    return not other.is_superuser and other.role not in (Role.SUPERADMIN, Role.ADMIN)
