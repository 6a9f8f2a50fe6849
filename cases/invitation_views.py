"""The page that a mailed invitation leads to: join with the account one has, or with a new one.

The link shows it and changes nothing; the button accepts.
"""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import urlencode
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from accounts.forms import JoinForm, TokenForm
from accounts.models import User
from accounts.views.page import REFUSALS, told
from cases import services
from datamortem.common.errors import DomainError
from datamortem.common.headers import TOKEN_IN_ADDRESS


@sensitive_post_parameters("token", "password")
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest) -> HttpResponse:
    """Show what an invitation offers, and accept it."""
    user = request.user if isinstance(request.user, User) else None
    given = request.POST if request.method == "POST" else request.GET
    token = given.get("token", "").replace("\x00", "")[:200]
    try:
        offer = services.look_at_invitation(token)
    except DomainError as refusal:
        return _shown(request, {"refused": refusal.detail}, status=400)
    kind = TokenForm if user or offer.has_account else JoinForm
    form = kind(request.POST if request.method == "POST" else None, initial={"token": token})
    page = {"form": form, "offer": offer, "is_theirs": user is not None and _is_for(user, offer)}
    if user is None and offer.has_account:
        return _shown(
            request, {**page, "back": urlencode({"next": f"{request.path}?{urlencode({'token': token})}"})}
        )
    if not form.is_valid():
        return _shown(request, page, status=400 if form.errors else 200)
    try:
        services.accept_invitation(user=user, **form.cleaned_data)
    except REFUSALS as refusal:
        arguments = told(refusal, form)
        return _shown(request, page, status=arguments["status"])
    return _welcome(request, offer, is_new=user is None)


def _welcome(request: HttpRequest, offer: services.Offer, *, is_new: bool) -> HttpResponse:
    if is_new:
        messages.success(request, "Your account is made: sign in with it.")
        return redirect("login")
    messages.success(request, "You have joined.")
    return redirect("timeline", offer.case_id) if offer.case_id else redirect("start")


def _is_for(user: User, offer: services.Offer) -> bool:
    return user.email.lower() == offer.email.lower()


def _shown(request: HttpRequest, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    page = render(request, "cases/invitation.html", context, status=status)
    page.headers["Referrer-Policy"] = TOKEN_IN_ADDRESS
    return page
