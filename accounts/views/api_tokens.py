"""The own API tokens: what they may do, when they end; a new one is shown once."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import api_tokens
from accounts.forms import ApiTokenForm
from accounts.models import ApiToken
from accounts.views.page import REFUSALS, SignedIn, fresh, shown, signed_in, told


@signed_in
@require_safe
def listed(request: SignedIn) -> HttpResponse:
    """List the tokens that are good."""
    return shown(request, "tokens", {"tokens": ApiToken.objects.live().filter(user=request.user)})


@fresh
@require_http_methods(["GET", "HEAD", "POST"])
def create(request: SignedIn) -> HttpResponse:
    """Make a token; this answer is the one place where its text ever stands."""
    form = ApiTokenForm(request.POST if request.method == "POST" else None, initial={"scope": "read"})
    if not form.is_valid():
        return shown(request, "token_new", {"form": form})
    try:
        made = api_tokens.create(request.user, **form.facts())
    except REFUSALS as refusal:
        return shown(request, "token_new", {"form": form}, **told(refusal, form))
    return shown(request, "token_made", {"made": made})


@signed_in
@require_POST
def revoke(request: SignedIn, token_id: int) -> HttpResponse:
    """End a token."""
    token = get_object_or_404(ApiToken.objects.live().filter(user=request.user), pk=token_id)
    api_tokens.revoke(token, by=request.user)
    messages.success(request, "The token has ended.")
    return redirect("account-tokens")
