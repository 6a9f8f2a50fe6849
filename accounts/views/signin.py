"""The door: address and password, then the second factor where one is due, and the way out."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout as forget
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from accounts import sessions, signin, tokens
from accounts.forms import OnlyCodeForm, SignInForm
from accounts.models import User
from accounts.sealing import CannotUnseal, seal, unseal
from accounts.views.page import REFUSALS, following, half_open, onward, shown, told

#: Under which name the session of somebody not yet signed in holds the challenge they answer.
CHALLENGE: Final = "challenge"
_NO_MATCH: Final = "This address and password do not match, or the account is not active."
_TOO_LATE: Final = "That took too long, or was answered already: sign in again."


@half_open
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def login(request: HttpRequest) -> HttpResponse:
    """Ask for address and password."""
    if isinstance(request.user, User):
        return onward(request)
    form = SignInForm(request.POST or None)
    page = {"form": form, "next": following(request), "is_open": settings.REGISTRATION == "open"}
    if not form.is_valid():
        return shown(request, "login", page)
    request.session.pop(CHALLENGE, None)  # whoever it was for begins again
    email, password = form.cleaned_data["username"], form.cleaned_data["password"]
    try:
        found = signin.sign_in(email, password)
    except signin.WrongCredentials:
        form.add_error(None, _NO_MATCH)
        return shown(request, "login", page)
    except signin.AddressUnverified as refusal:
        return shown(request, "login", {**page, "unverified": email}, **told(refusal, form))
    except REFUSALS as refusal:
        return shown(request, "login", page, **told(refusal, form))
    if isinstance(found, signin.Due):
        request.session.cycle_key()
        request.session[CHALLENGE] = seal(found.challenge)
        return HttpResponseRedirect(_with_next("login-code", following(request)))
    sessions.begin_in_browser(request, found.user, second_factor=found.second_factor)
    return onward(request)


@half_open
@sensitive_post_parameters("code")
@require_http_methods(["GET", "HEAD", "POST"])
def login_code(request: HttpRequest) -> HttpResponse:
    """Ask for the code of the second factor, against the challenge that the password earned."""
    if isinstance(request.user, User):
        return onward(request)
    challenge = request.session.get(CHALLENGE)
    if not isinstance(challenge, str):
        return HttpResponseRedirect(_with_next("login", following(request)))
    form = OnlyCodeForm(request.POST or None)
    page = {"form": form, "next": following(request)}
    if not form.is_valid():
        return shown(request, "login_code", page)
    try:
        proven = signin.answer(unseal(challenge), form.cleaned_data["code"])
    except (tokens.InvalidToken, CannotUnseal):
        del request.session[CHALLENGE]
        messages.error(request, _TOO_LATE)
        return HttpResponseRedirect(_with_next("login", following(request)))
    except REFUSALS as refusal:
        return shown(request, "login_code", page, **told(refusal, form))
    del request.session[CHALLENGE]
    sessions.begin_in_browser(request, proven.user, second_factor=proven.second_factor)
    return onward(request)


@half_open
@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    """End the sign-in of this browser."""
    user = request.user
    if isinstance(user, User) and user.access and user.access.session:
        sessions.end(user.access.session, reason="signed out", by=user)
    forget(request)
    return redirect("login")


def _with_next(name: str, address: str) -> str:
    return reverse(name) + (f"?{urlencode({'next': address})}" if address else "")
