"""The own account: who one is, the password, and where one is signed in."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from django.contrib import messages
from django.contrib.auth import logout as forget
from django.contrib.auth import update_session_auth_hash
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import passwords, sessions
from accounts.forms import PasswordForm, ProfileForm
from accounts.models import AuthSession, User
from accounts.views.page import REFUSALS, SignedIn, fresh, session_of, shown, signed_in, told

#: How many sign-ins a page lists: programs may have begun a great many.
_LISTED: Final = 50


@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def profile(request: SignedIn) -> HttpResponse:
    """Show the account; change name and language."""
    user = request.user
    known = {"full_name": user.full_name, "locale": user.locale}
    form = ProfileForm(request.POST if request.method == "POST" else None, initial=known)
    if not form.is_valid():
        return shown(request, "profile", {"form": form})
    User.objects.filter(pk=user.pk).update(**form.cleaned_data)
    messages.success(request, "Your account is changed.")
    return redirect("account")


@fresh
@sensitive_post_parameters("old_password", "new_password")
@require_http_methods(["GET", "HEAD", "POST"])
def password(request: SignedIn) -> HttpResponse:
    """Change the password; this browser stays signed in, all else is signed out."""
    form = PasswordForm(request.POST or None)
    if not form.is_valid():
        return shown(request, "password", {"form": form})
    old, new = form.cleaned_data["old_password"], form.cleaned_data["new_password"]
    try:
        passwords.change(request.user, old, new, keep=session_of(request))
    except REFUSALS as refusal:
        return shown(request, "password", {"form": form}, **told(refusal, form))
    update_session_auth_hash(request, request.user)
    messages.success(request, "Your password is changed. Your other sign-ins and API tokens have ended.")
    return redirect("account-password")


@signed_in
@require_safe
def sign_ins(request: SignedIn) -> HttpResponse:
    """List where one is signed in, the last used first."""
    own = _own(request)
    newest = own.order_by("-last_seen_at")[:_LISTED]
    page = {"sign_ins": newest, "older": own.count() - len(newest), "current": session_of(request)}
    return shown(request, "sign_ins", page)


@signed_in
@require_POST
def end_sign_in(request: SignedIn, session_id: UUID) -> HttpResponse:
    """End one sign-in; ending this browser's own is signing out."""
    session = get_object_or_404(_own(request).select_related("user"), pk=session_id)
    sessions.end(session, reason="ended by its user", by=request.user)
    if session == session_of(request):
        forget(request)
        return redirect("login")
    messages.success(request, "That sign-in has ended.")
    return redirect("account-sign-ins")


@signed_in
@require_POST
def end_other_sign_ins(request: SignedIn) -> HttpResponse:
    """End all sign-ins but this browser's."""
    keep = session_of(request)
    sessions.end_all(
        request.user, reason="signed out everywhere else", by=request.user, keep=keep, tokens=False
    )
    messages.success(request, "All your other sign-ins have ended.")
    return redirect("account-sign-ins")


def _own(request: SignedIn) -> QuerySet[AuthSession]:
    return AuthSession.objects.live().filter(user=request.user, epoch=request.user.token_epoch)
