"""What people type on the pages of accounts; what it means is decided by the services they call."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from django import forms
from django.conf import settings
from django.forms.utils import ErrorList
from django.utils import timezone

from accounts.access import READ, WRITE

#: The longest password that is looked at.
_LONGEST: Final = 1024
_SCOPES: Final = {"read": (READ,), "write": (READ, WRITE)}


class _Told(ErrorList):
    """What is wrong with a field or a form, said aloud by screen readers."""

    template_name = "accounts/_errors.html"


class PlainForm(forms.Form):
    """A form whose labels have no colon."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", "error_class": _Told, **kwargs})


def _email(**more: Any) -> forms.CharField:
    """Return the field of an address. Addresses of the old system need not look like one."""
    attributes = {"inputmode": "email", "autocapitalize": "none", "spellcheck": "false", **more}
    return forms.CharField(label="E-mail", max_length=320, widget=forms.TextInput(attributes))


def _password(label: str, *, new: bool = False, help_text: str = "") -> forms.CharField:
    attributes = {"autocomplete": "new-password" if new else "current-password"}
    widget = forms.PasswordInput(attributes)
    return forms.CharField(label=label, max_length=_LONGEST, strip=False, widget=widget, help_text=help_text)


def _new_password(label: str = "New password") -> forms.CharField:
    advice = "At least 12 characters; several words are easier to keep than signs."
    return _password(label, new=True, help_text=advice)


class SignInForm(PlainForm):
    """Address and password."""

    username = _email(autocomplete="username", autofocus=True)
    password = _password("Password")


class _CodeInput(forms.PasswordInput):
    """Shows what is typed, and does not show it again: a code is good once."""

    input_type = "text"


class CodeForm(PlainForm):
    """The code of a second factor."""

    code = forms.CharField(
        label="Code",
        max_length=64,
        widget=_CodeInput(
            {
                "autocomplete": "one-time-code",
                "autocapitalize": "none",
                "spellcheck": "false",
                "class": "code",
            }
        ),
    )


class OnlyCodeForm(CodeForm):
    """A code that is all a page asks for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["code"].widget.attrs["autofocus"] = True


class DisableForm(CodeForm):
    """What switches the second factor off."""

    password = _password("Password")
    field_order = ("password", "code")


class ProfileForm(PlainForm):
    """What people may change about themselves."""

    full_name = forms.CharField(
        label="Name", max_length=200, required=False, widget=forms.TextInput({"autocomplete": "name"})
    )
    locale = forms.ChoiceField(
        label="Language of mails",
        required=False,
        choices=[("", "As the site (English)"), *settings.LANGUAGES],
    )


class PasswordForm(PlainForm):
    """The password in use, and the one to come."""

    old_password = _password("Password in use")
    new_password = _new_password()


class AddressForm(PlainForm):
    """An address that a mail is wanted for."""

    email = _email(autocomplete="email")


class NewPasswordForm(PlainForm):
    """A new password, for the token of a mail."""

    token = forms.CharField(max_length=200, widget=forms.HiddenInput)
    new_password = _new_password()


class TokenForm(PlainForm):
    """The token of a mail."""

    token = forms.CharField(max_length=200, widget=forms.HiddenInput)


class _PersonForm(PlainForm):
    username = forms.CharField(
        label="User name",
        max_length=150,
        widget=forms.TextInput({"autocomplete": "nickname", "autocapitalize": "none", "spellcheck": "false"}),
    )
    full_name = forms.CharField(
        label="Name (optional)",
        max_length=200,
        required=False,
        widget=forms.TextInput({"autocomplete": "name"}),
    )
    password = _new_password("Password")


class RegisterForm(_PersonForm):
    """Who asks for an account."""

    email = _email(autocomplete="email")
    field_order = ("email",)


class JoinForm(_PersonForm, TokenForm):
    """Who makes an account by an invitation."""


class ApiTokenForm(PlainForm):
    """What a new API token is for, and what it may do."""

    name = forms.CharField(
        label="Name",
        max_length=80,
        help_text="What will use it, such as: nightly export.",
        widget=forms.TextInput({"autocomplete": "off"}),
    )
    scope = forms.ChoiceField(
        label="It may", choices=[("read", "read"), ("write", "read and write")], widget=forms.RadioSelect
    )
    cases = forms.CharField(
        label="Cases (optional)",
        max_length=20_000,
        required=False,
        help_text="One id a line. Empty: all cases that you see, at any time.",
        widget=forms.Textarea({"rows": 3, "spellcheck": "false", "autocapitalize": "none"}),
    )
    days = forms.TypedChoiceField(
        label="It ends after",
        coerce=int,
        choices=[(7, "7 days"), (30, "30 days"), (90, "90 days"), (365, "a year")],
        initial=90,
    )

    def facts(self) -> dict[str, Any]:
        """Return what was said, as the service takes it."""
        said = self.cleaned_data
        ends: datetime = timezone.now() + timedelta(days=said["days"])
        cases = [case_id for line in said["cases"].splitlines() if (case_id := line.strip())]
        return {
            "name": said["name"],
            "scopes": _SCOPES[said["scope"]],
            "cases": cases or None,
            "expires_at": ends,
        }
