"""What mails lead to, and what asks for a mail: a new password, a confirmed address, an account.

A link in a mail shows a page with a button: what scans mail follows links, and presses nothing.
"""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import get_language_from_request
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from accounts import passwords, registration
from accounts.forms import AddressForm, NewPasswordForm, RegisterForm, TokenForm
from accounts.views.page import REFUSALS, half_open, shown, told
from datamortem.common.errors import DomainError
from datamortem.common.headers import TOKEN_IN_ADDRESS


def _language(request: HttpRequest) -> str:
    """Return the language to write in to somebody who is not known yet."""
    return get_language_from_request(request)


def _keeping_the_token(page: HttpResponse) -> HttpResponse:
    page.headers["Referrer-Policy"] = TOKEN_IN_ADDRESS
    return page


@half_open
@require_http_methods(["GET", "HEAD", "POST"])
def ask_reset(request: HttpRequest) -> HttpResponse:
    """Ask for a mail by which a new password is set; the answer is the same for any address."""
    form = AddressForm(request.POST or None)
    if not form.is_valid():
        return shown(request, "password_reset", {"form": form})
    try:
        passwords.ask_reset(form.cleaned_data["email"], locale=_language(request))
    except REFUSALS as refusal:
        return shown(request, "password_reset", {"form": form}, **told(refusal, form))
    return shown(request, "mail_sent", {"what": "a mail with a link to set a new password"})


@half_open
@sensitive_post_parameters("token", "new_password")
@require_http_methods(["GET", "HEAD", "POST"])
def set_password(request: HttpRequest) -> HttpResponse:
    """Set a new password by the token of a mail. The second factor stays."""
    if request.method != "POST":
        form = NewPasswordForm(initial={"token": request.GET.get("token", "")[:200]})
        return _keeping_the_token(shown(request, "password_reset_confirm", {"form": form}))
    form = NewPasswordForm(request.POST)
    if form.is_valid():
        try:
            passwords.set_by_reset(form.cleaned_data["token"], form.cleaned_data["new_password"])
        except REFUSALS as refusal:
            arguments = told(refusal, form)
            page = {"form": form, "spent": "token" in form.errors}
            return shown(request, "password_reset_confirm", page, **arguments)
        messages.success(request, "Your new password is set: sign in with it.")
        return redirect("login")
    return shown(request, "password_reset_confirm", {"form": form, "spent": "token" in form.errors})


@half_open
@sensitive_post_parameters("token")
@require_http_methods(["GET", "HEAD", "POST"])
def verify_email(request: HttpRequest) -> HttpResponse:
    """Confirm an address by the token of a mail."""
    if request.method != "POST":
        form = TokenForm(initial={"token": request.GET.get("token", "")[:200]})
        return _keeping_the_token(shown(request, "email_verify", {"form": form}))
    form = TokenForm(request.POST)
    if form.is_valid():
        try:
            registration.verify(form.cleaned_data["token"])
        except REFUSALS as refusal:
            return shown(request, "email_verify", {"form": form, "spent": True}, **told(refusal, form))
        messages.success(request, "Your address is confirmed: you can sign in.")
        return redirect("login")
    return shown(request, "email_verify", {"form": form, "spent": True})


@half_open
@require_http_methods(["GET", "HEAD", "POST"])
def resend(request: HttpRequest) -> HttpResponse:
    """Send the mail that confirms an address again."""
    form = AddressForm(request.POST or None)
    if not form.is_valid():
        return shown(request, "email_resend", {"form": form})
    try:
        registration.resend(form.cleaned_data["email"], locale=_language(request))
    except REFUSALS as refusal:
        return shown(request, "email_resend", {"form": form}, **told(refusal, form))
    return shown(request, "mail_sent", {"what": "a mail with a link to confirm it"})


@half_open
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def register(request: HttpRequest) -> HttpResponse:
    """Ask for an account, where the platform is open to that."""
    try:
        registration.require_open()
    except DomainError as refusal:
        return shown(request, "register_closed", {"why": refusal.detail}, status=403)
    form = RegisterForm(request.POST or None)
    if not form.is_valid():
        return shown(request, "register", {"form": form})
    try:
        registration.register(**form.cleaned_data, locale=_language(request))
    except REFUSALS as refusal:
        return shown(request, "register", {"form": form}, **told(refusal, form))
    return shown(request, "mail_sent", {"what": "a mail that says how to go on"})
